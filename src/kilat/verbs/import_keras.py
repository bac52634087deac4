"""A finished Keras model as one kilat file: read without running anything in it, exported, compared with Keras itself.

Torch and Keras are imported when they are needed, so that whoever lacks them is told what to install.
"""

import hashlib
import importlib.util
import json
import os
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.bundle.assemble import export_network
from kilat.bundle.manifest import MAX_BYTES, Manifest
from kilat.bundle.parity import check, sample
from kilat.bundle.predictor import Classifier
from kilat.data.catalog import Source
from kilat.data.decode import decode
from kilat.data.source import ArraySource
from kilat.errors import MissingExtra, ModelFileError, PictureError, RecipeError, RunError, SourceError, nearest
from kilat.evaluate.calibration import apply_temperature
from kilat.features.resize_graph import OPSET, Resizer
from kilat.learn import metadata
from kilat.locale import _
from kilat.recipe import Resize

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Kind = Literal["softmax", "sigmoid", "linear"]

SCALES = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}
"""What black and white are to a model."""

_RESAVE = "In the environment that it was trained in: model.save('model.keras')."
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")
"""Classes that bring their own code in the file."""

_DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What a file that is something else, or cut off, makes the readers of zip, HDF5 and JSON raise."""


def import_keras(
    path: Path,
    *,
    classes: Sequence[str],
    scale: str = "0..255",
    resize: Resize = "squash",
    source: Source | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """A Keras image classifier as a kilat model.

    Its last activation says how its answers are read: softmax gives probabilities, no activation gives logits, and
    one unit (with a sigmoid, or without) gives the probability of the second of two classes.

    Args:
        path: ``model.keras``, or ``model.h5`` of either generation of Keras.
        classes: their names, in the order of the model's outputs.
        scale: what the model was given as pixels: ``0..255`` (as models that start with Rescaling take), ``0..1`` or
            ``-1..1``.
        resize: how pictures that are not square are to be fitted; Keras's own loaders squash.
        source: pictures to compare the file with Keras on; None for the sample pictures of scikit-learn.

    Returns:
        The serialised model, and what it is: ``classes``, ``size``, ``parameters``, ``output``, ``parity``.

    Raises:
        MissingExtra: Keras is not installed.
        ModelFileError: the file is no Keras model, would run code of its own, or is no classifier of square pictures.
        RecipeError: the names or the scale cannot be meant.
        RunError: the model cannot be exported, or the file does not answer as Keras does.
        SourceError: none of the source's pictures can be read.
    """
    _require_choices(classes, scale)
    keras = _keras()
    _refuse_code(_config(path), path)
    with keras.device("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that Keras calls old, and of shapes that tracing fixes
        model = _load(keras, path)
        size, channels = _input(model, path)
        source, rows, pixels = _pictures(source, size, resize)
        answers = np.asarray(model.predict(_scaled(pixels, scale, grey=channels == 1), verbose=0), np.float32)
        kind = _kind(model, answers, classes, path)
        network = _network(keras, model, kind, size, scale, grey=channels == 1)
    manifest = _manifest(path, classes, size, network, {"scale": scale, "resize": resize}, model.name)
    file = export_network(network, size=size, resize=resize, temperature=1.0, manifest=manifest)
    parity = check(Classifier(file), source, rows, _probabilities(answers, kind), None)
    facts = {
        "classes": list(classes),
        "size": size,
        "parameters": int(model.count_params()),
        "output": kind,
        "parity": vars(parity),
    }
    return file, facts


def _require_choices(classes: Sequence[str], scale: str) -> None:
    if scale not in SCALES:
        raise RecipeError(_("There is no scale {scale!r}.").format(scale=scale), hint=nearest(scale, SCALES))
    if len(classes) < 2 or len(set(classes)) < len(classes) or not all(classes):
        given = ", ".join(repr(name) for name in classes) or "none"
        raise RecipeError(
            _("A classifier needs two classes or more, each with a name of its own; given: {given}.").format(
                given=given
            )
        )


def _keras() -> Any:
    """The package ``keras``, computing with PyTorch."""
    if not all(importlib.util.find_spec(name) for name in ("keras", "torch", "h5py")):
        raise MissingExtra(_("Reading Keras models"), "keras")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    import keras

    backend = keras.config.backend()
    if backend != "torch":
        raise RunError(
            _("Keras already computes with {backend} in this program; kilat reads its models through PyTorch.").format(
                backend=backend
            ),
            hint=_("Set the environment variable KERAS_BACKEND=torch before Keras is imported."),
        )
    return keras


def _config(path: Path) -> Any:
    """The description of the layers in a model file, without anything being made from it."""
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ModelFileError(
            _("{path} {found}; a Keras model is one file, .keras or .h5.").format(path=path, found=found), hint=_RESAVE
        )
    try:
        text = _zipped(path) if path.suffix == ".keras" else _from_hdf5(path)
        return json.loads(text)
    except _DAMAGE:
        message = f"{path} is not a Keras model (.keras or .h5), or it is damaged."
        raise ModelFileError(message, hint=_RESAVE) from None


def _zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("config.json")
        if member.file_size > MAX_BYTES:
            raise ValueError
        return archive.read(member)


def _from_hdf5(path: Path) -> str | bytes:
    import h5py  # type: ignore[import-untyped]

    if path.suffix not in (".h5", ".hdf5"):
        raise ValueError
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ModelFileError(
                _("{path} holds weights, but not the layers that they belong to.").format(path=path), hint=_RESAVE
            )
        text: str | bytes = file.attrs["model_config"]
        return text


def _refuse_code(config: Any, path: Path) -> None:
    """Refuses what would run code from the file, or code that this program does not have.

    Keras's own safe mode stands behind this; the names are for the user.
    """
    for name, module in _parts(config):
        if name in _CODE:
            raise ModelFileError(
                _("{path} holds a {name} layer, which is code inside the file; kilat runs none.").format(
                    path=path, name=name.strip("_")
                ),
                hint=_("Replace it with layers of Keras, such as Rescaling, and save the model again."),
            )
        if module.partition(".")[0] not in ("", "keras", "builtins"):
            raise ModelFileError(
                _("{path} holds '{name}' of '{module}', which is not part of Keras.").format(
                    path=path, name=name, module=module
                ),
                hint=_("Replace it with layers of Keras, and save the model again."),
            )


def _parts(config: Any) -> Iterator[tuple[str, str]]:
    """The class and the module of everything in a model; how it was trained is left out."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield str(config["class_name"]), str(config.get("module") or "")
        for key, value in config.items():
            if key != "compile_config":
                yield from _parts(value)
    elif isinstance(config, list):
        for value in config:
            yield from _parts(value)


def _load(keras: Any, path: Path) -> Any:
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelFileError(
            _("Keras {version} cannot read {path}: {reason}").format(
                version=keras.__version__, path=path, reason=reason
            ),
            hint=_RESAVE,
        ) from error
    for layer in model._flatten_layers():  # noqa: SLF001 - the public `layers` stops at models inside the model
        if layer.dtype_policy.name.startswith("mixed_"):
            layer.dtype_policy = "float32"  # the weights already are; the file computes in float32 too
    return model


def _input(model: Any, path: Path) -> tuple[int, int]:
    """Side in pixels and number of channels of the pictures that a model takes."""
    inputs = [list(one.shape[1:]) for one in getattr(model, "inputs", None) or []]
    outputs = [list(one.shape[1:]) for one in getattr(model, "outputs", None) or []]
    found = f"{path} takes {_shapes(inputs)} and gives {_shapes(outputs)}"
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0]) != 1 or outputs[0][0] is None:
        raise ModelFileError(
            _("{found}; kilat reads models with one input and one answer for each class.").format(found=found)
        )
    if len(inputs[0]) != 3 or inputs[0][2] not in (1, 3):
        raise ModelFileError(
            _("{found}; kilat reads models of pictures [height, width, 3], or 1 in grey.").format(found=found)
        )
    height, width, channels = inputs[0]
    if height is None or height != width:
        raise ModelFileError(
            _("{found}; kilat reads models of square pictures of one size.").format(found=found),
            hint=_(
                "Build the model with an input of that size, such as keras.Input((224, 224, 3)), and save it again."
            ),
        )
    return int(height), int(channels)


def _shapes(shapes: list[list[int | None]]) -> str:
    texts = ["[" + ", ".join("any" if side is None else str(side) for side in shape) + "]" for shape in shapes]
    return " and ".join(texts) or "nothing that is known"


def _pictures(source: Source | None, size: int, resize: Resize) -> tuple[Source, NDArray[np.int64], Pixels]:
    """Pictures to compare on: where they are, which of them, and what the model sees of them."""
    source = source or _samples()
    offered = np.array([row for row, entry in enumerate(source.entries) if not entry.refused], np.int64)
    fit = Resizer(size, resize)
    pixels: dict[int, Pixels] = {}
    for row in sample(offered).tolist() if len(offered) else []:
        try:
            image, _unused = decode(source.read(row), shrink_to=size)
        except PictureError:  # what cannot be read says nothing about the model
            continue
        pixels[row] = fit(np.asarray(image))
    if not pixels:
        raise SourceError(
            _("None of the pictures in {name} can be read; the model cannot be compared on them.").format(
                name=source.name
            )
        )
    return source, np.array([*pixels], np.int64), np.stack([*pixels.values()])


def _samples() -> Source:
    """64 pictures that come with scikit-learn: pieces of its two photos, and handwritten digits."""
    from sklearn.datasets import load_digits, load_sample_images

    photos = load_sample_images().images
    pieces = [piece for photo in photos for band in np.array_split(photo, 4) for piece in np.array_split(band, 4, 1)]
    digits = [(15 * digit).astype(np.uint8) for digit in load_digits().images[:32]]
    return ArraySource([*pieces, *digits], ["sample"] * 64, "scikit-learn's samples")


def _scaled(pixels: Pixels, scale: str, *, grey: bool) -> Floats:
    """Pixels uint8 ``[n, size, size, 3]`` as a model wants them, the way NumPy and Pillow make them."""
    if grey:
        pixels = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in pixels])[..., None]
    low, high = SCALES[scale]
    return (low + pixels.astype(np.float32) * np.float32((high - low) / 255)).astype(np.float32)


def _kind(model: Any, answers: Floats, classes: Sequence[str], path: Path) -> Kind:
    """How a model's answers ``[n, k]`` are to be read."""
    units = answers.shape[1]
    if units != len(classes) and (units, len(classes)) != (1, 2):
        raise ModelFileError(
            _("{path} has {units} outputs, but {count} class names were given.").format(
                path=path, units=units, count=len(classes)
            ),
            hint=_("Give {units} names, in the order of the outputs.").format(units=max(units, 2)),
        )
    if units > 1 and (answers >= 0).all() and np.allclose(answers.sum(1), 1, atol=1e-3):
        return "softmax"
    activation = _activation(_last(model))
    if activation == "linear":
        return "linear"
    if activation == "sigmoid" and units == 1:
        return "sigmoid"
    raise ModelFileError(
        _(
            "{path} ends in {activation} of {units} outputs, which are no probabilities of classes "
            "that exclude each other."
        ).format(path=path, activation=activation or _("an operation"), units=units),
        hint=_(
            "Kilat reads models that end in a layer with softmax, with no activation, or in one unit with a sigmoid."
        ),
    )


def _last(model: Any) -> Any:
    """The layer that gives a model's answers, inside of models inside the model too."""
    while getattr(model, "outputs", None):
        model = model.outputs[0]._keras_history.operation  # noqa: SLF001 - the only record of what made an output
    return model


def _activation(layer: Any) -> str:
    """The name of a layer's activation; empty where it has none to know it by."""
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))


def _network(keras: Any, model: Any, kind: Kind, size: int, scale: str, *, grey: bool) -> bytes:
    """The graph from pixels to logits."""
    from kilat.model.to_onnx import Adapted, to_onnx

    if kind == "sigmoid":  # its logit cannot be had back from a probability that float32 rounds to 1
        _last(model).activation = keras.activations.linear
    low, high = SCALES[scale]
    return to_onnx(Adapted(model, low=low, high=high, grey=grey, log=kind == "softmax"), size=size)


def _probabilities(answers: Floats, kind: Kind) -> Floats:
    """Keras's answers ``[n, k]`` as probabilities of the classes."""
    if kind == "softmax":
        return answers
    if kind == "sigmoid":
        return np.hstack([1 - answers, answers])
    return apply_temperature(answers if answers.shape[1] > 1 else np.hstack([0 * answers, answers]), 1.0)


def _manifest(
    path: Path, classes: Sequence[str], size: int, network: bytes, choices: dict[str, str], name: str
) -> Manifest:
    """What the file says of itself: no recipe, no thresholds and no measures, since kilat saw no training."""
    digest = hashlib.sha256(network).hexdigest()
    made = metadata.Described(f"keras: {name}", size, "fp32", digest, OPSET, packages=("keras", "torch"))
    return Manifest(
        classes=tuple(classes),
        size=size,
        backbone={"name": made.name, "precision": made.precision, "digest": made.digest},
        recipe={"imported": path.name, **choices},
        thresholds={},
        measures={},
        digests={"imported": hashlib.sha256(path.read_bytes()).hexdigest()},
        versions=metadata.versions(made),
    )
