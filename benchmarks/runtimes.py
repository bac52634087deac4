"""What precision, batch and threads were chosen by: pictures per second of each, and what int8 costs in accuracy.

Speed: the embedded backbone at 224 pixels in fp32 and int8, and in fp32 without the statistics of the stages; with
one thread per core, each running batches of its own, or one batch on all cores; batches of 1, 2, 8 and 32. Pictures are
decoded beforehand. Every setting is measured once a round, all in turn.

Decoding: pictures per second and core of Pillow alone, of Pillow with its bilinear resize, and of kilat's decoding and
fitting, the file already in memory.

Accuracy: 5-fold cross-validated log loss and accuracy on the training pictures of flowers (seed 0; the test pictures
play no part), with features in fp32 and in int8, and the same folds.
"""

import argparse
import io
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import _measure as measure
import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
from numpy.typing import NDArray
from onnx.utils import Extractor
from PIL import Image

from kilat.data.decode import decode
from kilat.features import lite
from kilat.features.resize_graph import Resizer
from kilat.runtime.cores import available_cores

SIDE = 224
BATCHES = (1, 2, 8, 32)
_MOST_IN_MEMORY = 512

Pixels = NDArray[np.uint8]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="photos in class folders; flowers by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each setting runs in each round")
    parser.add_argument("--pictures", type=int, default=0, help="accuracy on only so many (0: all)")
    parser.add_argument("--only", choices=["speed", "decoding", "accuracy"])
    args = parser.parse_args()
    folder = measure.dataset_folder("flowers", args.folder)
    files = measure.list_pictures(folder)
    measure.print_header(__doc__)
    some = [file.read_bytes() for file in files[:: max(1, len(files) // _MOST_IN_MEMORY)]]
    if args.only in (None, "decoding"):
        decoding(some, args.rounds)
    if args.only in (None, "speed"):
        speed(some, args.rounds, args.seconds)
    if args.only in (None, "accuracy"):
        accuracy(folder, args.pictures)


def decoding(pictures: Sequence[bytes], rounds: int) -> None:
    """Pictures per second of several ways to decode, on one core."""
    fit = Resizer(SIDE, "crop")
    ways: dict[str, Callable[[bytes], object]] = {
        "Pillow": lambda data: Image.open(io.BytesIO(data)).convert("RGB"),
        "Pillow, bilinear resize of the centre": pillow_square,
        "kilat: decode": lambda data: decode(data, shrink_to=SIDE),
        "kilat: decode and fit": lambda data: fit(np.asarray(decode(data, shrink_to=SIDE)[0])),
    }
    print(f"decoding on one core, n = {len(pictures)} pictures, {rounds} rounds")
    tell(measure.interleave(rounds, {name: partial(rate, way, pictures) for name, way in ways.items()}))


def rate(way: Callable[[bytes], object], pictures: Sequence[bytes]) -> float:
    """Pictures per second."""
    begin = time.perf_counter()
    for data in pictures:
        way(data)
    return len(pictures) / (time.perf_counter() - begin)


def pillow_square(data: bytes) -> Pixels:
    """The centre square, resized as the bare cost of `first_run.py` does."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box))


def speed(pictures: Sequence[bytes], rounds: int, seconds: float) -> None:
    """Pictures per second of every setting."""
    pixels = np.stack([pillow_square(data) for data in pictures])
    fp32 = lite.build(SIDE, "fp32").model
    networks = {"int8": lite.build(SIDE, "int8").model, "fp32": fp32, "fp32, last features only": plain(fp32)}
    rivals = {}
    for (name, model), each in itertools.product(networks.items(), (True, False)):
        session = open_session(model, 1 if each else available_cores())
        for batch in BATCHES:
            way = "a thread per core" if each else "one batch on all cores"
            rivals[f"{name}, {way}, batch {batch}"] = partial(throughput, session, pixels, batch, each, seconds)
    print(f"backbone at {SIDE} pixels, {rounds} rounds of {seconds:g} s each")
    measure.interleave(1, rivals)
    tell(measure.interleave(rounds, rivals))


def throughput(session: Any, pixels: Pixels, batch: int, each: bool, seconds: float) -> float:
    """Pictures per second; ``each`` runs one thread per core, all of them with the one session."""
    callers = available_cores() if each else 1
    begin = time.perf_counter()

    def go(caller: int) -> int:
        done, start = 0, caller * batch
        while time.perf_counter() - begin < seconds:
            start = (start + batch) % (len(pixels) - batch + 1)
            session.run(None, {"pixels": pixels[start : start + batch]})
            done += batch
        return done

    with ThreadPoolExecutor(callers) as pool:
        done = sum(pool.map(go, range(callers)))
    return done / (time.perf_counter() - begin)


def plain(model: bytes) -> bytes:
    """The network cut off at its last features."""
    whole = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    return bytes(Extractor(whole).extract_model(["pixels"], ["last.mean"]).SerializeToString())


def open_session(model: bytes, threads: int) -> Any:
    """A session with so many threads for each call."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def tell(taken: dict[str, list[float]]) -> None:
    """Print rates."""
    for name, rates in taken.items():
        print(f"  {name:58} {measure.summary(rates, 'pictures/s', 0)}")


def accuracy(folder: Path, count: int) -> None:
    """What cross-validation says of both precisions; the test pictures stay unasked."""
    print("5-fold cross-validation on the training pictures")
    right = {}
    with tempfile.TemporaryDirectory() as place:
        some = measure.subsample(folder, count, Path(place))
        for precision in ("fp32", "int8"):
            choice = ("--set", f"features.precision={precision}")
            done = measure.train(some, Path(place) / "runs", Path(place) / "cache", *choice).document
            held = done["metrics"]["validation"]
            table = pd.read_csv(Path(done["run"]) / "predictions.csv", keep_default_na=False)
            answers = table[table["split"] == "validation"].sort_values("path")
            right[precision] = np.asarray(answers["label"] == answers["predicted"], np.float64)
            print(
                f"  {precision}: log loss {held['log_loss']:.4f}, accuracy {mean(right[precision])}, n = {held['n']:,}"
            )
    print(f"  int8 less fp32, picture by picture: accuracy {mean(right['int8'] - right['fp32'])}")


def mean(values: NDArray[np.float64]) -> str:
    """A mean with its standard error."""
    return f"{values.mean():.4f} (standard error {values.std() / len(values) ** 0.5:.4f})"


if __name__ == "__main__":
    main()
