"""What tests of whole trainings share: sixty tiny pictures in which brighter means another class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIDE = 8
LAYERS = [{"conv": 4}, "max_pool", "flatten", {"dense": "classes"}]


@pytest.fixture
def make_training(tmp_path: Path) -> Callable[..., Any]:
    """Makes a ``Training`` of a few layers: ``make_training(fit={...}, layers=[...], folder="a")``."""
    pytest.importorskip("torch")
    from kilat import recipe as recipes
    from kilat.data.split import Part
    from kilat.fit import job
    from kilat.fit.checkpoint import Checkpoints
    from kilat.fit.loop import Training
    from kilat.fit.pictures import Held
    from kilat.fit.place import Task
    from kilat.model.network import PixelNetwork

    def make(
        *, fit=None, layers=LAYERS, model=None, augment=None, folder="run", classes=("a", "b", "c"), count=60,
        network=None, misled=False, seed=0, changed=False, compiled=False, **rest,
    ):  # fmt: skip
        """``misled`` gives validation the wrong classes; ``changed`` makes one picture another."""
        fit = {"batch": 16, "epochs": 3, "precision": "fp32", "compile": compiled, **(fit or {})}
        sections = {"model": {"layers": layers, **(model or {})}, "fit": fit}
        recipe = recipes.load({**sections, "augment": augment or {}, "runtime": {"seed": seed}})
        random = np.random.default_rng(5)
        truth = np.arange(count) % len(classes)
        pixels = random.integers(0, 60, (count, SIDE, SIDE, 3)) + 60 * truth[:, None, None, None]
        names = np.array([f"{number}-{changed and number == 3}" for number in range(count)], object)
        whole = Part(np.arange(count), truth, names, np.zeros(count, bool))
        training, validation = whole.at(np.arange(count - 15)), whole.at(np.arange(count - 15, count))
        if misled:
            validation = Part(validation.rows, (validation.truth + 1) % len(classes), validation.digests, whole.truth)
        if network is None:
            network = job.layered(recipe, SIDE, len(classes))
        sighted = PixelNetwork(network, SIDE, (90.0,), (60.0,))
        held = Held(pixels.astype(np.uint8), "cpu")
        task = Task(sighted, held, training, validation, classes, recipe, "cpu", asked_later=15)
        return Training(task, Checkpoints(tmp_path / folder), **rest)

    return make
