"""Learned is data: it pickles, the same model file comes of it elsewhere, and nobody who reads it changes it."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kilat.data.arrays import ArraySource
from kilat.learn import metadata
from kilat.learn.frozen import extract, head_on
from kilat.learn.network import TrainingOptions
from kilat.learn.time_budget import UNLIMITED, TimeBudget
from kilat.learn.uncertainty import fit_uncertainty
from kilat.recipe import load
from kilat.runtime.extras import has_torch
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer
from kilat.verbs.check import look_into
from kilat.verbs.train import learn

SMALL = {"runtime.seed": 0, "features.size": 32}
NETWORK = {
    "model": {"layers": ["flatten", {"dense": 16}, {"dense": "classes"}]},
    "input": {"size": 8, "colour": "grey"},
    "fit": {"epochs": 2},
}
FINETUNE = {
    **SMALL, "data.validation": 0.3, "unfreeze": 1, "epochs": 1, "batch": 64, "checkpoint": 0, "horizontal_flip": False,
}  # fmt: skip


def some_digits(count):
    data = load_digits()
    rows = np.random.default_rng(0).permutation(len(data.target))[:count]
    pictures = [(image * 15).astype(np.uint8) for image in data.images[rows]]
    return ArraySource(pictures, [str(label) for label in data.target[rows]], "digits")


@pytest.fixture(scope="module")
def digits():
    return some_digits(300)


def learned(digits, recipe, folder):
    return learn(digits, recipe, Timer(), UNLIMITED, silent, TrainingOptions(folder))


def model_file(learned):
    """What a program elsewhere would make of it."""
    uncertainty = fit_uncertainty(learned, learned.recipe.trust)
    measures = learned.split.measures()
    data = metadata.data(learned.catalog, learned.classes, learned.recipe)
    manifest = metadata.manifest(learned.artifact.info, learned.recipe, data, measures, uncertainty.thresholds())
    digests = learned.catalog.training_digests
    return learned.artifact.assemble(learned.split.temperature, manifest, uncertainty.ood.graph, digests)


needs_torch = pytest.mark.skipif(not has_torch(), reason="the extra torch is not installed")


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param(("transfer", SMALL), id="frozen"),
        pytest.param((NETWORK, {}), id="network", marks=needs_torch),
        pytest.param(("transfer", FINETUNE), id="finetuned", marks=needs_torch),
    ],
)
def test_pickled_and_read_back_it_gives_the_same_model_file(digits, choices, tmp_path):
    one = learned(digits, load(*choices), tmp_path)
    before = model_file(one)
    sent = pickle.loads(pickle.dumps(one))
    assert model_file(sent) == before
    assert model_file(one) == before  # nothing that was done with it changed it
    assert sent.history == one.history
    assert sent.notes == one.notes
    assert sent.split.is_calibrated_apart == one.split.is_calibrated_apart


def test_a_head_leaves_the_features_as_they_are_unless_they_are_handed_over(digits):
    extracted = extract(digits, load("transfer", SMALL), Timer(), TimeBudget(), silent)
    before = extracted.features.copy()
    first = head_on(extracted, Timer(), UNLIMITED, overwrite_features=False)
    assert np.array_equal(extracted.features, before)
    second = head_on(extracted, Timer(), UNLIMITED, overwrite_features=True)
    assert model_file(first) == model_file(second)


def test_a_time_limit_that_leaves_pictures_out_says_so_and_refuses_them():
    recipe = load("transfer", {**SMALL, "time_limit": "100s"})
    now = iter(np.arange(0, 1e6, 4.0))  # every look at the clock four seconds later
    budget = TimeBudget(100.0, started=0.0, now=lambda: float(next(now)))
    extracted = extract(some_digits(800), recipe, Timer(), budget, silent)
    (note,) = [note for note in extracted.notes if note.code == "time_limit_pictures"]
    refused = extracted.catalog.refused
    assert note.values == {"count": len(refused), "total": 800}
    assert 0 < len(refused) < 800
    assert set(refused["code"]) == {"time_limit"}
    sizes = extracted.catalog.table["label"].value_counts()
    left = extracted.catalog.table[extracted.catalog.used]["label"].value_counts()
    assert (left - sizes * left.sum() / 800).abs().max() <= 2


def test_a_head_that_is_late_is_a_head_all_the_same(monkeypatch, tmp_path):
    """The clock is far beyond the limit: one fold, one penalty, no rounds and no second fit, each of which is said."""
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path))  # where no earlier run had the time
    extracted = extract(some_digits(300), load("transfer", SMALL), Timer(), UNLIMITED, silent)
    late = TimeBudget(10.0, started=0.0, now=lambda: 60.0)
    one = head_on(extracted, Timer(), late, overwrite_features=False)
    notes = {note.code: note.values for note in one.notes}
    assert notes["time_limit_folds"]["count"] == 1
    assert notes["time_limit_penalties"]["count"] == 1
    fold = len(one.split.calibration.rows)
    assert 0 < fold < len(one.split.train.rows) / 3
    uncertainty = fit_uncertainty(one, one.recipe.trust, late)
    assert [note.code for note in uncertainty.notes] == ["time_limit_left_out"]
    assert [note.code for note in look_into(uncertainty, late).notes] == ["time_limit_label_refit"]
    assert (one.split.test_logits.argmax(1) == one.split.test.truth).mean() > 0.7


def test_a_limit_that_is_ample_changes_nothing():
    ample = TimeBudget(1e6, started=0.0, now=lambda: 0.0)
    runs = [
        head_on(
            extract(some_digits(300), load("transfer", SMALL), Timer(), budget, silent),
            Timer(),
            budget,
            overwrite_features=True,
        )
        for budget in (UNLIMITED, ample)
    ]
    assert model_file(runs[0]) == model_file(runs[1])
