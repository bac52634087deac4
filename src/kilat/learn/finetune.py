"""Fine-tuning: from the frozen result to a network trained further, which replaces it only if it is better."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kilat.data.catalog import Source
from kilat.data.split import Part
from kilat.features.domain_shift import domain_shift
from kilat.features.pixels import PixelDataset
from kilat.learn.device import training_device
from kilat.learn.frozen import Extracted, extract, first_backbone, fit_head, head_on
from kilat.learn.learned import Learned
from kilat.learn.network import TrainingOptions, better_of, read_extracted
from kilat.learn.prospects import Prospects, count_mistakes
from kilat.learn.splits import hold_out_parts, preview_rows
from kilat.learn.time_budget import ACTIVATION_CACHE, UNLIMITED, TimeBudget
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.probe import Head
from kilat.recipe import Recipe
from kilat.runtime.extras import require_torch
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer

if TYPE_CHECKING:
    from kilat.fit.training_run import TrainingRun

_MEASURED = 2_000
"""Training pictures, at most, by which it is measured how far all are from those of the pretraining."""

Parts = tuple[Part, Part, Part]
"""The pictures to train on, for validation and for calibration."""


def finetune(
    source: Source, recipe: Recipe, timer: Timer, budget: TimeBudget, progress: Progress, options: TrainingOptions
) -> Learned:
    """Fit a head on a frozen backbone, train both further where that can win, and keep the better of the two results.

    Two heads are fitted: one on all pictures but the test pictures, which is the frozen result, and one without the
    validation pictures as well, from which training starts. What training has to beat is how the frozen result's heads
    of the other folds answer these pictures.
    """
    require_torch(_("Fine-tuning a backbone"))
    with progress.stage(_("Loading PyTorch")):
        from kilat.fit.distributed.launch import require_devices

        device = training_device(recipe.runtime.device)
    require_devices(recipe.runtime.devices, device)
    extracted = extract(source, recipe, timer, budget, progress)
    parts = hold_out_parts(extracted.train, extracted.classes, extracted.recipe)
    frozen = head_on(extracted, timer, budget, progress, overwrite_features=False)
    is_answered = np.isin(frozen.split.validation.rows, parts[1].rows)
    if recipe.fit.when == "promising" and is_answered.any():
        prospects = _prospects(extracted, frozen, is_answered)
        frozen = replace(frozen, sections={"prospects": prospects.document(), **frozen.sections})
        if prospects.objection:
            return replace(frozen, notes=[*frozen.notes, prospects.note()])
    if budget.is_late_for_finetuning or not is_answered.any():  # which only a time limit leaves undone
        return replace(frozen, notes=[*frozen.notes, Note("no_time_to_finetune")])
    changed = first_backbone(extracted) if recipe.fit.backbones == "first" else extracted
    with timer.measure("head_s"), progress.stage(_("Fitting the head that is trained further")):
        start = fit_head(changed, parts[0], budget, overwrite_features=True)
    with timer.measure("pictures_s"):
        dataset, training = _training_run(source, changed, parts, start.head, progress)
    if budget.limit and budget.is_late_for_training(training.answering_seconds(budget.now)):
        return replace(frozen, notes=[*frozen.notes, Note("no_time_to_finetune")])
    with timer.measure("fit_s"), progress.stage(_("Fine-tuning")) as stage:
        trained = training.train(
            options.folder,
            deadline=budget.deadline,
            cache_share=ACTIVATION_CACHE,
            on_epoch=options.on_epoch,
            on_layers=options.on_layers,
            stage=stage,
        )
    augmented = training.preview(preview_rows(dataset.train), trained.augment)
    frozen = replace(frozen, history=trained.history, augmented=augmented)
    name, stopping = changed.backbone.name, changed.recipe.fit.early_stopping
    learned = better_of(frozen, trained, dataset, changed.recipe, timer, progress, kind="fine_tuned", name=name)
    trained.close()
    is_given_up = stopping and stopping.from_start and trained.metrics["stop_reason"] == "early_stopping"
    if is_given_up and learned.artifact is frozen.artifact:
        note = Note("finetuning_given_up", {"count": len(trained.history)})
        return replace(learned, notes=[*learned.notes, note])
    return learned


def _prospects(extracted: Extracted, frozen: Learned, is_answered: NDArray[np.bool_]) -> Prospects:
    """Return what speaks for training the backbone further.

    Args:
        extracted: the features.
        frozen: the result on them.
        is_answered: which of the pictures that its heads were held out of are for validation.
    """
    rows = extracted.train.rows[:: -(-len(extracted.train.rows) // _MEASURED)]
    some = first_backbone(replace(extracted, features=extracted.features[rows]))
    return Prospects(
        int(is_answered.sum()),
        count_mistakes(frozen.split.validation.truth[is_answered], frozen.split.validation_logits[is_answered]),
        domain_shift(some.features, some.backbone.blocks, some.backbone.name),
    )


def prepare_finetuning(source: Source, recipe: Recipe, progress: Progress) -> "TrainingRun":
    """Return a backbone with its fitted head, before the first update of its training."""
    extracted = extract(source, recipe, Timer(), UNLIMITED, progress)
    extracted = first_backbone(extracted) if recipe.fit.backbones == "first" else extracted
    parts = hold_out_parts(extracted.train, extracted.classes, recipe)
    head = fit_head(extracted, parts[0], UNLIMITED, overwrite_features=True).head
    return _training_run(source, extracted, parts, head, progress)[1]


def _training_run(
    source: Source, extracted: Extracted, parts: Parts, head: Head, progress: Progress
) -> tuple[PixelDataset, "TrainingRun"]:
    """The training of backbone and head on pixels, which are kept in memory where they fit."""
    from kilat.fit import prepare

    dataset = read_extracted(source, extracted, extracted.backbone.size, parts, progress)
    device = training_device(extracted.recipe.runtime.device)
    return dataset, prepare.finetuning_run(source, dataset, extracted.recipe, head, device=device)
