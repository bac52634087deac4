"""Recipes, options and values to compare, changed at random: each is read or refused with a sentence, in no time."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from document_mutants import PYTHON_VALUES, text_mutants, value_mutants
from kilat.errors import KilatError
from kilat.lab.ranges import parse_range
from kilat.lab.variants import grid, parse_vary
from kilat.recipe import built_in, load, parse_override, text

NAMES = built_in()
OPTIONS = (
    "fit.epochs=3", "features.size=192", "fit.optimizer={name: adam, lr: 0.1}", "model.layers.0.conv.filters=3",
    "l2=[1e-3, 0.5]", "fit.schedule={name: piecewise, boundaries: [1, 2], factors: [1, 2, 3]}",
    "fit.class_weight={cat: 2}", "augment.zoom=0.1", "fit.optimizer.name=sgd", "optimizer=Adam(lr=0.1)",
    "model.layers.2.dense.units=classes", "fit.phases.0.epochs=3", "lr=1e-3", "dropout=0.5", "time_limit=1h30m",
)  # fmt: skip
VALUES = (
    "fit.optimizer=sgd,adam", "fit.optimizer.learning_rate=1e-4..1e-1(log)", "head.components=16..256", "l2=[1, 2],[3]",
    "fit.optimizer={name: sgd},{name: adam, beta_1: 0.5}",
)  # fmt: skip
SECONDS, CHARACTERS = 10, 40_000
"""That an answer takes at most, and a refusal has at most; on a busy machine a second is ten."""


def from_file(tmp_path: Path) -> Callable[[str], object]:
    path = tmp_path / "mutant.yaml"

    def read(content: str) -> object:
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        return load(path)

    return read


def with_option() -> Callable[[str], object]:
    names = itertools.cycle(NAMES)
    return lambda given: load(next(names), dict([parse_override(given)]))


def varied(given: str) -> object:
    path, values = parse_vary(given)
    return parse_range(given), grid("small-cnn", {path: values})


def answer_or_sentence(read: Callable[[Any], object], mutant: Any) -> bool:
    """Return whether a mutant is read; where it is refused, in a sentence that is not too long, and soon."""
    begun, said = time.process_time(), ""
    try:
        read(mutant)
    except KilatError as error:
        said = str(error)
    assert len(said) < CHARACTERS
    assert time.process_time() - begun < SECONDS
    return not said


def flood(tmp_path: Path, count: int, seed: int) -> int:
    """Read mutants of every kind, and return how many of them are valid."""
    texts = [text(name) for name in NAMES]
    documents = [load(name).model_dump(mode="json") for name in NAMES] + [yaml.safe_load(one) for one in texts]
    kinds: list[tuple[Callable[[Any], object], Any]] = [
        (from_file(tmp_path), text_mutants(texts, count, seed)),
        (with_option(), text_mutants(OPTIONS, count, seed)),
        (varied, text_mutants(VALUES, count, seed)),
        (load, value_mutants(documents, count, seed, PYTHON_VALUES)),
    ]
    return sum(answer_or_sentence(read, mutant) for read, mutants in kinds for mutant in mutants)


def test_some_mutants(tmp_path: Path) -> None:
    assert flood(tmp_path, 40, seed=0) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_flood_of_mutants(tmp_path: Path, seed: int) -> None:
    """Five times 3,200."""
    assert flood(tmp_path, 800, seed) > 0
