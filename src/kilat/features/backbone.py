"""A backbone as the other rooms know it: an ONNX graph from pixels to features, and how these are laid out."""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Block:
    """Neighbouring features that come from one layer of the network.

    Args:
        name: such as ``stage3.mean``, ``stage3.log_variance`` or ``last``.
        width: how many features it has.
    """

    name: str
    width: int


@dataclass(frozen=True)
class Backbone:
    """A frozen network as ONNX.

    Args:
        name: the name that a recipe gives it.
        model: the serialised graph, from ``pixels`` (uint8 ``[batch, size, size, 3]``) to ``features`` (float32
            ``[batch, width]``); normalisation of the pixels is inside.
        size: side of its input, in pixels.
        precision: ``int8`` or ``fp32``, as the graph computes.
        blocks: the layout of the features, in order.
    """

    name: str
    model: bytes
    size: int
    precision: str
    blocks: tuple[Block, ...]

    @property
    def width(self) -> int:
        """How many features a picture has."""
        return sum(block.width for block in self.blocks)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the graph, hexadecimal: the same digest, the same features."""
        return hashlib.sha256(self.model).hexdigest()
