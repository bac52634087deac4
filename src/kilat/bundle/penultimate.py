"""Where a network's last features can be had: what its last layer with weights is given."""

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from kilat.runtime.onnx_session import make_session

TAPPED = "tapped"
_WEIGHTED = {"Gemm", "MatMul", "Conv"}


def tap(model: ModelProto) -> str:
    """The tensor ``[batch, d]`` that the last layer with weights is given; nodes for it are added where needed.

    Where that layer looks at many places (a 1×1 convolution, say), it is the mean over all of them.

    Args:
        model: a graph from ``pixels`` to ``logits``; changed.
    """
    name, channels = _before_the_last(model)
    rank = _rank(model, name)
    if rank == 2:
        return name
    places = [axis for axis in range(1, rank) if axis != channels % rank]
    axes = numpy_helper.from_array(np.array(places, np.int64), f"{TAPPED}.axes")
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


def _before_the_last(model: ModelProto) -> tuple[str, int]:
    """The input of the weighted layer that is met first on the way back from the logits, and its axis of channels."""
    makers = {output: node for node in model.graph.node for output in node.output}
    fixed = _fixed(model)
    waiting, seen = [model.graph.output[0].name], set()
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type in _WEIGHTED and fixed.intersection(node.input[1:]):
            return str(node.input[0]), 1 if node.op_type == "Conv" else -1
        waiting += [name for name in node.input if name not in fixed]
    return str(model.graph.output[0].name), -1  # no layer has weights: the logits themselves are all there is


def _fixed(model: ModelProto) -> set[str]:
    """The tensors that follow from constants alone, such as a weight that is turned round first."""
    fixed = {one.name for one in model.graph.initializer}
    for node in model.graph.node:
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    return fixed


def _rank(model: ModelProto, name: str) -> int:
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = make_session(probe.SerializeToString())
    shape = [one if isinstance(one, int) else 1 for one in session.get_inputs()[0].shape]
    return int(session.run([name], {"pixels": np.zeros(shape, np.uint8)})[0].ndim)
