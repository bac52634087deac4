"""The cross-validated head by classes and pictures, beside that of another version of kilat if one is given.

Features are drawn: 2,848 of them, classes that differ in 400 latent directions of falling variance. Claimed for two
cores that nothing else uses: 400 classes of 5 pictures in 4 s, 200 of 50 in 8 s, 1,000 of 10 in 40 s, 5 of 600 in
2.1 s, components, search, folds, learning curve and last fit included. The measures are of pictures that the head was
not fitted to, its temperature of held-out folds.

    python benchmarks/head.py [--only 400x5] [--against PATH]    PATH: src of another version, measured in turn
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import _measure as measure
import numpy as np

GOALS = {"5x600": 2.1, "50x60": 5.0, "400x5": 4.0, "200x50": 8.0, "1000x10": 40.0}
WIDTH, LATENT, TESTED = 2848, 400, 5


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=GOALS, help="one shape")
    parser.add_argument("--against", type=Path, help="src of another version of kilat")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.shape:
        print(json.dumps(fit_once(*map(int, args.shape.split("x")))))
        return
    measure.print_header(__doc__, "kilat", "numpy")
    versions = {"kilat": None, **({"other": args.against} if args.against else {})}
    for shape, goal in GOALS.items():
        if args.only in (None, shape):
            found = {name: [run(shape, src) for _ in range(args.rounds)] for name, src in versions.items()}
            for name, ones in found.items():
                one = ones[0]
                took = measure.summary([one["seconds"] for one in ones])
                print(f"{shape:>8} {name:>6} {took}; log loss {one['log_loss']:.4f}, accuracy {one['accuracy']:.4f}")
            seconds = min(one["seconds"] for one in found["kilat"])
            measure.verdict(f"{shape} in {goal:g} s", f"{seconds:.1f} s", seconds <= goal)


def run(shape: str, src: Path | None) -> dict[str, Any]:
    """Measure one fit in a process of its own, of this version or of the one in ``src``."""
    environment = {"PYTHONPATH": str(src)} if src else {}
    finished = measure.run([sys.executable, __file__, "--shape", shape], environment=environment)
    document: dict[str, Any] = finished.document
    return document


def fit_once(classes: int, pictures: int) -> dict[str, Any]:
    """Fit a head, and measure it on other pictures of the same classes."""
    from kilat.evaluate.calibration import apply_temperature, fit_temperature
    from kilat.features.backbone import Block
    from kilat.probe import fit
    from kilat.recipe import Head

    dice = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), pictures + TESTED)
    scale = (1 / np.sqrt(1 + np.arange(LATENT) / 5)).astype(np.float32)
    latent = dice.standard_normal((len(labels), LATENT), dtype=np.float32)
    latent = (latent + 0.6 * dice.standard_normal((classes, LATENT), dtype=np.float32)[labels]) * scale
    features = latent @ dice.standard_normal((LATENT, WIDTH), dtype=np.float32) / np.float32(np.sqrt(LATENT))
    features += 0.3 * dice.standard_normal(features.shape, dtype=np.float32)
    number = np.tile(np.arange(pictures + TESTED), classes)
    train, test = np.flatnonzero(number < pictures), np.flatnonzero(number >= pictures)
    blocks = (Block("stage1.mean", WIDTH - 1280), Block("last", 1280))
    began = time.perf_counter()
    fitted = fit(features, train, labels[train], number[train] % 5, classes, blocks, Head())
    seconds = time.perf_counter() - began
    temperature = fit_temperature(fitted.held_out_logits, labels[train][fitted.held_out])
    answers = apply_temperature(fitted.logits(test), temperature)
    own = answers[np.arange(len(test)), labels[test]]
    return {
        "seconds": seconds,
        "log_loss": float(-np.log(np.maximum(own, 1e-12)).mean()),
        "accuracy": float((answers.argmax(1) == labels[test]).mean()),
    }


if __name__ == "__main__":
    main()
