"""A network as a sequence of parts, so that those below a split run once and those above it as often as they change."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kilat.model.cpu.fold_batch_norm import folded_batch_norms

Parts = list[tuple[str, nn.Module]]
Outputs = list[tuple[int, Tensor, Tensor]]

_POOLING = (nn.MaxPool2d, nn.AvgPool2d)
"""Training changes nothing about these; below the split they make its map smaller."""

_NOT_SEQUENTIAL = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, IndexError)
"""What modules raise that are not called with one map, or with another one than the output of the part before."""


@dataclass(frozen=True)
class SequentialView:
    """The parts of a network from pixels up; called one after the other they give its last map.

    Args:
        parts: names and modules.
        output_indices: of the parts whose output is the map of a stage, rising.
        input_shapes: of the map that enters each part, and of the last map: channels, height, width.
    """

    parts: Parts
    output_indices: tuple[int, ...]
    input_shapes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(
        cls, network: nn.Module, example: Tensor, stage_maps: Callable[[Tensor], Sequence[Tensor]]
    ) -> "SequentialView | None":
        """Return the sequential view of a timm network.

        Args:
            network: in inference mode.
            example: planes ``[1, 3, side, side]`` that are not all alike.
            stage_maps: runs the network and returns the maps of its stages, from pixels up.

        Returns:
            None where the network is no sequence, or where one of these maps arises within a part.
        """
        parts = sequence(network, example)
        if parts is None:
            return None
        with torch.no_grad():
            with _recorded(parts) as outputs:
                maps = stage_maps(example)
            # By identity, since an untrained block may add nothing to its input.
            indices = [
                next((index for index, value, copy in outputs if value is one and torch.equal(copy, one)), None)
                for one in maps
            ]
            shapes = [example.shape[1:], *(value.shape[1:] for _, _, value in outputs)]
        found = [index for index in indices if index is not None]
        if len(found) < len(indices) or [index for index, _, _ in outputs] != list(range(len(parts))):
            return None
        return cls(parts, tuple(found), tuple((shape[0], shape[1], shape[2]) for shape in shapes))

    def run(self, value: Tensor, start: int = 0, stop: int | None = None) -> tuple[Tensor, list[Tensor]]:
        """Run some of the parts, all by default.

        Args:
            value: the map that enters the first of them.
            start: index of the first of them.
            stop: index of the first part that does not run.

        Returns:
            The output of the last of them, and the maps of stages on the way.
        """
        maps = []
        for index in range(start, len(self.parts) if stop is None else stop):
            value = self.parts[index][1](value)
            if index in self.output_indices:
                maps.append(value)
        return value, maps

    def split_index(self, trainable: Collection[nn.Module]) -> int:
        """Return how many parts lie below all of these modules, so that training these leaves those parts' output."""
        chosen = {id(module) for module in trainable}
        above = (index for index, (_, part) in enumerate(self.parts) if any(id(m) in chosen for m in part.modules()))
        index = next(above, len(self.parts))
        while index < len(self.parts) and isinstance(self.parts[index][1], _POOLING):
            index += 1
        while self._separates_folded(index):
            index -= 1
        return index

    def _separates_folded(self, index: int) -> bool:
        """Return whether a batch norm above the split is folded into a convolution below it."""
        folded = {id(norm) for _, part in self.parts[:index] for m in part.modules() for norm in folded_batch_norms(m)}
        return any(id(module) in folded for _, part in self.parts[index:] for module in part.modules())


def sequence(network: nn.Module, example: Tensor) -> Parts | None:
    """Return the parts of a timm network that, called one after the other, give its last map.

    They are its children in the order in which it calls them; those that contain the ends of stages are taken apart.
    What comes after the last map, such as a classifier, is left out.

    Args:
        network: in inference mode.
        example: planes ``[1, 3, side, side]``; not all alike, since outputs for them are compared.

    Returns:
        None where the network does something else.
    """
    whole: Any = network
    information: Any = getattr(network, "feature_info", ())
    stage_ends = [stage["module"] for stage in getattr(information, "info", information)]
    candidates = list(_children_without(network, stage_ends))
    with torch.no_grad():
        with _recorded(candidates) as outputs:
            last_map: Tensor = whole.forward_features(example.clone())
        parts = [candidates[index] for index, _, _ in outputs]
        value = example.clone()
        try:
            for _, part in parts:
                value = part(value)
        except _NOT_SEQUENTIAL:
            return None
    return parts if last_map.ndim == 4 and torch.equal(value, last_map) else None


@contextlib.contextmanager
def _recorded(parts: Parts) -> Iterator[Outputs]:
    """Record, while the block lasts, the output of every part: the part's index, the map itself, and a copy of it.

    The copy is of what it was: a later part may write over it.
    """
    outputs: Outputs = []
    with contextlib.ExitStack() as hooks:
        for index, (_, part) in enumerate(parts):

            def record(_part: nn.Module, _inputs: Any, output: Any, index: int = index) -> None:
                if isinstance(output, Tensor):
                    outputs.append((index, output, output.clone()))

            hooks.callback(part.register_forward_hook(record).remove)
        yield outputs


def _children_without(module: nn.Module, stage_ends: Sequence[str], path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the children of a module, and instead of those that contain ends of stages, their children."""
    for name, child in module.named_children():
        child_path = f"{path}{name}"
        if any(end.startswith(f"{child_path}.") for end in stage_ends):
            yield from _children_without(child, stage_ends, f"{child_path}.")
        else:
            yield child_path, child
