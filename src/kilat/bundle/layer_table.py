"""The layer table of a model file, read from its graph alone: what is inside, whoever made it."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import ModelProto, NodeProto

from kilat.bundle.manifest import KEY, Manifest
from kilat.errors import ModelFileError
from kilat.locale import _
from kilat.recipe.network_summary import Row, Summary
from kilat.runtime.onnx_session import make_session

_WEIGHTS = {
    "Conv": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (1, 2), "MatMul": (1,), "MatMulInteger": (1,), "QLinearMatMul": (3,),
    "BatchNormalization": (1, 2, 3, 4), "LayerNormalization": (1, 2),
}  # fmt: skip
"""Operators with weights, and which of their inputs these are, the kernel first."""

_NORMS = {"BatchNormalization": "batch_norm", "LayerNormalization": "layer_norm"}
_PASSED = {"Cast", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""What weights may go through on their way to their operator; they stay as many."""

_Shape = tuple[int, ...]


def summarise(data: bytes) -> Summary:
    """The layers of a model file: a row for every operator with weights, in the order of the graph.

    All parameters count as frozen, for nothing is trained any more, and what one place sees is not worked out. A batch
    norm that was folded into a convolution is a part of it; factors and sums that stand by themselves are not counted.

    Args:
        data: of a ``model.onnx``.

    Raises:
        ModelFileError: it is no model of kilat, or damaged.
    """
    try:
        model = onnx.load_from_string(data)
        text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
        manifest = Manifest.from_json(text, "The file")
        fixed = _constants(model)
        nodes = _answering(model)
        layers = [node for node in nodes if _kernel(node) in fixed]
        shapes = _shapes(model, manifest.size, {node.output[0] for node in layers} | fixed)
    except ModelFileError:
        raise
    except Exception as error:  # of protocol buffers and the runtime, whose classes of errors have no common ancestor
        raise ModelFileError(
            _("The file cannot be used as an ONNX model: {kind}.").format(kind=type(error).__name__)
        ) from error
    name, size = str(manifest.backbone.get("name", "model")), manifest.size
    return Summary(name, (size, size, 3), _rows(nodes, fixed, shapes))


def _answering(model: ModelProto) -> list[NodeProto]:
    """What the probabilities follow from, in the order of the graph; what notices unknown pictures is no layer."""
    wanted, nodes = {"probabilities"}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def _constants(model: ModelProto) -> set[str]:
    """The tensors that are the same for every picture and may be weights, in whatever form they are used."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" or (node.op_type in _PASSED and node.input[0] in fixed):
            fixed.add(node.output[0])
    return fixed


def _kernel(node: NodeProto) -> str:
    """The tensor that a layer multiplies by, constant or not; of any other node nothing."""
    places = _WEIGHTS.get(node.op_type)
    return node.input[places[0]] if places else ""


def _shapes(model: ModelProto, size: int, wanted: Collection[str]) -> dict[str, _Shape]:
    """The shapes of tensors for one picture. It is sent through, as a graph alone may not tell all shapes."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    seen = ModelProto()
    seen.CopyFrom(model)
    names = sorted({*wanted} - {*shapes})
    del seen.graph.output[:]
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = make_session(seen.SerializeToString(), optimize=False)
    answers = session.run(names, {"image": np.zeros((1, size, size, 3), np.uint8)})
    return shapes | {name: answer.shape for name, answer in zip(names, answers, strict=True)}


def _rows(nodes: Iterable[NodeProto], fixed: Collection[str], shapes: Mapping[str, _Shape]) -> list[Row]:
    rows: dict[str, Row] = {}  # by the tensor that the layer gives
    numbers: Counter[str] = Counter()
    for node in nodes:
        if _kernel(node) in fixed:
            row = _row(node, shapes)
            number = numbers[row.kind]
            numbers[row.kind] += 1
            rows[node.output[0]] = replace(row, label=f"{row.kind}_{number}") if number else row
        elif node.op_type == "Add":  # a matrix product's bias stands in an operator of its own
            for product, bias in (node.input, node.input[::-1]):
                if product in rows and rows[product].kind == "dense" and bias in fixed:
                    parameters = rows[product].frozen + math.prod(shapes[bias])
                    rows[product] = replace(rows[product], frozen=parameters)
    return list(rows.values())


def _row(node: NodeProto, shapes: Mapping[str, _Shape]) -> Row:
    answer, kernel = shapes[node.output[0]], shapes[_kernel(node)]
    weights = [node.input[place] for place in _WEIGHTS[node.op_type] if place < len(node.input)]
    parameters = sum(math.prod(shapes[name]) for name in weights if name in shapes)
    kind = _kind(node, kernel)
    return Row(kind, kind, _channels_last(node, answer), 0, parameters, _macs(kind, answer, kernel), None)


def _kind(node: NodeProto, kernel: _Shape) -> str:
    """What a recipe calls the layer."""
    if "Conv" not in node.op_type:
        return _NORMS.get(node.op_type, "dense")
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return "depthwise_conv" if groups > 1 and kernel[1] == 1 else "conv"


def _macs(kind: str, answer: _Shape, kernel: _Shape) -> int:
    """Multiply-accumulates for one picture; as in ``kilat.model.summary``, normalising counts as none."""
    if kind == "dense":
        return math.prod(answer[1:-1]) * math.prod(kernel)
    return math.prod(answer[1:]) * math.prod(kernel[1:]) if "conv" in kind else 0


def _channels_last(node: NodeProto, answer: _Shape) -> _Shape:
    """The shape for one picture; what works on the last axis has its channels there already."""
    if len(answer) == 4 and ("Conv" in node.op_type or node.op_type == "BatchNormalization"):
        return (*answer[2:], answer[1])
    return tuple(answer[1:])
