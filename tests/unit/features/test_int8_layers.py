"""Linear layers in int8: near to fp32, one picture at a time as in a batch, by standard operators alone."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.features.backbone import Backbone, Block
from kilat.features.int8_layers import quantise
from kilat.features.processing import OnnxRunner

SIDE, WIDTH, OUTPUTS = 8, 3 * 8, 640


def backbone(*, convolution: int = 0) -> Backbone:
    """Rows of pixels as tokens through two linear layers, to their mean; with a large convolution beside them."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=shape).astype(np.float32) / 9 for shape in ((WIDTH, 640), (640, OUTPUTS)))
    constants = {"first": first, "second": second, "rows": np.array([0, SIDE, WIDTH]), "axis": np.array([1])}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["values", "rows"], ["tokens"]),
        helper.make_node("MatMul", ["tokens", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["output"]),
        helper.make_node("ReduceMean", ["output", "axis"], ["features"], keepdims=0),
    ]
    if convolution:
        constants["kernel"] = np.zeros((convolution, 8, 8, 8), np.float32)
        nodes.insert(1, helper.make_node("Conv", ["values", "kernel"], ["unused"]))
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", OUTPUTS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Backbone("rows", model.SerializeToString(), SIDE, "fp32", (Block("last", OUTPUTS),))


@pytest.fixture(scope="module")
def int8() -> Backbone:
    quantised = quantise(backbone())
    assert quantised is not None
    return quantised


def pixels(count: int = 6) -> np.ndarray:
    dark = np.linspace(0.02, 1, count)[:, None, None, None]  # pictures of very different ranges
    return (np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3)) * dark).astype(np.uint8)


def test_near_to_fp32_whatever_the_range_of_a_picture(int8):
    expected, found = OnnxRunner(backbone())(pixels()), OnnxRunner(int8)(pixels())
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 3 / 64  # seven bits of a weight, eight of an activation, two layers
    assert int8.precision == "int8"


def test_a_picture_alone_and_in_a_batch(int8):
    run, batch = OnnxRunner(int8), pixels()
    np.testing.assert_allclose(run(batch), np.concatenate([run(one[None]) for one in batch]), rtol=1e-5, atol=1e-4)


def test_a_black_picture_is_finite(int8):
    assert np.array_equal(OnnxRunner(int8)(np.zeros((1, SIDE, SIDE, 3), np.uint8)), np.zeros((1, OUTPUTS)))


def test_standard_operators_and_a_quarter_of_the_size(int8):
    model = onnx.load_from_string(int8.model)
    assert {one.domain for one in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    assert len(int8.model) < 0.27 * len(backbone().model)
    layers = [node for node in model.graph.node if node.op_type in ("MatMul", "MatMulInteger")]
    assert [node.op_type for node in layers] == ["MatMulInteger"] * 2


def test_the_same_graph_gives_the_same_bytes(int8):
    assert quantise(backbone()) == int8


def test_networks_of_convolutions_stay_in_fp32():
    assert quantise(backbone(convolution=1000)) is None
