"""Makes trainings ready: builds the network of a recipe, or opens a frozen backbone, and loads its pictures."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kilat.data.catalog import Source
from kilat.features.pixels import MAX_OOD_REFERENCE, PixelDataset
from kilat.fit.loader import InMemory, Pictures, Streaming
from kilat.fit.normaliser import Normaliser, fit_normaliser
from kilat.fit.train_state import TrainSpec
from kilat.fit.training_run import TrainingRun
from kilat.fit.whitening import fit_whitening
from kilat.locale.notes import Note
from kilat.model.cpu.fold_batch_norm import fuse
from kilat.model.image_model import ImageModel, PixelNetwork
from kilat.model.layers import LayerNetwork, build
from kilat.model.summary import Counts, count, summarise
from kilat.probe import Head
from kilat.recipe import Recipe, Resize, label_safety


def network_run(
    source: Source, dataset: PixelDataset, recipe: Recipe, *, device: str, name: str, network: nn.Module | None = None
) -> TrainingRun:
    """Build the network of a recipe, and fit the normalisation of its input on the training pictures.

    Args:
        source: where the pictures are.
        dataset: the pictures and their splits.
        recipe: with a section ``model``.
        device: ``cpu``, ``cuda``, ``mps`` or ``xla``.
        name: of the network.
        network: replaces the recipe's layers: normalised planes ``[n, channels, size, size]`` to logits.

    Raises:
        KilatError: the network cannot be built.
    """
    recipe, notes = _without_unsafe_flips(recipe, dataset)
    classes = len(dataset.classes)
    layers = build_network(recipe, dataset.size, classes) if network is None else network
    pictures = _load(source, dataset, recipe.input.resize, device)
    normaliser = _normaliser(recipe, layers, pictures, dataset.train.rows)
    notes += _scale_notes(recipe, layers, normaliser)
    assert recipe.model is not None
    averages = recipe.augment.horizontal_flip if recipe.model.flip_average == "auto" else recipe.model.flip_average
    model = PixelNetwork(
        layers, dataset.size, normaliser.mean, normaliser.std, recipe.input.colour,
        flip_average=bool(averages), shift_average=recipe.model.shift_average,
    )  # fmt: skip
    if isinstance(layers, LayerNetwork) and layers.whiten is not None:
        fit_whitening(layers.whiten, model, pictures, dataset.train.rows)
    summary = summarise(layers, name=name, channels=input_channels(recipe), size=dataset.size)
    return TrainingRun(
        _spec(model, pictures, dataset, recipe, device),
        Counts(summary.total, summary.trainable, summary.macs),
        [*notes, *(layers.notes if isinstance(layers, LayerNetwork) else [])],
        summary,
    )


def finetuning_run(source: Source, dataset: PixelDataset, recipe: Recipe, head: Head, *, device: str) -> TrainingRun:
    """Join a frozen backbone and its fitted head to a network that can be trained further.

    Args:
        source: where the pictures are.
        dataset: the pictures and their splits.
        recipe: which backbone, and how many of its stages are trained.
        head: fitted on the backbone's features of pictures other than those of the validation.
        device: ``cpu``, ``cuda``, ``mps`` or ``xla``.

    Raises:
        KilatError: the backbone cannot be loaded.
    """
    # What brings timm is imported here, since that takes seconds, which no other training needs.
    from kilat.model import feature_extractor, finetuned
    from kilat.model.drop_path import set_drop_path, without_blocks

    recipe, notes = _without_unsafe_flips(recipe, dataset)
    features, fit = recipe.features, recipe.fit
    extractors = [feature_extractor.create(name, dataset.size, features.weights) for name in features.backbones]
    for name, extractor in zip(features.backbones, extractors, strict=True):
        if fit.drop_path and not set_drop_path(extractor.network, fit.drop_path):
            raise without_blocks(name)
        if device == "cpu":
            fuse(extractor.network, torch.zeros(1, 3, dataset.size, dataset.size))
    model = finetuned.FineTuned(
        extractors, head, flip_average=features.flip_average, train_batch_norms=fit.batch_norm == "train"
    )
    stages = [phase.unfreeze for phase in fit.all_phases]
    model.unfreeze("all" if "all" in stages else max(stages))  # for the counts of what is trainable
    pictures = _load(source, dataset, features.resize, device)
    counts = count(model, model.logits, dataset.size)
    return TrainingRun(_spec(model, pictures, dataset, recipe, device), counts, notes)


def build_network(recipe: Recipe, size: int, classes: int) -> LayerNetwork:
    """Return the network of a recipe with its initial weights.

    Args:
        recipe: with a section ``model``.
        size: side of the input in pixels.
        classes: how many there are.

    Raises:
        KilatError: it cannot be built.
    """
    assert recipe.model is not None
    channels, seed = input_channels(recipe), recipe.runtime.seed
    network = build(recipe.model, channels=channels, size=size, classes=classes, seed=seed)
    if network.backbone is not None:
        is_random = recipe.model.weights == "none"
        network.backbone.train_batch_norms = {"auto": is_random, "train": True, "frozen": False}[recipe.fit.batch_norm]
        network.backbone.train()
    return network


def _without_unsafe_flips(recipe: Recipe, dataset: PixelDataset) -> tuple[Recipe, list[Note]]:
    augment, notes = label_safety.without_unsafe_flips(recipe.augment, dataset.classes)
    return recipe.model_copy(update={"augment": augment}), notes


def input_channels(recipe: Recipe) -> int:
    """Return how many channels the input of a recipe's network has."""
    return 1 if recipe.input.colour == "grey" else 3


def _load(source: Source, dataset: PixelDataset, resize: Resize, device: str) -> Pictures:
    if dataset.pixels is not None:
        return InMemory(dataset.pixels, device)
    return Streaming(source, dataset.size, resize, device)


def _spec(model: ImageModel, pictures: Pictures, dataset: PixelDataset, recipe: Recipe, device: str) -> TrainSpec:
    # After training, logits are computed of all pictures that were held out and of some others. What the exported file
    # answers counts twice: it has a pace of its own, which is not known yet.
    by_file = len(dataset.test.rows) + len(dataset.calibration.rows)
    later = len(dataset.validation.rows) + 2 * by_file + min(len(dataset.train.rows), MAX_OOD_REFERENCE)
    return TrainSpec(model, pictures, dataset.train, dataset.validation, dataset.classes, recipe, device, later)


def _normaliser(recipe: Recipe, network: nn.Module, pictures: Pictures, rows: NDArray[np.int64]) -> Normaliser:
    backbone = network.backbone if isinstance(network, LayerNetwork) else None
    kind = recipe.input.normalise
    if kind == "backbone" or (kind == "auto" and backbone is not None):
        assert backbone is not None, "the recipe was checked"
        from kilat.model import timm_networks

        return Normaliser(*timm_networks.normalisation(backbone.network))
    return fit_normaliser("channel_zscore" if kind == "auto" else kind, pictures, rows, colour=recipe.input.colour)


def _scale_notes(recipe: Recipe, network: nn.Module, normaliser: Normaliser) -> list[Note]:
    """Return a note where a pretrained backbone gets pixels on a scale that is far from that of its pretraining.

    Means and deviations of one's own pictures are near enough; pixels of 0 to 1 or to 255 are not, and nothing fails.
    """
    assert recipe.model is not None
    backbone = network.backbone if isinstance(network, LayerNetwork) else None
    if backbone is None or recipe.model.weights == "none":
        return []
    from kilat.model import timm_networks

    if normaliser.is_near(Normaliser(*timm_networks.normalisation(backbone.network))):
        return []
    return [Note("pretrained_pixel_scale", {"normalise": recipe.input.normalise})]
