"""Where a network's last features can be had: what its last layer with weights is given."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, helper, numpy_helper

TAPPED = "tapped"
_WEIGHTED = {"Gemm", "MatMul", "Conv"}
_PLACES = {4: [2, 3], 3: [1]}
"""By rank, the axes of a layer's input along which places lie: of pictures their height and width, else of tokens."""


def tap(model: ModelProto) -> str:
    """The tensor ``[batch, d]`` that the last layer with weights is given; nodes for it are added where needed.

    Where that layer looks at many places (a 1×1 convolution, say), it is the mean over all of them.

    Args:
        model: a graph from ``pixels`` to ``logits``; changed.
    """
    name = _before_the_last(model)
    rank = _rank(model, name)
    if rank == 2:
        return name
    axes = numpy_helper.from_array(np.array(_PLACES.get(rank, list(range(2, rank))), np.int64), f"{TAPPED}.axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(helper.make_node("ReduceMean", [name, axes.name], [TAPPED], keepdims=0))
    return TAPPED


def tapped(network: bytes) -> bytes:
    """The graph from ``pixels`` to what ``tap`` finds in it, its only output, under that name."""
    model = onnx.load_from_string(network)
    name = tap(model)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString(deterministic=True))


def _before_the_last(model: ModelProto) -> str:
    """The input of the weighted layer that is met first on the way back from the logits."""
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {one.name for one in model.graph.initializer}
    waiting, seen = [model.graph.output[0].name], set()
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type in _WEIGHTED and any(name not in makers or _is_fixed(makers, name) for name in node.input[1:]):
            return str(node.input[0])
        waiting += [name for name in node.input if name not in constants]
    return str(model.graph.output[0].name)  # no layer has weights: the logits themselves are all there is


def _is_fixed(makers: dict[str, onnx.NodeProto], name: str) -> bool:
    """Whether a tensor follows from constants alone, such as a weight that is turned round first."""
    node = makers.get(name)
    if node is None:
        return name != "pixels"
    return all(_is_fixed(makers, one) for one in node.input if one)


def _rank(model: ModelProto, name: str) -> int:
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shape = [one if isinstance(one, int) else 1 for one in session.get_inputs()[0].shape]
    return int(session.run([name], {"pixels": np.zeros(shape, np.uint8)})[0].ndim)
