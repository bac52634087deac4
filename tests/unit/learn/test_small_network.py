"""A small network beside the frozen backbone: when it is trained, when it is kept, and what is said where it is not."""

import importlib.util
import itertools
from dataclasses import replace

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.learn.frozen import extract, head_on
from kilat.learn.network import TrainingOptions
from kilat.learn.small_network import FEWEST, LARGEST, MOST, challenge
from kilat.learn.time_budget import UNLIMITED, TimeBudget
from kilat.recipe import load
from kilat.runtime.extras import has_torch
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer

SIDE, PATCH = 8, 4
CHOICES = {"features.size": 32, "runtime.device": "cpu", "data.validation": 0.2, "trust.coverage": 0.95}

needs_torch = pytest.mark.skipif(not has_torch(), reason="the extra torch is not installed")


def patches_in_noise(count):
    """Two random patterns somewhere in noise: a network of their own learns them, a backbone for photographs cannot."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(2, PATCH, PATCH))
    patterns *= 5 / np.linalg.norm(patterns, axis=(1, 2), keepdims=True)
    truth = np.arange(count) % 2
    pictures = rng.normal(size=(count, SIDE, SIDE))
    for picture, pattern in zip(pictures, patterns[truth], strict=True):
        top, left = rng.integers(0, SIDE - PATCH + 1, 2)
        picture[top : top + PATCH, left : left + PATCH] += pattern
    pixels = np.clip(128 + 25 * pictures, 0, 255).astype(np.uint8)
    return ArraySource(list(pixels), [f"pattern {number}" for number in truth], "drawn")


@pytest.fixture(scope="module")
def source():
    return patches_in_noise(FEWEST)


@pytest.fixture(scope="module")
def extracted(source):
    return extract(source, load("transfer", CHOICES), Timer(), UNLIMITED, silent)


@pytest.fixture(scope="module")
def frozen(extracted):
    return head_on(extracted, Timer(), UNLIMITED, overwrite_features=False)


def challenged(frozen, extracted, source, folder, budget=UNLIMITED):
    return challenge(frozen, extracted, source, Timer(), budget, silent, TrainingOptions(folder))


@needs_torch
def test_it_is_kept_where_validation_says_that_it_is_better(frozen, extracted, source, tmp_path):
    splits = extracted.catalog.table["split"].copy()
    clock = itertools.count()
    short = TimeBudget(limit=12.0, started=0.0, now=lambda: next(clock) / 20)  # a few dozen updates, not hundreds
    learned = challenged(frozen, extracted, source, tmp_path, short)
    other, split = learned.alternative, learned.split
    assert other.trained == "network"
    assert other.comparison.n == len(split.validation.rows) == 160
    assert other.comparison.accuracy_after > 0.9 > other.comparison.accuracy_before
    assert (split.test_logits.argmax(1) == split.test.truth).mean() > 0.85
    assert learned.sections["fit"]["stop_reason"] == "time_limit"
    assert other.split is frozen.split
    assert np.array_equal(split.test.rows, frozen.split.test.rows)
    # It is a run of its own recipe, with the user's choices of everything that is not the network's.
    assert learned.recipe.model == load("tiny").model
    assert learned.recipe.data.validation == 0.2
    assert learned.recipe.trust.coverage == 0.95
    assert learned.artifact.info.name == "tiny"
    assert list(learned.sections) == ["head", "fit"]
    assert len(learned.history) == learned.sections["fit"]["epochs"]
    assert set(extracted.catalog.table["split"]) == {"train", "validation", "calibration", "test"}
    extracted.catalog.set_split(np.arange(len(splits)), "train")  # as it was, for the other tests
    extracted.catalog.set_split(split.test.rows, "test")
    assert extracted.catalog.table["split"].equals(splits)


def test_where_even_a_perfect_network_could_not_win_none_is_trained(frozen, extracted, source, tmp_path):
    sure = 100 * np.eye(2, dtype=np.float32)[frozen.split.validation.truth]
    perfect = replace(frozen, split=replace(frozen.split, validation_logits=sure))
    assert challenged(perfect, extracted, source, tmp_path) is perfect


def with_catalog(extracted, *, width=None, count=None):
    """The same pictures, as if they were of another size, or fewer or more."""
    table = extracted.catalog.table
    table = table.iloc[np.arange(count) % len(table)].reset_index(drop=True) if count else table.copy()
    table["width"] = width or table["width"]
    return replace(extracted, catalog=type(extracted.catalog)(table))


@pytest.mark.parametrize("change", [{"width": LARGEST + 1}, {"count": FEWEST - 1}], ids=["larger", "fewer"])
def test_larger_or_fewer_pictures_are_left_to_the_backbone(frozen, extracted, source, tmp_path, change):
    assert challenged(frozen, with_catalog(extracted, **change), source, tmp_path) is frozen


def test_a_recipe_can_do_without(frozen, extracted, source, tmp_path):
    for choices in (("fast", CHOICES), ("transfer", {**CHOICES, "features.small_network": "none"})):
        without = replace(extracted, recipe=load(*choices))
        assert challenged(frozen, without, source, tmp_path) is frozen


def note_codes(learned):
    return [note.code for note in learned.notes]


@needs_torch
def test_what_was_left_out_for_time_is_said(frozen, extracted, source, tmp_path):
    late = TimeBudget(limit=100.0, started=-50.0, now=lambda: 0.0)
    assert note_codes(challenged(frozen, extracted, source, tmp_path, late))[-1] == "no_time_for_small_network"
    many = with_catalog(extracted, count=MOST + 1)
    learned = challenged(frozen, many, source, tmp_path)
    assert note_codes(learned)[-1] == "many_pictures_for_small_network"
    assert "--recipe tiny" in learned.notes[-1].sentence()


def test_without_torch_it_is_named(frozen, extracted, source, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    learned = challenged(frozen, extracted, source, tmp_path)
    assert learned.alternative is None
    assert note_codes(learned)[-1] == "small_network_needs_torch"
