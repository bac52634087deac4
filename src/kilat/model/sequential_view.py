"""A network as a sequence of parts, so that what is below a cut can be computed once and what is above it often."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Parts = list[tuple[str, nn.Module]]
Given = list[tuple[int, Tensor, Tensor]]

_POOLING = (nn.MaxPool2d, nn.AvgPool2d)
"""Training changes nothing about these; that they are below a cut makes for a smaller map."""

_NOT_CALLED = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, IndexError)
"""What modules raise that are not called with one map, or with another than this."""


@dataclass(frozen=True)
class SequentialView:
    """A network's parts from pixels up, which give its last map one after the other.

    Args:
        parts: their names and themselves.
        taps: the places of those whose maps are looked at, rising.
        shapes: of the map that enters each part, and of the last one: channels, height, width.
    """

    parts: Parts
    taps: tuple[int, ...]
    shapes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(
        cls, network: nn.Module, example: Tensor, see: Callable[[Tensor], Sequence[Tensor]]
    ) -> "SequentialView | None":
        """The way through a timm network.

        Args:
            network: in inference mode.
            example: planes ``[1, 3, side, side]`` that are not all alike.
            see: runs the network and gives the maps that are looked at, from pixels up.

        Returns:
            None where the network is no sequence, or where one of these maps comes up within a part.
        """
        parts = sequence(network, example)
        if parts is None:
            return None
        with torch.no_grad():
            with _watched(parts) as given:
                seen = see(example)
            taps = [_place(given, value) for value in seen]
            shapes = [example.shape[1:], *(value.shape[1:] for _, _, value in given)]
        found = [tap for tap in taps if tap is not None]
        if len(found) < len(taps) or [place for place, _, _ in given] != list(range(len(parts))):
            return None
        return cls(parts, tuple(found), tuple((shape[0], shape[1], shape[2]) for shape in shapes))

    def walk(self, value: Tensor, start: int = 0, stop: int | None = None) -> tuple[Tensor, list[Tensor]]:
        """Runs some of the parts, all by default.

        Args:
            value: the map that enters the first of them.
            start: the place of that one.
            stop: of the first part that is not run.

        Returns:
            The map that leaves the last of them, and those on the way that are looked at.
        """
        seen = []
        for place in range(start, len(self.parts) if stop is None else stop):
            value = self.parts[place][1](value)
            if place in self.taps:
                seen.append(value)
        return value, seen

    def cut(self, opened: Collection[nn.Module]) -> int:
        """How many parts lie below every one of some modules, so that these may change and those parts' answer not."""
        chosen = {id(module) for module in opened}
        places = (place for place, (_, part) in enumerate(self.parts) if any(id(m) in chosen for m in part.modules()))
        cut = next(places, len(self.parts))
        while cut < len(self.parts) and isinstance(self.parts[cut][1], _POOLING):
            cut += 1
        while self._is_bound(cut):
            cut -= 1
        return cut

    def _is_bound(self, cut: int) -> bool:
        """Whether a batch norm above is folded into a convolution below (``kilat.model.cpu.fold_batch_norm``)."""
        followers = (vars(m).get("_followers", ()) for _, part in self.parts[:cut] for m in part.modules())
        bound = {id(norm) for norms in followers for norm in norms}
        return any(id(module) in bound for _, part in self.parts[cut:] for module in part.modules())


def sequence(network: nn.Module, example: Tensor) -> Parts | None:
    """The parts of a timm network that, called one after the other, give its last map.

    They are its children in the order in which it calls them; those that contain the ends of stages are taken apart.
    What comes after the last map, such as a classifier, is left out.

    Args:
        network: in inference mode.
        example: what it takes, ``[1, 3, side, side]``; not all alike, since answers to it are compared.

    Returns:
        None where that is not what the network does.
    """
    whole: Any = network
    candidates = list(_apart(network, _ends(network)))
    with torch.no_grad():
        with _watched(candidates) as given:
            wanted: Tensor = whole.forward_features(example.clone())
        parts = [candidates[place] for place, _, _ in given]
        value = example.clone()
        try:
            for _, part in parts:
                value = part(value)
        except _NOT_CALLED:
            return None
    return parts if wanted.ndim == 4 and torch.equal(value, wanted) else None


@contextlib.contextmanager
def _watched(parts: Parts) -> Iterator[Given]:
    """While it lasts, what parts give is written down: the part's place, the map itself, and a copy of it.

    The copy is of what it was: a later part may write over it.
    """
    given: Given = []
    with contextlib.ExitStack() as hooks:
        for place, (_, part) in enumerate(parts):

            def note(_part: nn.Module, _arguments: Any, answer: Any, place: int = place) -> None:
                if isinstance(answer, Tensor):
                    given.append((place, answer, answer.clone()))

            hooks.callback(part.register_forward_hook(note).remove)
        yield given


def _place(given: Given, seen: Tensor) -> int | None:
    """Which part gave a map. The map itself is looked for: a block may change what it gets by nothing, as drawn."""
    return next((place for place, value, copy in given if value is seen and torch.equal(copy, seen)), None)


def _ends(network: nn.Module) -> list[str]:
    information: Any = getattr(network, "feature_info", ())
    return [stage["module"] for stage in getattr(information, "info", information)]


def _apart(module: nn.Module, ends: Sequence[str], path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The children of a module, and instead of those with ends of stages in them, theirs."""
    for name, child in module.named_children():
        here = f"{path}{name}"
        if any(end.startswith(f"{here}.") for end in ends):
            yield from _apart(child, ends, f"{here}.")
        else:
            yield here, child
