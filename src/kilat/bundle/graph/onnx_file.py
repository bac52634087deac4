"""An ONNX file as its nodes and constants, read from the bytes alone: no library gets it before it is checked.

Reads the protobuf wire format (https://protobuf.dev/programming-guides/encoding) of the messages in onnx.proto. What
protobuf would read in two ways, such as a message that comes twice and is merged, counts as damage.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_FIELDS = 2_000_000
"""More fields than that are not read: they take a second. The largest networks of timm have a tenth of it."""

MAX_NAME = 4096

_MAX_DEPTH = 64
_MOST_OUTER_FIELDS = 10_000
_LONGEST_START = 20
"""Bytes of a field's number and length at most."""

ITEM_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""The types of numbers in tensors by their codes in onnx.proto, and how many bytes each takes."""

DTYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4",
    13: "<u8",
}  # fmt: skip
"""The types that NumPy has as well."""

_FLOATS, _WHOLE = {4: 4, 10: 8}, (5, 7, 11)
"""The fields of a tensor with numbers of a fixed size, and those with numbers of a variable length."""

_CHILDREN = {
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message kinds that no model of kilat has but that can hold tensors, and the numbers of the fields that lead there."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


class OutsideError(Exception):
    """A tensor keeps its numbers in another file."""


class Tensor(NamedTuple):
    """A constant.

    Args:
        name: of the tensor.
        dtype: the type of its numbers, as onnx.proto codes it.
        dims: its shape, as the file claims it.
        data: the file.
        raw: where its bytes begin and end in it, if it has some.
        typed: the same for numbers in fields of their own types, by the fields' numbers.
    """

    name: str
    dtype: int
    dims: tuple[int, ...]
    data: bytes
    raw: tuple[int, int] | None
    typed: tuple[tuple[int, int, int], ...]

    @property
    def is_sound(self) -> bool:
        """Whether its numbers are of a known type, and as many as its shape says."""
        if self.dtype not in ITEM_SIZES or min(self.dims, default=0) < 0:
            return False
        count = 1
        for dim in self.dims:
            count *= dim
        if self.raw is not None:
            return not self.typed and count * ITEM_SIZES[self.dtype] == self.raw[1] - self.raw[0]
        return count <= sum(end - start for _field, start, end in self.typed)  # a number takes a byte at least

    def values(self) -> NDArray[Any] | None:
        """Its numbers, in its shape; None where NumPy lacks their type or there are not as many."""
        if self.dtype not in DTYPES:
            return None
        if self.raw is not None:
            numbers = np.frombuffer(self.data, np.uint8, self.raw[1] - self.raw[0], self.raw[0])
            return numbers.view(DTYPES[self.dtype]).reshape(self.dims)
        flat: list[Any] = []
        for number, start, end in self.typed:
            if number in _FLOATS:
                flat += np.frombuffer(self.data[start:end], f"<f{_FLOATS[number]}").tolist()
            else:
                flat += whole_numbers(self.data, start, end)
        return np.array(flat).astype(DTYPES[self.dtype]).reshape(self.dims) if self.dtype != 10 else None


class Node(NamedTuple):
    """An operator in the graph.

    Args:
        operator: what it computes; with its domain before a point where that is not ONNX's own.
        inputs: names of tensors; an empty one was left out.
        outputs: names of tensors.
        attributes: numbers, bytes, tensors or tuples of these by name; None where it is none of them.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class OnnxFile:
    """What is in an ONNX file.

    Args:
        nodes: in their order, in which each comes after what it takes.
        constants: by name.
        inputs: their names.
        outputs: their names.
        opsets: versions of the operators, by domain.
        properties: the file's metadata.
        unwritten: what it has that no file of kilat has: ``function``, ``training``, ``sparse``, ``graph`` (in a node).
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    opsets: dict[str, int] = field(default_factory=dict)
    properties: dict[str, memoryview] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)


def read_onnx(data: bytes) -> OnnxFile:
    """Return what is in an ONNX file; its numbers stay where they are.

    Raises:
        OutsideError: it keeps numbers in another file.
        ValueError, IndexError: it is no ONNX file, cut off, ambiguous, or has too many fields.
    """
    return _Reader(data).model()


def begins_well(file: BinaryIO, size: int) -> bool:
    """Return whether a file of so many bytes consists of fields as an ONNX file does; little of it is read for that.

    Most of a file can be nothing: bytes that the system makes up when they are read.
    """
    position = 0
    for _field in range(_MOST_OUTER_FIELDS):
        file.seek(position)
        start = file.read(_LONGEST_START)
        try:
            tag, at = _number(start, 0)
            length, begin = _number(start, at)
        except (IndexError, ValueError):
            return False
        if tag < 8 or tag & 7 not in {0, 2}:
            return False
        position += begin + (length if tag & 7 == 2 else 0)
        if position >= size:
            return position == size
    return False


def whole_numbers(data: bytes, start: int, end: int) -> list[int]:
    """Return signed 64-bit numbers of variable length that stand one after the other."""
    found = []
    while start < end:
        number, start = _number(data, start)
        found.append(_signed(number))
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.left, self.file = data, MAX_FIELDS, OnnxFile()

    def model(self) -> OnnxFile:
        has_graph = False
        for number, wire, start, end in self.fields(0, len(self.data)):
            if wire != 2:
                continue
            if number == 7:
                if has_graph:  # protobuf would merge the two
                    raise ValueError
                has_graph = True
                self.graph(start, end)
            elif number == 8:
                self.opset(start, end)
            elif number == 14:
                key, value = self.texts(start, end, (1, 2))
                self.file.properties[_name(bytes(key))] = value
            elif number in (20, 25):
                self.unwritten("training" if number == 20 else "function", start, end)
        return self.file

    def opset(self, start: int, end: int) -> None:
        domain, version = "", 0
        for number, wire, begin, stop in self.fields(start, end):
            if number == 1 and wire == 2:
                domain = _name(self.data[begin:stop])
            elif number == 2 and wire == 0:
                version = _number(self.data, begin)[0]
        if domain in self.file.opsets:
            raise ValueError
        self.file.opsets[domain] = version

    def graph(self, start: int, end: int) -> None:
        file = self.file
        for number, wire, begin, stop in self.fields(start, end):
            if wire != 2:
                continue
            if number == 1:
                file.nodes.append(self.node(begin, stop))
            elif number == 5:
                tensor = self.tensor(begin, stop)
                if tensor.name in file.constants:
                    raise ValueError
                file.constants[tensor.name] = tensor
            elif number == 11:
                file.inputs.append(_name(bytes(self.texts(begin, stop, (1,))[0])))
            elif number == 12:
                file.outputs.append(_name(bytes(self.texts(begin, stop, (1,))[0])))
            elif number == 15:
                self.unwritten("sparse", begin, stop)

    def node(self, start: int, end: int) -> Node:
        data = self.data
        inputs, outputs, operator, domain, attributes = [], [], "", "", {}
        for number, wire, begin, stop in self.fields(start, end):
            if wire != 2:
                continue
            if number == 1:
                inputs.append(_name(data[begin:stop]))
            elif number == 2:
                outputs.append(_name(data[begin:stop]))
            elif number == 4:
                operator = _name(data[begin:stop])
            elif number == 5:
                name, value = self.attribute(begin, stop)
                if name in attributes:
                    raise ValueError
                attributes[name] = value
            elif number == 7:
                domain = _name(data[begin:stop])
        operator = operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"
        return Node(operator, tuple(inputs), tuple(outputs), attributes)

    def attribute(self, start: int, end: int) -> tuple[str, Any]:
        """Return an attribute's name and its value; None for one of a kind that no model of kilat has."""
        data, name, kind = self.data, "", 0
        found: dict[int, Any] = {}
        for number, wire, begin, stop in self.fields(start, end):
            if number == 1 and wire == 2:
                name = _name(data[begin:stop])
            elif number == 20 and wire == 0:
                kind = _number(data, begin)[0]
            elif number in _CHILDREN["attribute"] and number != 5 and wire == 2:
                self.unwritten(_CHILDREN["attribute"][number], begin, stop)
            elif number == 5 and wire == 2:
                if 5 in found:  # protobuf would merge the two
                    raise ValueError
                found[5] = self.tensor(begin, stop)
            elif number in (7, 8):
                read = _floats if number == 7 else whole_numbers
                found.setdefault(number, []).extend(read(data, begin, stop))
            elif (number, wire) in _SINGLE_VALUES:
                found[number] = _SINGLE_VALUES[number, wire](data, begin, stop)
        wanted = _VALUE_OF.get(kind, 0)
        return name, tuple(found.get(wanted, ())) if wanted in (7, 8) else found.get(wanted)

    def tensor(self, start: int, end: int) -> Tensor:
        data = self.data
        name, dtype, dims, raw, typed = "", 0, [], None, []
        for number, wire, begin, stop in self.fields(start, end):
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and data[begin]):
                raise OutsideError
            if number == 1 and wire in (0, 2):
                dims += whole_numbers(data, begin, stop)
            elif number == 2 and wire == 0:
                dtype = _number(data, begin)[0]
            elif number == 8 and wire == 2:
                name = _name(data[begin:stop])
            elif number == 9 and wire == 2:
                raw = begin, stop
            elif number in _FLOATS or number in _WHOLE:
                typed.append((number, begin, stop))
        return Tensor(name, dtype, tuple(dims), data, raw, tuple(typed))

    def texts(self, start: int, end: int, numbers: tuple[int, ...]) -> list[memoryview]:
        """Return fields of a message that hold text, empty where they are not there."""
        found = dict.fromkeys(numbers, memoryview(b""))
        for number, wire, begin, stop in self.fields(start, end):
            if number in found and wire == 2:
                found[number] = memoryview(self.data)[begin:stop]
        return [*found.values()]

    def unwritten(self, kind: str, start: int, end: int, depth: int = 1) -> None:
        """Note a message of a kind that no file of kilat has, and find tensors outside of the file in it."""
        self.file.unwritten.add(kind)
        if depth > _MAX_DEPTH:
            raise ValueError
        children = _CHILDREN[kind]
        for number, wire, begin, stop in self.fields(start, end):
            if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and self.data[begin])):
                raise OutsideError
            if wire == 2 and number in children:
                self.unwritten(children[number], begin, stop, depth + 1)

    def fields(self, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield number, wire type, start and end of each field of a message."""
        data = self.data
        while position < end:
            self.left -= 1
            tag = data[position]
            position += 1
            if tag > 127:
                tag, position = _number(data, position - 1)
            # Protobuf drops the upper bits, and would read another field than this one.
            if tag < 8 or tag >> 32 or self.left < 0:
                raise ValueError
            wire = tag & 7
            if wire == 2:
                length = data[position]
                position += 1
                if length > 127:
                    length, position = _number(data, position - 1)
                stop = position + length
            elif wire == 0:
                stop = position + 1 if data[position] < 128 else _number(data, position)[1]
            elif wire in (1, 5):
                stop = position + (8 if wire == 1 else 4)
            else:
                raise ValueError
            if stop > end:
                raise ValueError
            yield tag >> 3, wire, position, stop
            position = stop


def _floats(data: bytes, start: int, end: int) -> list[float]:
    found: list[float] = np.frombuffer(data[start:end], "<f4").tolist()
    return found


_SINGLE_VALUES: dict[tuple[int, int], Callable[[bytes, int, int], Any]] = {
    (2, 5): lambda data, start, end: _floats(data, start, end)[0],
    (3, 0): lambda data, start, end: whole_numbers(data, start, end)[0],
    (4, 2): lambda data, start, end: data[start:end],
}
"""What reads an attribute's single value, by the number of its field and its wire type."""

_VALUE_OF = {1: 2, 2: 3, 3: 4, 4: 5, 6: 7, 7: 8}
"""The fields of an attribute's values by its type: a number, a whole one, text, a tensor, numbers, whole ones."""


def _name(data: bytes) -> str:
    if len(data) > MAX_NAME:
        raise ValueError
    return data.decode("utf-8", "surrogateescape")


def _number(data: bytes, position: int) -> tuple[int, int]:
    """Return a variable-length integer and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
