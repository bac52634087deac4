"""What tests of whole trainings share: sixty tiny pictures in which brighter means another class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIDE = 8
BACKBONE = [{"backbone": "test_efficientnet"}, "global_avg_pool", {"dense": "classes"}]
TIMINGS = ("seconds", "pictures_per_second")
LAYERS = [{"conv": 4}, "max_pool", "flatten", {"dense": "classes"}]


@pytest.fixture
def make_training(tmp_path: Path) -> Callable[..., Any]:
    """Makes a ``Training`` of a few layers: ``make_training(fit={...}, layers=[...], folder="a")``."""
    pytest.importorskip("torch")
    from kilat import recipe as recipes
    from kilat.data.split import Part
    from kilat.fit import training_run
    from kilat.fit.checkpoint import Checkpoints
    from kilat.fit.loader import InMemory
    from kilat.fit.loop import Trainer
    from kilat.fit.train_state import TrainSpec
    from kilat.model.image_model import PixelNetwork

    def make(
        *, fit=None, layers=LAYERS, model=None, augment=None, folder="run", classes=("a", "b", "c"), count=60,
        network=None, misled=False, seed=0, changed=False, compiled=False, device="cpu", side=SIDE, **rest,
    ):  # fmt: skip
        """``misled`` gives validation the wrong classes; ``changed`` makes one picture another."""
        fit = {"batch": 16, "epochs": 3, "precision": "fp32", "compile": compiled, **(fit or {})}
        sections = {"model": {"layers": layers, **(model or {})}, "fit": fit}
        recipe = recipes.load({**sections, "augment": augment or {}, "runtime": {"seed": seed}})
        random = np.random.default_rng(5)
        truth = np.arange(count) % len(classes)
        pixels = random.integers(0, 60, (count, side, side, 3)) + 60 * truth[:, None, None, None]
        names = np.array([f"{number}-{changed and number == 3}" for number in range(count)], object)
        whole = Part(np.arange(count), truth, names, np.zeros(count, bool), names)
        training, validation = whole.take(np.arange(count - 15)), whole.take(np.arange(count - 15, count))
        if misled:
            wrong = (validation.truth + 1) % len(classes)
            validation = Part(validation.rows, wrong, validation.digests, whole.truth, validation.groups)
        if network is None:
            network = training_run.layered(recipe, side, len(classes))
        sighted = PixelNetwork(network, side, (90.0,), (60.0,))
        held = InMemory(pixels.astype(np.uint8), device)
        task = TrainSpec(sighted, held, training, validation, classes, recipe, device, answered_later=15)
        return Trainer(task, Checkpoints(tmp_path / folder), **rest)

    return make


@pytest.fixture
def make_opened(make_training: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a ``Training`` of a small backbone of random weights: ``make_opened(unfreeze="all", layer_decay=0.5)``."""
    pytest.importorskip("timm")

    def make(*, folder="run", advance=None, on_epoch=None, weights="none", **fit):
        rest = {key: value for key, value in {"advance": advance, "on_epoch": on_epoch}.items() if value}
        fit = {"epochs": None, "checkpoint": 0, **fit}
        return make_training(layers=BACKBONE, model={"weights": weights}, fit=fit, folder=folder, side=32, **rest)

    return make


class Killed(BaseException):
    """Ends a training at once, as a kill would."""


@pytest.fixture
def require_exact(tmp_path: Path) -> Callable[..., Any]:
    """Kills trainings and goes on with them: what they end with must be the bytes of one that was never stopped."""

    def require(make, steps, **choices):
        """Gives the training that was never stopped; ``steps`` are those after which others are killed."""
        whole = make(folder="whole", **choices)
        whole.run()
        for step in steps:
            told = iter(range(step))

            def progress(done, total, note="", told=told):
                if next(told, None) is None:
                    raise Killed

            with pytest.raises(Killed):
                make(folder=f"killed-{step}", advance=progress, **choices).run()
            again = make(folder=f"killed-{step}", **choices)
            again.run()
            assert final(again) == final(whole), step
        return whole

    return require


def final(training: Any) -> Any:
    """The newest checkpoint without what follows from the clock."""
    number, snapshot, _notes = training.checkpoints.newest()
    place = {**snapshot.document["place"], "notes": None}
    place["history"] = [{key: row[key] for key in row if key not in TIMINGS} for row in place["history"]]
    kept = {name: value.numpy().tobytes() for name, value in training.network.state_dict().items()}
    return number, place, {name: value.numpy().tobytes() for name, value in snapshot.tensors.items()}, kept
