"""What a lab finds out before its trials: the pictures and their test set, and whether every variant can be built."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kilat.data.catalog import Catalog, Source
from kilat.errors import KilatError
from kilat.features.pixels import natural_size, read_pixels
from kilat.lab.variants import Candidate, add_problem, refusal
from kilat.learn.frozen import Extracted, extract
from kilat.learn.network import input_size
from kilat.learn.splits import split_catalog
from kilat.learn.time_budget import UNLIMITED
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer
from kilat.verbs.inspect import summarise_recipe

_UPDATE = 3
"""A step of training computes about three times as much as an answer: forwards, and backwards twice."""
_MACS_PER_SECOND = 1.5e10
"""Multiply-accumulates of one core in a second, in small networks; roughly."""
_TRIAL_SECONDS = 3.0
"""What a trial takes besides its training: reading, testing, checks, the model file and the report."""
_HEAD_SECONDS = 1.5
"""Of a core, to fit a head on five folds of some thousand pictures."""


class Surveyed(NamedTuple):
    """The pictures of a lab.

    Args:
        catalog: every picture that came in, with its split.
        notes: on the data.
        extracted: the features of the reference, where variants are heads on frozen backbones.
    """

    catalog: Catalog
    notes: list[Note]
    extracted: Extracted | None


def survey(source: Source, recipe: Recipe, progress: Progress) -> Surveyed:
    """Read every picture once, and draw the test set as ``kilat train`` draws it by this recipe.

    Args:
        source: the pictures.
        recipe: of the reference.
        progress: that shows it.
    """
    if recipe.model is None:
        extracted = extract(source, recipe, Timer(), UNLIMITED, progress)
        return Surveyed(extracted.catalog, extracted.notes, extracted)
    catalog = Catalog.from_entries(source.entries)
    size = input_size(recipe, source)
    with progress.stage(_("Reading pictures")) as stage:
        read = read_pixels(source, catalog.used, size=size, resize=recipe.resize, keep=False, advance=stage.advance)
    catalog.record_pictures(read)
    with progress.stage(_("Finding near-duplicates")):
        notes, _near_duplicates = split_catalog(source, catalog, recipe)
    return Surveyed(catalog, [*notes, *read.notes], None)


def check_networks(candidates: Sequence[Candidate], source: Source) -> dict[str, int]:
    """Build the network of every variant, and return their multiply-accumulates a picture, by name.

    Raises:
        RecipeError: some cannot be built: all of them, each with what is wrong.
    """
    classes = len({entry.label for entry in source.entries if not entry.refused})
    size = natural_size(source)
    problems: dict[str, list[str]] = {}
    macs: dict[str, int] = {}
    known: dict[str, int | KilatError] = {}
    for one in candidates:
        key = one.recipe.model_dump_json(include={"features", "model", "input"}) + str(one.recipe.is_finetuning)
        if key not in known:
            try:
                known[key] = summarise_recipe(one.recipe, one.name, classes, size).macs
            except KilatError as error:
                known[key] = error
        found = known[key]
        if isinstance(found, KilatError):
            add_problem(problems, found, one.name)
        else:
            macs[one.name] = found
    if problems:
        raise refusal(problems, len(candidates))
    return macs


@dataclass(frozen=True)
class Effort:
    """How much a lab is, before it is run.

    Args:
        trials: how many.
        seconds: of one core, roughly.
    """

    trials: int
    seconds: float


def estimate(candidates: Sequence[Candidate], macs: dict[str, int], pictures: int, seeds: int) -> Effort:
    """Return how long all trials take, roughly: from what networks compute, not from a measurement.

    Args:
        candidates: the variants.
        macs: multiply-accumulates a picture, by variant.
        pictures: that a trial is trained on.
        seeds: trials of each.
    """
    seconds = 0.0
    for one in candidates:
        if not one.is_trained:
            seconds += _HEAD_SECONDS
            continue
        epochs = sum(phase.epochs for phase in one.recipe.fit.all_phases)
        seconds += _TRIAL_SECONDS + _UPDATE * macs[one.name] * pictures * epochs / _MACS_PER_SECOND
    return Effort(len(candidates) * seeds, seconds * seeds)
