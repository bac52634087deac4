"""Which sizes of pictures a timm network takes, and which one is worth its work.

Networks say little about that: strides, patches, windows and learned positions all have a say. So it is tried, on
PyTorch's device ``meta``, where building and running a network takes tenths of a second, no memory and no weights.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kilat.errors import BackboneError, nearest
from kilat.features import lite
from kilat.locale import _
from kilat.locale.notes import Note

USUAL = 224
"""The side in pixels that most networks are made for, and that dear ones get."""

MAX_MACS = {"cpu": 20e9, "cuda": 200e9}
"""Multiply-accumulates for one picture, by device, from which on an automatic size is not larger than ``USUAL``: half a
second of a core, or a few milliseconds of a GPU."""

_STRIDE = 32
"""Of networks that do not say theirs."""
_LARGEST = 1024
_TRIALS = 12


@dataclass(frozen=True)
class Fit:
    """How a network takes pictures of a size.

    Args:
        macs: multiply-accumulates for one picture.
        resampled: whether weights that belong to positions are resampled for it.
    """

    macs: int
    resampled: bool


@dataclass(frozen=True)
class Settled:
    """The size of a network's pictures, and notes for the user."""

    size: int
    notes: list[Note]


def settle(names: Sequence[str], size: int | None, suggested: int, max_macs: float) -> Settled:
    """Return the side in pixels at which all of several networks take pictures.

    Args:
        names: embedded networks (``kilat.features.lite.NAMES``) or timm's.
        size: the given side; None for one that follows from the pictures and from what the networks cost.
        suggested: the side that the pictures are worth; for photos any that is not smaller than the networks' own.
        max_macs: multiply-accumulates for one picture, from which on an automatic size is not larger than ``USUAL``.

    Raises:
        BackboneError: there is no such network, one of them cannot take the given size, or they have none in common.
    """
    notes = []
    if size is None:
        size, dearer = _automatic(names, suggested, max_macs)
        if dearer:
            times = round(_macs(names, dearer) / _macs(names, size), 1)
            notes.append(
                Note("backbone_size", {"backbone": "+".join(names), "size": size, "own": dearer, "times": times})
            )
    else:
        check(names, size)
    resampled = {name: own_size(name) for name in names if (fit := fit_of(name, size)) and fit.resampled}
    if resampled:
        notes.append(Note("positions_resampled", {"backbones": resampled, "size": size}))
    return Settled(size, notes)


def check(names: Sequence[str], size: int) -> None:
    """Check that all of several networks take pictures of a size.

    Raises:
        BackboneError: there is no such network, or one of them cannot; the hint has the nearest sizes that all can.
    """
    refused = next((name for name in names if fit_of(name, size) is None), None)
    if refused is None:
        return
    around, stride = _nearest_sizes(names, size), _stride(refused)
    message = _("'{name}' cannot take pictures of {size} pixels.")
    if around == [own_size(refused)]:
        message = _("'{name}' takes no pictures of {size} pixels: its weights are for {own} only.")
    elif size < stride or size % stride:
        message = _("'{name}' cannot take pictures of {size} pixels: the side must be a multiple of {stride}.")
    hint = _("Take {sizes}.").format(sizes=_(" or ").join(map(str, around)))
    raise BackboneError(
        message.format(name=refused, size=size, own=own_size(refused), stride=stride),
        hint=hint if around else _("They have no size in common: take one of them."),
    )


def own_size(name: str) -> int:
    """Return the side in pixels that a network was trained with, or for the embedded ones the nearest they can take.

    Raises:
        BackboneError: there is no such network.
    """
    if name in lite.NAMES:
        return lite.DEFAULT_SIZES[name]
    check_name(name)
    pretrained: Any = timm.get_pretrained_cfg(name)
    return int(pretrained.input_size[-1])


def check_name(name: str) -> None:
    """Check that timm has a network, and these weights of it.

    Raises:
        BackboneError: it has not; the hint has the nearest names.
    """
    base, _dot, tag = name.partition(".")
    if not timm.is_model(base):
        raise BackboneError(
            _("There is no backbone '{name}'.").format(name=name), hint=nearest(base, timm.list_models())
        )
    tagged = timm.list_pretrained(f"{base}.*") if tag else []
    if tag and name not in tagged:
        raise BackboneError(
            _("timm has no weights '{tag}' for '{base}'.").format(tag=tag, base=base), hint=nearest(name, tagged)
        )


def build(name: str, size: int | None = None, *, pretrained: bool = False) -> nn.Module:
    """Return a timm network without classifier, for pictures of a size; None for its own."""
    given: Any = timm.get_pretrained_cfg(name)
    is_own = size is None or size == given.input_size[-1]
    options: dict[str, Any] = {"img_size": size} if given.fixed_input_size and not is_own else {}
    # exportable: attention in plain matrix products, which ONNX Runtime fuses better than the traced fused form
    network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, exportable=True, **options)
    return network


def reductions(network: nn.Module) -> list[int]:
    """Return how many times smaller than the picture each intermediate map of a network is."""
    information: Any = getattr(network, "feature_info", ())
    return [stage["reduction"] for stage in getattr(information, "info", information)]


def translated(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return weights as timm translates them for a network: other names, positions resampled to its size.

    Raises:
        Exception: they are those of another network; timm raises whatever it may.
    """
    translate: Any = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return dict(translate(dict(tensors), network)) if translate else tensors


def missing(network: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    """Return the names of a network's tensors that are absent, or there in another shape."""
    return [
        key
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (key not in tensors or tensors[key].shape != value.shape)
    ]


@cache
def fit_of(name: str, size: int) -> Fit | None:
    """Return how a network takes pictures of a size; None where it does not."""
    own, stride = own_size(name), _stride(name)
    if size != own and (size < stride or size % stride):
        return None
    timm_name = f"tf_{name}" if name in lite.NAMES else name
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), torch.no_grad(), FlopCounterMode(display=False) as counter:
                network: Any = build(timm_name, size).eval().requires_grad_(False)  # counting stumbles over gradients
                network.forward_head(network.forward_features(torch.zeros(1, 3, size, size)), pre_logits=True)
                trained = build(timm_name).state_dict() if size != own else network.state_dict()
            return Fit(counter.get_total_flops() // 2, _resamples(trained, network))
        except Exception as error:  # noqa: BLE001 - a network fails in its own way at a size that it does not take
            if size != own and "meta" not in str(error):
                return None
    return Fit(0, resampled=False) if size == own else None


def _resamples(trained: dict[str, Tensor], network: nn.Module) -> bool:
    """Return whether weights of another size change their shape for a network, as timm translates them.

    Raises:
        ValueError: they have another shape, and timm cannot bring them into it.
    """
    different = missing(network, trained)
    trained |= {key: torch.zeros(trained[key].shape) for key in different if key in trained}  # not on meta: resampled
    if different and missing(network, translated(trained, network)):
        raise ValueError(different[0])
    return bool(different)


@cache
def _stride(name: str) -> int:
    if name in lite.NAMES:
        return lite.STRIDE
    check_name(name)
    try:
        with torch.device("meta"):
            return max(reductions(build(name)), default=_STRIDE)
    except Exception:  # noqa: BLE001 - some can only be built with real numbers
        return _STRIDE


def _automatic(names: Sequence[str], suggested: int, max_macs: float) -> tuple[int, int | None]:
    """Return the size nearest to what is suggested, and the dearer one that it stands for, where there is one."""
    wanted = min(suggested, max(map(own_size, names)))
    size = _nearest_size(names, wanted)
    if size > USUAL and _macs(names, size) > max_macs:
        cheaper = _nearest_size(names, USUAL)
        return min(size, cheaper), None if cheaper >= size else size
    return size, None


def _nearest_size(names: Sequence[str], wanted: int) -> int:
    """Return the size nearest to the wanted one that all networks take, the larger of two that are as near."""
    step, owns = math.lcm(*map(_stride, names)), {own_size(name) for name in names}
    steps = {size for size in range(step, _LARGEST + 1, step) if size < max(owns) + step}
    candidates = sorted(steps | owns, key=lambda size: (abs(size - wanted), -size))
    for size in [*candidates[:_TRIALS], *owns]:
        if all(fit_of(name, size) for name in names):
            return size
    found = ", ".join(f"{name}: {own_size(name)}" for name in names)
    raise BackboneError(
        _("These backbones take no pictures of one size (their own: {found}).").format(found=found),
        hint=_("They have no size in common: take one of them."),
    )


def _nearest_sizes(names: Sequence[str], size: int) -> list[int]:
    """Return the nearest size below and the nearest above that all of several networks take, where there are any."""
    step, owns = math.lcm(*map(_stride, names)), {own_size(name) for name in names}
    sizes = sorted(owns | set(range(step, _LARGEST + 1, step)))
    below = [one for one in reversed(sizes) if one < size]
    above = [one for one in sizes if one > size]
    return [one for side in (below, above) for one in _first_that_fits(names, side, owns)]


def _first_that_fits(names: Sequence[str], sizes: Sequence[int], owns: Iterable[int]) -> list[int]:
    tried = (size for number, size in enumerate(sizes) if number < _TRIALS or size in owns)
    first = next((size for size in tried if all(fit_of(name, size) for name in names)), None)
    return [] if first is None else [first]


def _macs(names: Sequence[str], size: int) -> int:
    return sum(fit.macs for name in names if (fit := fit_of(name, size)))
