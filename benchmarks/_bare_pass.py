"""The bare cost in benchmarks/first_run.py: each picture decoded with Pillow and run through a network, once.

Nothing of kilat is imported. The network comes as a finished ONNX file. ``--schedule`` says how the cores are used:

``each``: every core takes pictures by itself, decodes them and runs a session of one thread on ``--batch`` of them.
``all``: pictures are decoded in a pool of as many threads as there are cores, and a session that uses all cores runs
``--batch`` of them at a time, while the next ones are being decoded.

``--only decode`` and ``--only backbone`` do one half. The last line of output is JSON: pictures, and the seconds of the
part that was chosen, imports and loading left out (whole processes are timed from outside).
"""

import argparse
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SUFFIXES = (".jpg", ".jpeg", ".png")


def main() -> None:
    """Time what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--schedule", choices=["each", "all"], default="each")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--only", choices=["decode", "backbone"])
    args = parser.parse_args()
    files = [Path(where) / name for where, _, names in os.walk(args.folder) for name in names]
    files = [file for file in files if file.suffix.lower() in _SUFFIXES]
    batches = [files[start : start + args.batch] for start in range(0, len(files), args.batch)]
    each = args.schedule == "each"
    with ThreadPoolExecutor(args.cores) as pool:
        network = Network(args.network, 1 if each else args.cores)
        decoded = list(pool.map(lambda batch: decode(batch, args.size), batches)) if args.only == "backbone" else []
        done: Iterable[Pixels | Floats]
        begin = time.perf_counter()
        if args.only == "decode":
            done = pool.map(lambda batch: decode(batch, args.size), batches)
        elif args.only == "backbone":
            done = pool.map(network, decoded) if each else map(network, decoded)
        elif each:
            done = pool.map(lambda batch: network(decode(batch, args.size)), batches)
        else:
            done = map(network, decoded_ahead(pool, batches, args.size, 64 * args.cores // args.batch))
        pictures = sum(map(len, done))
        seconds = time.perf_counter() - begin
    assert pictures == len(files)
    print(json.dumps({"pictures": pictures, "seconds": seconds}))


class Network:
    """An ONNX file in ONNX Runtime, as it comes, but for the number of threads."""

    def __init__(self, path: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name

    def __call__(self, pixels: Pixels) -> Floats:
        """Return the features of a batch."""
        return np.asarray(self.session.run(None, {self.input_name: pixels})[0], np.float32)


def decode(files: list[Path], size: int) -> Pixels:
    """Return the centre squares of some pictures, resized with Pillow's bilinear filter, ``[n, size, size, 3]``."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for index, file in enumerate(files):
        with Image.open(file) as image:
            image.draft("RGB", (2 * size, 2 * size))
            picture = image.convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        box = (left, top, left + side, top + side)
        pixels[index] = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box))
    return pixels


def decoded_ahead(pool: ThreadPoolExecutor, batches: list[list[Path]], size: int, ahead: int) -> Iterator[Pixels]:
    """Yield the batches in order, decoded by the pool, at most ``ahead`` of them early."""
    waiting: deque[Future[Pixels]] = deque()
    for batch in batches:
        waiting.append(pool.submit(decode, batch, size))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


if __name__ == "__main__":
    main()
