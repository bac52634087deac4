"""Whether an ONNX file would reach outside itself, checked before anything runs it.

Walks the protobuf wire format (https://protobuf.dev/programming-guides/encoding) down to every tensor, with neither
the onnx package nor a copy of the weights, and refuses tensors whose data lies in another file.
"""

from kilat.errors import ModelFileError
from kilat.locale import _

MAX_BYTES = 2 << 30

_CHILDREN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message kinds of onnx.proto that can hold tensors, and the numbers of the fields that lead there."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MAX_DEPTH = 64


def require_self_contained(data: bytes, where: str) -> None:
    """Raise unless this is a whole ONNX file that keeps everything inside itself.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        ModelFileError: it is larger than 2 GiB, no ONNX file, cut off, or has tensors outside itself.
    """
    if len(data) > MAX_BYTES:
        raise ModelFileError(
            _("{where} has {size:,} bytes; more than {max_bytes:,} are refused.").format(
                where=where, size=len(data), max_bytes=MAX_BYTES
            )
        )
    try:
        _walk(memoryview(data), "model", where, 0)
    except (IndexError, ValueError):
        raise ModelFileError(_("{where} is not an ONNX file, or it is damaged.").format(where=where)) from None


def _walk(data: memoryview, kind: str, where: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError
    children = _CHILDREN[kind]
    position = 0
    while position < len(data):
        tag, position = _number(data, position)
        if tag >> 32:  # protobuf drops the upper bits, and would read another field than this one
            raise ValueError
        field, wire = tag >> 3, tag & 7
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and data[position])):
            raise ModelFileError(
                _(
                    "{where} keeps weights in another file, which is refused: a model file must be complete in itself."
                ).format(where=where)
            )
        start, position = _extent(data, position, wire)
        if wire == 2 and field in children:
            _walk(data[start:position], children[field], where, depth + 1)


def _extent(data: memoryview, position: int, wire: int) -> tuple[int, int]:
    """Return where the value of a field starts and ends."""
    if wire == 0:
        return position, _number(data, position)[1]
    if wire == 2:
        length, start = _number(data, position)
    elif wire in (1, 5):
        length, start = 8 if wire == 1 else 4, position
    else:
        raise ValueError
    if start + length > len(data):
        raise ValueError
    return start, start + length


def _number(data: memoryview, position: int) -> tuple[int, int]:
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
