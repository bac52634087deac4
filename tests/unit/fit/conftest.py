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


class Clock:
    """A clock that advances by a step at every call."""

    def __init__(self) -> None:
        self.time, self.step = 1000.0, 0.0

    def __call__(self) -> float:
        self.time += self.step
        return self.time


@pytest.fixture
def clock() -> Clock:
    """A clock to hand in, which stands still until it is given a step."""
    return Clock()


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Any]:
    """Makes a ``Trainer`` of a few layers: ``make_trainer(fit={...}, layers=[...], folder="a")``."""
    pytest.importorskip("torch")
    from kilat import recipe as recipes
    from kilat.data.split import Part
    from kilat.fit import prepare
    from kilat.fit.checkpoint import Checkpoints
    from kilat.fit.loader import InMemory
    from kilat.fit.loop import Trainer
    from kilat.fit.train_state import TrainSpec
    from kilat.fit.whitening import fit_whitening
    from kilat.model.image_model import PixelNetwork

    def make(
        *, fit=None, layers=LAYERS, model=None, augment=None, folder="run", classes=("a", "b", "c"), count=60,
        network=None, wrong_validation=False, seed=0, changed=False, compiled=False, device="cpu", side=SIDE,
        pixels=None, truth=None, held_out=15, **rest,
    ):  # fmt: skip
        """``pixels`` and ``truth`` replace the tiny ones, and ``held_out`` of them are for validation.

        ``wrong_validation`` gives validation the wrong classes; ``changed`` makes one picture another.
        """
        fit = {"batch": 16, "epochs": 3, "precision": "fp32", "compile": compiled, **(fit or {})}
        sections = {"model": {"layers": layers, **(model or {})}, "fit": fit}
        recipe = recipes.load({**sections, "augment": augment or {}, "runtime": {"seed": seed}})
        random = np.random.default_rng(5)
        if pixels is None:
            truth = np.arange(count) % len(classes)
            pixels = random.integers(0, 60, (count, side, side, 3)) + 60 * truth[:, None, None, None]
        count = len(pixels)
        names = np.array([f"{number}-{changed and number == 3}" for number in range(count)], object)
        pictures = Part(np.arange(count), truth, names, np.zeros(count, bool), names)
        train, validation = (pictures.take(rows) for rows in np.split(np.arange(count), [count - held_out]))
        if wrong_validation:
            wrong = (validation.truth + 1) % len(classes)
            validation = Part(validation.rows, wrong, validation.digests, validation.validation, validation.groups)
        if network is None:
            network = prepare.build_network(recipe, side, len(classes))
        model = PixelNetwork(network, side, (90.0,), (60.0,))
        in_memory = InMemory(pixels.astype(np.uint8), device)
        if (whiten := getattr(network, "whiten", None)) is not None:
            fit_whitening(whiten, model, in_memory, train.rows)
        spec = TrainSpec(model, in_memory, train, validation, classes, recipe, device, later_pictures=15)
        return Trainer(spec, Checkpoints(tmp_path / folder), **rest)

    return make


@pytest.fixture
def make_backbone_trainer(make_trainer: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a ``Trainer`` of a backbone of random weights: ``make_backbone_trainer(unfreeze="all")``."""
    pytest.importorskip("timm")

    def make(*, folder="run", advance=None, on_epoch=None, weights="none", **fit):
        rest = {key: value for key, value in {"advance": advance, "on_epoch": on_epoch}.items() if value}
        fit = {"epochs": None, "checkpoint": 0, **fit}
        return make_trainer(layers=BACKBONE, model={"weights": weights}, fit=fit, folder=folder, side=32, **rest)

    return make


class Killed(BaseException):
    """Ends a training at once, as a kill would."""


@pytest.fixture
def require_exact(tmp_path: Path) -> Callable[..., Any]:
    """Kills trainings and resumes them: they must end with the bytes of one that was never stopped."""

    def require(make, steps, **choices):
        """Return the training that was never stopped; the others are killed after so many ``steps``."""
        whole = make(folder="whole", **choices)
        whole.run()
        for step in steps:
            remaining = iter(range(step))

            def kill(done, total, note="", remaining=remaining):
                if next(remaining, None) is None:
                    raise Killed

            with pytest.raises(Killed):
                make(folder=f"killed-{step}", advance=kill, **choices).run()
            again = make(folder=f"killed-{step}", **choices)
            again.run()
            assert final(again) == final(whole), step
        return whole

    return require


def final(trainer: Any) -> Any:
    """The newest checkpoint without timings, and the weights that are kept."""
    number, snapshot, _notes = trainer.saver.checkpoints.newest()
    state = {**snapshot.document["state"], "notes": None}
    state["history"] = [{key: row[key] for key in row if key not in TIMINGS} for row in state["history"]]
    kept = {name: value.numpy().tobytes() for name, value in trainer.network.state_dict().items()}
    return number, state, {name: value.numpy().tobytes() for name, value in snapshot.tensors.items()}, kept
