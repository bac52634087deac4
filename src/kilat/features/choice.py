"""Which backbone a recipe means on this machine, at which size and precision, and what runs it."""

from kilat import runtime
from kilat.data.catalog import Source
from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.features.backbone import Backbone
from kilat.features.extract import OnnxRunner, Runner, working_size
from kilat.recipe import Features


def choose(wanted: Features, source: Source, device: str) -> Backbone:
    """The backbone of a recipe, with its size and precision settled: int8 on a CPU, fp32 where a GPU looks.

    Raises:
        BackboneError: it does not exist, or cannot be had as asked.
        MissingExtra: it comes with the extra ``torch``, which is not installed.
    """
    if wanted.backbone == lite.NAME and wanted.weights is None:
        side = working_size(source) if wanted.size == "auto" else wanted.size
        precision = wanted.precision if wanted.precision != "auto" else "int8" if device == "cpu" else "fp32"
        return lite.build(side, precision)
    if wanted.precision == "int8":
        raise BackboneError(
            f"The backbone {wanted.backbone} computes in fp32 only.", mend="Leave features.precision at auto."
        )
    if not runtime.has_torch():
        raise MissingExtra(f"The backbone '{wanted.backbone}' (only {lite.NAME} comes with the core)", "torch")
    from kilat.model import backbones

    size = None if wanted.size == "auto" else wanted.size
    return backbones.load(wanted.backbone, weights=wanted.weights, size=size)


def runner(backbone: Backbone, wanted: Features, device: str) -> Runner:
    """What runs the backbone on a device: ONNX Runtime on a CPU, PyTorch on a GPU."""
    if device == "cpu":
        return OnnxRunner(backbone)
    from kilat.model.gpu import TorchRunner

    return TorchRunner(wanted.backbone, backbone.size, wanted.weights, device)
