"""Fine-tuning: from the frozen result to a network trained further, which replaces it only if it is better."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.assemble import export_network
from kilat.data.catalog import Catalog, Source
from kilat.data.split import Part
from kilat.evaluate.comparison import compare
from kilat.features.pixels import PixelDataset, fits_in_memory, read_pixels
from kilat.learn import metadata, out_of_distribution
from kilat.learn.device import training_device
from kilat.learn.frozen import (
    Extracted,
    Learned,
    TrainingOptions,
    fitted_head,
    head_on,
    held_out,
    look_at,
    serving_twice,
    spread,
)
from kilat.locale import _
from kilat.probe import Head
from kilat.recipe import Recipe, label_safety
from kilat.runtime.extras import require_torch
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer

if TYPE_CHECKING:
    from kilat.fit.training_run import Job

_LATE = 0.4
"""Of a time limit: once so much of it is gone when the frozen result is there, too little is left for another head and
a training that could gain anything."""


def fine_tune(source: Source, recipe: Recipe, timer: Timer, progress: Progress, told: TrainingOptions) -> Learned:
    """A head is fitted on a frozen backbone, both are trained further, and the better of the two results is kept.

    Two heads are fitted: one on all pictures to learn from, which is the frozen result, and one without the validation
    pictures, which is where training begins, and whose answers to these pictures it has to beat.
    """
    require_torch("Fine-tuning a backbone")
    from kilat.fit.distributed import group

    group.require(recipe.runtime.devices, training_device(recipe.runtime.device))
    looked = look_at(source, recipe, timer, progress)
    recipe = recipe.model_copy(update={"features": looked.wanted})  # a time limit may have made it less
    parts = held_out(looked.learnt, looked.classes, recipe)
    training, validation, _calibration = parts
    frozen = head_on(replace(looked, features=looked.features.copy()), recipe, timer)  # a head writes over them
    if _is_late(timer, recipe):
        return _only(frozen)
    with timer.measure("head_s"):
        start = fitted_head(looked, training, recipe)
    before = start.answer(validation.rows)
    tuned = _go_on(source, looked, parts, start.head, recipe, timer, progress, told)
    return _better(frozen, replace(tuned, facts={**frozen.facts, **tuned.facts}), before)


def _is_late(timer: Timer, recipe: Recipe) -> bool:
    limit = recipe.runtime.time_limit
    return limit is not None and time.perf_counter() - timer.started > _LATE * limit


def _only(frozen: Learned) -> Learned:
    sentence = _("The time limit left no room for fine-tuning: this is the frozen result alone.")
    return replace(frozen, notes=[*frozen.notes, sentence])


def _go_on(
    source: Source,
    looked: Extracted,
    parts: tuple[Part, Part, Part],
    head: Head,
    recipe: Recipe,
    timer: Timer,
    progress: Progress,
    told: TrainingOptions,
) -> Learned:
    """What the backbone and its head come to when they are trained further on pixels."""
    training, validation, calibration = parts
    deadline = None if recipe.runtime.time_limit is None else timer.started + recipe.runtime.time_limit
    with timer.measure("pictures_s"):
        begun = _open(source, looked, parts, head, recipe, progress)
    advance = progress("Training")
    with timer.measure("fit_s"):
        trained = begun.train(told.folder, deadline=deadline, on_epoch=told.on_epoch, advance=advance)
        after, answers = trained.answer(validation.rows), trained.answer(calibration.rows)
    graph = trained.graph()
    return Learned(
        looked.catalog, looked.classes, training, calibration, answers, looked.asked,
        trained.answer,
        sense=lambda temperature, trust: out_of_distribution.of_network(
            graph, trained.pixels, training, calibration, answers, looked.asked, trust, temperature
        ),
        bundle=lambda temperature, manifest, senses: export_network(
            graph, size=looked.backbone.size, resize=recipe.features.resize, temperature=temperature, manifest=manifest,
            senses=senses,
        ),
        validation=validation,
        validation_logits=after,
        twins=looked.twins,
        network=metadata.trained(looked.backbone.name, graph, looked.backbone.size, trained.facts),
        facts={"fit": trained.facts},
        notes=[
            *looked.notes, *serving_twice(validation, calibration), *trained.notes,
            *label_safety.altered_meanings(recipe.augment, looked.classes),
        ],
        shown={"history": trained.history, "augmented": begun.preview(spread(training))},
    )  # fmt: skip


def opened(source: Source, recipe: Recipe, progress: Progress) -> "Job":
    """A backbone with its fitted head, before the first step of its training."""
    looked = look_at(source, recipe, Timer(), progress)
    parts = held_out(looked.learnt, looked.classes, recipe)
    return _open(source, looked, parts, fitted_head(looked, parts[0], recipe).head, recipe, progress)


def _open(
    source: Source, looked: Extracted, parts: tuple[Part, Part, Part], head: Head, recipe: Recipe, progress: Progress
) -> "Job":
    from kilat.fit import training_run

    seen = _see(source, looked, parts, recipe, progress)
    return training_run.open_backbone(source, seen, recipe, head, device=training_device(recipe.runtime.device))


def _better(frozen: Learned, tuned: Learned, before: NDArray[np.float32]) -> Learned:
    """The one of the two that validation pictures find better, in doubt the frozen one; the other as its rival.

    Args:
        frozen: fitted on all pictures to learn from.
        tuned: trained without the validation pictures.
        before: what the head answered to these where training began, ``[n, classes]``.
    """
    validation, after = tuned.validated
    comparison = compare(validation.truth, before, after)
    if comparison.is_better:
        for part, split in ((tuned.held, "calibration"), (validation, "validation")):  # they may be the same
            tuned.catalog.table.loc[part.rows, "split"] = split
        return replace(tuned, rival=frozen, comparison=comparison)
    facts = {"fit": tuned.facts["fit"], **frozen.facts}
    return replace(frozen, rival=tuned, comparison=comparison, facts=facts, shown=tuned.shown, notes=tuned.notes)


def _see(
    source: Source, looked: Extracted, parts: tuple[Part, Part, Part], recipe: Recipe, progress: Progress
) -> PixelDataset:
    """The pixels that the backbone looks at, in memory where they fit."""
    size = looked.backbone.size
    pixels = None
    if fits_in_memory(len(source.entries) * recipe.runtime.devices, size):
        advance = progress("Reading pictures")
        again = Catalog.from_entries(source.entries)  # every picture has its row in the catalog already
        pixels = read_pixels(source, again, size=size, resize=recipe.features.resize, keep=True, advance=advance)
    return PixelDataset(looked.catalog, size, pixels, looked.classes, *parts, looked.asked, looked.notes)
