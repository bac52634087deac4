"""Layers watched in training: how large their gradients, their updates and their outputs are, epoch by epoch.

Gradients are those that training computes anyway, of some updates of every epoch; outputs are those for a fixed batch
of validation pictures, with the weights that are validated. Nothing of it changes what is trained: no number is drawn,
no weight or running statistic touched.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kilat.fit.inference import Inference
from kilat.fit.layer_notes import layer_notes
from kilat.fit.loader import epoch_batches
from kilat.fit.train_state import LayerRow, Sample, TrainSpec
from kilat.locale.notes import Note
from kilat.model.backbone_layer import BackboneModule
from kilat.model.layer_names import NamedLayer, named_layers
from kilat.model.modules import LayerModule, Residual

PICTURES = 64
"""Validation pictures at most whose outputs are looked at."""

_UPDATES = 8
"""Updates of an epoch whose gradients are looked at: spread evenly, and few enough to cost little."""

_ENDS = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0), "Hardtanh": (-1.0, 1.0), "Hardsigmoid": (0.0, 1.0)}
"""Functions that level off at both ends, by the names of their modules, with what they level off at."""

_LEVEL = 0.005
"""Values nearer to an end than this share of the range are saturated: the slope there is 2% of the steepest."""

_CHANNELS_LAST = {"dense", "layer_norm"}
"""Layers that work on the last axis, where PyTorch's own modules have their units."""


def watched_updates(per_epoch: int) -> set[int]:
    """Return which updates of an epoch are looked at, from 0."""
    return set(np.linspace(0, per_epoch - 1, min(per_epoch, _UPDATES)).round().astype(int).tolist())


class LayerWatch:
    """Looks at the layers of a network while it is trained; ``start_phase`` comes before all else.

    Args:
        spec: the training.
        inference: that validates.
    """

    def __init__(self, spec: TrainSpec, inference: Inference) -> None:
        self._inference = inference
        self._layers = named_layers(spec.network)
        count = min(PICTURES, inference.batch)
        self.rows = epoch_batches(spec.validation.rows, count, seed=spec.recipe.runtime.seed, epoch=0)[0]
        self._trained: dict[str, list[nn.Parameter]] = {}
        self._before: list[Tensor] = []
        self._norms: list[list[float]] = []

    def notes(self, rows: Sequence[LayerRow]) -> list[Note]:
        """Return what is plainly wrong with the layers, but for those of a backbone: it was trained by others.

        Args:
            rows: of all layers in all epochs.
        """
        foreign = {layer.name for layer in self._layers if layer.in_backbone}
        return layer_notes([row for row in rows if row["layer"] not in foreign], len(self.rows))

    def start_phase(self) -> None:
        """Find the layers that are trained from now on."""
        found = {layer.name: [one for one in _own(layer) if one.requires_grad] for layer in self._layers}
        self._trained = {name: parameters for name, parameters in found.items() if parameters}

    def begin_update(self) -> None:
        """Take down the gradients of the loss, before penalties and clipping change them, and the weights."""
        self._norms = [
            [_norm([one.grad for one in own if one.grad is not None]), _norm(own)] for own in self._trained.values()
        ]
        self._before = [one.detach().clone() for own in self._trained.values() for one in own]

    def end_update(self) -> Sample:
        """Return, of each trained layer, the norms of the gradient, of the weights before the update, and of it."""
        before = iter(self._before)
        with torch.no_grad():
            changes = [[one - next(before) for one in own] for own in self._trained.values()]
        self._before = []
        return [[*norms, _norm(change)] for norms, change in zip(self._norms, changes, strict=True)]

    def finish_epoch(self, epoch: int, samples: Sequence[Sample]) -> list[LayerRow]:
        """Return a row for each layer, in the order in which pictures go through them.

        The network has the weights that are validated. All processes of a group have to call it.

        Args:
            epoch: its number, from 1.
            samples: what ``end_update`` gave in it.
        """
        finite = np.array([one for one in samples if np.isfinite(one).all()]).reshape(-1, len(self._trained), 3)
        gradients = {name: _of_updates(finite[:, place]) for place, name in enumerate(self._trained)}
        outputs = self._outputs()
        kinds = {layer.name: layer.kind for layer in self._layers}
        names = list(dict.fromkeys([*outputs, *gradients]))
        is_trained = np.array([name in gradients for name in names])
        # Below the first layer that is trained nothing changes; what has no weights counts from there on.
        shown = [name for name in names[int(is_trained.argmax()) :] if name in gradients or name in outputs]
        return [
            {"epoch": epoch, "layer": name, "kind": kinds[name]}
            | gradients.get(name, _of_updates(np.zeros((0, 3))))
            | _of_output(outputs.get(name))
            for name in shown
        ]

    def _outputs(self) -> "dict[str, _Outputs]":
        """Return what the layers gave for the pictures, in the order in which they were first called."""
        while True:
            at_once = self._inference.micro_batch.size
            with _recorded(self._watched_modules()) as outputs:
                self._inference.outputs(self.rows)
            if self._inference.micro_batch.size == at_once:  # or some pictures were counted before memory ran out
                break
        group = self._inference.group
        return {name: one.summed(group.sum(one.numbers())) for name, one in outputs.items()}

    def _watched_modules(self) -> list[NamedLayer]:
        """Return the layers that are trained, and those that apply an activation function."""
        functions = (*_ENDS, "ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Hardswish")
        return [
            layer
            for layer in self._layers
            if layer.path
            and (layer.name in self._trained or layer.kind == "activation" or _function(layer.module) in functions)
        ]


def _own(layer: NamedLayer) -> list[nn.Parameter]:
    """Return the parameters of a layer, without those of layers within it."""
    is_whole = isinstance(layer.module, LayerModule) and not isinstance(layer.module, Residual | BackboneModule)
    return list(layer.module.parameters(recurse=is_whole))


def _norm(tensors: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all values together; in float64, for squares of small gradients vanish before."""
    parts = [torch.linalg.vector_norm(one.detach(), dtype=_precision(one)) for one in tensors]
    return float(torch.stack(parts).norm()) if parts else 0.0


def _precision(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # which Apple's GPUs do not have


def _function(module: Any) -> str:
    """Return the class of the activation function that a module applies at its end; its own where it is one."""
    for name in ("activation", "function"):
        if isinstance(inner := getattr(module, name, None), nn.Module):
            return type(inner).__name__
    return type(module).__name__


@dataclass
class _Outputs:
    """Sums over what a layer gave: float64 on the device, so that parts of a batch and processes can be added up.

    Args:
        ends: what its function levels off at, where it does.
        channels_last: whether the last axis is that of its units.
        sums: of the values, of their squares, and the numbers of values, of zeros and of saturated ones, ``[5]``.
        active: how many values of each unit are not zero, ``[units]``.
    """

    ends: tuple[float, float] | None
    channels_last: bool
    sums: Tensor | None = None
    active: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """Add what it gave for some pictures, ``[n, units, ...]``."""
        precision = _precision(values)
        axis = 1 if values.ndim in (2, 4) and not (values.ndim == 4 and self.channels_last) else values.ndim - 1
        others = [one for one in range(values.ndim) if one != axis]
        is_active = values != 0
        active = is_active.sum(others).to(precision)
        saturated = values.new_zeros(())
        if self.ends is not None:
            low, high = self.ends
            near = _LEVEL * (high - low)
            saturated = ((values < low + near) | (values > high - near)).sum()
        total = values.new_full((), values.numel(), dtype=precision)
        squares = torch.linalg.vector_norm(values, dtype=precision).square()  # without a copy of the values
        parts = [values.sum(dtype=precision), squares, total, total - active.sum()]
        sums = torch.stack([*parts, saturated.to(precision)])
        self.sums = sums if self.sums is None else self.sums + sums
        self.active = active if self.active is None else self.active + active

    def numbers(self) -> Tensor:
        """Return all sums in one tensor."""
        assert self.sums is not None
        assert self.active is not None
        return torch.cat([self.sums, self.active])

    def summed(self, numbers: Tensor) -> "_Outputs":
        """Return the same with the numbers of all processes."""
        return _Outputs(self.ends, self.channels_last, numbers[:5].cpu(), numbers[5:].cpu())


@contextlib.contextmanager
def _recorded(layers: Sequence[NamedLayer]) -> Iterator[dict[str, _Outputs]]:
    """Record what layers give inside the block, by their names, in the order in which they are first called."""
    outputs: dict[str, _Outputs] = {}

    def hook(layer: NamedLayer) -> Any:
        ends = _ENDS.get(_function(layer.module))
        channels_last = layer.kind in _CHANNELS_LAST and not isinstance(layer.module, LayerModule)

        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            while isinstance(output, list | tuple) and output:
                output = output[0]  # of several tensors, the first
            if isinstance(output, Tensor) and output.is_floating_point() and output.ndim > 1 and output.numel():
                outputs.setdefault(layer.name, _Outputs(ends, channels_last)).add(output.detach().float())

        return record

    handles = [layer.module.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _of_updates(norms: NDArray[np.float64]) -> LayerRow:
    """Return the columns about gradient and update: means over updates; empty for a layer that is not trained.

    Args:
        norms: of its gradient, its weights and their update, ``[updates, 3]``.
    """
    gradients, weights, updates = norms.T
    beside = weights > 0  # beside weights of zero nothing can be said
    columns = {
        "weight_norm": weights,
        "gradient_norm": gradients,
        "relative_gradient": gradients[beside] / weights[beside],
        "relative_update": updates[beside] / weights[beside],
    }
    return {name: _rounded(float(values.mean())) if len(values) else None for name, values in columns.items()}


def _of_output(output: _Outputs | None) -> LayerRow:
    """Return the columns about what a layer gives, empty for one that was not called."""
    names = ("activation_mean", "activation_std", "zero_share", "dead_share", "saturated_share")
    if output is None or output.sums is None or output.active is None:
        return dict.fromkeys(names)
    total, squares, count, zeros, saturated = output.sums.tolist()
    mean = total / count
    std = math.sqrt(max(squares / count - mean**2, 0.0))
    dead = float((output.active == 0).double().mean())
    share = saturated / count if output.ends is not None else math.nan
    return dict(zip(names, map(_rounded, (mean, std, zeros / count, dead, share)), strict=True))


def _rounded(value: float) -> float | None:
    """Return a value to six digits, which is more than it means; None where there is none."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
