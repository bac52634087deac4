"""Which backbone a recipe means on this machine, at which size and precision, and what runs it."""

from kilat.data.catalog import Source
from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.features.backbone import Backbone
from kilat.features.concat import concat
from kilat.features.extract import OnnxRunner, Runner, suggested_size
from kilat.locale import _
from kilat.recipe import Features
from kilat.runtime.extras import has_torch


def choose(wanted: Features, source: Source, device: str) -> Backbone:
    """The backbone of a recipe, with its size and precision settled: int8 on a CPU, fp32 where a GPU looks.

    Raises:
        BackboneError: it does not exist, or cannot be had as asked.
        MissingExtra: it comes with the extra ``torch`` or ``weights``, which is not installed.
    """
    if wanted.precision == "int8" and (foreign := [name for name in wanted.backbones if not _is_lite(name, wanted)]):
        raise BackboneError(
            _("The backbone {foreign} computes in fp32 only.").format(foreign=foreign[0]),
            hint=_("Leave features.precision at auto."),
        )
    side = _side(wanted, source)
    precision = wanted.precision if wanted.precision != "auto" else "int8" if device == "cpu" else "fp32"
    found = [_build(name, wanted, side, precision) for name in wanted.backbones]
    return concat(found, flip_average=wanted.flip_average)


def _is_lite(name: str, wanted: Features) -> bool:
    return name in lite.NAMES and wanted.weights is None


def _side(wanted: Features, source: Source) -> int | None:
    """The side in pixels that was asked for, or that suits the pictures; None for a timm network's own."""
    if wanted.size != "auto":
        return wanted.size
    usual = [lite.DEFAULT_SIZES[name] for name in wanted.backbones if _is_lite(name, wanted)]
    return suggested_size(source, max(usual)) if usual else None


def _build(name: str, wanted: Features, side: int | None, precision: str) -> Backbone:
    if _is_lite(name, wanted):
        assert side is not None
        return lite.build(side, precision, name)
    if not has_torch():
        raise MissingExtra(
            _("The backbone '{name}' (any but {own})").format(name=name, own=", ".join(lite.NAMES)), "torch"
        )
    from kilat.model import backbones

    return backbones.load(name, weights=wanted.weights, size=side)


def runner(backbone: Backbone, wanted: Features, device: str) -> Runner:
    """What runs the backbone: PyTorch on a GPU, ONNX Runtime on a CPU and for joined backbones."""
    if device != "cuda" or len(wanted.backbones) > 1 or wanted.flip_average:
        return OnnxRunner(backbone)
    from kilat.model.gpu import TorchRunner

    return TorchRunner(wanted.backbone, backbone.size, wanted.weights, device)
