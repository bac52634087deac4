"""Fine-tuning: from the frozen result to a network trained further, which replaces it only if it is better."""

from dataclasses import replace
from typing import TYPE_CHECKING

from kilat.data.catalog import Source
from kilat.data.split import Part
from kilat.evaluate.comparison import compare
from kilat.features.pixels import PixelDataset, fits_in_memory, read_pixels
from kilat.learn.device import training_device
from kilat.learn.frozen import Extracted, extract, fit_head, head_on
from kilat.learn.learned import Alternative, Learned
from kilat.learn.network import TrainingOptions, network_artifact, split_logits
from kilat.learn.splits import hold_out_parts, preview_rows, shared_calibration
from kilat.learn.time_budget import ACTIVATION_CACHE, UNLIMITED, TimeBudget
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.probe import Head
from kilat.recipe import Recipe, label_safety
from kilat.runtime.extras import require_torch
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer

if TYPE_CHECKING:
    from kilat.fit.training_run import Trained, TrainingRun

Parts = tuple[Part, Part, Part]
"""The pictures to train on, for validation and for calibration."""


def finetune(
    source: Source, recipe: Recipe, timer: Timer, budget: TimeBudget, progress: Progress, options: TrainingOptions
) -> Learned:
    """Fit a head on a frozen backbone, train both further, and keep the better of the two results.

    Two heads are fitted: one on all pictures but the test pictures, which is the frozen result, and one without the
    validation pictures as well, from which training starts, and whose answers to these pictures it has to beat.
    """
    require_torch(_("Fine-tuning a backbone"))
    from kilat.fit.distributed.launch import require_devices

    require_devices(recipe.runtime.devices, training_device(recipe.runtime.device))
    extracted = extract(source, recipe, timer, budget, progress)
    recipe = extracted.recipe
    parts = train, validation, _calibration = hold_out_parts(extracted.train, extracted.classes, recipe)
    frozen = head_on(extracted, timer, budget, overwrite_features=False)
    if budget.is_late_for_finetuning:
        return replace(frozen, notes=[*frozen.notes, Note("no_time_to_finetune")])
    with timer.measure("head_s"):
        start = fit_head(extracted, train, budget, overwrite_features=True)
    before = start.logits(validation.rows)
    with timer.measure("pictures_s"):
        dataset, training = _training_run(source, extracted, parts, start.head, progress)
    if budget.limit and budget.is_late_for_training(training.answering_seconds(budget.now)):
        return replace(frozen, notes=[*frozen.notes, Note("no_time_to_finetune")])
    advance = progress(_("Training"))
    with timer.measure("fit_s"):
        trained = training.train(
            options.folder,
            deadline=budget.deadline,
            cache_share=ACTIVATION_CACHE,
            on_epoch=options.on_epoch,
            advance=advance,
        )
        split = split_logits(trained, dataset)
    comparison = compare(validation.truth, before, split.validation_logits)
    frozen = replace(
        frozen,
        alternative=Alternative("fine_tuned", split, comparison),
        sections={"fit": trained.metrics, **frozen.sections},
        history=trained.history,
        augmented=training.preview(preview_rows(train), trained.augment),
    )
    learned = _fine_tuned(frozen, trained, extracted, parts) if comparison.is_better else frozen
    trained.close()
    return learned


def _fine_tuned(frozen: Learned, trained: "Trained", extracted: Extracted, parts: Parts) -> Learned:
    """The fine-tuned network in the place of the frozen result, its alternative; only now it is exported."""
    assert frozen.alternative is not None
    recipe, catalog, split = extracted.recipe, extracted.catalog, frozen.alternative.split
    _train, validation, calibration = parts
    catalog.set_split(calibration.rows, "calibration")
    catalog.set_split(validation.rows, "validation")  # they may be the same
    name, size, resize = extracted.backbone.name, extracted.backbone.size, recipe.features.resize
    return replace(
        frozen,
        split=split,
        alternative=replace(frozen.alternative, split=frozen.split),
        artifact=network_artifact(trained, split, catalog, name, size, resize),
        sections={"head": frozen.sections["head"], "fit": trained.metrics},
        notes=[
            *extracted.notes,
            *shared_calibration(validation, calibration),
            *trained.notes,
            *label_safety.unsafe_augmentations(recipe.augment, extracted.classes),
        ],
    )


def prepare_finetuning(source: Source, recipe: Recipe, progress: Progress) -> "TrainingRun":
    """Return a backbone with its fitted head, before the first update of its training."""
    extracted = extract(source, recipe, Timer(), UNLIMITED, progress)
    parts = hold_out_parts(extracted.train, extracted.classes, recipe)
    head = fit_head(extracted, parts[0], UNLIMITED, overwrite_features=True).head
    return _training_run(source, extracted, parts, head, progress)[1]


def _training_run(
    source: Source, extracted: Extracted, parts: Parts, head: Head, progress: Progress
) -> tuple[PixelDataset, "TrainingRun"]:
    """The training of backbone and head on pixels, which are kept in memory where they fit."""
    from kilat.fit import prepare

    recipe, size, catalog = extracted.recipe, extracted.backbone.size, extracted.catalog
    pixels = None
    if fits_in_memory(len(source.entries) * recipe.runtime.devices, size):
        advance = progress(_("Reading pictures"))
        pixels = read_pixels(
            source,
            catalog.used,
            size=size,
            resize=recipe.features.resize,
            keep=True,
            image_stats=False,
            advance=advance,
        ).pixels
    dataset = PixelDataset(catalog, size, pixels, extracted.classes, *parts, extracted.test, extracted.notes)
    device = training_device(recipe.runtime.device)
    return dataset, prepare.finetuning_run(source, dataset, recipe, head, device=device)
