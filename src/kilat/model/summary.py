"""The layer table: one row a layer, with its shape, parameters, multiply-accumulates and receptive field."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kilat.model.layers import LayerNetwork
from kilat.recipe.network_summary import Row, Summary

if TYPE_CHECKING:
    from kilat.model.finetuned import FineTuned  # which brings timm, whose import takes seconds

_KINDS = {
    "Conv2d": "conv", "Linear": "dense", "LazyLinear": "dense", "BatchNorm2d": "batch_norm", "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm", "MaxPool2d": "max_pool", "AvgPool2d": "avg_pool", "AdaptiveAvgPool2d": "global_avg_pool",
    "Flatten": "flatten", "Dropout": "dropout", "AlphaDropout": "dropout", "Dropout2d": "spatial_dropout",
    "ReLU": "activation", "ReLU6": "activation", "LeakyReLU": "activation", "PReLU": "activation", "ELU": "activation",
    "SELU": "activation", "GELU": "activation", "SiLU": "activation", "Mish": "activation", "Tanh": "activation",
    "Sigmoid": "activation", "Softmax": "activation", "Hardswish": "activation", "Hardsigmoid": "activation",
}  # fmt: skip


def summarise(network: nn.Module, *, name: str, channels: int, size: int) -> Summary:
    """Return the layer table of a network, from one forward pass of an empty picture.

    Args:
        network: a ``LayerNetwork`` has a row for each layer; any other has one for each innermost module (and for
            whatever else holds parameters or computes), in the order of the forward pass.
        name: what the network is called.
        channels: of the pictures it takes.
        size: their height and width in pixels.
    """
    with _inference(network):
        picture = torch.zeros(1, channels, size, size, device=_device(network))
        rows = _layer_rows(network, picture) if isinstance(network, LayerNetwork) else _module_rows(network, picture)
    return Summary(name, (size, size, channels), rows)


def summarise_finetuned(model: "FineTuned", *, name: str) -> Summary:
    """Return the layer table of frozen backbones with their head: the modules of each, then the head.

    What is unfrozen counts as trainable. Receptive fields are left out: they would take many passes.

    Args:
        model: the backbones and the head.
        name: those of the backbones, joined by ``+``.
    """
    picture = torch.zeros(1, 3, model.size, model.size, device=_device(model))
    with _inference(model):
        rows = _module_rows(_Logits(model), picture, with_fields=False)
    names = name.split("+")
    modules = []
    for row in rows:
        if row.label.startswith("model.backbones."):
            number, _network, label = row.label.removeprefix("model.backbones.").split(".", 2)
            modules.append(replace(row, label=f"{names[int(number)]}.{label}" if len(names) > 1 else label))
    classes = model.bias.numel()
    head = Row("head", "dense", (classes,), model.weight.numel() + classes, 0, model.weight.numel(), None)
    return Summary(name, (model.size, model.size, 3), [*modules, head])


class _Logits(nn.Module):
    """A network that takes pixels, as one that takes planes."""

    def __init__(self, model: "FineTuned") -> None:
        super().__init__()
        self.model = model

    def forward(self, planes: Tensor) -> Tensor:
        """Return the logits of planes."""
        return self.model.logits(planes)


class Counts(NamedTuple):
    """The size of a network: its parameters, the trainable ones, and multiply-accumulates for one picture."""

    parameters: int
    trainable: int
    macs: int


def count(network: nn.Module, forward: Callable[[Tensor], Tensor], size: int) -> Counts:
    """Return the size of a network without its layer table.

    Args:
        network: whose parameters are counted.
        forward: what it does with planes ``[1, 3, size, size]``.
        size: of a picture, in pixels.
    """
    parameters = list(network.parameters())
    counter = FlopCounterMode(display=False)
    with _inference(network), counter:
        forward(torch.zeros(1, 3, size, size, device=_device(network)))
    trainable = sum(one.numel() for one in parameters if one.requires_grad)
    return Counts(sum(one.numel() for one in parameters), trainable, counter.get_total_flops() // 2)


@contextmanager
def _inference(network: nn.Module) -> Iterator[None]:
    """Set a network to inference mode without gradients; afterwards every module is as it was."""
    training = {module: module.training for module in network.modules()}
    fastpath = torch.backends.mha.get_fastpath_enabled()
    network.eval()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one fused call would hide the layers inside an attention
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        for module, was_training in training.items():
            module.training = was_training


def _device(network: nn.Module) -> torch.device:
    return next((tensor.device for tensor in network.parameters()), torch.device("cpu"))


@dataclass
class _Observed:
    """What the forward pass showed of one module."""

    shape: tuple[int, ...] = ()
    flops: int = 0
    flops_inside: int = 0  # of those, how many belong to observed modules within it


def _observe(network: nn.Module, picture: Tensor, modules: Iterable[nn.Module]) -> dict[nn.Module, _Observed]:
    """Return the modules that a forward pass reaches, in order, with the shapes of their outputs and their flops."""
    observed: dict[nn.Module, _Observed] = {}
    running: list[tuple[nn.Module, int]] = []
    counter = FlopCounterMode(display=False)

    def before(module: nn.Module, _inputs: Any) -> None:
        observed.setdefault(module, _Observed())
        running.append((module, counter.get_total_flops()))

    def after(module: nn.Module, _inputs: Any, output: Any) -> None:
        _module, flops_before = running.pop()
        flops = counter.get_total_flops() - flops_before
        observed[module].flops += flops
        while isinstance(output, list | tuple) and output:
            output = output[0]  # of several tensors, the first
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        observed[module].shape = (*shape[1:], shape[0]) if len(shape) == 3 else shape  # channels last
        if running:
            observed[running[-1][0]].flops_inside += flops

    with _hooks(modules, before, after), counter:
        network(picture)
    return observed


@contextmanager
def _hooks(modules: Iterable[nn.Module], before: Any, after: Any) -> Iterator[None]:
    handles = [h for m in modules for h in (m.register_forward_pre_hook(before), m.register_forward_hook(after))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _ParameterCounter:
    """Counts parameters; one that several modules share counts where it is met first."""

    counted: set[int] = field(default_factory=set)

    def count(self, module: nn.Module, *, recurse: bool) -> tuple[int, int]:
        """Return the numbers of trainable and of frozen ones, with or without those of the modules within."""
        trainable = frozen = 0
        for parameter in module.parameters(recurse=recurse):
            if id(parameter) not in self.counted:
                self.counted.add(id(parameter))
                trainable += parameter.numel() if parameter.requires_grad else 0
                frozen += 0 if parameter.requires_grad else parameter.numel()
        for name, buffer in module.named_buffers(recurse=recurse):
            frozen += buffer.numel() if name.endswith(("running_mean", "running_var")) else 0
        return trainable, frozen


def _layer_rows(network: LayerNetwork, picture: Tensor) -> list[Row]:
    """Return a row for each layer of a network that kilat built; receptive fields follow by arithmetic."""
    layers: Iterable[Any] = network.layers
    observed = _observe(network, picture, [network, *layers])
    parameters, rows, reach = _ParameterCounter(), [], _Reach(1, 1)
    for layer in layers:
        if layer.kind == "backbone":
            measured = _measured_fields(layer, [layer], picture)[layer]
            reach = _Reach(measured, -(-picture.shape[-1] // layer.output_shape[1]))
        else:
            reach = reach.through(layer)
        receptive_field = reach.field if len(layer.output_shape) == 3 else None
        counts = parameters.count(layer, recurse=True)
        macs = observed[layer].flops // 2
        rows.append(Row(layer.label, layer.kind, tuple(layer.output_shape), *counts, macs, receptive_field))
    return rows


class _Reach(NamedTuple):
    """The receptive field of a position in a map: its side, and how far the next position's field is moved."""

    field: int | None
    jump: int

    def through(self, layer: Any) -> "_Reach":
        """Return the same after a layer; of two branches the larger one."""
        if hasattr(layer, "body"):
            branches = [reduce(_Reach.through, layer.body, self)]
            branches += [self.through(layer.shortcut)] if layer.shortcut is not None else []
            return max(branches, key=lambda reach: reach.field or 0)
        window = getattr(layer, "window", None)
        if window is None or self.field is None:
            return self
        wider = max((k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True))
        return _Reach(self.field + wider * self.jump, self.jump * max(window.stride))


def _module_rows(network: nn.Module, picture: Tensor, *, with_fields: bool = True) -> list[Row]:
    """Return a row for each module that does something itself; those never reached are last, without a shape."""
    observed = _observe(network, picture, list(network.modules()))
    names = {module: name for name, module in network.named_modules()}
    parameters, counted = _ParameterCounter(), {}
    for module in [*observed, *(m for m in names if m not in observed)]:
        here = observed.get(module, _Observed())
        own = parameters.count(module, recurse=False)
        is_leaf = module in observed and next(module.children(), None) is None
        own_flops = here.flops - here.flops_inside
        if (is_leaf and not isinstance(module, nn.Identity)) or any(own) or own_flops > 0:
            counted[module] = (*own, own_flops // 2)
    maps = [m for m in counted if len(observed.get(m, _Observed()).shape) == 3]
    fields = _measured_fields(network, maps, picture) if with_fields else {}
    return [
        Row(
            names[module] or "network", kind_of(module), observed.get(module, _Observed()).shape, *counts,
            fields.get(module),
        )
        for module, counts in counted.items()
    ]  # fmt: skip


def kind_of(module: nn.Module) -> str:
    """Return what a recipe calls a module; the name of its class where recipes do not know it."""
    if isinstance(module, nn.Conv2d) and module.in_channels == module.groups > 1:
        return "depthwise_conv"
    known = (_KINDS[base.__name__] for base in type(module).mro() if base.__name__ in _KINDS)
    return next(known, type(module).__name__)


def _measured_fields(network: nn.Module, modules: list[nn.Module], picture: Tensor) -> dict[nn.Module, int | None]:
    """Return the receptive fields of modules of any kind, measured by where NaN spreads to.

    The first columns of an empty picture are made NaN; a position turns NaN exactly if it depends on one of them.
    Bisection finds the first column that the middle position of each output depends on, and with columns counted from
    the other side the last.
    """
    width = picture.shape[-1]

    def affected(columns: int, *, mirrored: bool) -> set[nn.Module]:
        poisoned = picture.clone()
        poisoned[..., width - columns if mirrored else 0 : width if mirrored else columns] = float("nan")
        return _with_nan_in_the_middle(network, modules, poisoned)

    left = _first_columns(modules, width, lambda columns: affected(columns, mirrored=False))
    right = _first_columns(modules, width, lambda columns: affected(columns, mirrored=True))
    # What reaches the border may reach further.
    return {m: width - left[m] - right[m] + 2 if left[m] > 1 and right[m] > 1 else None for m in modules}


def _first_columns(
    modules: list[nn.Module], width: int, affected: Callable[[int], set[nn.Module]]
) -> dict[nn.Module, int]:
    """Return for each module how many columns, counted from one side, it takes to affect its middle position."""
    bounds = dict.fromkeys(modules, (0, width))  # not so many, but so many
    columns = 1  # most of a deep network reaches the border
    while columns:
        found = affected(columns)
        bounds = {
            m: (low, min(high, columns)) if m in found else (max(low, columns), high)
            for m, (low, high) in bounds.items()
        }
        low, high = max(bounds.values(), key=lambda bound: bound[1] - bound[0], default=(0, 1))
        columns = (low + high) // 2 if high - low > 1 else 0
    return {module: high for module, (_low, high) in bounds.items()}


def _with_nan_in_the_middle(network: nn.Module, modules: list[nn.Module], picture: Tensor) -> set[nn.Module]:
    found = set()

    def after(module: nn.Module, _inputs: Any, output: Any) -> None:
        while isinstance(output, list | tuple):
            output = output[0]
        height, width = output.shape[-2:]
        if output[..., height // 2, width // 2].isnan().any():
            found.add(module)

    with _hooks(modules, lambda *_: None, after):
        network(picture)
    return found
