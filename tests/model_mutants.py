"""Mutants of a model file: bits, fields of its graph, and its header, exchanged for odd ones."""

import copy
import json
import random
from collections.abc import Iterator

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from document_mutants import VALUES
from kilat.bundle.graph.operators import RULES
from kilat.bundle.manifest import KEY

NUMBERS = (0, 1, -1, 2, 3, 7, 16, 255, 4096, 2**31 - 1, -(2**31), 2**32, 2**62, -(2**63), 10**6, 10**9)
OPERATORS = (*RULES, "Loop", "If", "Scan", "NonZero", "Unique", "RandomUniform", "Optional", "Odd", "")


def model_mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield mutants of a model file, the same for the same seed."""
    draw = random.Random(seed)
    whole = onnx.load_from_string(data)
    for number in range(count):
        kind = number % 4
        if kind == 0:
            yield _flipped(data, draw)
            continue
        model = ModelProto()
        model.CopyFrom(whole)
        for _change in range(draw.choice((1, 1, 2, 3))):
            if kind == 3:
                _change_header(model, draw)
            else:
                _change_graph(model, draw)
        yield model.SerializeToString()


def _flipped(data: bytes, draw: random.Random) -> bytes:
    """Return a file with some bits exchanged, bytes left out or repeated, or its end cut off."""
    changed = bytearray(data)
    for _change in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(changed))
        length = draw.choice((1, 2, 8, 100))
        match draw.randrange(6):
            case 0:
                del changed[at : at + length]
            case 1:
                changed[at:at] = changed[at : at + length] * draw.choice((1, 3))
            case 2:
                changed[at] = draw.choice((0, 0x7F, 0x80, 0xFF))
            case 3 if draw.random() < 0.2 and at:
                del changed[at:]
            case _:
                changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _change_graph(model: ModelProto, draw: random.Random) -> None:  # noqa: C901 - a change each
    graph = model.graph
    node: NodeProto = draw.choice(graph.node)
    names = (
        [name for one in graph.node for name in one.output] + [one.name for one in graph.initializer] + ["image", ""]
    )
    match draw.randrange(12):
        case 0:
            node.op_type = draw.choice(OPERATORS)
        case 1 if node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice(names)
        case 2:
            node.input.append(draw.choice(names))
        case 3 if node.attribute:
            _change_attribute(draw.choice(node.attribute), draw)
        case 4:
            name = draw.choice(("axis", "axes", "keepdims", "perm", "to", "pads", "group", "strides", "mode", "start"))
            value = draw.choice(
                (draw.choice(NUMBERS), [draw.choice(NUMBERS) for _n in range(draw.randrange(1, 6))], "x")
            )
            node.attribute.append(helper.make_attribute(name, value))
        case 5 if graph.initializer:
            _change_constant(draw.choice(graph.initializer), draw)
        case 6:
            del graph.node[draw.randrange(len(graph.node))]
        case 7:
            graph.node.append(copy.deepcopy(node))
        case 8:
            nodes = draw.sample([*graph.node], len(graph.node))
            del graph.node[:]
            graph.node.extend(nodes)
        case 9:
            node.output[draw.randrange(len(node.output))] = draw.choice(names)
        case 10:
            value = draw.choice((*graph.input, *graph.output))
            dims = value.type.tensor_type.shape.dim
            dims[draw.randrange(len(dims))].dim_value = draw.choice(NUMBERS)
        case _:
            model.opset_import[0].version = draw.choice((0, 1, 11, 18, 18, 21, 999))


def _change_attribute(attribute: AttributeProto, draw: random.Random) -> None:
    if attribute.ints:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(NUMBERS)
    elif attribute.type == AttributeProto.INT:
        attribute.i = draw.choice(NUMBERS)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = draw.choice((b"", b"reflect", b"cubic", b"nearest", b"\xff", b"x" * 1000))
    elif attribute.type == AttributeProto.TENSOR:
        _change_constant(attribute.t, draw)
    else:
        attribute.type = draw.randrange(1, 15)


def _change_constant(tensor: TensorProto, draw: random.Random) -> None:
    match draw.randrange(5):
        case 0 if tensor.dims:
            tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(NUMBERS)
        case 1:
            tensor.data_type = draw.randrange(24)
        case 2:
            tensor.raw_data = tensor.raw_data[: draw.randrange(len(tensor.raw_data) + 1)]
        case 3 if tensor.data_type == TensorProto.INT64 and tensor.raw_data:
            at = 8 * draw.randrange(len(tensor.raw_data) // 8)
            number = draw.choice(NUMBERS).to_bytes(8, "little", signed=True)
            tensor.raw_data = tensor.raw_data[:at] + number + tensor.raw_data[at + 8 :]
        case _:
            tensor.dims.append(draw.choice(NUMBERS))


def _change_header(model: ModelProto, draw: random.Random) -> None:
    entry = draw.choice(model.metadata_props)
    if entry.key != KEY or draw.random() < 0.3:
        at = draw.randrange(len(entry.value) + 1)
        entry.value = draw.choice((entry.value[:at], entry.value[:at] + draw.choice("\0:=A{[é") + entry.value[at:], ""))
        return
    try:
        document = json.loads(entry.value)
    except ValueError:  # changed before
        return
    group = document
    while isinstance(group, dict) and group:
        name = draw.choice(sorted(group))
        if draw.random() < 0.5 or not isinstance(group[name], dict):
            group[name] = draw.choice([one for one in VALUES if _is_json(one)])
            break
        group = group[name]
    entry.value = json.dumps(document).encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _is_json(value: object) -> bool:
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError):
        return False
