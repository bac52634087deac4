"""The course recipe that benchmarks/course_recipe.py compares with; runs in an environment that has Keras.

MobileNetV2 at 192×192 without its top, frozen; Flatten; Dense with softmax; Adam; batches of 128; 10 epochs. Pictures
come through `image_dataset_from_directory`, cached after the first epoch and fetched ahead, as the guides advise.
Only `fit` is timed: imports, building and listing the pictures are left out. The last line of output is JSON.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

SIDE = 192


def main() -> None:
    """Build the network, fit it and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="training pictures in class folders")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--weights", default=None, help="a .weights.h5 file; random without it: the time is the same")
    args = parser.parse_args()
    pictures = keras.utils.image_dataset_from_directory(args.folder, image_size=(SIDE, SIDE), batch_size=128, seed=0)
    classes = len(pictures.class_names)
    scaled = pictures.map(
        lambda image, label: (keras.applications.mobilenet_v2.preprocess_input(image), label),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    model = build(classes, args.weights)
    timer = EpochTimer()
    begin = time.perf_counter()
    model.fit(scaled.cache().prefetch(tf.data.AUTOTUNE), epochs=args.epochs, verbose=0, callbacks=[timer])
    seconds = time.perf_counter() - begin
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "backend": keras.backend.backend()}
    count = len(pictures.file_paths)
    print(json.dumps({"seconds": seconds, "epochs": timer.seconds, "pictures": count, "versions": versions}))


def build(classes: int, weights: str | None) -> Any:
    """Return the network of the course, compiled."""
    base = keras.applications.MobileNetV2(input_shape=(SIDE, SIDE, 3), include_top=False, weights=weights)
    base.trainable = False
    top = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    model = keras.Sequential([base, *top])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class EpochTimer(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures the seconds of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Start timing."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Record the seconds since the epoch began."""
        self.seconds.append(time.perf_counter() - self.started)


if __name__ == "__main__":
    main()
