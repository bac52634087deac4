"""The layer table of model files: what their weights are is known from elsewhere."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle import layer_table
from kilat.bundle.assemble import assemble_frozen, assemble_network
from kilat.errors import ModelFileError
from kilat.features import lite
from kilat.features.resize_graph import OPSET
from kilat.probe import Head
from kilat.recipe.network_summary import table
from kilat.report.network_diagram import volumes


@pytest.fixture(scope="module", params=["fp32", "int8"])
def described(request, manifest, make_ood):
    """EfficientNet-Lite0 with a head for three classes."""
    backbone = lite.build(224, request.param)
    width = sum(block.width for block in backbone.blocks)
    zeros = np.zeros(width, np.float32)
    head = Head(zeros, zeros, np.zeros((width, 3), np.float32), np.zeros(3, np.float32))
    named = replace(manifest, size=224, backbone={"name": lite.NAME})
    return layer_table.summarise(assemble_frozen(backbone, "crop", head, 1.0, named, make_ood(width))), width


def test_efficientnet_lite0_is_the_one_that_is_published(described):
    summary, width = described
    *network, head = summary.rows
    assert (summary.name, summary.input_shape) == ("efficientnet_lite0", (224, 224, 3))
    # 4,652,008 with a classifier of 1,000 and two numbers a channel for batch norms, which are one bias here.
    channels = sum(row.output_shape[-1] for row in network)
    assert sum(row.frozen for row in network) == 4_652_008 - 1_281_000 - channels
    assert summary.macs == pytest.approx(0.4e9, rel=0.05)
    assert (head.kind, head.output_shape, head.frozen, head.macs) == ("dense", (3,), width * 3 + 3, width * 3)


def test_its_convolutions_stand_in_order(described):
    kinds = [row.kind for row in described[0].rows]
    assert kinds[:5] == ["conv", "depthwise_conv", "conv", "conv", "depthwise_conv"]
    assert [kinds.count(kind) for kind in ("conv", "depthwise_conv", "dense")] == [33, 16, 1]
    shapes = [row.output_shape for row in described[0].rows]
    assert (shapes[0], shapes[2], shapes[-2]) == ((112, 112, 32), (112, 112, 16), (7, 7, 1280))
    assert described[0].rows[0].macs == 112 * 112 * 32 * 27
    assert described[0].rows[1].macs == 112 * 112 * 32 * 9


def test_it_can_be_drawn_and_printed(described):
    summary = described[0]
    assert volumes(summary.rows, summary.input_shape).count("<g") > 10
    lines = table(summary).splitlines()
    assert lines[0] == 'Model: "efficientnet_lite0"'
    assert [cell.strip() for cell in lines[5].split("│")[1:-1]] == [
        "depthwise_conv2d (DepthwiseConv2D)", "(None, 112, 112, 32)", "320", "3,612,672",
    ]  # fmt: skip
    assert "Receptive Field" not in lines[2]  # receptive fields are not worked out
    assert lines[-3] == " Trainable params: 0 (0.00 B)"


def of_pixels(manifest, nodes, **weights):
    """The table of a network from planes float32 ``[n, 3, 4, 4]``, called ``planes``, to ``logits``."""
    before = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    graph = helper.make_graph(
        [*before, *(helper.make_node(kind, inputs, [output], **choices) for kind, inputs, output, choices in nodes)],
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 4, 4, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    data = model.SerializeToString()
    return layer_table.summarise(assemble_network(data, size=4, resize="crop", temperature=1.0, manifest=manifest)).rows


def test_matrix_products_take_their_bias_from_the_sum_behind(manifest):
    nodes = [
        ("Flatten", ["planes"], "flat", {}),
        ("Transpose", ["kernel"], "transposed", {"perm": [1, 0]}),
        ("MatMul", ["flat", "transposed"], "product", {}),
        ("Add", ["bias", "product"], "shifted", {}),
        ("Mul", ["shifted", "shifted"], "squared", {}),
        ("MatMul", ["squared", "last"], "logits", {}),
    ]
    weights = {"kernel": (5, 48), "bias": (5,), "last": (5, 3)}
    rows = of_pixels(manifest, nodes, **{name: np.ones(shape, np.float32) for name, shape in weights.items()})
    assert [(row.label, row.frozen, row.macs) for row in rows] == [("dense", 245, 240), ("dense_1", 15, 15)]


def test_products_of_activations_are_no_layers(manifest):
    nodes = [
        ("MatMul", ["planes", "planes"], "mixed", {}),
        ("GlobalAveragePool", ["mixed"], "pooled", {}),
        ("Flatten", ["pooled"], "flat", {}),
        ("BatchNormalization", ["flat", *["ones"] * 4], "logits", {}),
    ]
    rows = of_pixels(manifest, nodes, ones=np.ones(3, np.float32))
    assert [(row.kind, row.output_shape, row.frozen, row.macs) for row in rows] == [("batch_norm", (3,), 12, 0)]


def test_a_trained_network_has_the_rows_of_its_recipe(manifest):
    pytest.importorskip("torch", reason="the extra torch is not installed")
    from kilat.model.image_model import PixelNetwork
    from kilat.model.layers import build
    from kilat.model.summary import summarise
    from kilat.model.to_onnx import to_onnx
    from kilat.recipe import Network

    given = (
        {"conv": {"filters": 4, "stride": 2, "padding": "same", "activation": "relu"}},  # unevenly padded
        "batch_norm",
        {"depthwise_conv": {"bias": False}},
        "layer_norm",
        {"dense": 6},
        {"activation": "relu"},
        "batch_norm",
        "flatten",
        {"dense": "classes"},
    )
    network = build(Network(layers=given), channels=3, size=8, classes=3, seed=0)
    graph = to_onnx(PixelNetwork(network, 8, (0.0,) * 3, (1.0,) * 3), size=8)
    file = assemble_network(graph, size=8, resize="crop", temperature=1.0, manifest=replace(manifest, size=8))
    wanted = summarise(network, name="", channels=3, size=8).rows
    found = {row.label: row for row in layer_table.summarise(file).rows}
    assert list(found) == [row.label for row in wanted if row.trainable]
    for row in wanted:
        if row.trainable:
            same = replace(row, trainable=0, frozen=row.trainable + row.frozen, receptive_field=None)
            assert found[row.label] == same


def test_what_is_no_model_of_kilat_is_refused(small):
    model = onnx.load_from_string(small)
    del model.metadata_props[:]
    with pytest.raises(ModelFileError, match="names no classes"):
        layer_table.summarise(model.SerializeToString())
    for damaged in (b"", b"no model", small[: len(small) // 2]):
        with pytest.raises(ModelFileError):
            layer_table.summarise(damaged)


def test_a_graph_that_cannot_run_is_refused(altered):
    with pytest.raises(ModelFileError, match="does not fit what it is given"):
        layer_table.summarise(altered(lambda model: model.graph.node.pop() and model.graph.node.pop(0)))
