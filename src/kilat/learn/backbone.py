"""The backbone of a recipe on this machine: its size, its precision, and what runs it."""

from dataclasses import dataclass, field

from kilat.data.catalog import Source
from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.features.backbone import Backbone
from kilat.features.concat import concat
from kilat.features.extract import suggested_size
from kilat.features.processing import OnnxRunner, Runner
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Features
from kilat.runtime.extras import has_torch

_LARGEST = 1024
"""Side in pixels up to which pictures may be worth enlarging; no network is larger."""


@dataclass(frozen=True)
class Choice:
    """A backbone, and what is worth saying about how it came to be."""

    backbone: Backbone
    notes: list[Note] = field(default_factory=list)


def choose(features: Features, source: Source, device: str) -> Choice:
    """Return the backbone of a recipe, its size and precision settled: int8 on a CPU, fp32 on a GPU.

    Args:
        features: the recipe's section.
        source: the pictures, whose own size decides where the recipe says ``auto``.
        device: ``cpu`` or ``cuda``.

    Raises:
        BackboneError: it does not exist, or not in this size or precision.
        MissingExtra: it comes with the extra ``torch`` or ``weights``, which is not installed.
    """
    embedded = [name for name in features.backbones if name in lite.NAMES and features.weights is None]
    others = [name for name in features.backbones if name not in embedded]
    if others and features.precision == "int8":
        raise BackboneError(
            _("The backbone {name} computes in fp32 only.").format(name=others[0]),
            hint=_("Leave features.precision at auto."),
        )
    if others and not has_torch():
        names = ", ".join(lite.NAMES)
        raise MissingExtra(_("The backbone '{name}' (any but {names})").format(name=others[0], names=names), "torch")
    size, notes = _settle_size(features, source, device, has_others=bool(others))
    precision = features.precision
    if precision == "auto":
        precision = "int8" if device == "cpu" else "fp32"
    built = []
    for name in features.backbones:
        if name in embedded:
            built.append(lite.build(size, precision, name))
        else:
            from kilat.model import backbones

            built.append(backbones.load(name, weights=features.weights, size=size))
    return Choice(concat(built, flip_average=features.flip_average), notes)


def _settle_size(features: Features, source: Source, device: str, *, has_others: bool) -> tuple[int, list[Note]]:
    """Return the side in pixels that all backbones get: the given one, or one that the pictures are worth."""
    if not has_others:
        largest = max(lite.DEFAULT_SIZES[name] for name in features.backbones)
        return (suggested_size(source, largest) if features.size == "auto" else features.size), []
    from kilat.model import backbones

    if features.size != "auto":
        return backbones.settle_size(features.backbones, features.size, features.size, device)
    return backbones.settle_size(features.backbones, None, suggested_size(source, _LARGEST, stride=1), device)


def runner(backbone: Backbone, features: Features, device: str) -> Runner:
    """Return what runs the backbone: PyTorch on a GPU, ONNX Runtime on a CPU and for several backbones side by side."""
    if device != "cuda" or len(features.backbones) > 1 or features.flip_average:
        return OnnxRunner(backbone)
    from kilat.model.gpu import TorchRunner

    return TorchRunner(features.backbone, backbone.size, features.weights, device)
