"""The verb ``import``: a saved Keras classifier as one kilat file, compared with Keras itself on real pictures."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from kilat.bundle.assemble import assemble_network
from kilat.bundle.manifest import Manifest
from kilat.bundle.parity import check_parity, sample_rows
from kilat.bundle.predictor import Classifier
from kilat.data.arrays import ArraySource
from kilat.data.catalog import Source
from kilat.data.decode import decode
from kilat.errors import ModelFileError, PictureError, RecipeError, SourceError, nearest
from kilat.evaluate.calibration import apply_temperature
from kilat.features.resize_graph import OPSET, Resizer
from kilat.learn import metadata
from kilat.locale import _, ngettext
from kilat.recipe import Resize
from kilat.runtime.array_types import Floats, Ints, Pixels

Activation = Literal["softmax", "sigmoid", "linear"]

SCALES = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}
"""The values of black and of white in a model's input."""


def import_keras(
    path: Path,
    *,
    classes: Sequence[str],
    scale: str = "0..255",
    resize: str = "squash",
    source: Source | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """Return a Keras image classifier as a kilat model.

    Its last activation says what its outputs are: after softmax probabilities, without an activation logits; one unit
    (with a sigmoid, or without an activation) is the second of two classes.

    Args:
        path: ``model.keras``, or ``model.h5`` of either generation of Keras.
        classes: their names, in the order of the model's outputs.
        scale: the range of the pixels that the model was trained on: ``0..255`` (models that start with Rescaling),
            ``0..1`` or ``-1..1``.
        resize: how pictures that are not square are resized: ``crop``, ``squash`` (as Keras's own loaders do) or
            ``pad``.
        source: pictures to compare the file with Keras on; None for the sample pictures of scikit-learn.

    Returns:
        The serialised model, and what it is: ``classes``, ``size``, ``parameters``, ``output``, ``parity``.

    Raises:
        MissingExtra: Keras is not installed.
        ModelFileError: the file is not a Keras model, would run code of its own, or does not classify square pictures.
        RecipeError: invalid class names, scale or resize.
        RunError: the model cannot be exported, or the file does not answer as Keras does.
        SourceError: none of the source's pictures can be read.
    """
    resize = _valid_resize(classes, scale, resize)
    from kilat.model import keras_file
    from kilat.model.to_onnx import KerasAdapter, to_onnx

    keras = keras_file.import_keras_package()
    with keras.device("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that Keras calls old, and of shapes that tracing fixes
        model = keras_file.load_model(path)
        size, channels = _input_shape(model, path)
        source, rows, pixels = _comparison_pictures(source or sample_pictures(), size, resize)
        outputs = np.asarray(model.predict(_scaled(pixels, scale, grey=channels == 1), verbose=0), np.float32)
        last = keras_file.last_layer(model)
        activation = _activation(last, outputs, len(classes), path)
        if activation == "sigmoid":  # a probability that float32 rounds to 1 has no logit any more
            last.activation = keras.activations.linear
        low, high = SCALES[scale]
        adapted = KerasAdapter(model, low=low, high=high, grey=channels == 1, log=activation == "softmax")
        network = to_onnx(adapted, size=size)
    manifest = _manifest(path, classes, size, {"scale": scale, "resize": resize}, model.name, network)
    file = assemble_network(network, size=size, resize=resize, temperature=1.0, manifest=manifest)
    parity = check_parity(Classifier(file), source, rows, _probabilities(outputs, activation), None)
    return file, {
        "classes": list(classes),
        "size": size,
        "parameters": int(model.count_params()),
        "output": activation,
        "parity": vars(parity),
    }


def sample_pictures() -> Source:
    """Return 64 pictures that come with scikit-learn: pieces of its two photos, and handwritten digits."""
    from sklearn.datasets import load_digits, load_sample_images

    photos = load_sample_images().images
    pieces = [piece for photo in photos for band in np.array_split(photo, 4) for piece in np.array_split(band, 4, 1)]
    digits = [(15 * digit).astype(np.uint8) for digit in load_digits().images[:32]]
    return ArraySource([*pieces, *digits], ["sample"] * 64, "scikit-learn's samples")


def _valid_resize(classes: Sequence[str], scale: str, resize: str) -> Resize:
    """Return ``resize`` if it, the class names and the scale are valid."""
    if scale not in SCALES:
        raise RecipeError(_("There is no scale '{scale}'.").format(scale=scale), hint=nearest(scale, SCALES))
    ways: tuple[Resize, ...] = get_args(Resize)
    if resize not in ways:
        raise RecipeError(
            _("There is no way to resize pictures called '{resize}'.").format(resize=resize),
            hint=nearest(resize, ways),
        )
    if len(classes) < 2 or len(set(classes)) < len(classes) or not all(classes):
        raise RecipeError(
            _("A classifier needs two classes or more, each with a name of its own; given: {given}.").format(
                given=", ".join(repr(name) for name in classes) or _("none")
            )
        )
    return ways[ways.index(resize)]


def _input_shape(model: Any, path: Path) -> tuple[int, int]:
    """Return side in pixels and number of channels of the pictures that a model takes."""
    inputs = [list(one.shape[1:]) for one in getattr(model, "inputs", None) or []]
    outputs = [list(one.shape[1:]) for one in getattr(model, "outputs", None) or []]
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0]) != 1 or outputs[0][0] is None:
        problem = _(
            "{path} takes {inputs} and gives {outputs}; kilat reads models with one input and one row of outputs."
        )
    elif len(inputs[0]) != 3 or inputs[0][2] not in (1, 3):
        problem = _(
            "{path} takes {inputs} and gives {outputs}; kilat reads models of pictures [height, width, 3 or 1]."
        )
    elif inputs[0][0] is None or inputs[0][0] != inputs[0][1]:
        problem = _("{path} takes {inputs} and gives {outputs}; kilat reads models of square pictures of one size.")
    else:
        return int(inputs[0][0]), int(inputs[0][2])
    raise ModelFileError(
        problem.format(path=path, inputs=_in_words(inputs), outputs=_in_words(outputs)),
        hint=_("Build the model with such an input, as keras.Input((224, 224, 3)) is, and save it again."),
    )


def _in_words(shapes: list[list[int | None]]) -> str:
    texts = ["[" + ", ".join(_("any") if side is None else str(side) for side in shape) + "]" for shape in shapes]
    return _(" and ").join(texts) or _("unknown shapes")


def _comparison_pictures(source: Source, size: int, resize: Resize) -> tuple[Source, Ints, Pixels]:
    """Return the source, the rows of it that can be compared on, and their pixels, ``[n, size, size, 3]``."""
    offered = np.array([row for row, entry in enumerate(source.entries) if not entry.refused], np.int64)
    resizer = Resizer(size, resize)
    pixels: dict[int, Pixels] = {}
    for row in sample_rows(offered).tolist() if len(offered) else []:
        try:
            image, _unused = decode(source.read(row), shrink_to=size)
        except PictureError:  # what cannot be read says nothing about the model
            continue
        pixels[row] = resizer(np.asarray(image))
    if not pixels:
        raise SourceError(
            _("None of the pictures in {name} can be read; the model cannot be compared on them.").format(
                name=source.name
            )
        )
    return source, np.array([*pixels], np.int64), np.stack([*pixels.values()])


def _scaled(pixels: Pixels, scale: str, *, grey: bool) -> Floats:
    """Return pixels ``[n, size, size, 3]`` as a model's input, computed with NumPy and Pillow."""
    if grey:
        pixels = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in pixels])[..., None]
    low, high = SCALES[scale]
    return (low + pixels.astype(np.float32) * np.float32((high - low) / 255)).astype(np.float32)


def _activation(layer: Any, outputs: Floats, classes: int, path: Path) -> Activation:
    """Return what a model's outputs ``[n, units]`` are, from themselves and from the layer that gives them."""
    units = outputs.shape[1]
    if units != classes and (units, classes) != (1, 2):
        message = ngettext(
            "{path} has {units} output, but {classes} class names were given.",
            "{path} has {units} outputs, but {classes} class names were given.",
            units,
        )
        raise ModelFileError(
            message.format(path=path, units=units, classes=classes),
            hint=_("Give {count} names, in the order of the outputs.").format(count=max(units, 2)),
        )
    if units > 1 and (outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-3):
        return "softmax"
    name = str(getattr(getattr(layer, "activation", None), "__name__", ""))
    if name == "linear":
        return "linear"
    if name == "sigmoid" and units == 1:
        return "sigmoid"
    message = ngettext(
        "{path} ends in {activation} with {units} output, which is no probability.",
        "{path} ends in {activation} with {units} outputs, which are no probabilities of mutually exclusive classes.",
        units,
    )
    raise ModelFileError(
        message.format(path=path, activation=name or _("an operation"), units=units),
        hint=_("kilat reads models that end in softmax, in no activation, or in one unit with a sigmoid."),
    )


def _manifest(
    path: Path, classes: Sequence[str], size: int, recipe: dict[str, str], name: str, network: bytes
) -> Manifest:
    """Return what the file says of itself; of its training nothing is known, so no thresholds and no measures."""
    info = metadata.NetworkInfo(
        f"keras: {name}", size, "fp32", hashlib.sha256(network).hexdigest(), OPSET, packages=("keras", "torch")
    )
    return Manifest(
        classes=tuple(classes),
        size=size,
        backbone={"name": info.name, "precision": info.precision, "digest": info.digest},
        recipe={"imported": path.name, **recipe},
        thresholds={},
        measures={},
        digests={"imported": hashlib.sha256(path.read_bytes()).hexdigest()},
        versions=metadata.versions(info),
    )


def _probabilities(outputs: Floats, activation: Activation) -> Floats:
    """Return Keras's outputs ``[n, units]`` as probabilities of the classes."""
    if activation == "softmax":
        return outputs
    if activation == "sigmoid":
        return np.hstack([1 - outputs, outputs])
    return apply_temperature(outputs if outputs.shape[1] > 1 else np.hstack([0 * outputs, outputs]), 1.0)
