"""Writes the finished classifier as one ONNX file: fit, backbone, head, temperature and softmax in one graph.

``image`` (uint8 ``[batch, height, width, 3]``, RGB, any size) → crop, pad or squash and antialiased resize → backbone →
standardise → linear → ``probabilities`` (float32 ``[batch, classes]``).
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle.manifest import KEY, Manifest
from kilat.features.backbone import Backbone
from kilat.features.fitting import fitting
from kilat.probe import CLIP, Head
from kilat.recipe import Resize

_PRODUCER = "kilat"


def export(backbone: Backbone, resize: Resize, head: Head, temperature: float, manifest: Manifest) -> bytes:
    """The serialised model; the same parts give the same bytes."""
    network = onnx.load_from_string(backbone.model)
    fit_nodes, fit_constants = fitting(backbone.size, resize)
    head_nodes, head_constants = _head(head, temperature)
    graph = helper.make_graph(
        [*fit_nodes, *network.graph.node, *head_nodes],
        _PRODUCER,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(head.bias)])],
        [*fit_constants, *network.graph.initializer, *head_constants],
    )
    opsets = [helper.make_opsetid(one.domain, one.version) for one in network.opset_import]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=network.ir_version, producer_name=_PRODUCER)
    helper.set_model_props(model, {KEY: manifest.to_json()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _head(head: Head, temperature: float) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes and constants from ``features`` to ``probabilities``."""
    constants = {
        "head.mean": head.mean,
        "head.scale": head.scale,
        "head.low": -CLIP,
        "head.high": CLIP,
        "head.weight": head.weight / temperature,
        "head.bias": head.bias / temperature,
    }
    nodes = [
        helper.make_node("Sub", ["features", "head.mean"], ["head.centred"]),
        helper.make_node("Mul", ["head.centred", "head.scale"], ["head.scaled"]),
        helper.make_node("Clip", ["head.scaled", "head.low", "head.high"], ["head.standard"]),
        helper.make_node("Gemm", ["head.standard", "head.weight", "head.bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return nodes, [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
