"""The layers of a model file as tensors of its graph, under the names that ``kilat summary`` gives them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from kilat.bundle.graph.operator_call import Shape
from kilat.bundle.layer_table import constants, kernel_of, rows_of
from kilat.bundle.manifest import Manifest
from kilat.recipe.network import KINDS
from kilat.recipe.network_summary import keras_name

_FUNCTIONS = {
    "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softplus",
    "Gelu",
}  # fmt: skip
"""Operators that are activation functions."""

_GATES = {"Sigmoid", "HardSigmoid"}
"""Operators that make one when their input is multiplied by what they give: SiLU and hard swish."""

_OPERATORS = {"Conv": "conv", "Gemm": "dense", "MatMul": "dense"}
"""The kinds of layers within a backbone, by their operators."""

_RESCALING = ("Cast", "Mul", "Mul")
"""What brings a product of whole numbers back to the scale of weights and inputs (``kilat.features.int8_layers``)."""

_ON_THE_LAST_AXIS = {"MatMul", "MatMulInteger", "QLinearMatMul", "LayerNormalization"}


@dataclass(frozen=True)
class GraphLayer:
    """A layer of a model file.

    Args:
        name: as ``kilat summary`` has it; with a batch norm that was folded into it, both names (``conv+batch_norm``).
        kind: as a recipe calls it.
        tensor: what it gives, with its activation function where one follows at once.
        kernel: the tensor that it multiplies by; empty where there is none.
        channels_last: whether the last axis of ``tensor`` is that of the channels, and not the second one.
        inside: the name of the layer that it is in, such as a residual block; empty for a row of the layer table.
    """

    name: str
    kind: str
    tensor: str
    kernel: str
    channels_last: bool
    inside: str = ""

    @property
    def aliases(self) -> set[str]:
        """All names that it may be asked for by: its own, those that are joined in it, and Keras's."""
        parts = self.name.split("+")
        return {self.name, *parts, *(keras_name(_kind(part), part) for part in parts)}


def graph_layers(model: ModelProto, manifest: Manifest, shapes: Mapping[str, Shape]) -> list[GraphLayer]:
    """Return the layers of a finished model, in the order in which a picture goes through them.

    Args:
        model: from ``image`` to ``probabilities``.
        manifest: what it says of itself.
        shapes: of its tensors for one picture, by name.
    """
    has_layers = bool((manifest.recipe.get("model") or {}).get("layers"))
    return (has_layers and _of_recipe(model)) or _of_operators(model, shapes)


def _of_recipe(model: ModelProto) -> list[GraphLayer]:
    """Return the layers of a network that kilat built, by the names of their nodes (``kilat.model.layer_names``)."""
    nodes: dict[tuple[str, ...], list[NodeProto]] = {}
    for node in model.graph.node:
        *scope, _operator = node.name.split("/")[1:] or [""]
        if scope and _kind(scope[0]) in KINDS:
            for length in range(len(scope), 0, -1):
                own = nodes.pop(tuple(scope[:length]), [])
                nodes[tuple(scope[:length])] = [*own, node]  # a layer stands where its last node does
    fixed = constants(model)
    found = []
    for scope, own in nodes.items():
        direct = [node for node in own if node.name.count("/") == len(scope) + 1]
        kernel = next((kernel_of(node) for node in direct if kernel_of(node) in fixed), "")
        on_last = any(node.op_type in _ON_THE_LAST_AXIS for node in direct) and scope[0] == "backbone"
        kind = _kind(scope[-1]) if _kind(scope[-1]) in KINDS else _OPERATORS.get(direct[-1].op_type, direct[-1].op_type)
        found.append(GraphLayer(scope[-1], kind, own[-1].output[0], kernel, on_last, scope[-2] if scope[1:] else ""))
    return found


def _of_operators(model: ModelProto, shapes: Mapping[str, Shape]) -> list[GraphLayer]:
    """Return the layers of any other model: an operator with weights each, numbered as in its layer table."""
    fixed = constants(model)
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return [
        GraphLayer(
            row.label,
            row.kind,
            _behind_function(node, users, fixed),
            kernel_of(node) if row.kind != "batch_norm" else "",
            node.op_type in _ON_THE_LAST_AXIS,
        )
        for row, node in rows_of(model, shapes)
    ]


def _behind_function(node: NodeProto, users: Mapping[str, Sequence[NodeProto]], fixed: set[str]) -> str:
    """Return what a node gives with the bias and the activation function that follow it, where any do."""
    tensor = str(node.output[0])
    for operator in _RESCALING if "Integer" in node.op_type else ():
        tensor = next((str(one.output[0]) for one in users.get(tensor, []) if one.op_type == operator), tensor)
    following = users.get(tensor, [])
    if len(following) == 1 and following[0].op_type == "Add" and fixed.intersection(following[0].input):
        tensor = following[0].output[0]
        following = users.get(tensor, [])
    if len(following) == 1 and following[0].op_type in _FUNCTIONS:
        return str(following[0].output[0])
    gates = [node.output[0] for node in following if node.op_type in _GATES]
    products = [node for node in following if node.op_type == "Mul" and set(gates).intersection(node.input)]
    return str(products[0].output[0]) if len(following) == 2 and products else tensor


def _kind(name: str) -> str:
    """Return the kind of a layer that is numbered by it: ``conv`` of ``conv_1``, or of ``conv_1+batch_norm_1``."""
    return re.sub(r"_\d+$", "", name.partition("+")[0])
