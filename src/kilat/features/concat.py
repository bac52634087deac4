"""Several backbones, or one that averages over flipped pictures, as one backbone with one graph."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from kilat.errors import BackboneError
from kilat.features.backbone import Backbone, Block
from kilat.locale import _


def concat(backbones: Sequence[Backbone], *, flip_average: bool = False) -> Backbone:
    """Return one backbone that gives the features of several, one after the other.

    Args:
        backbones: at least one, all for pictures of the same size.
        flip_average: whether features are averaged over each picture and its mirror image.

    Raises:
        BackboneError: they take pictures of different sizes.
    """
    if len(backbones) == 1 and not flip_average:
        return backbones[0]
    sizes = [backbone.size for backbone in backbones]
    if len(set(sizes)) > 1:
        found = ", ".join(f"{backbone.name} at {backbone.size}" for backbone in backbones)
        raise BackboneError(
            _("Several backbones need pictures of one size; these take {found} pixels.").format(found=found),
            hint=_("Set it: --size {size}.").format(size=max(sizes)),
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
    pixels = "pixels"
    if flip_average:
        pixels = "both"
        numbers = {"start": -1, "end": -(2**62), "axis": 2, "shape": (2, -1, width), "pair": 0}
        constants += [
            numpy_helper.from_array(np.atleast_1d(np.array(value, np.int64)), f"flip_average.{name}")
            for name, value in numbers.items()
        ]
        sliced = ["pixels", "flip_average.start", "flip_average.end", "flip_average.axis", "flip_average.start"]
        nodes += [
            helper.make_node("Slice", sliced, ["mirrored"]),
            helper.make_node("Concat", ["pixels", "mirrored"], ["both"], axis=0),
        ]
    outputs = []
    for number, backbone in enumerate(backbones):
        model = compose.add_prefix(onnx.load_from_string(backbone.model), f"backbone{number}.")
        for node in model.graph.node:
            node.input[:] = [pixels if name == f"backbone{number}.pixels" else name for name in node.input]
        nodes += model.graph.node
        constants += model.graph.initializer
        opsets += [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
        outputs.append(f"backbone{number}.features")
    nodes.append(helper.make_node("Concat", outputs, ["pairs" if flip_average else "features"], axis=1))
    if flip_average:
        nodes += [
            helper.make_node("Reshape", ["pairs", "flip_average.shape"], ["stacked"]),
            helper.make_node("ReduceMean", ["stacked", "flip_average.pair"], ["features"], keepdims=0),
        ]
    graph = helper.make_graph(
        nodes,
        "concat",
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
