"""The backbone of a recipe on this machine: its size, its precision, and what runs it."""

from dataclasses import dataclass, field

from kilat.data.catalog import Source
from kilat.errors import BackboneError, MissingExtra
from kilat.features import int8_layers, lite
from kilat.features.backbone import Backbone
from kilat.features.concat import concat
from kilat.features.extract import suggested_size
from kilat.features.processing import OnnxRunner, Runner
from kilat.learn import int8_check
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
    embedded = [name for name in features.backbones if name in lite.NAMES]
    others = [name for name in features.backbones if name not in embedded]
    if others and not has_torch():
        names = ", ".join(lite.NAMES)
        raise MissingExtra(_("The backbone '{name}' (any but {names})").format(name=others[0], names=names), "torch")
    if features.weights and not others:
        raise BackboneError(
            _("{name} comes with its own weights; the file {path} was given as well.").format(
                name=embedded[0], path=features.weights
            ),
            hint=_(
                "Leave it out, or name timm's network that it belongs to, such as --backbone {name}.ra_in1k."
            ).format(name=lite.NAME),
        )
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

            backbone = backbones.load(name, weights=features.weights, size=size)
            if precision == "int8":
                backbone, more = _in_int8(backbone, features, source)
                notes += more
            built.append(backbone)
    return Choice(concat(built, flip_average=features.flip_average), notes)


def _in_int8(backbone: Backbone, features: Features, source: Source) -> tuple[Backbone, list[Note]]:
    """Return a timm network in int8, where it is asked for, or where it is precise enough for these pictures.

    Raises:
        BackboneError: it is asked for, and the network is none of linear layers.
    """
    int8 = int8_layers.quantise(backbone)
    if features.precision == "int8" and int8 is None:
        raise BackboneError(
            _("The backbone {name} computes in fp32 only.").format(name=backbone.name),
            hint=_("Leave features.precision at auto."),
        )
    if int8 is None or features.precision == "int8":
        return int8 or backbone, []
    if len(source.entries) < int8_check.FEWEST_PICTURES:
        return backbone, []
    share = int8_check.noise_share(backbone, int8, source, features.resize)
    if share is None:
        return backbone, []
    values = {"backbone": backbone.name, "pictures": int8_check.PICTURES, "percent": float(f"{100 * share:.2g}")}
    if share > int8_check.MOST_NOISE:
        return backbone, [Note("backbone_fp32", values)]
    return int8, [Note("backbone_int8", values)]


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
    """Return what runs the backbone: PyTorch on a GPU, ONNX Runtime on a CPU."""
    if device != "cuda":
        return OnnxRunner(backbone)
    from kilat.model.gpu import TorchRunner

    weights, average = features.weights, features.flip_average
    return TorchRunner(features.backbones, backbone.size, weights, device, flip_average=average)
