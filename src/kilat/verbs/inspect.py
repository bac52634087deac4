"""What can be looked at before training: a network's layers, its learning rates, and its augmented pictures."""

import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kilat.bundle import layer_table
from kilat.bundle.predictor import load as load_model
from kilat.data.catalog import Source
from kilat.data.picture_grid import picture_grid
from kilat.errors import PictureError, RecipeError, SourceError
from kilat.features import lite
from kilat.features.extract import suggested_size
from kilat.features.processing import Preprocessor
from kilat.learn.device import training_device
from kilat.learn.finetune import prepare_finetuning
from kilat.learn.network import input_size, read_dataset
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.probe import Head
from kilat.recipe import Features, Network, Recipe, load
from kilat.recipe.label_safety import unsafe_augmentations, without_unsafe_flips
from kilat.recipe.network_summary import Summary
from kilat.runtime.extras import require_torch
from kilat.runtime.files import require_possible
from kilat.runtime.progress import Progress, silent

if TYPE_CHECKING:
    from kilat.fit.lr_finder import RangeTest

PREVIEWED = 6
"""Pictures on a preview, of different classes."""

ASSUMED_SIZE = 32
"""Side in pixels of the pictures that a network's layers are shown for, where it follows from the data."""


def summarise(model: str, overrides: dict[str, Any], classes: int | None = None) -> Summary:
    """Return the layers of a network; pretrained weights are not downloaded for it.

    Args:
        model: a recipe, a model file, or a run folder. Where the recipe inside a model file lists no layers, they are
            those of its graph. A recipe without a section ``model`` has frozen backbones and a head.
        overrides: values of the recipe.
        classes: how many to assume; None for as many as the recipe says, or 10.

    Raises:
        KilatError: the recipe or the model cannot be read, or the network cannot be built.
    """
    path = Path(model)
    require_possible(path)
    if path.suffix == ".onnx" or path.is_dir():
        classifier = load_model(path)
        manifest = classifier.manifest
        if not (manifest.recipe.get("model") or {}).get("layers"):  # frozen backbone, imported, or from Python
            return layer_table.summarise(classifier.content)
        own = {"model.classes": len(manifest.classes), "input.size": manifest.size}
        recipe, name = load(manifest.recipe, {**own, **overrides}), str(manifest.backbone["name"])
    else:
        recipe, name = load(model, overrides), path.stem
    return summarise_recipe(recipe, name, classes)


def summarise_recipe(recipe: Recipe, name: str, classes: int | None = None, size: int | None = None) -> Summary:
    """Return the layers of the network that a recipe describes; pretrained weights are not downloaded for it.

    Args:
        recipe: with a section ``model``, or with frozen backbones and a head.
        name: of the network.
        classes: how many to assume; None for as many as the recipe says, or 10.
        size: side of the network's input in pixels where it follows from the data; None for one that is assumed.

    Raises:
        KilatError: the network cannot be built.
    """
    network = recipe.model
    if network is None:
        found = _summarise_backbones(recipe, classes or Network.model_fields["classes"].default)
        return replace(found, is_size_assumed=recipe.features.size == "auto")
    require_torch(_("Building a network"))
    from kilat.fit.prepare import build_network, input_channels
    from kilat.model import summary

    if not network.layers:
        raise RecipeError(_("The network was given from Python; only its author can build it again."))
    with_random_weights = recipe.model_copy(update={"model": network.model_copy(update={"weights": "none"})})
    follows_data = recipe.input.size == "auto" and network.backbone is None
    size = (size or ASSUMED_SIZE) if follows_data else input_size(recipe, None)
    built = build_network(with_random_weights, size, classes or network.classes)
    found = summary.summarise(built, name=name, channels=input_channels(recipe), size=size)
    return replace(found, is_size_assumed=follows_data)


def _summarise_backbones(recipe: Recipe, classes: int) -> Summary:
    """Return the layers of a recipe's backbones and of the head on them; what is unfrozen counts as trainable."""
    features = recipe.features
    size = features.size if features.size != "auto" else _usual_size(features)
    if not recipe.is_finetuning and all(name in lite.NAMES for name in features.backbones):
        backbones = [lite.build(size, "fp32", name) for name in features.backbones]
        return layer_table.summarise_backbones(backbones, classes)
    require_torch(_("Building a network"))
    from kilat.model import feature_extractor, finetuned, summary

    extractors = [feature_extractor.create(name, size, "none") for name in features.backbones]
    width = sum(block.width for extractor in extractors for block in extractor.blocks)
    zeros = np.zeros(width, np.float32)
    head = Head(zeros, zeros, np.zeros((width, classes), np.float32), np.zeros(classes, np.float32))
    model = finetuned.FineTuned(extractors, head, flip_average=False, train_batch_norms=False)
    stages = [phase.unfreeze for phase in recipe.fit.all_phases]
    model.unfreeze("all" if "all" in stages else max(stages))
    if recipe.fit.backbones == "first":
        model.backbones[1:].requires_grad_(False)
    return summary.summarise_finetuned(model, name=features.backbone)


def _usual_size(features: Features) -> int:
    """Return the side in pixels at which backbones usually take photos, the largest where there are several."""
    others = [name for name in features.backbones if name not in lite.NAMES]
    sizes = [lite.DEFAULT_SIZES[name] for name in features.backbones if name in lite.NAMES]
    if others:
        require_torch(_("Building a network"))
        from kilat.model.input_size import own_size

        sizes += map(own_size, others)
    return max(sizes)


def summary_document(summary: Summary) -> dict[str, Any]:
    """Return the layers as JSON holds them."""
    return {
        "name": summary.name,
        "input": list(summary.input_shape),
        "layers": [vars(row) for row in summary.rows],
        "total": summary.total,
        "trainable": summary.trainable,
        "macs": summary.macs,
    }


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> tuple[list[float], list[float]]:
    """Return the learning rate over a training, all phases one after the other.

    Returns:
        Epochs, from 0 and with fractions, and the rate at each; none where nothing is trained by gradient.
    """
    if recipe.model is None and not recipe.is_finetuning:
        return [], []
    require_torch(_("A learning-rate schedule"))
    from kilat.fit.schedules import planned_curve

    return planned_curve(recipe.fit, steps_per_epoch)


def find_learning_rate(source: Source, recipe: Recipe, steps: int, progress: Progress = silent) -> "RangeTest":
    """Run a learning-rate range test on real pictures (Smith, arXiv 1506.01186).

    Args:
        source: labelled pictures.
        recipe: that trains a network or fine-tunes a backbone.
        steps: how many rates to try, each for one update.
        progress: that shows its stages.

    Raises:
        RecipeError: the recipe trains nothing by gradient.
    """
    if not recipe.is_finetuning:
        _require_network(recipe)
    require_torch(_("Trying learning rates"))
    with progress.stage(_("Loading PyTorch")):
        from kilat.fit import prepare
    if recipe.is_finetuning:
        training = prepare_finetuning(source, recipe, progress)
    else:
        dataset, _near_duplicates = read_dataset(source, recipe, progress)
        device = training_device(recipe.runtime.device)
        training = prepare.network_run(source, dataset, recipe, device=device, name="network")
    with tempfile.TemporaryDirectory() as folder, progress.stage(_("Trying learning rates"), unit="steps") as stage:
        return training.find_learning_rate(steps, Path(folder), stage.advance)


def rate_sentence(found: "RangeTest", current: float) -> str:
    """Return what a range test found, and where that is unclear, what to do.

    Args:
        found: its result.
        current: the rate of the recipe.
    """
    if found.suggestion is not None:
        return _("suggested learning rate {rate:.2g}").format(rate=found.suggestion)
    sentence = {
        "no_fall": _(
            "Unclear: over {count} rates the loss falls by no more than its noise. Keep {rate:.2g}, the recipe's, or "
            "try more rates (--steps {more}) or larger batches (--set fit.batch=256)."
        ),
        "still_falling": _(
            "Unclear: the loss still falls at {highest:.2g}, the highest rate. Keep {rate:.2g}, the recipe's, or try "
            "more rates (--steps {more})."
        ),
    }[found.reason]
    count = len(found.rates)
    return sentence.format(count=count, rate=current, more=3 * count, highest=found.rates[-1])


def preview(source: Source, recipe: Recipe) -> tuple[bytes, list[Note]]:
    """Draw a few pictures of different classes as a network gets them, and what augmentation makes of each, in a row.

    Returns:
        The drawing as PNG, and notes: that nothing is augmented, or that it can change what a class means.

    Raises:
        SourceError: none of the pictures can be read.
    """
    labels = [entry.label for entry in source.entries]
    classes = sorted(set(labels))
    augment, notes = without_unsafe_flips(recipe.augment, classes)
    size = _size_of_pictures(recipe, source)
    preprocess = Preprocessor(size, recipe.resize)
    firsts = np.sort(np.unique(labels, return_index=True)[1])
    pixels = []
    for row in firsts[np.unique(np.linspace(0, len(firsts) - 1, PREVIEWED).round().astype(int))]:
        with contextlib.suppress(PictureError, MemoryError):
            pixels.append(preprocess(source.read(int(row))))
    if not pixels:
        raise SourceError(_("None of the pictures for the preview can be read."))
    if augment.is_active:
        require_torch(_("Augmenting pictures"))
        from kilat.fit.augment.preview import preview_sheet

        sheet = preview_sheet(np.stack(pixels), augment, seed=recipe.runtime.seed)
        notes += unsafe_augmentations(augment, classes)
    else:
        sheet = picture_grid([np.stack(pixels)])
        notes.append(Note("nothing_augmented", {"size": size}))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue(), notes


def _size_of_pictures(recipe: Recipe, source: Source) -> int:
    """Return the side in pixels of a recipe's pictures: of its network's input, or of its backbones'."""
    if recipe.model is not None:
        return input_size(recipe, source)
    if recipe.features.size != "auto":
        return recipe.features.size
    return suggested_size(source, _usual_size(recipe.features))


def _require_network(recipe: Recipe) -> Network:
    """Return the network of a recipe.

    Raises:
        RecipeError: it has none.
    """
    if recipe.model is None:
        raise RecipeError(
            _("This recipe fits a head on a frozen backbone; it trains no network."),
            hint=_("Take one with a section model, such as vgg-cifar."),
        )
    return recipe.model
