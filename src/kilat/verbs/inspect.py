"""What can be seen and tried before a network is trained: its layers, its rates, its augmented pictures."""

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from kilat.bundle import layer_table
from kilat.bundle.predictor import load as load_model
from kilat.data.catalog import Source
from kilat.data.decode import decode
from kilat.errors import MissingExtra, PictureError, RecipeError, SourceError, nearest
from kilat.features.resize_graph import Resizer
from kilat.learn.device import training_device
from kilat.learn.finetune import opened
from kilat.learn.frozen import input_size, see
from kilat.locale import _
from kilat.recipe import Network, Recipe, Resize, load
from kilat.recipe.label_safety import altered_meanings
from kilat.recipe.network_summary import Summary
from kilat.recipe.network_summary import table as text
from kilat.runtime.extras import has_torch, require_torch
from kilat.runtime.files import write_file
from kilat.runtime.progress import Progress, silent
from kilat.verbs import run_folder

if TYPE_CHECKING:
    from kilat.fit.lr_finder import Finding

PREVIEWED = 6
_POINTS = 400


def summarise(given: str, overrides: dict[str, Any], classes: int | None = None) -> Summary:
    """The layers of a network; pretrained weights are not fetched for that.

    Of a model file whose recipe lists no layers, what its graph says.

    Args:
        given: a recipe with a section ``model``, a model file, or the folder of a run.
        overrides: single choices of the recipe.
        classes: how many to assume; the recipe's own guess where this is None.
    """
    path = Path(given)
    if path.suffix == ".onnx" or path.is_dir():
        found = load_model(path).manifest.recipe
        if not (found.get("model") or {}).get("layers"):  # frozen backbone, imported, or from Python
            return layer_table.summarise((path / run_folder.MODEL if path.is_dir() else path).read_bytes())
    recipe, name = _described(given, overrides)
    model = require_network(recipe)
    require_torch("Building a network")
    from kilat.fit.training_run import channels, layered
    from kilat.model.summary import summarise as summary

    if not model.layers:
        raise RecipeError(_("The network was given from Python; only its author can build it again."))
    bare = recipe.model_copy(update={"model": model.model_copy(update={"weights": "none"})})
    size = input_size(recipe, None)
    return summary(layered(bare, size, classes or model.classes), name=name, channels=channels(recipe), size=size)


def _described(given: str, overrides: dict[str, Any]) -> tuple[Recipe, str]:
    """The recipe that a name, a file or a finished model stands for, and what to call its network."""
    path = Path(given)
    if path.suffix != ".onnx" and not path.is_dir():
        return load(given, overrides), path.stem
    manifest = load_model(path).manifest
    recipe = load(manifest.recipe, {"model.classes": len(manifest.classes), "input.size": manifest.size, **overrides})
    return recipe, str(manifest.backbone["name"])


def table(summary: Summary) -> str:
    """The layers as text."""
    return text(summary)


def document(summary: Summary) -> dict[str, Any]:
    """The layers as a document."""
    totals = {"total": summary.total, "trainable": summary.trainable, "macs": summary.macs}
    return {
        "name": summary.name,
        "input": list(summary.input_shape),
        "layers": [vars(row) for row in summary.rows],
        **totals,
    }


def import_keras(
    model: Path, classes: list[str], pixels: str, resize: str, source: Source | None, out: Path
) -> dict[str, Any]:
    """Writes a saved Keras classifier as a kilat model; what it is."""
    if resize not in get_args(Resize):
        raise RecipeError(
            _("There is no way to fit pictures called '{resize}'.").format(resize=resize),
            hint=nearest(resize, get_args(Resize)),
        )
    if not has_torch():
        raise MissingExtra(_("Reading Keras models"), "keras")
    from kilat.verbs.import_keras import import_keras as read

    file, facts = read(model, classes=classes, scale=pixels, resize=cast(Resize, resize), source=source)
    write_file(out, file)
    return facts


def rates(recipe: Recipe, steps_per_epoch: int) -> tuple[list[float], list[float]]:
    """The learning rate over the epochs of a recipe, all phases one after the other.

    Returns:
        Places, in epochs, and the rate at each.
    """
    if not recipe.is_opened:
        require_network(recipe)
    require_torch("A learning-rate schedule")
    from kilat.fit.schedules import curve

    places: list[float] = []
    values: list[float] = []
    start = 0
    for phase in recipe.fit.parts:
        base = phase.learning_rate or recipe.fit.optimizer.rate
        total = phase.epochs * steps_per_epoch
        epochs, found = curve(recipe.fit.schedule, base, per_epoch=steps_per_epoch, total=total, points=_POINTS)
        places += [start + epoch for epoch in epochs]
        values += found
        start += phase.epochs
    return places, values


def find_rate(source: Source, recipe: Recipe, steps: int, progress: Progress = silent) -> "Finding":
    """A learning-rate range test on real pictures (Smith, arXiv 1506.01186)."""
    if not recipe.is_opened:
        require_network(recipe)
    require_torch("Trying learning rates")
    from kilat.fit import training_run

    if recipe.is_opened:
        begun = opened(source, recipe, progress)
    else:
        seen = see(source, recipe, progress)
        begun = training_run.begin(source, seen, recipe, device=training_device(recipe.runtime.device), name="network")
    with tempfile.TemporaryDirectory() as nowhere:
        return begun.find_rate(steps, Path(nowhere), progress("Trying rates"))


def preview(source: Source, recipe: Recipe) -> tuple[bytes, list[str]]:
    """What augmentation makes of a few pictures of different classes, side by side.

    Returns:
        The sheet as PNG, and sentences about changes that can alter what a class means.

    Raises:
        RecipeError: the recipe augments nothing.
        SourceError: no picture can be read.
    """
    if not recipe.augment.is_any:
        raise RecipeError(_("This recipe augments nothing."), hint=_("Say what, such as --set augment.rotation=15."))
    require_torch("Augmenting pictures")
    from kilat.fit.augment.preview import sheet

    size = input_size(recipe, source)
    fit = Resizer(size, recipe.input.resize)
    labels = [entry.label for entry in source.entries]
    firsts = np.sort(np.unique(labels, return_index=True)[1])
    pixels = []
    for row in firsts[np.unique(np.linspace(0, len(firsts) - 1, PREVIEWED).round().astype(int))]:
        try:
            pixels.append(fit(np.asarray(decode(source.read(int(row)), shrink_to=size)[0])))
        except PictureError:
            continue
    if not pixels:
        raise SourceError(_("None of the pictures that were to be shown can be read."))
    file = io.BytesIO()
    sheet(np.stack(pixels), recipe.augment, seed=recipe.runtime.seed).save(file, "PNG")
    return file.getvalue(), altered_meanings(recipe.augment, sorted(set(labels)))


def require_network(recipe: Recipe) -> Network:
    """The network of a recipe.

    Raises:
        RecipeError: it has none.
    """
    if recipe.model is None:
        raise RecipeError(
            _("This recipe fits a head on a frozen backbone; there is no network in it that is trained by gradient."),
            hint=_("Take one with a section model, such as vgg-cifar."),
        )
    return recipe.model
