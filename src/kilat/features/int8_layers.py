"""The linear layers of a backbone in int8: weights per output channel, activations per token, as they come.

A transformer spends four fifths of its time in them. No calibration pictures are needed, since the range of each token
is taken when it arrives (as in LLM.int8(), arXiv 2208.07339, without its part in higher precision). So a picture gets
the same features alone and in a batch; one range for a whole tensor, as DynamicQuantizeLinear takes it, would not do
that. All operators are standard ONNX.
"""

from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from kilat.features.backbone import Backbone
from kilat.features.lite import WEIGHT_STEPS
from kilat.runtime.array_types import Floats

_SMALLEST_LAYER = 64 * 64
_LEAST_SHARE = 0.5
"""Of all weights that must be in linear layers: other networks gain little."""
_STEPS = 127


def quantise(backbone: Backbone) -> Backbone | None:
    """Return a backbone with its linear layers in int8; None where they hold less than half of its weights."""
    model = onnx.load_from_string(backbone.model)
    constants = {one.name: one for one in model.graph.initializer}
    layers = [node for node in model.graph.node if _is_linear(node, constants)]
    quantised = sum(_size(constants[node.input[1]]) for node in layers)
    if quantised < _LEAST_SHARE * sum(map(_size, constants.values())):
        return None
    _rewrite(model, {id(node) for node in layers}, constants)
    onnx.checker.check_model(model)
    return replace(backbone, model=bytes(model.SerializeToString(deterministic=True)), precision="int8")


def _size(constant: TensorProto) -> int:
    return int(np.prod(constant.dims))


def _is_linear(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    weight = constants.get(node.input[1]) if node.op_type == "MatMul" else None
    return weight is not None and len(weight.dims) == 2 and _size(weight) >= _SMALLEST_LAYER


def _rewrite(model: onnx.ModelProto, layers: set[int], constants: dict[str, TensorProto]) -> None:
    """Replace the products of some nodes by int8 ones."""
    nodes: list[NodeProto] = []
    added = [
        numpy_helper.from_array(np.array(value, dtype), f"int8.{name}")
        for name, value, dtype in (
            ("steps", _STEPS, np.float32),
            ("least", 1e-30, np.float32),
            ("middle", 128, np.float32),
            ("zero", 128, np.uint8),
            ("last", [-1], np.int64),
        )
    ]
    written: set[str] = set()
    weights: dict[str, tuple[str, str]] = {}
    for node in model.graph.node:
        if id(node) not in layers:
            nodes.append(node)
            continue
        tokens, weight = node.input
        if tokens not in written:
            written.add(tokens)
            nodes += _quantised_tokens(tokens)
        if weight not in weights:
            weights[weight] = f"{weight}.int8", f"{weight}.scale"
            values, scale = _quantised_weight(numpy_helper.to_array(constants[weight]))
            added += [
                numpy_helper.from_array(values, f"{weight}.int8"),
                numpy_helper.from_array(scale, f"{weight}.scale"),
            ]
        nodes += _product(tokens, *weights[weight], node.output[0])
    used = {name for node in nodes for name in node.input}
    kept = [one for one in (*model.graph.initializer, *added) if one.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)


def _quantised_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return weights ``[inputs, outputs]`` as int8, and the scale of each output; see ``lite.WEIGHT_STEPS``."""
    scale = np.maximum(np.abs(weight).max(0) / WEIGHT_STEPS, 1e-12).astype(np.float32)
    return np.clip(np.rint(weight / scale), -WEIGHT_STEPS, WEIGHT_STEPS).astype(np.int8), scale


def _quantised_tokens(tokens: str) -> list[NodeProto]:
    """Return nodes from tokens ``[..., channels]`` to uint8 around 128, and the scale of each token."""
    return [
        helper.make_node("Abs", [tokens], [f"{tokens}.abs"]),
        helper.make_node("ReduceMax", [f"{tokens}.abs", "int8.last"], [f"{tokens}.reach"], keepdims=1),
        helper.make_node("Max", [f"{tokens}.reach", "int8.least"], [f"{tokens}.positive"]),
        helper.make_node("Div", [f"{tokens}.positive", "int8.steps"], [f"{tokens}.scale"]),
        helper.make_node("Div", [tokens, f"{tokens}.scale"], [f"{tokens}.scaled"]),
        helper.make_node("Add", [f"{tokens}.scaled", "int8.middle"], [f"{tokens}.shifted"]),
        helper.make_node("Round", [f"{tokens}.shifted"], [f"{tokens}.rounded"]),
        helper.make_node("Cast", [f"{tokens}.rounded"], [f"{tokens}.int8"], to=TensorProto.UINT8),
    ]


def _product(tokens: str, weight: str, scale: str, output: str) -> list[NodeProto]:
    return [
        helper.make_node("MatMulInteger", [f"{tokens}.int8", weight, "int8.zero"], [f"{output}.sum"]),
        helper.make_node("Cast", [f"{output}.sum"], [f"{output}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}.float", scale], [f"{output}.scaled"]),
        helper.make_node("Mul", [f"{output}.scaled", f"{tokens}.scale"], [output]),
    ]
