"""A small classifier, exported like any other: a network of three features instead of thousands."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle.assemble import assemble_frozen
from kilat.bundle.manifest import Manifest
from kilat.bundle.ood_graph import OodHead, Projection
from kilat.evaluate.out_of_distribution import EmbeddingStatistics, OodDetector
from kilat.features.backbone import Backbone, Block
from kilat.features.resize_graph import OPSET
from kilat.probe import Head
from kilat.recipe import Recipe

SIDE = 4


@pytest.fixture(scope="session")
def colours() -> Backbone:
    """A network whose features are the mean red, green and blue, each between 0 and 1."""
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
    """A head for the strongest of the three colours."""
    mean, scale = np.full(3, 0.5, np.float32), np.full(3, 2, np.float32)
    return Head(mean, scale, 3 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


@pytest.fixture(scope="session")
def manifest(colours: Backbone) -> Manifest:
    """The manifest of the small classifier."""
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
def ood(head: Head) -> OodHead:
    """The small classifier's detector of colours far from the three of its training, bright or dark."""
    random = np.random.default_rng(3)
    truth = np.arange(120) % 3
    features = (np.eye(3)[truth] * random.uniform(0.2, 1, (120, 1))).astype(np.float32)
    basis = np.array([[1, 0], [0, 1], [-1, -1]], np.float32)
    projection = Projection(np.full(3, -0.25, np.float32), basis)
    embeddings = projection((features - head.mean) * head.scale)
    detector = OodDetector.fit(
        EmbeddingStatistics.fit(embeddings[:90], truth[:90]),
        ("knn", "energy"),
        embeddings[90:],
        head.logits(features[90:]),
        false_positive_rate=0.1,
    )
    return OodHead(projection, detector, embeddings[:7])


@pytest.fixture(scope="session")
def trained() -> Callable[..., bytes]:
    """Networks trained as a whole: the mean colours, each between 0 and 1, times a matrix ``[3, k]``."""

    def make(weight: np.ndarray, side: int = SIDE) -> bytes:
        nodes = [
            helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weight"], ["logits"]),
        ]
        constants = [
            numpy_helper.from_array(np.array([1, 2]), "axes"),
            numpy_helper.from_array((weight / 255).astype(np.float32), "weight"),
        ]
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", side, side, 3])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weight.shape[1]])
        graph = helper.make_graph(nodes, "trained", [pixels], [logits], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        return bytes(model.SerializeToString())

    return make


@pytest.fixture(scope="session")
def make_ood() -> Callable[..., OodHead]:
    """Detectors on made-up features of so many numbers, with logits of so many classes."""

    def make(width: int, classes: int = 3, methods: tuple[str, ...] = ("knn",), kept: int = 60, d: int = 5) -> OodHead:
        random = np.random.default_rng(width)
        truth = np.arange(2 * kept) % classes
        basis = (random.normal(size=(width, d)) / np.sqrt(width)).astype(np.float32)
        projection = Projection(random.normal(size=width).astype(np.float32), basis)
        features = random.normal(size=(len(truth), width)) + random.normal(size=(classes, width))[truth]
        logits = random.normal(size=(len(truth), classes)).astype(np.float32) + 3 * np.eye(classes)[truth]
        embeddings = projection(features.astype(np.float32))
        statistics = EmbeddingStatistics.fit(embeddings[:kept], truth[:kept])
        detector = OodDetector.fit(
            statistics, methods, embeddings[kept:], logits[kept:].astype(np.float32), false_positive_rate=0.05
        )
        return OodHead(projection, detector, embeddings[:9])

    return make


@pytest.fixture(scope="session")
def small(colours: Backbone, head: Head, manifest: Manifest, ood: OodHead) -> bytes:
    """The small classifier as the bytes of its file."""
    return assemble_frozen(colours, "crop", head, 1.0, manifest, ood)


@pytest.fixture
def altered(small: bytes) -> Callable[[Callable[[onnx.ModelProto], object]], bytes]:
    """The small classifier after a change to its protobuf."""

    def alter(change: Callable[[onnx.ModelProto], object]) -> bytes:
        model = onnx.load_from_string(small)
        change(model)
        return bytes(model.SerializeToString())

    return alter
