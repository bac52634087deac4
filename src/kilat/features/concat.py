"""Several backbones side by side, or one that looks at both sides of a picture, as one backbone with one graph."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from kilat.errors import BackboneError
from kilat.features.backbone import Backbone, Block
from kilat.locale import _


def concat(backbones: Sequence[Backbone], *, flip_average: bool = False) -> Backbone:
    """One backbone that gives the features of all of them, one after the other.

    Args:
        backbones: at least one, all for pictures of the same size.
        flip_average: whether each picture is looked at from both sides, and the features averaged.

    Raises:
        BackboneError: they look at pictures of different sizes.
    """
    if len(backbones) == 1 and not flip_average:
        return backbones[0]
    sizes = [backbone.size for backbone in backbones]
    if len(set(sizes)) > 1:
        found = ", ".join(f"{backbone.name} at {backbone.size}" for backbone in backbones)
        raise BackboneError(
            _("Backbones that look side by side need pictures of one size; these look at {found} pixels.").format(
                found=found
            ),
            hint=_("Say it: --size {size}.").format(size=max(sizes)),
        )
    return Backbone(
        "+".join(backbone.name for backbone in backbones),
        _graph(backbones, flip_average),
        sizes[0],
        "int8" if all(backbone.precision == "int8" for backbone in backbones) else "fp32",
        tuple(Block(f"{one.name}.{block.name}", block.width) for one in backbones for block in one.blocks)
        if len(backbones) > 1
        else backbones[0].blocks,
    )


def _graph(backbones: Sequence[Backbone], flip_average: bool) -> bytes:
    size, width = backbones[0].size, sum(backbone.width for backbone in backbones)
    nodes, constants, opsets = [], [], []
    views = "pixels"
    if flip_average:
        views = "views"
        constants += [
            _numbers("flip_average.start", -1),
            _numbers("flip_average.end", -(2**62)),
            _numbers("flip_average.axis", 2),
        ]
        constants += [_numbers("flip_average.shape", 2, -1, width)]
        turned = ["pixels", "flip_average.start", "flip_average.end", "flip_average.axis", "flip_average.start"]
        nodes += [
            helper.make_node("Slice", turned, ["mirrored"]),
            helper.make_node("Concat", ["pixels", "mirrored"], ["views"], axis=0),
        ]
    seen = []
    for number, backbone in enumerate(backbones):
        model = compose.add_prefix(onnx.load_from_string(backbone.model), f"eye{number}.")
        for node in model.graph.node:
            node.input[:] = [views if name == f"eye{number}.pixels" else name for name in node.input]
        nodes += model.graph.node
        constants += model.graph.initializer
        opsets += [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
        seen.append(f"eye{number}.features")
    nodes.append(helper.make_node("Concat", seen, ["both" if flip_average else "features"], axis=1))
    if flip_average:
        nodes += [
            helper.make_node("Reshape", ["both", "flip_average.shape"], ["pairs"]),
            helper.make_node("ReduceMean", ["pairs", _axis(constants)], ["features"], keepdims=0),
        ]
    graph = helper.make_graph(
        nodes,
        "joined",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])],
        constants,
    )
    versions = {opset.version for opset in opsets}
    assert len(versions) == 1, versions
    model = helper.make_model(
        graph, opset_imports=opsets[:1], ir_version=onnx.load_from_string(backbones[0].model).ir_version
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _axis(constants: list[onnx.TensorProto]) -> str:
    constants.append(_numbers("flip_average.pair", 0))
    return "flip_average.pair"


def _numbers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)
