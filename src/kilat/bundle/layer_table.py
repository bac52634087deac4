"""The layer table of a model file, read from its graph alone: what is inside, whoever made it."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import onnx
from onnx import ModelProto, NodeProto

from kilat.bundle.graph.cost import measure
from kilat.bundle.graph.onnx_file import read_onnx
from kilat.bundle.graph.operator_call import Shape
from kilat.bundle.manifest import KEY, Manifest
from kilat.bundle.onnx_safety import require_bounded, require_self_contained
from kilat.errors import ModelFileError
from kilat.features.backbone import Backbone
from kilat.locale import _
from kilat.recipe.network_summary import Row, Summary

_WEIGHTS = {
    "Conv": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (1, 2), "MatMul": (1,), "MatMulInteger": (1,), "QLinearMatMul": (3,),
    "BatchNormalization": (1, 2, 3, 4), "LayerNormalization": (1, 2),
}  # fmt: skip
"""Operators with weights, and which of their inputs these are, the kernel first."""

_NORMS = {"BatchNormalization": "batch_norm", "LayerNormalization": "layer_norm"}
_PASS_THROUGH = {"Cast", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""What weights may go through on their way to their operator, without a change of their number."""


def summarise(data: bytes) -> Summary:
    """Return the layers of a model file: a row for every operator with weights, in the order of the graph.

    All parameters count as frozen, for nothing is trained any more, and receptive fields are not worked out. A batch
    norm that was folded into a convolution is a part of it; factors and sums of their own are not counted.

    Args:
        data: content of a ``model.onnx``.

    Raises:
        ModelFileError: it is no model of kilat, or damaged.
    """
    where = _("The file")
    file = require_self_contained(data, where)
    manifest = Manifest.from_json(file.properties.get(KEY), where)
    shapes = require_bounded(file, manifest.size, where, len(data)).shapes
    try:
        rows = [row for row, _node in rows_of(onnx.load_from_string(data), shapes)]
    except Exception as error:  # of protocol buffers, whose errors have no common ancestor, and of odd graphs
        raise ModelFileError(
            _("The file cannot be used as an ONNX model: {kind}.").format(kind=type(error).__name__)
        ) from error
    name, size = str(manifest.backbone.get("name", "model")), manifest.size
    return Summary(name, (size, size, 3), rows)


def rows_of(model: ModelProto, shapes: Mapping[str, Shape]) -> list[tuple[Row, NodeProto]]:
    """Return the rows of a finished model's layers, each with the node that multiplies or normalises.

    Args:
        model: from ``image`` to ``probabilities``.
        shapes: of its tensors for one picture, by name.
    """
    return _rows(_nodes_of(model, "probabilities"), constants(model), shapes)


def summarise_backbones(backbones: Sequence[Backbone], classes: int) -> Summary:
    """Return the layers of frozen backbones side by side, and of the linear head on their features, which is trained.

    Args:
        backbones: all for pictures of one size.
        classes: how many the head tells apart.
    """
    rows = []
    for backbone in backbones:
        model = onnx.load_from_string(backbone.model)
        cost = measure(
            read_onnx(backbone.model),
            backbone.size,
            where=backbone.name,
            file_size=len(backbone.model),
            picture="pixels",
        )
        found = _rows(_nodes_of(model, "features"), constants(model), cost.shapes)
        start = f"{backbone.name}." if len(backbones) > 1 else ""
        rows += [replace(row, label=f"{start}{row.label}") for row, _node in found]
    weights = classes * sum(backbone.width for backbone in backbones)
    head = Row("head", "dense", (classes,), weights + classes, 0, weights, None)
    size = backbones[0].size
    return Summary("+".join(backbone.name for backbone in backbones), (size, size, 3), [*rows, head])


def _nodes_of(model: ModelProto, output: str) -> list[NodeProto]:
    """Return the nodes that an output depends on, in the order of the graph; not those of other outputs alone."""
    wanted, nodes = {output}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def constants(model: ModelProto) -> set[str]:
    """Return the tensors that are the same for every picture and may be weights, in whatever form they are used."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" or (node.op_type in _PASS_THROUGH and node.input[0] in fixed):
            fixed.add(node.output[0])
    return fixed


def kernel_of(node: NodeProto) -> str:
    """Return the tensor that a layer multiplies by, constant or not; an empty name for any other node."""
    inputs = _WEIGHTS.get(node.op_type)
    return node.input[inputs[0]] if inputs else ""


def _rows(
    nodes: Iterable[NodeProto], fixed: Collection[str], shapes: Mapping[str, Shape]
) -> list[tuple[Row, NodeProto]]:
    rows: dict[str, Row] = {}  # by the tensor that the layer gives
    makers: dict[str, NodeProto] = {}
    numbers: Counter[str] = Counter()
    for node in nodes:
        if kernel_of(node) in fixed:
            row = _row(node, shapes)
            number = numbers[row.kind]
            numbers[row.kind] += 1
            rows[node.output[0]] = replace(row, label=f"{row.kind}_{number}") if number else row
            makers[node.output[0]] = node
        elif node.op_type == "Add":  # a matrix product's bias stands in an operator of its own
            for product, bias in (node.input, node.input[::-1]):
                if product in rows and rows[product].kind == "dense" and bias in fixed:
                    parameters = rows[product].frozen + math.prod(shapes[bias])
                    rows[product] = replace(rows[product], frozen=parameters)
    return [(row, makers[tensor]) for tensor, row in rows.items()]


def _row(node: NodeProto, shapes: Mapping[str, Shape]) -> Row:
    """Return the row of one layer, with its multiply-accumulates for one picture."""
    output, kernel = shapes[node.output[0]], shapes[kernel_of(node)]
    if "Conv" in node.op_type:
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        kind = "depthwise_conv" if groups > 1 and kernel[1] == 1 else "conv"
        macs = math.prod(output[1:]) * math.prod(kernel[1:])
    elif node.op_type in _NORMS:
        kind, macs = _NORMS[node.op_type], 0  # as in ``kilat.model.summary``
    else:
        kind, macs = "dense", math.prod(output[1:-1]) * math.prod(kernel)
    shape = tuple(output[1:])
    if len(output) == 4 and ("Conv" in node.op_type or node.op_type == "BatchNormalization"):
        shape = (*output[2:], output[1])  # channels last; what works on the last axis has them there already
    weights = [node.input[index] for index in _WEIGHTS[node.op_type] if index < len(node.input)]
    parameters = sum(math.prod(shapes[name]) for name in weights if name in shapes)
    return Row(kind, kind, shape, 0, parameters, macs, None)
