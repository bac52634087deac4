"""A network made faster to train on a CPU while it stays what it is: same parts, same parameters, same gradients.

Batch norms in inference mode are computed within the convolution before them, and depthwise convolutions have faster
gradients (``kilat.model.cpu.depthwise``). Only the classes of the parts concerned change, so that names, parameters and
copies are what they were.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it
from torch.overrides import TorchFunctionMode

from kilat.model.cpu.depthwise import depthwise, is_recorded, pays
from kilat.model.modules import Window, slide

_CONVOLUTIONS = ("Conv2d", "Conv2dSame")
"""PyTorch's own and timm's with TensorFlow's padding."""

_NORMS = ("BatchNorm2d", "BatchNormAct2d")
"""PyTorch's own and timm's with an activation."""

_TOLERANCE = 1e-4


class _Mixed:
    """A part whose class was changed: as its new class has no place to be found at, it travels as the two it is of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, type(self).__bases__, vars(self)


class _Swift(_Mixed):
    """A convolution that folds the batch norm after it into its kernel wherever that only scales and shifts."""

    _followers: tuple[nn.BatchNorm2d, ...] = ()  # in a tuple, as a module of its own it would be a part

    def forward(self, planes: Tensor) -> Tensor:
        conv: Any = self
        if planes.ndim != 4 or is_recorded():
            answer: Tensor = super().forward(planes)  # type: ignore[misc]
            return answer
        weight, bias = conv.weight, conv.bias
        for norm in self._followers:
            if not norm.training:
                weight, bias = _folded(weight, bias, norm)
        window = _window(conv, planes)
        if pays(planes, weight, window):
            return depthwise(planes, weight, bias, window)
        padded = window.pad(planes)
        return F.conv2d(padded, weight, bias, window.stride, window.padding, window.dilation, conv.groups)


class _Absorbed(_Mixed):
    """A batch norm of which only the activation remains wherever the convolution before it does the rest."""

    def forward(self, planes: Tensor) -> Tensor:
        norm: Any = self
        if norm.training or planes.ndim != 4 or is_recorded():
            answer: Tensor = super().forward(planes)  # type: ignore[misc]
            return answer
        return norm.act(norm.drop(planes)) if hasattr(norm, "act") else planes


def fuse(network: nn.Module, example: Tensor) -> int:
    """Makes a network faster to train on a CPU; everything about it but its speed stays as it was.

    Whether a batch norm is in inference mode is asked at every pass, so stages may be opened and frozen later. While
    a network is traced, exported or compiled, its parts are the plain ones.

    Args:
        network: any.
        example: what it takes; it is run on it, in inference mode, to see what follows what.

    Returns:
        How many batch norms are folded into the convolution before them whenever they are in inference mode; none
        where the answers would differ.
    """
    unfuse(network)
    with _inference(network):
        before = network(example)
        pairs = _pairs(network, example)
        _swap(network, pairs)
        after = network(example)
    if not (after - before).abs().max() <= _TOLERANCE * before.abs().max():
        unfuse(network)
        return 0
    return len(pairs)


def unfuse(network: nn.Module) -> None:
    """Makes all parts plain again."""
    for part in network.modules():
        if isinstance(part, (_Swift, _Absorbed)):
            part.__class__ = type(part).__bases__[1]
            vars(part).pop("_followers", None)


def _swap(network: nn.Module, pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]]) -> None:
    for conv, norm in pairs:
        _mix(_Swift, conv)
        _mix(_Absorbed, norm)
        vars(conv)["_followers"] = (norm,)
    for part in network.modules():
        if _is_depthwise(part):
            _mix(_Swift, part)


def _mix(mixin: type, part: nn.Module) -> None:
    """Puts a mixin before the class of a part, which keeps its name."""
    if not isinstance(part, mixin):
        base = type(part)
        part.__class__ = type(base.__name__, (mixin, base), {"__module__": base.__module__})


def _again(mixin: type, base: type[nn.Module]) -> nn.Module:
    """A part as ``_mix`` makes it, still empty."""
    part = base.__new__(base)
    _mix(mixin, part)
    return part


def _is_depthwise(part: nn.Module) -> bool:
    return isinstance(part, nn.Conv2d) and _is_plain(part) and 1 < part.groups == part.in_channels == part.out_channels


def _is_plain(conv: nn.Conv2d) -> bool:
    known = type(conv).__name__ in _CONVOLUTIONS
    return known and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _is_affine(norm: nn.BatchNorm2d) -> bool:
    return type(norm).__name__ in _NORMS and norm.affine and norm.running_var is not None


def _folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernels and biases that give what the batch norm gives after these."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return weight * scale[:, None, None, None], norm.bias + scale * (-mean if bias is None else bias - mean)


def _window(conv: Any, planes: Tensor) -> Window:
    """How a convolution slides; as TensorFlow pads, it depends on the planes."""
    grid, kernel, stride = (planes.shape[2], planes.shape[3]), conv.kernel_size, conv.stride
    if type(conv).__name__ == "Conv2dSame":
        return slide(grid, kernel, stride, "same", conv.dilation)
    return Window(kernel, stride, conv.dilation, conv.padding, conv.padding, (0, 0))


@contextlib.contextmanager
def _inference(network: nn.Module) -> Iterator[None]:
    """Every part in inference mode, and then as it was, which ``train`` and ``eval`` would not bring back."""
    modes = [(part, part.training) for part in network.modules()]
    try:
        for part, _ in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


class _Readers(TorchFunctionMode):
    """Counts how many operations read each tensor that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, Tensor] = {}
        self.counts: Counter[int] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        if not isinstance(answer, (torch.Size, int, bool)):  # looking at a shape is not reading
            self.counts.update(id(value) for value in (*args, *(kwargs or {}).values()) if id(value) in self.held)
        return answer


def _pairs(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution with the batch norm that alone reads what it gives; both of them run once."""
    readers, runs = _Readers(), Counter[nn.Module]()
    makers: dict[int, nn.Conv2d] = {}
    found: list[tuple[int, nn.BatchNorm2d]] = []

    def made(conv: nn.Conv2d, _: Any, answer: Tensor) -> None:
        runs[conv] += 1
        makers[id(answer)] = conv
        readers.held[id(answer)] = answer

    def read(norm: nn.BatchNorm2d, arguments: tuple[Tensor, ...]) -> None:
        runs[norm] += 1
        found.append((id(arguments[0]), norm))

    with contextlib.ExitStack() as hooks:
        for part in network.modules():
            if isinstance(part, nn.Conv2d) and _is_plain(part):
                hooks.enter_context(part.register_forward_hook(made))
            elif isinstance(part, nn.BatchNorm2d) and _is_affine(part):
                hooks.enter_context(part.register_forward_pre_hook(read))
        with readers:
            network(example)
    pairs = [(makers[key], norm) for key, norm in found if key in makers and readers.counts[key] == 1]
    return [pair for pair in pairs if all(runs[part] == 1 for part in pair)]
