"""What a graph takes, worked out before anything runs it: memory and time for one picture, by arithmetic alone.

Pictures have sizes of their own, so that the first nodes of a graph, which fit a picture into the network's square, are
worked out again for each size; what comes behind them is the same for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kilat.bundle.graph.onnx_file import Node, OnnxFile
from kilat.bundle.graph.operator_call import UINT8, Call, MismatchError, Shape, Sized, require
from kilat.bundle.graph.operators import RULES, constant, outcome
from kilat.errors import ModelFileError
from kilat.locale import _

IMAGE = "image"
"""The graph's input: pixels uint8 ``[batch, height, width, 3]``."""

MAX_NODES = 15_000
"""The largest networks of timm have half as many."""

_MOST_INPUTS = 2_048
MAX_PLANNED = 1_600
"""Of more nodes ONNX Runtime plans no memory, which takes it too long."""

_MAX_RANK = 16

_MEMORY, _MEMORY_PER_BYTE = 1 << 30, 4
"""How many bytes a graph may take for one picture, and how many more for each byte of its file."""

_WORK, _WORK_PER_BYTE = 1 << 39, 1 << 13
"""How many multiplications it may take, and how many more for each byte of its file. The first is about ten seconds."""

_WORK_PER_NUMBER = 64
"""What writing a number takes, in multiplications within a product of matrices."""

_RESIZING, _RESIZING_PER_BYTE = 1 << 30, 8
"""How many bytes fitting one picture into the square may take, and how many more for each byte of its pixels."""

_HEIGHT_AND_WIDTH = frozenset({1, 2})
_OF_VALUES = frozenset({-1})
"""In the place of axes: numbers that follow from a picture's height and width."""


@dataclass(frozen=True)
class Framing:
    """The nodes that fit a picture into the network's square.

    Args:
        nodes: in order.
        known: the tensors that they take besides, by name.
    """

    nodes: list[Node]
    known: Mapping[str, Sized]

    def fits(self, height: int, width: int) -> bool:
        """Return whether a picture of this size can be fitted within the memory that it may take."""
        image = Sized((1, height, width, 3), UINT8)
        tensors, memory = {**self.known, IMAGE: image}, image.size
        try:
            for node in self.nodes:
                found = outcome(Call(node, [tensors[name] if name else None for name in node.inputs]))
                tensors |= zip(node.outputs, found.outputs, strict=False)
                memory += found.scratch + sum(one.size for one in found.outputs)
        except (MismatchError, KeyError):
            return False
        return memory <= _RESIZING + _RESIZING_PER_BYTE * image.size


@dataclass(frozen=True)
class Cost:
    """What a graph takes for a batch of pictures.

    Args:
        memory: in bytes, at the same time.
        work: in multiplications.
        framing: what depends on the size of the pictures.
        tensors: every tensor of the graph, for pictures of the network's own size.
    """

    memory: int
    work: int
    framing: Framing
    tensors: Mapping[str, Sized]

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of all tensors, by name."""
        return {name: one.shape for name, one in self.tensors.items()}


def measure(file: OnnxFile, size: int, *, where: str, file_size: int, batch: int = 1, picture: str = IMAGE) -> Cost:
    """Return what a graph takes; one that takes too much or has other operators than those of kilat is refused.

    Args:
        file: the graph, from ``image`` on.
        size: side in pixels of the pictures.
        where: the name of the file, for messages.
        file_size: in bytes.
        batch: how many pictures at a time.
        picture: the name of the graph's input. One of another name is of the network's own size.

    Raises:
        ModelFileError: it is refused.
    """
    walk = _Walk(file, picture, Sized((batch, size, size, 3), UINT8))
    for name, tensor in file.constants.items():
        try:
            walk.add_constant(name, constant(tensor))
        except MismatchError:
            message = _("{where} is damaged: its constant '{name}' does not have as many numbers as its shape says.")
            raise ModelFileError(message.format(where=where, name=name)) from None
    most_memory = batch * _MEMORY + _MEMORY_PER_BYTE * file_size
    most_work = batch * (_WORK + _WORK_PER_BYTE * file_size)
    for at, node in enumerate(file.nodes):
        if node.operator not in RULES:
            message = _("{where} has an operator '{operator}', which is in no model of kilat.")
            raise ModelFileError(message.format(where=where, operator=node.operator))
        try:
            walk.add(at, node)
        except MismatchError:
            message = _(
                "{where} is damaged: its operator '{operator}' (number {number}) does not fit what it is given."
            )
            raise ModelFileError(message.format(where=where, operator=node.operator, number=at + 1)) from None
        if walk.peak > most_memory:
            message = _("{where} would take {needed} MB of memory or more for a picture; {most} MB are allowed.")
            values = {"needed": walk.peak >> 20, "most": most_memory >> 20}
            raise ModelFileError(message.format(where=where, **values))
        if walk.work > most_work:
            message = _(
                "{where} would take {needed:.0e} multiplications or more for a picture; {most:.0e} are allowed."
            )
            raise ModelFileError(message.format(where=where, needed=walk.work, most=most_work))
    own = {IMAGE, *(name for one in walk.framing for name in one.outputs)}
    taken = {name for one in walk.framing for name in one.inputs if name} - own
    framing = Framing(walk.framing, {name: walk.tensors[name] for name in taken})
    return Cost(walk.peak, walk.work, framing, walk.tensors)


class _Walk:
    """The graph up to a node: which tensors there are, how large they are, and which of them are still needed."""

    def __init__(self, file: OnnxFile, picture: str, image: Sized) -> None:
        self.tensors = {picture: image}
        self.fixed: set[str] = set()
        self.last_use = {name: at for at, node in enumerate(file.nodes) for name in node.inputs}
        self.last_use |= dict.fromkeys(file.outputs, len(file.nodes))
        self.varying = {IMAGE: _HEIGHT_AND_WIDTH}
        self.framing: list[Node] = []
        self.live = self.peak = image.size
        self.work = 0

    def add_constant(self, name: str, tensor: Sized) -> None:
        """Go over a constant.

        Raises:
            MismatchError: there is one of its name, or it has too many axes.
        """
        self._define(name, tensor)
        self.fixed.add(name)

    def add(self, at: int, node: Node) -> None:
        """Go over a node.

        Raises:
            MismatchError: it does not fit its inputs, or its size depends on the picture's behind the square.
        """
        tensors = self.tensors
        require(all(name in tensors for name in node.inputs if name))
        call = Call(node, [tensors[name] if name else None for name in node.inputs])
        found = outcome(call)
        require(0 < len(node.outputs) <= min(len(found.outputs), _MOST_INPUTS) and len(node.inputs) <= _MOST_INPUTS)
        varying = self._varying(call)
        outputs = [(name, one) for name, one in zip(node.outputs, found.outputs, strict=False) if name]
        for name, one in outputs:
            self._define(name, one)
            if varying:
                self.varying[name] = varying
        self.work += found.work + _WORK_PER_NUMBER * sum(one.numbers for _name, one in outputs)
        self.live += sum(one.size for _name, one in outputs)
        self.peak = max(self.peak, self.live + found.scratch)
        if all(name in self.fixed for name in node.inputs if name):
            self.fixed.update(node.outputs)  # it may be computed beforehand, and stays
            return
        over = [name for name in {*node.inputs} if name and self.last_use[name] == at and name not in self.fixed]
        over += [name for name, _one in outputs if name not in self.last_use]
        self.live -= sum(tensors[name].size for name in over)

    def _define(self, name: str, tensor: Sized) -> None:
        require(name not in self.tensors and tensor.rank <= _MAX_RANK)
        self.tensors[name] = tensor

    def _varying(self, call: Call) -> frozenset[int]:
        """Return which axes of a node's outputs follow from the picture's size; -1 if their numbers do.

        Raises:
            MismatchError: the node is not one of those that fit pictures into a square.
        """
        axes = [self.varying.get(name, frozenset()) for name in call.node.inputs]
        if not any(axes):
            return frozenset()
        self.framing.append(call.node)
        first, others = axes[0], any(axes[1:])
        match call.operator:
            case "Shape":
                covered = range(call.first.rank)[call.whole("start", 0) : call.whole("end", call.first.rank)]
                return _OF_VALUES if first.intersection(covered) else frozenset()
            case "Add" | "Concat" | "Div" | "ReduceMax" | "ReduceMin" | "Sub" if all(one <= _OF_VALUES for one in axes):
                return _OF_VALUES
            case "Transpose":
                order = call.wholes("perm", range(call.first.rank)[::-1])
                return frozenset(at for at, axis in enumerate(order) if axis in first)
            case "Slice" | "Pad" if first != _OF_VALUES:
                own = call.optional_numbers(3)
                changed = range(call.first.rank) if own is None else call.first.axes(own)
                return first.union(changed) if others else first
            case "Resize" if call.optional(3) is not None and not any(axes[1:]):
                return frozenset() if len(call.numbers(3)) == call.first.rank else first
        raise MismatchError
