"""Assemble the finished classifier as one ONNX file: resize, network, temperature and probabilities in one graph.

``image`` (uint8 ``[batch, height, width, 3]``, RGB, any size) → crop, pad or squash and antialiased resize → network →
``probabilities`` (float32 ``[batch, classes]``), ``embedding`` (float32 ``[batch, d]``) and ``unknown`` (float32
``[batch]``, above 0 where a picture is unlike all training pictures). The network is a frozen backbone with a linear
head (``assemble_frozen``), or one that was trained by gradient (``assemble_network``).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle import training_digests
from kilat.bundle.manifest import KEY, REFERENCE, Manifest, pack
from kilat.bundle.ood_graph import OodHead, Subgraph, ood_nodes
from kilat.bundle.penultimate import add_penultimate
from kilat.errors import RunError
from kilat.features.backbone import Backbone
from kilat.features.resize_graph import OPSET, resize_nodes
from kilat.locale import _
from kilat.probe import CLIP, Head
from kilat.recipe import Resize

_PRODUCER = "kilat"
MAX_BYTES = 1_900_000_000
"""Of a network: protocol buffers end at 2 GiB, and what comes around it needs a little room."""


def assemble_frozen(
    backbone: Backbone,
    resize: Resize,
    head: Head,
    temperature: float,
    manifest: Manifest,
    ood: OodHead,
    digests: Iterable[str] | None = None,
) -> bytes:
    """Return a frozen backbone with its linear head as the serialised model; the same parts give the same bytes."""
    network = onnx.load_from_string(backbone.model)
    behind = _concat(_head_nodes(head, temperature), ood_nodes(ood, "head.standard", "logits"))
    return _assemble(resize_nodes(backbone.size, resize), network, behind, len(head.bias), manifest, ood, digests)


def assemble_network(
    network: bytes,
    *,
    size: int,
    resize: Resize,
    temperature: float,
    manifest: Manifest,
    ood: OodHead | None = None,
    digests: Iterable[str] | None = None,
) -> bytes:
    """Return a network that was trained by gradient as the serialised model; the same parts give the same bytes.

    Args:
        network: an ONNX graph from ``pixels`` (uint8 ``[batch, size, size, 3]``) to ``logits`` (float32 ``[batch, k]``)
            as ``kilat.model.to_onnx.to_onnx`` writes it. One logit alone is that of the second of two classes.
        size: side of its input in pixels.
        resize: how pictures that are not square are made so.
        temperature: what the logits are divided by.
        manifest: what the file says of itself, its ``classes`` in the order of the logits.
        ood: what detects pictures unlike all training pictures; its projection is of the penultimate features.
        digests: of the pictures it was trained on; None where they are not known.

    Raises:
        RunError: the network is too large for one file.
    """
    if len(network) > MAX_BYTES:
        raise RunError(
            _("The network has {size:,} bytes; one ONNX file holds {max_bytes:,}.").format(
                size=len(network), max_bytes=MAX_BYTES
            ),
            hint=_("Train a smaller one."),
        )
    graph = onnx.load_from_string(network)
    logits = graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    classes = max(logits, 2)
    assert len(manifest.classes) == classes
    assert graph.opset_import[0].version == OPSET
    behind = _sigmoid_nodes(temperature) if logits == 1 else _softmax_nodes(temperature)
    if ood is not None:
        behind = _concat(behind, ood_nodes(ood, add_penultimate(graph), "answer.softened"))
    return _assemble(resize_nodes(size, resize), graph, behind, classes, manifest, ood, digests)


def _concat(one: Subgraph, other: Subgraph) -> Subgraph:
    return [*one[0], *other[0]], [*one[1], *other[1]]


def _assemble(
    before: Subgraph,
    network: onnx.ModelProto,
    behind: Subgraph,
    classes: int,
    manifest: Manifest,
    ood: OodHead | None,
    digests: Iterable[str] | None,
) -> bytes:
    """Return the network between what comes before and behind it as the serialised model."""
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])]
    if ood is not None:
        width = ood.projection.basis.shape[1]
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width]))
        outputs.append(helper.make_tensor_value_info("unknown", TensorProto.FLOAT, ["batch"]))
    graph = helper.make_graph(
        [*before[0], *network.graph.node, *behind[0]],
        _PRODUCER,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        outputs,
        [*before[1], *network.graph.initializer, *behind[1]],
    )
    opsets = [helper.make_opsetid(one.domain, one.version) for one in network.opset_import]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=network.ir_version, producer_name=_PRODUCER)
    reference = {} if ood is None else {REFERENCE: pack(ood.reference)}
    known = {} if digests is None else {training_digests.KEY: training_digests.pack(digests)}
    helper.set_model_props(model, {KEY: manifest.to_json(), **reference, **known})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _head_nodes(head: Head, temperature: float) -> Subgraph:
    """Return nodes and constants from ``features`` to ``probabilities``."""
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
    return nodes, _constants(constants)


def _softmax_nodes(temperature: float, logits: str = "logits") -> Subgraph:
    """Return nodes and constants from the logits of two classes or more to ``probabilities``."""
    nodes = [
        helper.make_node("Div", [logits, "answer.temperature"], ["answer.softened"]),
        helper.make_node("Softmax", ["answer.softened"], ["probabilities"], axis=1),
    ]
    return nodes, _constants({"answer.temperature": temperature})


def _sigmoid_nodes(temperature: float) -> Subgraph:
    """Return nodes and constants from the logit of the second class to the ``probabilities`` of both.

    A softmax beside a logit of 0 is the sigmoid, and stays exact where ONNX Runtime's own one gives 0 (from -18 down).
    """
    pads = numpy_helper.from_array(np.array([0, 1, 0, 0], np.int64), "answer.pads")
    pad = helper.make_node("Pad", ["logits", "answer.pads"], ["answer.both"])
    nodes, constants = _softmax_nodes(temperature, "answer.both")
    return [pad, *nodes], [pads, *constants]


def _constants(values: Mapping[str, Any]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in values.items()]
