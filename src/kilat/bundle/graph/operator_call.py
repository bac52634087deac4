"""An operator before it runs: the shapes and types of what it takes, and what comes of it. All rules stand on this."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.graph.onnx_file import ITEM_SIZES, Node

Shape = tuple[int, ...]
Values = NDArray[Any]

FLOAT, UINT8, INT32, INT64, BOOL = 1, 2, 6, 7, 9
"""Types of numbers, as onnx.proto codes them."""

MOST_VALUES = 512
"""Tensors of more numbers are no shapes, axes or sizes, so that their numbers are not followed."""


class MismatchError(Exception):
    """An operator does not fit its inputs, or what its output's size follows from is not known before it runs."""


def require(condition: object) -> None:
    """Raise unless a condition holds.

    Raises:
        MismatchError: it does not.
    """
    if not condition:
        raise MismatchError


class Sized(NamedTuple):
    """A tensor before it is computed.

    Args:
        shape: for one picture.
        dtype: the type of its numbers, as onnx.proto codes it.
        values: its numbers, where they are few and the same for every picture of one size.
    """

    shape: Shape
    dtype: int
    values: Values | None = None

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def of_shape(self, shape: Sequence[int]) -> "Sized":
        """Return a tensor of the same type and another shape."""
        return Sized(tuple(shape), self.dtype)

    def axis(self, given: int, more: int = 0) -> int:
        """Return an axis counted from the first one, of a tensor with so many axes more."""
        rank = self.rank + more
        require(-rank <= given < max(rank, 1))
        return given % rank if rank else 0

    def axes(self, given: Sequence[int], more: int = 0) -> list[int]:
        """Return different axes, as ``axis`` does."""
        found = [self.axis(one, more) for one in given]
        require(len(set(found)) == len(found))
        return found


class Outcome(NamedTuple):
    """What an operator comes to.

    Args:
        outputs: in order.
        work: multiplications of numbers, or what takes as long, beyond those that every operator has for each number
            that it gives.
        scratch: bytes that it takes while it works.
    """

    outputs: Sequence[Sized]
    work: int = 0
    scratch: int = 0


class Call(NamedTuple):
    """An operator with what it takes.

    Args:
        node: in the graph.
        given: its inputs in order; None where one was left out.
    """

    node: Node
    given: Sequence[Sized | None]

    @property
    def operator(self) -> str:
        """What it computes."""
        return self.node.operator

    @property
    def first(self) -> Sized:
        """The first input."""
        return self.input(0)

    @property
    def inputs(self) -> list[Sized]:
        """All inputs, none of which may be left out."""
        return [self.input(at) for at in range(len(self.given))]

    def input(self, at: int) -> Sized:
        """Return an input that has to be there."""
        found = self.given[at]
        if found is None:
            raise MismatchError
        return found

    def optional(self, at: int) -> Sized | None:
        """Return an input that may be left out."""
        return self.given[at] if at < len(self.given) else None

    def values(self, at: int) -> Values:
        """Return the numbers of an input, which have to be known."""
        found = self.input(at).values
        if found is None:
            raise MismatchError
        return found

    def numbers(self, at: int) -> list[int]:
        """Return the whole numbers in an input, which have to be known."""
        return [int(one) for one in self.values(at).ravel()]

    def optional_numbers(self, at: int) -> list[int] | None:
        """Return the whole numbers in an input; None where it was left out."""
        return None if self.optional(at) is None else self.numbers(at)

    def whole(self, name: str, default: int | None = None) -> int:
        """Return an attribute that is a whole number."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise MismatchError
        return value

    def wholes(self, name: str, default: Sequence[int] | None = None) -> Sequence[int]:
        """Return an attribute that is a list of whole numbers."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, Sequence) or not all(isinstance(one, int) for one in value):
            raise MismatchError
        return value

    def text(self, name: str, default: bytes) -> bytes:
        """Return an attribute that is text."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, bytes):
            raise MismatchError
        return value


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of an operation on tensors of several shapes.

    Raises:
        MismatchError: they do not fit each other.
    """
    first = max(shapes, key=len)
    if all(one == first or not one for one in shapes):
        return first
    found = []
    for dims in zip(*((1,) * (len(first) - len(one)) + one for one in shapes), strict=True):
        different = {*dims} - {1}
        require(len(different) <= 1)
        found.append(different.pop() if different else 1)
    return tuple(found)


def known(array: Any, dtype: int) -> Sized:
    """Return a tensor whose numbers are known; they are followed where they are few."""
    array = np.asarray(array)
    return Sized(array.shape, dtype, array if array.size <= MOST_VALUES else None)
