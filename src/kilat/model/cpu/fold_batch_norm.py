"""A network made faster to train on a CPU while it stays what it is: same modules, same parameters, same gradients.

Batch norms in inference mode are computed within the convolution before them, and depthwise convolutions have faster
gradients (``kilat.model.cpu.depthwise``). Only the classes of these modules change, so that names, parameters and
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

from kilat.model.cpu.depthwise import depthwise, is_traced, pays
from kilat.model.window import Window, sliding_window

_CONVOLUTIONS = ("Conv2d", "Conv2dSame")
"""PyTorch's own and timm's with TensorFlow's padding."""

_NORMS = ("BatchNorm2d", "BatchNormAct2d")
"""PyTorch's own and timm's with an activation."""

_TOLERANCE = 1e-4


class _Mixed:
    """A module whose class was changed. Pickle cannot find its new class, and stores the two that it is made of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, type(self).__bases__, vars(self)


class _FoldingConv(_Mixed):
    """A convolution that folds the batch norm after it into its kernel wherever that only scales and shifts."""

    _folded: tuple[nn.BatchNorm2d, ...] = ()  # in a tuple, as a module of its own it would be a child

    def forward(self, planes: Tensor) -> Tensor:
        conv: Any = self
        if planes.ndim != 4 or is_traced():
            convolved: Tensor = super().forward(planes)  # type: ignore[misc]
            return convolved
        weight, bias = conv.weight, conv.bias
        for norm in self._folded:
            if not norm.training:
                weight, bias = _fold(weight, bias, norm)
        window = _window(conv, planes)
        if pays(planes, weight, window):
            return depthwise(planes, weight, bias, window)
        padded = window.pad(planes)
        return F.conv2d(padded, weight, bias, window.stride, window.padding, window.dilation, conv.groups)


class _FoldedBatchNorm(_Mixed):
    """A batch norm of which only the activation remains wherever the convolution before it does the rest."""

    def forward(self, planes: Tensor) -> Tensor:
        norm: Any = self
        if norm.training or planes.ndim != 4 or is_traced():
            normalised: Tensor = super().forward(planes)  # type: ignore[misc]
            return normalised
        return norm.act(norm.drop(planes)) if hasattr(norm, "act") else planes


def fuse(network: nn.Module, example: Tensor) -> int:
    """Make a network faster to train on a CPU; everything about it but its speed stays as it was.

    Whether a batch norm is in inference mode is checked at every pass, so stages may be unfrozen and frozen later.
    While a network is traced, exported or compiled, its modules are the plain ones.

    Args:
        network: any.
        example: an input of it; the network runs on it, in inference mode, to find what follows what.

    Returns:
        How many batch norms are folded into the convolution before them whenever they are in inference mode; none
        where the output would differ.
    """
    unfuse(network)
    with _inference(network):
        before = network(example)
        pairs = _foldable_pairs(network, example)
        for conv, norm in pairs:
            _mix_in(_FoldingConv, conv)
            _mix_in(_FoldedBatchNorm, norm)
            vars(conv)["_folded"] = (norm,)
        for part in network.modules():
            if isinstance(part, nn.Conv2d) and _has_known_padding(part):
                is_depthwise = 1 < part.groups == part.in_channels == part.out_channels
                if is_depthwise:
                    _mix_in(_FoldingConv, part)
        after = network(example)
    if not (after - before).abs().max() <= _TOLERANCE * before.abs().max():
        unfuse(network)
        return 0
    return len(pairs)


def unfuse(network: nn.Module) -> None:
    """Make all modules plain again."""
    for part in network.modules():
        if isinstance(part, (_FoldingConv, _FoldedBatchNorm)):
            part.__class__ = type(part).__bases__[1]
            vars(part).pop("_folded", None)


def folded_batch_norms(module: nn.Module) -> tuple[nn.BatchNorm2d, ...]:
    """Return the batch norms that a module computes whenever they are in inference mode."""
    return module._folded if isinstance(module, _FoldingConv) else ()  # noqa: SLF001 - a class of this file


def _mix_in(mixin: type, part: nn.Module) -> None:
    """Put a mixin before the class of a module, which keeps its name."""
    if not isinstance(part, mixin):
        base = type(part)
        part.__class__ = type(base.__name__, (mixin, base), {"__module__": base.__module__})


def _unpickled(mixin: type, base: type[nn.Module]) -> nn.Module:
    """Return a module as ``_mix_in`` makes it, still empty."""
    part = base.__new__(base)
    _mix_in(mixin, part)
    return part


def _has_known_padding(conv: nn.Conv2d) -> bool:
    is_known = type(conv).__name__ in _CONVOLUTIONS
    return is_known and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _has_known_formula(norm: nn.BatchNorm2d) -> bool:
    return type(norm).__name__ in _NORMS and norm.affine and norm.running_var is not None


def _fold(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return kernels and biases of the convolution and the batch norm after it together."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return weight * scale[:, None, None, None], norm.bias + scale * (-mean if bias is None else bias - mean)


def _window(conv: Any, planes: Tensor) -> Window:
    """Return how a convolution slides; TensorFlow's padding depends on the size of the planes."""
    grid, kernel, stride = (planes.shape[2], planes.shape[3]), conv.kernel_size, conv.stride
    if type(conv).__name__ == "Conv2dSame":
        return sliding_window(grid, kernel, stride, "same", conv.dilation)
    return Window(kernel, stride, conv.dilation, conv.padding, conv.padding, (0, 0))


@contextlib.contextmanager
def _inference(network: nn.Module) -> Iterator[None]:
    """Set every module to inference mode and back to its own mode, which ``train`` and ``eval`` would not restore."""
    modes = [(part, part.training) for part in network.modules()]
    try:
        for part, _ in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


class _ReaderCounter(TorchFunctionMode):
    """Counts how many operations read each of the tensors that it watches."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, Tensor] = {}
        self.counts: Counter[int] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, (torch.Size, int, bool)):  # a shape was read, not values
            values = (*args, *(kwargs or {}).values())
            self.counts.update(id(value) for value in values if id(value) in self.watched)
        return result


def _foldable_pairs(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return every convolution with the batch norm that alone reads its output; both of them run once."""
    readers, runs = _ReaderCounter(), Counter[nn.Module]()
    convolutions: dict[int, nn.Conv2d] = {}
    norm_inputs: list[tuple[int, nn.BatchNorm2d]] = []

    def after_conv(conv: nn.Conv2d, _: Any, output: Tensor) -> None:
        runs[conv] += 1
        convolutions[id(output)] = conv
        readers.watched[id(output)] = output

    def before_norm(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        runs[norm] += 1
        norm_inputs.append((id(inputs[0]), norm))

    with contextlib.ExitStack() as hooks:
        for part in network.modules():
            if isinstance(part, nn.Conv2d) and _has_known_padding(part):
                hooks.enter_context(part.register_forward_hook(after_conv))
            elif isinstance(part, nn.BatchNorm2d) and _has_known_formula(part):
                hooks.enter_context(part.register_forward_pre_hook(before_norm))
        with readers:
            network(example)
    pairs = [(convolutions[key], norm) for key, norm in norm_inputs if key in convolutions and readers.counts[key] == 1]
    return [pair for pair in pairs if all(runs[part] == 1 for part in pair)]
