"""What a network is made of: one row a layer, with its shape, parameters, work and what one place of it sees."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kilat.recipe.network_summary import Row, Summary, table

__all__ = ["Row", "Summary", "summarise", "table"]

_KINDS = {
    "Conv2d": "conv", "Linear": "dense", "LazyLinear": "dense", "BatchNorm2d": "batch_norm", "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm", "MaxPool2d": "max_pool", "AvgPool2d": "avg_pool", "AdaptiveAvgPool2d": "global_avg_pool",
    "Flatten": "flatten", "Dropout": "dropout", "AlphaDropout": "dropout", "Dropout2d": "spatial_dropout",
    "ReLU": "activation", "ReLU6": "activation", "LeakyReLU": "activation", "PReLU": "activation", "ELU": "activation",
    "SELU": "activation", "GELU": "activation", "SiLU": "activation", "Mish": "activation", "Tanh": "activation",
    "Sigmoid": "activation", "Softmax": "activation", "Hardswish": "activation", "Hardsigmoid": "activation",
}  # fmt: skip


def summarise(network: nn.Module, *, name: str, channels: int, size: int) -> Summary:
    """Sends one empty picture through a network and notes what every layer makes of it.

    Args:
        network: one with ``steps`` has a row for each; any other has one for each innermost module (and for whatever
            else holds parameters or computes), in the order in which a picture reaches them.
        name: what the network is called.
        channels: of the pictures it takes.
        size: their height and width in pixels.
    """
    steps = getattr(network, "steps", None)
    with _at_rest(network):
        picture = torch.zeros(1, channels, size, size, device=_device(network))
        seen = _watch(network, picture, [network, *steps] if steps is not None else list(network.modules()))
        rows = _step_rows(steps, seen, picture) if steps is not None else _module_rows(network, seen, picture)
    return Summary(name, (size, size, channels), rows)


class Counts(NamedTuple):
    """How large a network is: its parameters, those that training changes, and its work for one picture."""

    parameters: int
    trainable: int
    macs: int


def count(network: nn.Module, see: Callable[[Tensor], Tensor], size: int) -> Counts:
    """How large a network is, without the table of its layers.

    Args:
        network: whose parameters are counted.
        see: what it does with planes ``[1, 3, size, size]``.
        size: of a picture, in pixels.
    """
    parameters = list(network.parameters())
    counter = FlopCounterMode(display=False)
    with _at_rest(network), counter:
        see(torch.zeros(1, 3, size, size, device=_device(network)))
    trainable = sum(one.numel() for one in parameters if one.requires_grad)
    return Counts(sum(one.numel() for one in parameters), trainable, counter.get_total_flops() // 2)


@contextmanager
def _at_rest(network: nn.Module) -> Iterator[None]:
    """In inference mode and without gradients; afterwards every module is as it was."""
    training = {module: module.training for module in network.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    network.eval()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one fused call would hide the layers inside an attention
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, was in training.items():
            module.training = was


def _device(network: nn.Module) -> torch.device:
    return next((tensor.device for tensor in network.parameters()), torch.device("cpu"))


@dataclass
class _Seen:
    """What the forward pass showed of one module."""

    shape: tuple[int, ...] = ()
    flops: int = 0
    inside: int = 0  # of those, how many belong to watched modules within it


def _watch(network: nn.Module, picture: Tensor, modules: Iterable[nn.Module]) -> dict[nn.Module, _Seen]:
    """The modules that a picture reaches, in that order, with the shapes of their answers and what they computed."""
    seen: dict[nn.Module, _Seen] = {}
    open_ones: list[tuple[nn.Module, int]] = []
    counter = FlopCounterMode(display=False)

    def enter(module: nn.Module, _given: Any) -> None:
        seen.setdefault(module, _Seen())
        open_ones.append((module, counter.get_total_flops()))

    def leave(module: nn.Module, _given: Any, answer: Any) -> None:
        _module, before = open_ones.pop()
        spent = counter.get_total_flops() - before
        seen[module].flops += spent
        seen[module].shape = _channels_last(answer)
        if open_ones:
            seen[open_ones[-1][0]].inside += spent

    with _hooks(modules, enter, leave), counter:
        network(picture)
    return seen


@contextmanager
def _hooks(modules: Iterable[nn.Module], enter: Any, leave: Any) -> Iterator[None]:
    handles = [h for m in modules for h in (m.register_forward_pre_hook(enter), m.register_forward_hook(leave))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _channels_last(answer: Any) -> tuple[int, ...]:
    """The shape of one picture's answer; of several tensors, that of the first."""
    while isinstance(answer, list | tuple) and answer:
        answer = answer[0]
    if not isinstance(answer, Tensor):
        return ()
    shape = tuple(answer.shape[1:])
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


@dataclass
class _Parameters:
    """Counts parameters; one that several modules share counts where it is met first."""

    known: set[int] = field(default_factory=set)

    def count(self, module: nn.Module, *, inside: bool) -> tuple[int, int]:
        """Trainable and frozen ones, with or without those of the modules within."""
        trainable = frozen = 0
        for parameter in module.parameters(recurse=inside):
            if id(parameter) not in self.known:
                self.known.add(id(parameter))
                trainable += parameter.numel() if parameter.requires_grad else 0
                frozen += 0 if parameter.requires_grad else parameter.numel()
        for name, buffer in module.named_buffers(recurse=inside):
            frozen += buffer.numel() if name.endswith(("running_mean", "running_var")) else 0
        return trainable, frozen


def _step_rows(steps: Iterable[Any], seen: dict[nn.Module, _Seen], picture: Tensor) -> list[Row]:
    """A row for each step of a network that kilat built; their receptive fields follow by arithmetic."""
    parameters, rows, sight = _Parameters(), [], _Sight(1, 1)
    for step in steps:
        if step.kind == "backbone":
            field = _measured_fields(step, [step], picture)[step]
            sight = _Sight(field, -(-picture.shape[-1] // step.output_shape[1]))
        else:
            sight = sight.through(step)
        field = sight.field if len(step.output_shape) == 3 else None
        counted = parameters.count(step, inside=True)
        rows.append(Row(step.label, step.kind, tuple(step.output_shape), *counted, seen[step].flops // 2, field))
    return rows


class _Sight(NamedTuple):
    """What one place of a map sees of the picture: its field's side, and how far the next place's field is moved."""

    field: int | None
    jump: int

    def through(self, step: Any) -> "_Sight":
        """The same after a step; of two ways the one that sees more."""
        if hasattr(step, "body"):
            ways = [reduce(_Sight.through, step.body, self)]
            ways += [self.through(step.shortcut)] if step.shortcut is not None else []
            return max(ways, key=lambda sight: sight.field or 0)
        window = getattr(step, "window", None)
        if window is None or self.field is None:
            return self
        wider = max((k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True))
        return _Sight(self.field + wider * self.jump, self.jump * max(window.stride))


def _module_rows(network: nn.Module, seen: dict[nn.Module, _Seen], picture: Tensor) -> list[Row]:
    """A row for each module that does something itself; those that no picture reaches are last, without a shape."""
    names = {module: name for name, module in network.named_modules()}
    parameters, counted = _Parameters(), {}
    for module in [*seen, *(m for m in names if m not in seen)]:
        here = seen.get(module, _Seen())
        own = parameters.count(module, inside=False)
        leaf = module in seen and next(module.children(), None) is None
        if (leaf and not isinstance(module, nn.Identity)) or any(own) or here.flops > here.inside:
            counted[module] = (*own, (here.flops - here.inside) // 2)
    fields = _measured_fields(network, [m for m in counted if len(seen.get(m, _Seen()).shape) == 3], picture)
    return [
        Row(names[module] or "network", _kind(module), seen.get(module, _Seen()).shape, *numbers, fields.get(module))
        for module, numbers in counted.items()
    ]


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.Conv2d) and module.in_channels == module.groups > 1:
        return "depthwise_conv"
    return next((_KINDS[parent.__name__] for parent in type(module).mro() if parent.__name__ in _KINDS), name)


def _measured_fields(network: nn.Module, modules: list[nn.Module], picture: Tensor) -> dict[nn.Module, int | None]:
    """The receptive fields of modules whose insides nobody knows: what is not a number spreads to all that sees it.

    The first columns of an empty picture are made NaN; a place turns NaN exactly if it sees one of them. Halving finds
    the first column that the middle place of each answer sees, and with columns counted from the other side the last.
    """
    width = picture.shape[-1]

    def touched(columns: int, *, mirrored: bool) -> set[nn.Module]:
        poisoned = picture.clone()
        poisoned[..., width - columns if mirrored else 0 : width if mirrored else columns] = float("nan")
        return _touched(network, modules, poisoned)

    left = _first_columns(modules, width, lambda columns: touched(columns, mirrored=False))
    right = _first_columns(modules, width, lambda columns: touched(columns, mirrored=True))
    # What reaches the border may reach further.
    return {m: width - left[m] - right[m] + 2 if left[m] > 1 and right[m] > 1 else None for m in modules}


def _first_columns(
    modules: list[nn.Module], width: int, touched: Callable[[int], set[nn.Module]]
) -> dict[nn.Module, int]:
    """For each module how many columns it takes, counted from one side, until its middle place sees one of them."""
    ends = dict.fromkeys(modules, (0, width))  # not with so many, but with so many
    tried = 1  # most of a deep network reaches the border
    while tried:
        found = touched(tried)
        ends = {m: (a, min(b, tried)) if m in found else (max(a, tried), b) for m, (a, b) in ends.items()}
        low, high = max(ends.values(), key=lambda end: end[1] - end[0], default=(0, 1))
        tried = (low + high) // 2 if high - low > 1 else 0
    return {module: high for module, (_low, high) in ends.items()}


def _touched(network: nn.Module, modules: list[nn.Module], picture: Tensor) -> set[nn.Module]:
    """The modules in whose answer the middle place is NaN."""
    found = set()

    def leave(module: nn.Module, _given: Any, answer: Any) -> None:
        while isinstance(answer, list | tuple):
            answer = answer[0]
        height, width = answer.shape[-2:]
        if answer[..., height // 2, width // 2].isnan().any():
            found.add(module)

    with _hooks(modules, lambda *_: None, leave):
        network(picture)
    return found
