"""A small classifier, exported like any other: a network of three features instead of thousands."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle.export import export
from kilat.bundle.manifest import Manifest
from kilat.features.backbone import Backbone, Block
from kilat.features.fitting import OPSET
from kilat.probe import Head
from kilat.recipe import Recipe

SIDE = 4


@pytest.fixture(scope="session")
def colours() -> Backbone:
    """A network that sees the mean of red, green and blue, each between 0 and 1."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["colours.float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["colours.float", "colours.axes"], ["colours.mean"], keepdims=0),
        helper.make_node("Mul", ["colours.mean", "colours.scale"], ["features"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 2]), "colours.axes"),
        numpy_helper.from_array(np.float32(1 / 255), "colours.scale"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "colours", [pixels], [features], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return Backbone("colours", model.SerializeToString(), SIDE, "fp32", (Block("mean", 3),))


@pytest.fixture(scope="session")
def head() -> Head:
    """Answers which of the three colours is strongest."""
    mean, scale = np.full(3, 0.5, np.float32), np.full(3, 2, np.float32)
    return Head(mean, scale, 3 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


@pytest.fixture(scope="session")
def manifest(colours: Backbone) -> Manifest:
    """What the small classifier says of itself."""
    return Manifest(
        classes=("red", "green", "blue"),
        size=colours.size,
        backbone={"name": colours.name, "precision": colours.precision, "digest": colours.digest},
        recipe=Recipe().model_dump(mode="json"),
        thresholds={"set": {"coverage": 0.95, "probability": 0.2}},
        measures={"test": {"n": 3, "accuracy": 1.0}},
        digests={"data": "0" * 64},
        versions={"kilat": "0", "opset": OPSET},
    )


@pytest.fixture(scope="session")
def small(colours: Backbone, head: Head, manifest: Manifest) -> bytes:
    """The small classifier as the bytes of its file."""
    return export(colours, "crop", head, 1.0, manifest)


@pytest.fixture
def altered(small: bytes) -> Callable[[Callable[[onnx.ModelProto], object]], bytes]:
    """The small classifier after a change to its protobuf."""

    def alter(change: Callable[[onnx.ModelProto], object]) -> bytes:
        model = onnx.load_from_string(small)
        change(model)
        return bytes(model.SerializeToString())

    return alter
