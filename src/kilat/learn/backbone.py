"""The backbone of a recipe on this machine: its size, its precision, and what runs it."""

from kilat.data.catalog import Source
from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.features.backbone import Backbone
from kilat.features.concat import concat
from kilat.features.extract import suggested_size
from kilat.features.processing import OnnxRunner, Runner
from kilat.locale import _
from kilat.recipe import Features
from kilat.runtime.extras import has_torch


def choose(features: Features, source: Source, device: str) -> Backbone:
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
    size = None if features.size == "auto" else features.size  # None is a timm network's own
    if size is None and embedded:
        size = suggested_size(source, max(lite.DEFAULT_SIZES[name] for name in embedded))
    precision = features.precision
    if precision == "auto":
        precision = "int8" if device == "cpu" else "fp32"
    built = []
    for name in features.backbones:
        if name in embedded:
            assert size is not None
            built.append(lite.build(size, precision, name))
        else:
            from kilat.model import backbones

            built.append(backbones.load(name, weights=features.weights, size=size))
    return concat(built, flip_average=features.flip_average)


def runner(backbone: Backbone, features: Features, device: str) -> Runner:
    """Return what runs the backbone: PyTorch on a GPU, ONNX Runtime on a CPU and for several backbones side by side."""
    if device != "cuda" or len(features.backbones) > 1 or features.flip_average:
        return OnnxRunner(backbone)
    from kilat.model.gpu import TorchRunner

    return TorchRunner(features.backbone, backbone.size, features.weights, device)
