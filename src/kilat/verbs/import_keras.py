"""The verb ``import``: a saved Keras classifier as one kilat file, compared with Keras itself on real pictures."""

import contextlib
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from kilat.bundle.assemble import assemble_network
from kilat.bundle.manifest import Manifest
from kilat.bundle.parity import Parity, check_parity, sample_rows
from kilat.bundle.predictor import Classifier
from kilat.data.arrays import ArraySource
from kilat.data.catalog import Source
from kilat.errors import ModelFileError, PictureError, RecipeError, SourceError, nearest
from kilat.evaluate.calibration import apply_temperature
from kilat.features.processing import Preprocessor
from kilat.features.resize_graph import OPSET
from kilat.learn import metadata
from kilat.locale import _, ngettext
from kilat.locale.lists import listed
from kilat.locale.notes import Note
from kilat.recipe import Resize
from kilat.runtime.array_types import Floats, Ints, Pixels
from kilat.verbs.pixel_scale import DEFAULT_SCALE, SCALES, Measured, find_labelled, measure_scales

Activation = Literal["softmax", "sigmoid", "linear"]

_MOST_BYTES = 256 << 20
"""Bytes of pixels that a model is compared on at most."""


def import_keras(
    path: Path,
    *,
    classes: Sequence[str],
    scale: str | None = None,
    resize: str = "squash",
    source: Source | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """Return a Keras image classifier as a kilat model.

    Its last activation says what its outputs are: after softmax probabilities, without an activation logits; one unit
    (with a sigmoid, or without an activation) is the second of two classes.

    Args:
        path: ``model.keras`` or ``model.h5``, of Keras 3 or of Keras 2.
        classes: their names, in the order of the model's outputs.
        scale: how the pixels were scaled that the model was trained on, a key of ``SCALES``. Without it, as labelled
            pictures clearly say, and otherwise ``0..255`` (models that start with Rescaling).
        resize: how pictures that are not square are resized: ``crop``, ``squash`` (as Keras's own loaders do) or
            ``pad``.
        source: pictures to compare the file with Keras on, and to measure the model on where their labels are among the
            classes; None for the sample pictures of scikit-learn.

    Returns:
        The serialised model, and what it is: ``classes``, ``size``, ``parameters``, ``output``, ``pixels``, ``parity``,
        ``labelled`` (how it does on labelled pictures; None without any) and ``notes``.

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
        network, scales = _KerasNetwork(model, grey=channels == 1), _scales(scale, channels)
        pictures = _Pictures(source or sample_pictures(), size, resize)
        rows, pixels = pictures.decode(sample_rows(pictures.rows))
        last = keras_file.last_layer(model)
        activation = _activation(last, network.outputs(pixels, scales[0]), classes, path)
        if activation == "sigmoid":  # a probability that float32 rounds to 1 has no logit any more
            last.activation = keras.activations.linear
        notes, measured = _measure(network, pictures, classes, scales) if source else ([], None)
        scale = measured.scale if measured else scales[0]
        probabilities = network.probabilities(pixels, scale, activation)
        adapted = KerasAdapter(
            model,
            factor=SCALES[scale].factor,
            offset=SCALES[scale].offset,
            reverse=SCALES[scale].reverse,
            grey=network.grey,
            log=activation == "softmax",
        )
        graph = to_onnx(adapted, size=size)
    manifest = _manifest(path, classes, size, {"scale": scale, "resize": resize}, model.name, graph)
    file = assemble_network(graph, size=size, resize=resize, temperature=1.0, manifest=manifest)
    parity = check_parity(Classifier(file), pictures.source, rows, probabilities, None)
    notes += _parity_notes(parity, probabilities, classes)
    return file, {
        "classes": [*classes],
        "size": size,
        "parameters": int(model.count_params()),
        "output": activation,
        "pixels": scale,
        "parity": vars(parity),
        "labelled": measured and measured.document(),
        "notes": [note.document() for note in notes],
    }


@dataclass(frozen=True)
class _KerasNetwork:
    """A model of Keras, asked by NumPy and Pillow alone.

    Args:
        model: of Keras.
        grey: whether it takes grey pictures.
    """

    model: Any
    grey: bool

    def outputs(self, pixels: Pixels, scale: str) -> Floats:
        """Return its outputs ``[n, units]`` for pixels ``[n, size, size, 3]``."""
        if self.grey:
            pixels = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in pixels])[..., None]
        return np.asarray(self.model.predict(SCALES[scale](pixels), verbose=0), np.float32)

    def probabilities(self, pixels: Pixels, scale: str, activation: Activation) -> Floats:
        """Return probabilities ``[n, classes]``; a sigmoid at the end is taken off, so that its outputs are logits."""
        outputs = self.outputs(pixels, scale)
        if activation == "softmax":
            return outputs
        return apply_temperature(outputs if outputs.shape[1] > 1 else np.hstack([0 * outputs, outputs]), 1.0)


@dataclass(frozen=True)
class _Pictures:
    """Pictures as a model takes them, before their values are scaled."""

    source: Source
    size: int
    resize: Resize

    @property
    def rows(self) -> Ints:
        """Rows of the source that were not refused, ``[n]``."""
        return np.array([row for row, entry in enumerate(self.source.entries) if not entry.refused], np.int64)

    def decode(self, rows: Ints) -> tuple[Ints, Pixels]:
        """Return the rows that can be read, of which few are taken where they are large, and their pixels.

        Returns:
            The rows, and pixels ``[n, size, size, 3]``.

        Raises:
            SourceError: none can.
        """
        preprocess = Preprocessor(self.size, self.resize)
        most = max(1, _MOST_BYTES // (3 * self.size**2))
        pixels: dict[int, Pixels] = {}
        for row in rows[:: max(1, -(-len(rows) // most))].tolist():
            with contextlib.suppress(PictureError, MemoryError):  # what cannot be read says nothing about the model
                pixels[row] = preprocess(self.source.read(row))
        if not pixels:
            raise SourceError(
                _("None of the pictures in {name} can be read; the model cannot be compared on them.").format(
                    name=self.source.name
                )
            )
        return np.array([*pixels], np.int64), np.stack([*pixels.values()])


def _measure(
    network: _KerasNetwork, pictures: _Pictures, classes: Sequence[str], scales: Sequence[str]
) -> tuple[list[Note], Measured | None]:
    """Return notes on labels that are no class, and how a network does on the other pictures; None where none is."""
    truth, notes = find_labelled(pictures.source, classes)
    if not truth:
        return notes, None
    rows, pixels = pictures.decode(np.array([*truth], np.int64))

    def predict(scale: str) -> Ints:
        outputs = network.outputs(pixels, scale)
        return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(np.int64)

    measured = measure_scales(predict, scales, np.array([truth[row] for row in rows.tolist()]), classes)
    return notes + measured.notes, measured


def _parity_notes(parity: Parity, probabilities: Floats, classes: Sequence[str]) -> list[Note]:
    """Return what there is to say where all answers are alike."""
    if not parity.conclusive:
        low, high = float(np.ptp(probabilities, axis=0).max()), float(probabilities.max())
        return [Note("import_inconclusive", {"count": parity.pictures, "range": low, "probability": high})]
    predicted = np.unique(probabilities.argmax(1))
    if len(predicted) == 1 and parity.pictures > 1:
        return [Note("import_one_class", {"count": parity.pictures, "label": classes[int(predicted[0])]})]
    return []


def sample_pictures() -> Source:
    """Return 64 pictures that come with scikit-learn: pieces of its two photos, and handwritten digits."""
    from sklearn.datasets import load_digits, load_sample_images

    photos = load_sample_images().images
    pieces = [piece for photo in photos for band in np.array_split(photo, 4) for piece in np.array_split(band, 4, 1)]
    digits = [(15 * digit).astype(np.uint8) for digit in load_digits().images[:32]]
    return ArraySource([*pieces, *digits], ["sample"] * 64, "scikit-learn's samples")


def _valid_resize(classes: Sequence[str], scale: str | None, resize: str) -> Resize:
    """Return ``resize`` if it, the class names and the scale are valid."""
    if scale is not None and scale not in SCALES:
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


def _scales(given: str | None, channels: int) -> list[str]:
    """Return the scales that a model may have been trained with, the likeliest first."""
    usual = [name for name, scale in SCALES.items() if channels == 3 or not scale.needs_colour]
    if given is None:
        return sorted(usual, key=lambda name: name != DEFAULT_SCALE)
    if given not in usual:
        raise RecipeError(
            _("The scale '{scale}' is one of colours, and the model takes grey pictures.").format(scale=given),
            hint=nearest(given, usual),
        )
    return [given]


def _activation(layer: Any, outputs: Floats, classes: Sequence[str], path: Path) -> Activation:
    """Return what a model's outputs ``[n, units]`` are, from themselves and from the layer that gives them."""
    units = outputs.shape[1]
    if units != len(classes) and (units, len(classes)) != (1, 2):
        message = ngettext(
            "{path} has {units} output, but {count} class names were given: {names}.",
            "{path} has {units} outputs, but {count} class names were given: {names}.",
            units,
        )
        raise ModelFileError(
            message.format(path=path, units=units, count=len(classes), names=listed([*classes], 10)),
            hint=_("Give {count} names, in the order of the outputs.").format(count=max(units, 2)),
        )
    if not np.isfinite(outputs).all():
        raise ModelFileError(
            _("{path} answers real pictures with what is not finite (NaN or infinity).").format(path=path),
            hint=_("Its weights may be damaged, or --pixels may be another: {names}.").format(names=", ".join(SCALES)),
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
