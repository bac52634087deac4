"""The course recipe for CIFAR-10 that benchmarks/cifar.py compares with; runs in an environment that has Keras.

The network of 1,186,346 parameters in batches of 64 with Adam and an L2 penalty, as courses have it, in Keras on
TensorFlow. Prints the seconds of an epoch of 50,000 pictures, from so many steps after some that are not counted: from
`ImageDataGenerator`, which augments one picture at a time, and with `fit` on arrays in memory, without augmentation.
Pictures are noise: the time is the same. The last line of output is JSON.
"""

import argparse
import json
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator  # no longer public in Keras

BATCH, EPOCH = 64, 50_000
_WARM_UP = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(args.steps * BATCH, 32, 32, 3)).astype(np.float32)
    truth = rng.integers(0, 10, len(pixels))
    generator = ImageDataGenerator(
        rotation_range=15, width_shift_range=0.12, height_shift_range=0.12, horizontal_flip=True, zoom_range=0.1,
        brightness_range=(0.9, 1.1), shear_range=10, channel_shift_range=0.1, fill_mode="nearest",
    )  # fmt: skip
    model = build()
    for _ in range(_WARM_UP):
        model.train_on_batch(pixels[:BATCH], truth[:BATCH])
    document = {
        "augmented": epoch_seconds(model, generator.flow(pixels, truth, batch_size=BATCH), None, args.steps),
        "plain": epoch_seconds(model, pixels, truth, args.steps),
        "parameters": model.count_params(),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "backend": keras.backend.backend()},
    }
    print(json.dumps(document))


def epoch_seconds(model: Any, pixels: Any, truth: Any, steps: int) -> float:
    """Return the seconds of an epoch, from one of so many steps, its first batch left out: it prepares `fit`."""
    timer = StepTimer()
    sizes = {} if truth is None else {"batch_size": BATCH}
    model.fit(pixels, truth, epochs=1, verbose=0, callbacks=[timer], **sizes)
    return (timer.ended - timer.began) / (steps - 1) * EPOCH / BATCH


def build() -> Any:
    """Return the network, compiled."""
    layers: list[Any] = [keras.Input((32, 32, 3))]
    for filters, rate in ((32, 0.2), (64, 0.3), (128, 0.4), (256, 0.5)):
        for _ in range(2):
            penalty = keras.regularizers.L2(1e-4)
            layers.append(keras.layers.Conv2D(filters, 3, padding="same", kernel_regularizer=penalty))
            layers += [keras.layers.Activation("relu"), keras.layers.BatchNormalization()]
        layers += [keras.layers.MaxPooling2D(), keras.layers.Dropout(rate)]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    optimizer = keras.optimizers.Adam(5e-4)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class StepTimer(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures from the end of the first batch to the end of the epoch."""

    began = ended = 0.0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Start timing after the first batch."""
        if batch == 0:
            self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Stop timing."""
        self.ended = time.perf_counter()


if __name__ == "__main__":
    main()
