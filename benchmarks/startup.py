"""`kilat --help` takes at most 2.5 times `python -c "import typer"`, `kilat predict` 1.6 times a bare script.

The bare script (`_bare_predict.py`) imports ONNX Runtime, NumPy and Pillow, opens the same model file, decodes the same
photo, runs it once and prints; once with ONNX Runtime's default session and once with a session of one thread, of which
the faster counts. All are whole processes timed from outside, in turn, after one round that is discarded, with bytecode
already written. The model is trained here: its classes are crops of the two photos that come with scikit-learn,
one of which is then predicted. Its input has 224 pixels, as is usual for photos; its accuracy makes no difference to
the time.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path

import _measure as measure
import numpy as np
from PIL import Image

HELP, PREDICT = 2.5, 1.6
_CROPS = 40
_CROP_SIZE = (320, 240)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21)
    args = parser.parse_args()
    measure.print_header(__doc__, *measure.PACKAGES, "typer")
    print(f"n         {args.pairs} pairs")
    compare_help(args.pairs)
    with tempfile.TemporaryDirectory() as workdir:
        compare_predict(args.pairs, Path(workdir))


def compare_help(pairs: int) -> None:
    """Compare `kilat --help` with importing Typer."""
    ours, theirs = "kilat --help", 'python -c "import typer"'
    commands = {theirs: [sys.executable, "-c", "import typer"], ours: [measure.KILAT, "--help"]}
    samples = timed(commands, pairs)
    value, words = measure.ratio(samples[ours], samples[theirs])
    measure.verdict(f"kilat --help ≤ {HELP} × import typer", words, value <= HELP)


def compare_predict(pairs: int, workdir: Path) -> None:
    """Compare `kilat predict` on one photo with the bare script."""
    photo, model = train(workdir)
    script = [sys.executable, str(measure.HERE / "_bare_predict.py"), str(model), str(photo)]
    bare = {"bare script": script, "bare script, one thread": [*script, "1"]}
    ours = "kilat predict MODEL PHOTO"
    samples = timed({**bare, ours: [measure.KILAT, "predict", str(model), str(photo)]}, pairs)
    faster = min(bare, key=lambda name: statistics.median(samples[name]))
    value, words = measure.ratio(samples[ours], samples[faster])
    measure.verdict(f"kilat predict ≤ {PREDICT} × {faster}", words, value <= PREDICT)


def timed(commands: dict[str, list[str]], pairs: int) -> dict[str, list[float]]:
    """Run whole processes in turn and print their times; the first round is discarded."""
    rivals = {name: lambda command=command: measure.run(command).seconds for name, command in commands.items()}
    measure.interleave(1, rivals)
    samples = measure.interleave(pairs, rivals)
    for name, seconds in samples.items():
        print(f"  {name:26} {measure.summary(seconds, digits=3)}")
    return samples


def train(workdir: Path) -> tuple[Path, Path]:
    """Return a photo and a model that was trained on crops of it and of another."""
    photos = sample_photos()
    rng = np.random.default_rng(0)
    for photo in photos:
        with Image.open(photo) as image:
            for number in range(_CROPS):
                left = int(rng.integers(image.width - _CROP_SIZE[0]))
                top = int(rng.integers(image.height - _CROP_SIZE[1]))
                target = workdir / "crops" / photo.stem / f"{number}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                image.crop((left, top, left + _CROP_SIZE[0], top + _CROP_SIZE[1])).save(target)
    run = measure.train(workdir / "crops", workdir / "runs", workdir / "cache").document["run"]
    return photos[0], Path(run) / "model.onnx"


def sample_photos() -> list[Path]:
    """Return the two photos that come with scikit-learn, 640×427."""
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        measure.skip("scikit-learn, whose photos are used, is not installed")
    return sorted((Path(package.submodule_search_locations[0]) / "datasets" / "images").glob("*.jpg"))


if __name__ == "__main__":
    main()
