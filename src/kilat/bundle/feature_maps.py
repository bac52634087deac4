"""What a finished model computes on its way to an answer: the filters of its first layers, and what each layer gives.

From the model file alone: the tensors of its layers become outputs of a copy of its graph, which ONNX Runtime runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from kilat.bundle.gallery import ImageLike
from kilat.bundle.graph.cost import MAX_PLANNED
from kilat.bundle.graph_layers import GraphLayer, graph_layers
from kilat.bundle.onnx_safety import require_bounded, require_self_contained
from kilat.bundle.prediction import Prediction
from kilat.bundle.predictor import Classifier
from kilat.data.image_file import read_file
from kilat.errors import KilatError, ModelFileError, RecipeError, did_you_mean
from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.recipe.network_summary import KERNELS
from kilat.runtime.array_types import Floats, Pixels
from kilat.runtime.byte_budget import decoded_bytes
from kilat.runtime.cores import available_cores
from kilat.runtime.interruptible import interruptible
from kilat.runtime.onnx_session import make_session, run

FILTERS_OF = 3
"""Layers whose filters are worth looking at: the first ones, which see edges and colours."""

_PIXELS = "pixels"
"""The tensor with the picture as the network gets it, in every model file of kilat."""


_MOST_KEPT = 1 << 30
"""Bytes of what layers give that are looked at together."""


@dataclass(frozen=True)
class LayerOutput:
    """What a layer gives for a picture.

    Args:
        name: of the layer, as ``kilat summary`` has it.
        kind: as a recipe calls it.
        values: float32 ``[height, width, channels]`` of a map, ``[tokens, channels]`` or ``[units]``.
        inside: the name of the layer that it is in, such as a residual block; empty for a row of the layer table.
        filters: its kernel, where it is one of the first layers and that can be drawn: float32
            ``[filters, height, width, channels]``.
    """

    name: str
    kind: str
    values: Floats
    inside: str = ""
    filters: Floats | None = None

    @property
    def channels(self) -> int:
        """How many channels, or units, it has."""
        return int(self.values.shape[-1])

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Its shape, mean, standard deviation and range, and the shares of zeros and of channels of zeros alone."""
        values = self.values.astype(np.float64)
        is_zero = values == 0
        return {
            "layer": self.name,
            "kind": self.kind,
            "shape": list(self.values.shape),
            "mean": float(values.mean()),
            "std": float(values.std()),
            "min": float(values.min()),
            "max": float(values.max()),
            "zero_share": float(is_zero.mean()),
            "zero_channels": int(is_zero.reshape(-1, self.channels).all(0).sum()),
        }


@dataclass(frozen=True)
class Activations:
    """A picture on its way through a model.

    Args:
        prediction: the model's answer.
        pixels: the picture as its network gets it, uint8 ``[size, size, 3]``.
        layers: what each layer gives, in the order in which the picture goes through them.
        names: of all layers of the model, also where only some were asked for.
    """

    prediction: Prediction
    pixels: Pixels
    layers: list[LayerOutput]
    names: list[str]

    def __getitem__(self, name: str) -> Floats:
        """Return what a layer gives: ``[height, width, channels]``, ``[tokens, channels]`` or ``[units]``."""
        found = next((one for one in self.layers if name == one.name or name in one.name.split("+")), None)
        if found is None:
            raise KeyError(name)
        return found.values

    def document(self) -> dict[str, Any]:
        """Return the answer and the statistics of each layer, as JSON holds them."""
        return {**vars(self.prediction), "layers": [one.statistics for one in self.layers]}


def look_inside(classifier: Classifier, picture: ImageLike, wanted: Sequence[str] = ()) -> Activations:
    """Return what the layers of a model give for a picture.

    Args:
        classifier: the model.
        picture: a path, the bytes of an image file, or pixels.
        wanted: names of layers, as ``kilat summary`` prints them or in its JSON; all of the layer table by default.

    Raises:
        RecipeError: the model has no layer of a name.
        PictureError: the picture cannot be read.
        ModelFileError: the model has no layers that could be looked at.
    """
    where, data = _("the model"), classifier.content
    tensors = require_bounded(require_self_contained(data, where), classifier.manifest.size, where, len(data)).tensors
    model = onnx.load_from_string(data)
    try:
        layers = graph_layers(model, classifier.manifest, {name: one.shape for name, one in tensors.items()})
    except (LookupError, ValueError):  # names that say other layers than there are
        layers = []
    if not layers:
        raise ModelFileError(_("The model has no layers with weights."))
    (prediction,) = classifier.predict(picture)
    chosen = _choose(layers, wanted)
    first = [one for one in layers if one.kernel and one.kind in KERNELS][:FILTERS_OF]
    kernels = {one.name: one.kernel for one in first}
    kept = {*(one.tensor for one in chosen), *kernels.values()}
    _require_room(sum(tensors[name].size for name in kept))
    pixels, found = _run(model, classifier, picture, kept)
    filters = {
        name: _filters(found[kernel], len(pixels) if name == first[0].name else 0) for name, kernel in kernels.items()
    }
    outputs = [
        LayerOutput(one.name, one.kind, _channels_last(found[one.tensor], one), one.inside, filters.get(one.name))
        for one in chosen
    ]
    return Activations(prediction, pixels, outputs, [one.name for one in layers])


def _require_room(size: int) -> None:
    """Refuse to keep what many large layers give.

    Raises:
        RecipeError: it takes more memory than is allowed.
    """
    if size > _MOST_KEPT:
        message = _("What these layers give takes {size} MB; {most} MB are allowed at a time.")
        raise RecipeError(
            message.format(size=size >> 20, most=_MOST_KEPT >> 20), hint=_("Name fewer of them with --layer.")
        )


def _choose(layers: Sequence[GraphLayer], wanted: Sequence[str]) -> list[GraphLayer]:
    """Return the layers of these names; those of the layer table where none are given.

    Raises:
        RecipeError: there is none of a name.
    """
    if not wanted:
        return [one for one in layers if not one.inside]
    found = []
    for name in wanted:
        exact = next((one for one in layers if one.name == name), None)
        other = exact or next((one for one in layers if name in one.aliases), None)
        if other is None:
            raise RecipeError(_("The model has no layer '{name}'.").format(name=name), hint=_hint(name, layers))
        found.append(other)
    return [one for one in layers if one in found]


def _hint(name: str, layers: Iterable[GraphLayer]) -> str:
    if "dropout" in name:
        return _("Dropout does nothing in a finished model, so its file has no such layer.")
    names = [one.name for one in layers]
    parts = [part for one in names for part in one.split("+")]
    return did_you_mean(name, parts) or _("Its layers: {names}.").format(
        names=", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    )


def _run(
    model: onnx.ModelProto, classifier: Classifier, picture: ImageLike, names: Iterable[str]
) -> tuple[Pixels, dict[str, Floats]]:
    """Return the picture as the network gets it, and tensors of the graph for it by their names."""
    content = picture if isinstance(picture, bytes | np.ndarray) else read_file(str(picture))
    wanted = sorted({_PIXELS, *names})
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)

    def compute() -> dict[str, Any]:
        session = make_session(
            model.SerializeToString(),
            threads=available_cores(),
            optimize=False,
            plan_memory=len(model.graph.node) <= MAX_PLANNED,
        )
        with decoded_bytes.hold():
            return dict(zip(wanted, run(session, wanted, {"image": classifier.pixels(content)}), strict=True))

    try:
        found = interruptible(compute)
    except KilatError:
        raise
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise ModelFileError(
            _("The layers of the model cannot be looked at: {error}").format(error=shortened(str(error)))
        ) from error
    return np.asarray(found.pop(_PIXELS)[0], np.uint8), {
        name: np.asarray(values, np.float32) for name, values in found.items()
    }


def _channels_last(values: Floats, layer: GraphLayer) -> Floats:
    """Return what a layer gives for the picture itself, and not for its mirror image beside it."""
    first = values[0]
    return np.moveaxis(first, 0, -1) if first.ndim == 3 and not layer.channels_last else np.atleast_1d(first)


def _filters(kernel: Floats, side: int) -> Floats | None:
    """Return a kernel as pictures ``[filters, height, width, channels]``; None where it has no height and width.

    Args:
        kernel: of a convolution or a dense layer.
        side: of the picture in pixels, for the first layer of all: a dense one has a number for each pixel.
    """
    if kernel.ndim == 4:
        return np.moveaxis(kernel, 1, -1) if min(kernel.shape[2:]) > 1 else None
    channels = kernel.shape[-1] // side**2 if side else 0
    if channels not in (1, 3) or kernel.shape[-1] != channels * side**2:
        return None
    return kernel.reshape(len(kernel), side, side, channels)
