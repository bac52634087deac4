"""The input of the last layer with weights is found in graphs of many kinds."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle.penultimate import add_penultimate, answering_graph
from kilat.features.resize_graph import OPSET

SIDE = 6
BEFORE = (("Cast", ["pixels"], "float", {"to": TensorProto.FLOAT}), ("Mul", ["float", "unit"], "scaled", {}))
PLANES = (*BEFORE, ("Transpose", ["scaled"], "planes", {"perm": [0, 3, 1, 2]}))
CONV = (*PLANES, ("Conv", ["planes", "kernel"], "maps", {}), ("Relu", ["maps"], "rectified", {}))
POOLED = (*CONV, ("GlobalAveragePool", ["rectified"], "pooled", {}), ("Flatten", ["pooled"], "flat", {}))
TOKENS = (
    *CONV,
    ("Reshape", ["rectified", "as_list"], "columns", {}),
    ("Transpose", ["columns"], "tokens", {"perm": [0, 2, 1]}),
)

random = np.random.default_rng(0)
CONSTANTS = {
    "unit": np.float32(1 / 255),
    "kernel": random.normal(size=(5, 3, 3, 3)).astype(np.float32),
    "as_list": np.array([0, 5, 16]),
    "dense": random.normal(size=(5, 4)).astype(np.float32),
    "transposed": random.normal(size=(4, 5)).astype(np.float32),
    "one": random.normal(size=(5, 1)).astype(np.float32),
    "square": random.normal(size=(5, 5)).astype(np.float32),
    "pointwise": random.normal(size=(4, 5, 1, 1)).astype(np.float32),
    "bias": random.normal(size=4).astype(np.float32),
    "middle": np.array([1]),
    "sides": np.array([2, 3]),
    "both": np.array([1, 2]),
    "first": np.array(0),
}


def graph(nodes: Any, units: int = 4) -> bytes:
    """A network from ``pixels`` to the ``logits`` that its last node gives."""
    made = [helper.make_node(kind, inputs, [output], **choices) for kind, inputs, output, choices in nodes]
    used = {name for node in made for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            made,
            "network",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", units])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items() if name in used],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def pixels(count: int = 5) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def run(model: bytes, *names: str) -> list[np.ndarray]:
    """Any tensors of a graph for some pictures."""
    whole = onnx.load_from_string(model)
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(names), {"pixels": pixels()})


def found(model: bytes) -> np.ndarray:
    """The penultimate features, by the graph that gives them after the logits."""
    session = ort.InferenceSession(answering_graph(model), providers=["CPUExecutionProvider"])
    output = session.get_outputs()[-1]
    for count in (1, 3):
        assert len(session.run([output.name], {"pixels": pixels(count)})[0]) == count
    return session.run([output.name], {"pixels": pixels()})[0]


DENSE = {
    "matrix product": [("MatMul", ["flat", "dense"], "product", {}), ("Add", ["product", "bias"], "logits", {})],
    "gemm": [("Gemm", ["flat", "dense", "bias"], "logits", {})],
    "gemm of a transposed weight": [("Gemm", ["flat", "transposed", "bias"], "logits", {"transB": 1})],
    "weight transposed in the graph": [
        ("Transpose", ["transposed"], "weight", {"perm": [1, 0]}),
        ("Identity", ["weight"], "shared", {}),
        ("MatMul", ["flat", "shared"], "logits", {}),
    ],
    "weight as a constant of its own": [
        ("Constant", [], "weight", {"value": numpy_helper.from_array(CONSTANTS["dense"])}),
        ("MatMul", ["flat", "weight"], "logits", {}),
    ],
    "something without weights behind": [
        ("MatMul", ["flat", "dense"], "product", {}),
        ("Add", ["bias", "product"], "sum", {}),
        ("LogSoftmax", ["sum"], "normal", {"axis": 1}),
        ("Mul", ["normal", "unit"], "logits", {}),
    ],
    "a branch without weights": [
        ("MatMul", ["flat", "dense"], "product", {}),
        ("ReduceMax", ["flat", "middle"], "most", {"keepdims": 1}),
        ("Add", ["most", "product"], "logits", {}),
    ],
}


@pytest.mark.parametrize("behind", DENSE.values(), ids=DENSE)
def test_a_dense_head_takes_the_pooled_features(behind):
    model = graph([*POOLED, *behind])
    np.testing.assert_array_equal(found(model), run(model, "flat")[0])


def test_one_unit():
    model = graph([*POOLED, ("MatMul", ["flat", "one"], "logits", {})], units=1)
    np.testing.assert_array_equal(found(model), run(model, "flat")[0])


def test_of_two_dense_layers_the_last_counts():
    hidden = (("MatMul", ["flat", "square"], "hidden", {}), ("Relu", ["hidden"], "active", {}))
    model = graph([*POOLED, *hidden, ("MatMul", ["active", "dense"], "logits", {})])
    np.testing.assert_array_equal(found(model), run(model, "active")[0])


def test_a_weight_that_two_layers_share():
    hidden = (("MatMul", ["flat", "square"], "hidden", {}), ("Relu", ["hidden"], "active", {}))
    model = graph([*POOLED, *hidden, ("MatMul", ["active", "square"], "logits", {})], units=5)
    np.testing.assert_array_equal(found(model), run(model, "active")[0])


@pytest.mark.parametrize("pooling", ["GlobalAveragePool", "GlobalMaxPool", "ReduceMean"])
def test_features_of_a_pointwise_convolution_are_the_mean_over_positions(pooling):
    axes = ["sides"] if pooling == "ReduceMean" else []
    behind = (("Conv", ["rectified", "pointwise"], "scores", {}), (pooling, ["scores", *axes], "most", {}))
    model = graph([*CONV, *behind, ("Flatten", ["most"], "logits", {})])
    (maps,) = run(model, "rectified")
    assert maps.shape == (5, 5, 4, 4)
    np.testing.assert_allclose(found(model), maps.mean((2, 3)), rtol=1e-5)


def test_features_of_a_dense_layer_on_every_token_are_the_mean_over_them():
    behind = (
        ("MatMul", ["tokens", "dense"], "scores", {}),
        ("ReduceMean", ["scores", "middle"], "logits", {"keepdims": 0}),
    )
    model = graph([*TOKENS, *behind])
    (tokens,) = run(model, "tokens")
    assert tokens.shape == (5, 16, 5)
    np.testing.assert_allclose(found(model), tokens.mean(1), rtol=1e-5)


def test_features_of_a_dense_layer_on_every_position_are_the_mean_over_them():
    behind = (
        ("Transpose", ["rectified"], "last", {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["last", "dense"], "scores", {}),
        ("Transpose", ["scores"], "back", {"perm": [0, 3, 1, 2]}),
        ("ReduceMean", ["back", "sides"], "logits", {"keepdims": 0}),
    )
    model = graph([*CONV, *behind])
    np.testing.assert_allclose(found(model), run(model, "last")[0].mean((1, 2)), rtol=1e-5)


ATTENTION = (
    ("MatMul", ["tokens", "square"], "queries", {}),
    ("Transpose", ["tokens"], "keys", {"perm": [0, 2, 1]}),
    ("MatMul", ["queries", "keys"], "similarity", {}),
    ("Softmax", ["similarity"], "shares", {"axis": 2}),
    ("MatMul", ["shares", "tokens"], "mixed", {}),
)


def test_features_of_a_transformer_are_the_input_of_its_head():
    behind = (("Gather", ["mixed", "first"], "token", {"axis": 1}), ("MatMul", ["token", "dense"], "logits", {}))
    model = graph([*TOKENS, *ATTENTION, *behind])
    np.testing.assert_allclose(found(model), run(model, "mixed")[0][:, 0], rtol=1e-5)


def test_products_of_activations_have_no_weights():
    """Behind the last layer with weights tokens are only mixed with each other."""
    model = graph([*TOKENS, *ATTENTION, ("ReduceMean", ["mixed", "middle"], "logits", {"keepdims": 0})], units=5)
    np.testing.assert_allclose(found(model), run(model, "tokens")[0].mean(1), rtol=1e-5)


def test_features_of_a_network_without_weights_are_its_logits():
    model = graph([*BEFORE, ("ReduceMean", ["scaled", "both"], "logits", {"keepdims": 0})], units=3)
    np.testing.assert_array_equal(found(model), run(model, "logits")[0])


def test_a_very_deep_network():
    deep = [*TOKENS, *ATTENTION]
    for number in range(1500):
        deep.append(("Relu", [deep[-1][2]], f"deep {number}", {}))
        if number % 100 == 99:
            deep.append(("Add", [deep[-1][2], "mixed"], f"sum {number}", {}))
    keys = ("Transpose", [deep[-1][2]], "other keys", {"perm": [0, 2, 1]})
    product = ("MatMul", ["mixed", "other keys"], "crossed", {})
    model = graph([*deep, keys, product, ("ReduceMean", ["crossed", "middle"], "logits", {"keepdims": 0})], units=16)
    np.testing.assert_allclose(found(model), run(model, "tokens")[0].mean(1), rtol=1e-5)


def test_the_same_network_gives_the_same_bytes():
    model = graph([*POOLED, *DENSE["gemm"]])
    assert answering_graph(model) == answering_graph(model)


def test_the_whole_network_stays_what_it_was():
    behind = (("Conv", ["rectified", "pointwise"], "scores", {}), ("GlobalMaxPool", ["scores"], "most", {}))
    model = graph([*CONV, *behind, ("Flatten", ["most"], "logits", {})])
    changed = onnx.load_from_string(model)
    name = add_penultimate(changed)
    logits, before = run(changed.SerializeToString(), "logits", name)
    np.testing.assert_array_equal(logits, run(model, "logits")[0])
    np.testing.assert_array_equal(before, found(model))
