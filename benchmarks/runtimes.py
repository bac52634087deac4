"""How precision, batch and threads were chosen: pictures per second of each, and what int8 costs in accuracy.

Speed: the embedded backbone at 224 pixels in fp32 and int8, and in fp32 without the statistics of the stages; with
one thread per core, each running batches of its own, or one batch on all cores; batches of 1, 2, 8 and 32. Pictures are
decoded beforehand. Every setting is measured once a round, all in turn.

Decoding: pictures per second and core of Pillow alone, of Pillow with its bilinear resize, and of kilat's decoding and
resizing, the file already in memory.

Backbones: pictures per second on one core of timm networks with random weights, 224 pixels, one at a time: as kilat
runs them in fp32 and in int8, the bare network in ONNX Runtime, and timm itself in PyTorch, in float32 and in bfloat16.

Accuracy: 5-fold cross-validated log loss and accuracy on the training pictures of flowers (seed 0; the test pictures
are not used), with features in fp32 and in int8, and the same folds.
"""

import argparse
import io
import itertools
import os
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
from kilat.runtime.array_types import Pixels
from kilat.runtime.cores import available_cores

SIDE = 224
BATCHES = (1, 2, 8, 32)
BACKBONES = (
    "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_base_patch16_clip_224", "vit_base_patch16_siglip_224",
    "vit_small_patch16_dinov3", "convnext_tiny", "swin_tiny_patch4_window7_224",
)  # fmt: skip
_MAX_IN_MEMORY = 512


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="photos in class folders; flowers by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each setting in each round")
    parser.add_argument("--pictures", type=int, default=0, help="use only so many for accuracy (0: all)")
    parser.add_argument("--only", choices=["speed", "decoding", "backbones", "accuracy"])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="timm's names")
    args = parser.parse_args()
    folder = measure.dataset_folder("flowers", args.folder)
    files = measure.list_pictures(folder)
    measure.print_header(__doc__)
    pictures = [file.read_bytes() for file in files[:: max(1, len(files) // _MAX_IN_MEMORY)]]
    if args.only in (None, "decoding"):
        decoding(pictures, args.rounds)
    if args.only in (None, "speed"):
        speed(pictures, args.rounds, args.seconds)
    if args.only in (None, "backbones"):
        backbones(args.backbones, pictures, args.rounds, args.seconds)
    if args.only in (None, "accuracy"):
        accuracy(folder, args.pictures)


def decoding(pictures: Sequence[bytes], rounds: int) -> None:
    """Print pictures per second of several decoders, on one core."""
    resize = Resizer(SIDE, "crop")
    decoders: dict[str, Callable[[bytes], object]] = {
        "Pillow": lambda data: Image.open(io.BytesIO(data)).convert("RGB"),
        "Pillow, bilinear resize of the centre": pillow_square,
        "kilat: decode": lambda data: decode(data, shrink_to=SIDE),
        "kilat: decode and resize": lambda data: resize(np.asarray(decode(data, shrink_to=SIDE)[0])),
    }
    print(f"decoding on one core, n = {len(pictures)} pictures, {rounds} rounds")
    rivals = {name: partial(rate, decoder, pictures) for name, decoder in decoders.items()}
    print_rates(measure.interleave(rounds, rivals))


def rate(decoder: Callable[[bytes], object], pictures: Sequence[bytes]) -> float:
    """Return pictures per second."""
    begin = time.perf_counter()
    for data in pictures:
        decoder(data)
    return len(pictures) / (time.perf_counter() - begin)


def pillow_square(data: bytes) -> Pixels:
    """Return the centre square, resized as in the bare cost of `first_run.py`."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box))


def speed(pictures: Sequence[bytes], rounds: int, seconds: float) -> None:
    """Print pictures per second of every setting."""
    pixels = np.stack([pillow_square(data) for data in pictures])
    fp32 = lite.build(SIDE, "fp32").model
    networks = {"int8": lite.build(SIDE, "int8").model, "fp32": fp32, "fp32, last features only": plain(fp32)}
    rivals = {}
    for (name, model), each in itertools.product(networks.items(), (True, False)):
        session = open_session(model, 1 if each else available_cores())
        for batch in BATCHES:
            schedule = "a thread per core" if each else "one batch on all cores"
            rivals[f"{name}, {schedule}, batch {batch}"] = partial(throughput, session, pixels, batch, each, seconds)
    print(f"backbone at {SIDE} pixels, {rounds} rounds of {seconds:g} s each")
    measure.interleave(1, rivals)
    print_rates(measure.interleave(rounds, rivals))


def throughput(session: Any, pixels: Pixels, batch: int, each: bool, seconds: float) -> float:
    """Return pictures per second; with ``each``, one thread per core shares the session."""
    callers = available_cores() if each else 1
    begin = time.perf_counter()

    def run_batches(caller: int) -> int:
        done, start = 0, caller * batch
        while time.perf_counter() - begin < seconds:
            start = (start + batch) % (len(pixels) - batch + 1)
            session.run(None, {"pixels": pixels[start : start + batch]})
            done += batch
        return done

    with ThreadPoolExecutor(callers) as pool:
        done = sum(pool.map(run_batches, range(callers)))
    return done / (time.perf_counter() - begin)


def backbones(names: Sequence[str], pictures: Sequence[bytes], rounds: int, seconds: float) -> None:
    """Print pictures per second of timm networks on one core: kilat's, the bare network in ONNX Runtime and PyTorch."""
    import timm
    import torch
    from safetensors.torch import save_file

    from kilat.features.int8_layers import quantise
    from kilat.model import backbones, to_onnx

    torch.set_num_threads(1)
    pixels = np.stack([pillow_square(data) for data in pictures[:8]])
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1

    class Bare(torch.nn.Module):
        """A network from pixels to its last features, and nothing of kilat's."""

        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            """Return the last features."""
            features: torch.Tensor = self.network(pixels.permute(0, 3, 1, 2) / 127.5 - 1)
            return features

    print(f"timm networks at {SIDE} pixels with random weights, one core, {rounds} rounds of {seconds:g} s each")
    for name in names:
        config: Any = timm.get_pretrained_cfg(name)
        options: Any = {"img_size": SIDE} if config.fixed_input_size else {}
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=0, **options).eval()
        exportable = timm.create_model(name, num_classes=0, exportable=True, **options).eval()
        with tempfile.TemporaryDirectory() as workdir:
            os.environ["KILAT_CACHE"], file = workdir, Path(workdir) / "weights.safetensors"
            save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file)
            fp32 = backbones.load(name, weights=file, size=SIDE)
        graphs = {
            "kilat, fp32": fp32.model,
            "kilat, int8": int8.model if (int8 := quantise(fp32)) else None,
            "ONNX Runtime, the network alone": to_onnx.trace(Bare(exportable), SIDE, "features"),
        }
        rivals = {
            label: partial(throughput, open_session(model, 1), pixels, 1, each=False, seconds=seconds)
            for label, model in graphs.items()
            if model
        }
        for dtype in (torch.float32, torch.bfloat16):
            label = f"timm in PyTorch, {str(dtype).removeprefix('torch.')}"
            rivals[label] = partial(eager_rate, network, planes, dtype, seconds)
        print(f"{name}, {sum(one.numel() for one in network.parameters()) / 1e6:.1f} M parameters")
        measure.interleave(1, rivals)
        print_rates(measure.interleave(rounds, rivals))


def eager_rate(network: Any, planes: Any, dtype: Any, seconds: float) -> float:
    """Return pictures per second of a network in PyTorch, one at a time; bfloat16 by autocast."""
    import torch

    done, begin = 0, time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        while time.perf_counter() - begin < seconds:
            network(planes[done % len(planes)][None])
            done += 1
    return done / (time.perf_counter() - begin)


def plain(model: bytes) -> bytes:
    """Return the network up to its last features."""
    whole = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    return bytes(Extractor(whole).extract_model(["pixels"], ["last.mean"]).SerializeToString())


def open_session(model: bytes, threads: int) -> Any:
    """Return a session with so many threads for each call."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def print_rates(samples: dict[str, list[float]]) -> None:
    """Print rates."""
    for name, rates in samples.items():
        print(f"  {name:58} {measure.summary(rates, 'pictures/s', 0)}")


def accuracy(folder: Path, count: int) -> None:
    """Print cross-validated accuracies of both precisions; the test pictures are not used."""
    print("5-fold cross-validation on the training pictures")
    correct = {}
    with tempfile.TemporaryDirectory() as workdir:
        folder = measure.subsample(folder, count, Path(workdir))
        for precision in ("fp32", "int8"):
            choice = ("--set", f"features.precision={precision}")
            done = measure.train(folder, Path(workdir) / "runs", Path(workdir) / "cache", *choice).document
            validation = done["metrics"]["validation"]
            table = pd.read_csv(Path(done["run"]) / "predictions.csv", keep_default_na=False)
            predictions = table[table["split"] == "validation"].sort_values("path")
            correct[precision] = np.asarray(predictions["label"] == predictions["predicted"], np.float64)
            print(f"  {precision}: log loss {validation['log_loss']:.4f}, ", end="")
            print(f"accuracy {mean(correct[precision])}, n = {validation['n']:,}")
    print(f"  int8 minus fp32, picture by picture: accuracy {mean(correct['int8'] - correct['fp32'])}")


def mean(values: NDArray[np.float64]) -> str:
    """Return a mean with its standard error, in words."""
    return f"{values.mean():.4f} (standard error {values.std() / len(values) ** 0.5:.4f})"


if __name__ == "__main__":
    main()
