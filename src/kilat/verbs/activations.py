"""``kilat activations``: what the layers of a finished model make of a picture; that as a page, and as files."""

import re
from collections.abc import Sequence
from pathlib import Path

from kilat.bundle.feature_maps import Activations, look_inside
from kilat.bundle.gallery import ImageLike
from kilat.bundle.predictor import Classifier, load
from kilat.errors import RunError
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.files import write_file, write_json

ANSWERS = "activations.json"
"""The file with the answer and the statistics of each layer, beside the pictures of ``write_files``."""

_LONGEST_NAME = 80
"""Characters of a layer's name in that of its file, which its number tells from others."""


def activations(
    model: str | Path | Classifier, picture: ImageLike, layers: Sequence[str] | str | None = None
) -> Activations:
    """Return what the layers of a finished model give for a picture, from the model file alone.

    Args:
        model: a ``model.onnx``, the run folder that holds it, or a classifier.
        picture: a path, the bytes of an image file, or uint8 pixels ``[height, width(, 3)]``.
        layers: names of layers, as ``kilat summary`` prints them; all of its table by default. A layer within another
            one, such as a convolution of a residual block, has to be named.

    Raises:
        KilatError: the model or the picture cannot be read, or there is no such layer.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    return look_inside(classifier, picture, [layers] if isinstance(layers, str) else layers or ())


def to_page(found: Activations, title: str, command: str, *, by_name: bool) -> str:
    """Return a page with filters and feature maps, as HTML.

    Args:
        found: what the layers give.
        title: what the model is called.
        command: that was typed.
        by_name: whether the layers were chosen by their names, so that all of them are shown.
    """
    from kilat.report import activations_page

    return activations_page.render(title, command, found, by_name=by_name)


def write_files(found: Activations, folder: Path) -> list[Path]:
    """Write into a folder a sheet of feature maps and one of filters for each layer, and their statistics as JSON.

    Returns:
        The files, the statistics last.

    Raises:
        RunError: they cannot be written.
    """
    from kilat.report.layer_sheets import filter_sheet, map_sheet

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = system_reason(error)
        raise RunError(_("{folder} cannot be made: {reason}.").format(folder=folder, reason=reason)) from error
    files: list[Path] = []
    for number, layer in enumerate(found.layers):
        name = f"{number:03d}-{re.sub(r'[^A-Za-z0-9_.+-]', '-', layer.name)[:_LONGEST_NAME]}"
        sheets = {f"{name}.png": map_sheet(layer)}
        if layer.filters is not None:
            sheets[f"{name}-filters.png"] = filter_sheet(layer)
        for file, png in sheets.items():
            write_file(folder / file, png)
            files.append(folder / file)
    write_json(folder / ANSWERS, found.document())
    return [*files, folder / ANSWERS]
