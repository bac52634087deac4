"""`kilat --help` takes at most 2.5 times `python -c "import typer"`, `kilat predict` 1.6 times a bare script.

The bare script (`_bare_predict.py`) imports ONNX Runtime, NumPy and Pillow, opens the same model file, decodes the same
photo, runs it once and prints; once with the session as it comes and once with a session of one thread, of which the
quicker counts. All are whole processes timed from outside, in turn, after one round that is thrown away, with bytecode
already written. The model is trained on the spot: its classes are pieces of the two photos that come with scikit-learn,
one of which is then asked about. It looks at 224 pixels, as models of photos do; how well it answers makes no
difference to the time.
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
_PIECES = 40
_PIECE = (320, 240)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21)
    given = parser.parse_args()
    measure.opening(__doc__, *measure.PACKAGES, "typer")
    print(f"n         {given.pairs} pairs")
    compare_help(given.pairs)
    with tempfile.TemporaryDirectory() as place:
        compare_predict(given.pairs, Path(place))


def compare_help(pairs: int) -> None:
    """The command line by itself."""
    ours, theirs = "kilat --help", 'python -c "import typer"'
    commands = {theirs: [sys.executable, "-c", "import typer"], ours: [measure.KILAT, "--help"]}
    taken = timed(commands, pairs)
    value, words = measure.ratio(taken[ours], taken[theirs])
    measure.verdict(f"kilat --help ≤ {HELP} × import typer", words, value <= HELP)


def compare_predict(pairs: int, place: Path) -> None:
    """One photo, one answer."""
    photo, model = train(place)
    script = [sys.executable, str(measure.HERE / "_bare_predict.py"), str(model), str(photo)]
    bare = {"bare script": script, "bare script, one thread": [*script, "1"]}
    ours = "kilat predict MODEL PHOTO"
    taken = timed({**bare, ours: [measure.KILAT, "predict", str(model), str(photo)]}, pairs)
    quicker = min(bare, key=lambda name: statistics.median(taken[name]))
    value, words = measure.ratio(taken[ours], taken[quicker])
    measure.verdict(f"kilat predict ≤ {PREDICT} × {quicker}", words, value <= PREDICT)


def timed(commands: dict[str, list[str]], pairs: int) -> dict[str, list[float]]:
    """Runs whole processes in turn and prints their times; the first round is thrown away."""
    rivals = {name: lambda command=command: measure.whole(command).seconds for name, command in commands.items()}
    measure.in_turn(1, rivals)
    taken = measure.in_turn(pairs, rivals)
    for name, seconds in taken.items():
        print(f"  {name:26} {measure.spread(seconds, digits=3)}")
    return taken


def train(place: Path) -> tuple[Path, Path]:
    """A photo and a model that was trained on pieces of it and of another."""
    photos = sample_photos()
    random = np.random.default_rng(0)
    for photo in photos:
        with Image.open(photo) as image:
            for number in range(_PIECES):
                left = int(random.integers(image.width - _PIECE[0]))
                top = int(random.integers(image.height - _PIECE[1]))
                target = place / "pieces" / photo.stem / f"{number}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                image.crop((left, top, left + _PIECE[0], top + _PIECE[1])).save(target)
    run = measure.train(place / "pieces", place / "runs", place / "cache").document["run"]
    return photos[0], Path(run) / "model.onnx"


def sample_photos() -> list[Path]:
    """The two photos that come with scikit-learn, 640×427."""
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        measure.skip("scikit-learn, whose photos are used, is not installed")
    return sorted((Path(package.submodule_search_locations[0]) / "datasets" / "images").glob("*.jpg"))


if __name__ == "__main__":
    main()
