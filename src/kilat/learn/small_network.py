"""Small pictures: a small network, trained from its first weights, takes a frozen backbone's place where it is better.

A backbone was pretrained on large photographs; pictures of at most 64 pixels are often told better by a network of
their own, which takes little time on them. Both are learned, unless the frozen result is so good that even a perfect
network could not beat it by more than noise, and the validation pictures decide.
"""

from dataclasses import replace

import numpy as np

from kilat import recipe as recipes
from kilat.data.catalog import Catalog, Source
from kilat.features.pixels import natural_size
from kilat.learn.device import training_device
from kilat.learn.frozen import Extracted
from kilat.learn.learned import Learned
from kilat.learn.network import TrainingOptions, better_of, read_extracted
from kilat.learn.splits import hold_out_parts, preview_rows
from kilat.learn.time_budget import TimeBudget
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.runtime.extras import has_torch
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer

LARGEST = 64
"""Pictures whose longer side has more pixels than this, by their median, are left to the backbone."""
FEWEST = 1_000
"""With fewer pictures than this, a pretrained backbone wins: a network from scratch has too little to learn from."""
MOST = 100_000
"""With more pictures than this, training would take so long that whoever wants it should ask for it, or set a limit."""


def challenge(
    frozen: Learned,
    extracted: Extracted,
    source: Source,
    timer: Timer,
    budget: TimeBudget,
    progress: Progress,
    options: TrainingOptions,
) -> Learned:
    """Train a small network where pictures are small, and return the better of it and the frozen result.

    Args:
        frozen: the result with a head on a frozen backbone.
        extracted: what its head was fitted on.
        source: the pictures.
        timer: that measures the training.
        budget: how long everything may take.
        progress: that shows its stages.
        options: of the training.
    """
    catalog, name = extracted.catalog, extracted.recipe.features.small_network
    if name == "none" or not is_small(catalog):
        return frozen
    recipe = _recipe(name, extracted.recipe)
    parts = _train, validation, _calibration = hold_out_parts(extracted.train, extracted.classes, recipe)
    if not frozen.split.compare(
        validation, 100 * np.eye(len(extracted.classes), dtype=np.float32)[validation.truth]
    ).is_better:
        return frozen  # not even a perfect network would be
    if reason := _why_not(catalog, budget):
        return replace(frozen, notes=[*frozen.notes, Note(reason, {"recipe": name})])
    with progress.stage(_("Loading PyTorch")):
        from kilat.fit import prepare

    with timer.measure("pictures_s"):
        dataset = read_extracted(source, extracted, natural_size(source), parts, progress)
    with timer.measure("fit_s"), progress.stage(_("Training a small network")) as stage:
        device = training_device(recipe.runtime.device)
        training = prepare.network_run(source, dataset, recipe, device=device, name=name)
        if budget.limit and budget.is_late_for_training(training.answering_seconds(budget.now)):
            return replace(frozen, notes=[*frozen.notes, Note("no_time_for_small_network")])
        trained = training.train(options.folder, deadline=budget.deadline, on_epoch=options.on_epoch, stage=stage)
    augmented = training.preview(preview_rows(dataset.train), trained.augment)
    frozen = replace(frozen, history=trained.history, augmented=augmented)
    learned = better_of(frozen, trained, dataset, recipe, timer, progress, kind="network", name=name)
    if learned.artifact is not frozen.artifact:
        learned = replace(learned, recipe=recipe, summary=training.summary)
    trained.close()
    return learned


def is_small(catalog: Catalog) -> bool:
    """Return whether pictures are small, and enough for a network of their own."""
    sides = catalog.table.loc[catalog.used, ["width", "height"]].max(axis=1)
    return len(sides) >= FEWEST and float(sides.median()) <= LARGEST


def _why_not(catalog: Catalog, budget: TimeBudget) -> str | None:
    """Return the code of a note where a small network would be trained, but cannot be here."""
    if not has_torch():
        return "small_network_needs_torch"
    if budget.limit is None:
        return "many_pictures_for_small_network" if int(catalog.used.sum()) > MOST else None
    return "no_time_for_small_network" if budget.is_late_for_finetuning else None


def _recipe(name: str, frozen: Recipe) -> Recipe:
    """Return the recipe of the small network for the data of another recipe."""
    small = recipes.load(name)
    return small.model_copy(
        update={
            "data": frozen.data,
            "trust": frozen.trust,
            "runtime": frozen.runtime,
            "input": small.input.model_copy(update={"resize": frozen.features.resize}),
            "fit": small.fit.model_copy(update={"class_weight": frozen.head.class_weight}),
        }
    )
