"""A network trained by gradient from its first weights, measured on pictures that are held out for that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kilat.bundle import parity
from kilat.check.near_duplicates import NearDuplicates
from kilat.data.catalog import Catalog, Source
from kilat.data.split import Part, train_and_test
from kilat.features.pixels import PixelDataset, fits_in_memory, natural_size, no_longer_readable, read_pixels
from kilat.learn import metadata
from kilat.learn.device import training_device
from kilat.learn.frozen import Extracted
from kilat.learn.learned import (
    Alternative,
    Floats,
    Ints,
    LayerRow,
    Learned,
    NetworkArtifact,
    Row,
    RowValues,
    SplitLogits,
)
from kilat.learn.out_of_distribution import answer_pictures
from kilat.learn.splits import hold_out_parts, left_out_notes, preview_rows, shared_calibration, split_catalog
from kilat.learn.time_budget import UNLIMITED, TimeBudget
from kilat.locale import _
from kilat.recipe import Recipe, Resize, label_safety
from kilat.runtime.extras import require_torch
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer

if TYPE_CHECKING:
    from kilat.fit.training_run import Trained


@dataclass(frozen=True)
class TrainingOptions:
    """What only a training by gradient needs to be given.

    Args:
        folder: of its checkpoints.
        name: of the network.
        network: a ``torch.nn.Module`` instead of the recipe's layers.
        on_epoch: called with the row of every epoch.
        on_layers: called, where layers are watched, with the rows of all layers in all epochs so far.
    """

    folder: Path
    name: str = "network"
    network: Any = None
    on_epoch: Callable[[Row], None] = lambda row: None
    on_layers: Callable[[Sequence[LayerRow]], None] = lambda rows: None


def learn_network(
    source: Source, recipe: Recipe, timer: Timer, budget: TimeBudget, progress: Progress, options: TrainingOptions
) -> Learned:
    """Train the network of a recipe."""
    require_torch(_("Training a network by gradient"))
    with progress.stage(_("Loading PyTorch")):
        from kilat.fit import prepare
        from kilat.fit.distributed.launch import require_devices

        device = training_device(recipe.runtime.device)
    require_devices(recipe.runtime.devices, device)
    with timer.measure("pictures_s"):
        dataset, near_duplicates = read_dataset(source, recipe, progress, budget)
    with timer.measure("fit_s"), progress.stage(_("Training")) as stage:
        training = prepare.network_run(
            source, dataset, recipe, device=device, network=options.network, name=options.name
        )
        trained = training.train(
            options.folder,
            deadline=budget.deadline,
            on_epoch=options.on_epoch,
            on_layers=options.on_layers,
            stage=stage,
        )
        validation = trained.inference.logits(dataset.validation.rows)
    with timer.measure("evaluation_s"), progress.stage(_("Testing the network")):
        split, artifact = exported(trained, dataset, validation, options.name, recipe.input.resize)
    learned = Learned(
        recipe,
        dataset.catalog,
        split,
        artifact,
        sections={"fit": trained.metrics},
        notes=[*dataset.notes, *trained.notes, *label_safety.unsafe_augmentations(recipe.augment, dataset.classes)],
        near_duplicates=near_duplicates,
        history=trained.history,
        summary=training.summary,
        augmented=training.preview(preview_rows(dataset.train), trained.augment),
    )
    trained.close()
    return learned


def read_dataset(
    source: Source, recipe: Recipe, progress: Progress, budget: TimeBudget = UNLIMITED
) -> tuple[PixelDataset, NearDuplicates]:
    """Read every picture once, or as many as the time budget allows, and draw the splits.

    Raises:
        SourceError: there are too few to hold any out.
    """
    catalog = Catalog.from_entries(source.entries)
    size = input_size(recipe, source)
    fits = fits_in_memory(len(source.entries) * recipe.runtime.devices, size)
    keep = {"memory": True, "stream": False, "auto": fits}[recipe.input.cache]
    limit = budget.pass_limit(source, before_training=True)
    with progress.stage(_("Reading pictures")) as stage:
        decoded = read_pixels(
            source, catalog.used, size=size, resize=recipe.input.resize, keep=keep, advance=stage.advance, limit=limit
        )
    catalog.record_pictures(decoded)
    left_out = left_out_notes(catalog)
    with progress.stage(_("Finding near-duplicates")):
        notes, near_duplicates = split_catalog(source, catalog, recipe)
    classes, pictures, test = train_and_test(catalog)
    train, validation, calibration = hold_out_parts(pictures, classes, recipe)
    catalog.set_split(calibration.rows, "calibration")
    catalog.set_split(validation.rows, "validation")
    notes = [*left_out, *notes, *decoded.notes, *shared_calibration(validation, calibration)]
    return PixelDataset(
        catalog, size, decoded.pixels, classes, train, validation, calibration, test, notes
    ), near_duplicates


def read_extracted(
    source: Source, extracted: Extracted, size: int, parts: tuple[Part, Part, Part], progress: Progress
) -> PixelDataset:
    """Read the pictures that features were extracted of once more, where they fit in memory.

    Args:
        source: the pictures.
        extracted: their features and splits.
        size: side in pixels at which a network gets them.
        parts: the pictures to train on, for validation and for calibration.
        progress: that shows it.

    Raises:
        RunError: a picture can no longer be read or decoded.
    """
    recipe, catalog, pixels = extracted.recipe, extracted.catalog, None
    if fits_in_memory(len(source.entries) * recipe.runtime.devices, size):
        resize = recipe.features.resize
        with progress.stage(_("Reading pictures")) as stage:
            decoded = read_pixels(
                source, catalog.used, size=size, resize=resize, keep=True, image_stats=False, advance=stage.advance
            )
        for row, refusal in decoded.refusals.items():
            raise no_longer_readable(source, row, refusal)
        pixels = decoded.pixels
    return PixelDataset(catalog, size, pixels, extracted.classes, *parts, extracted.test, extracted.notes)


def better_of(
    frozen: Learned,
    trained: "Trained",
    dataset: PixelDataset,
    recipe: Recipe,
    timer: Timer,
    progress: Progress,
    *,
    kind: Literal["fine_tuned", "network"],
    name: str,
) -> Learned:
    """Return the frozen result, or a trained network in its place where validation pictures say that it is better.

    Either has the other as its alternative; the network is exported only where it is kept.

    Args:
        frozen: the result with a head on a frozen backbone; it has the history of the training already.
        trained: the network.
        dataset: what it was trained on.
        recipe: by which it was trained.
        timer: that measures the training and the answers.
        progress: that shows them.
        kind: of network.
        name: of the network.
    """
    with timer.measure("fit_s"), progress.stage(_("Comparing with the frozen backbone")):
        validation = trained.inference.logits(dataset.validation.rows)
        comparison = frozen.split.compare(dataset.validation, validation)
    if not comparison.is_better:
        with timer.measure("evaluation_s"), progress.stage(_("Testing the network")):
            alternative = Alternative(kind, split_logits(trained, dataset, validation), comparison)
        return replace(frozen, alternative=alternative, sections={"fit": trained.metrics, **frozen.sections})
    with timer.measure("evaluation_s"), progress.stage(_("Testing the network")):
        split, artifact = exported(trained, dataset, validation, name, recipe.resize)
    catalog = dataset.catalog
    catalog.set_split(dataset.calibration.rows, "calibration")
    catalog.set_split(dataset.validation.rows, "validation")  # they may be the same
    return replace(
        frozen,
        split=split,
        alternative=Alternative(kind, frozen.split, comparison),
        artifact=artifact,
        sections={**frozen.sections, "fit": trained.metrics},
        notes=[
            *dataset.notes,
            *shared_calibration(dataset.validation, dataset.calibration),
            *trained.notes,
            *label_safety.unsafe_augmentations(recipe.augment, dataset.classes),
        ],
    )


def split_logits(trained: "Trained", dataset: PixelDataset, validation: Floats) -> SplitLogits:
    """Return what a trained network answers to the pictures that it was not trained on.

    Args:
        trained: the network.
        dataset: the pictures.
        validation: its logits of the validation pictures, ``[n, classes]``.
    """
    return _split(dataset, validation, trained.inference.logits)


def exported(
    trained: "Trained", dataset: PixelDataset, validation: Floats, name: str, resize: Resize
) -> tuple[SplitLogits, NetworkArtifact]:
    """Export a trained network, and let its graph answer the pictures that are needed from here on.

    For those of the parity gate the network answers itself, so that the gate compares the file with what was trained.

    Args:
        trained: the network.
        dataset: the pictures.
        validation: its logits of the validation pictures, ``[n, classes]``.
        name: of the network.
        resize: how pictures that are not square are fitted.
    """
    graph, gate = trained.to_onnx(), parity.sample_rows(np.flatnonzero(dataset.catalog.used))
    answers = answer_pictures(graph, trained.inference.pixels, dataset, gate)
    split = _split(dataset, validation, answers.logits.at)
    return split, NetworkArtifact(
        metadata.network_info(name, graph, dataset.size, trained.metrics),
        graph,
        dataset.size,
        resize,
        RowValues.concat([(gate, trained.inference.logits(gate)), (split.test.rows, split.test_logits)]),
        answers.embeddings,
        answers.sample,
        answers.projection,
    )


def _split(dataset: PixelDataset, validation: Floats, logits: Callable[[Ints], Floats]) -> SplitLogits:
    """Return the parts of the split with their logits, those of validation pictures being there already."""
    is_apart = dataset.calibration is not dataset.validation
    return SplitLogits(
        dataset.classes,
        dataset.train,
        dataset.validation,
        validation,
        dataset.calibration,
        logits(dataset.calibration.rows) if is_apart else validation,
        dataset.test,
        logits(dataset.test.rows),
    )


def input_size(recipe: Recipe, source: Source | None) -> int:
    """Return the side in pixels of a network's input: of the recipe, the backbone's own, or the pictures' own.

    Args:
        recipe: with a section ``model``.
        source: the pictures; None only where the size does not follow from them.
    """
    if recipe.input.size != "auto":
        return recipe.input.size
    if recipe.model is not None and recipe.model.backbone is not None:
        from kilat.model.input_size import own_size

        return own_size(recipe.model.backbone.name)
    assert source is not None
    return natural_size(source)
