"""The penultimate features of a network in ONNX: the input of its last layer with weights."""

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from kilat.runtime.onnx_session import make_session

PENULTIMATE = "penultimate"
"""The tensor that is added where the features have to be pooled."""

_WEIGHTED = {"Gemm", "MatMul", "Conv"}


def add_penultimate(model: ModelProto) -> str:
    """Return the name of the penultimate features, ``[batch, d]``; nodes for them are added where needed.

    Where the last layer with weights works on many positions (a 1×1 convolution, say), they are the mean over all.

    Args:
        model: a graph from ``pixels`` to ``logits``; changed.
    """
    name, channels = _input_of_the_last_layer(model)
    probe = ModelProto()  # run up to there, as a graph alone may not have all shapes
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = make_session(probe.SerializeToString())
    shape = [one if isinstance(one, int) else 1 for one in session.get_inputs()[0].shape]
    rank = int(session.run([name], {"pixels": np.zeros(shape, np.uint8)})[0].ndim)
    if rank == 2:
        return name
    positions = [axis for axis in range(1, rank) if axis != channels % rank]
    axes = numpy_helper.from_array(np.array(positions, np.int64), f"{PENULTIMATE}.axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(helper.make_node("ReduceMean", [name, axes.name], [PENULTIMATE], keepdims=0))
    return PENULTIMATE


def answering_graph(network: bytes) -> bytes:
    """Return the graph from ``pixels`` to its logits and its penultimate features, in this order."""
    model = onnx.load_from_string(network)
    name = add_penultimate(model)
    if name != model.graph.output[0].name:
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString(deterministic=True))


def _input_of_the_last_layer(model: ModelProto) -> tuple[str, int]:
    """Return the input of the weighted layer that comes first going back from the logits, and its axis of channels."""
    makers = {output: node for node in model.graph.node for output in node.output}
    fixed = {one.name for one in model.graph.initializer}
    for node in model.graph.node:  # what follows from constants alone, such as a weight that is transposed first
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    waiting, visited = [model.graph.output[0].name], set()
    while waiting:
        maker = makers.get(waiting.pop(0))
        if maker is None or id(maker) in visited:
            continue
        visited.add(id(maker))
        if maker.op_type in _WEIGHTED and fixed.intersection(maker.input[1:]):
            return str(maker.input[0]), 1 if maker.op_type == "Conv" else -1
        waiting += [name for name in maker.input if name not in fixed]
    return str(model.graph.output[0].name), -1  # no layer has weights: the logits themselves are all there is
