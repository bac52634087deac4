"""The file's ``embedding`` and ``unknown`` are those of NumPy, by any method and for any number of pictures."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from kilat.bundle.assemble import assemble_network
from kilat.bundle.ood_graph import OodHead, Projection, ood_nodes
from kilat.bundle.penultimate import answering_graph
from kilat.evaluate.calibration import apply_temperature
from kilat.evaluate.out_of_distribution import EmbeddingStatistics, OodDetector
from kilat.features.resize_graph import OPSET
from kilat.recipe import METHODS

EVERY = [names for count in (1, 2, 3, 4) for names in combinations(METHODS, count)]


def alone(ood: OodHead, classes: int) -> ort.InferenceSession:
    """Nothing but the detector as a graph, from ``features`` and ``logits``."""
    nodes, constants = ood_nodes(ood, "features", "logits")
    width = len(ood.projection.offset)
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1), *nodes],
        "ood",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
        ],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", ood.projection.basis.shape[1]]),
            helper.make_tensor_value_info("unknown", TensorProto.FLOAT, ["batch"]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def inputs(count: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    scale = random.choice([0.1, 1, 30], size=(count, 1))
    features, logits = scale * random.normal(size=(count, width)), 5 * random.normal(size=(count, classes))
    return features.astype(np.float32), logits.astype(np.float32)


@pytest.mark.parametrize("methods", EVERY, ids="+".join)
@pytest.mark.parametrize(("width", "classes"), [(7, 2), (40, 12)])
def test_outputs_are_those_of_numpy(make_ood, methods, width, classes):
    ood = make_ood(width, classes, methods)
    session = alone(ood, classes)
    for count in (1, 2, 64):
        features, logits = inputs(count, width, classes)
        embedding, unknown = session.run(["embedding", "unknown"], {"features": features, "logits": logits})
        expected = ood.projection(features)
        assert (embedding.shape, unknown.shape) == ((count, 5), (count,))
        np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(unknown, ood.detector.score(expected, logits), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("kept", "d", "methods"), [(1, 1, ("knn", "energy")), (3, 1, METHODS), (700, 128, METHODS)])
def test_few_and_many_training_pictures_in_few_and_many_dimensions(make_ood, kept, d, methods):
    ood = make_ood(150, 2, methods, kept=kept, d=d)
    features, logits = inputs(9, 150, 2)
    embedding, unknown = alone(ood, 2).run(["embedding", "unknown"], {"features": features, "logits": logits})
    expected = ood.detector.score(ood.projection(features), logits)
    assert embedding.shape == (9, d)
    assert np.isfinite(unknown).all()
    np.testing.assert_allclose(unknown, expected, rtol=1e-3, atol=1e-3)


def test_exact_copies_of_training_pictures():
    """The distance is 0, of which nothing is left but rounding: both say the same, and no root of a negative square."""
    random = np.random.default_rng(0)
    embeddings = (random.normal(size=(300, 128)) / 11).astype(np.float16).astype(np.float32)
    logits = random.normal(size=(300, 3)).astype(np.float32)
    statistics = EmbeddingStatistics.fit(embeddings, np.arange(300) % 3)
    others = embeddings + (0.02 * random.normal(size=embeddings.shape)).astype(np.float32)
    detector = OodDetector.fit(statistics, ("knn",), others, logits, false_positive_rate=0.05)
    projection = Projection(np.zeros(128, np.float32), np.eye(128, dtype=np.float32))
    ood = OodHead(projection, detector, embeddings[:3])
    (unknown,) = alone(ood, 3).run(["unknown"], {"features": embeddings, "logits": logits})
    expected = detector.score(embeddings, logits)
    assert np.isfinite(unknown).all()
    assert (unknown < 0).all()
    assert (unknown < detector.score(others, logits).min()).all()
    np.testing.assert_allclose(unknown, expected, atol=1e-6)


@pytest.mark.parametrize("methods", EVERY, ids="+".join)
def test_pictures_that_are_all_alike_with_logits_that_are_all_confident(methods):
    """What differs between them is rounding, which is no spread: both say the same within a hundredth."""
    random = np.random.default_rng(0)
    truth = np.arange(200) % 2
    embeddings = (np.eye(8)[truth] + 1e-4 * random.normal(size=(200, 8))).astype(np.float32)
    logits = (60 * np.eye(2)[truth] + 0.01 * random.normal(size=(200, 2))).astype(np.float32)
    detector = OodDetector.fit(
        EmbeddingStatistics.fit(embeddings[:100], truth[:100]),
        methods,
        embeddings[100:],
        logits[100:],
        false_positive_rate=0.05,
    )
    projection = Projection(np.zeros(8, np.float32), np.eye(8, dtype=np.float32))
    (unknown,) = alone(OodHead(projection, detector, embeddings[:3]), 2).run(
        ["unknown"], {"features": embeddings, "logits": logits}
    )
    np.testing.assert_allclose(unknown, detector.score(embeddings, logits), atol=0.01)


def test_a_detector_without_calibration_pictures_detects_nothing(make_ood):
    ood = make_ood(9)
    none = np.zeros((0, 5), np.float32), np.zeros((0, 3), np.float32)
    quiet = replace(
        ood, detector=OodDetector.fit(ood.detector.statistics, ("knn", "energy"), *none, false_positive_rate=0.05)
    )
    features, logits = inputs(20, 9, 3)
    (unknown,) = alone(quiet, 3).run(["unknown"], {"features": 1000 * features, "logits": logits})
    assert (unknown < 0).all()
    np.testing.assert_array_equal(unknown, quiet.detector.score(ood.projection(1000 * features), logits))
    assert quiet.detector.false_positive_rate == 1


def test_a_batch_gives_the_scores_of_its_pictures(make_ood):
    ood = make_ood(20, 3, METHODS)
    session, (features, logits) = alone(ood, 3), inputs(33, 20, 3)
    together = session.run(["unknown"], {"features": features, "logits": logits})[0]
    for at in range(33):
        one = session.run(["unknown"], {"features": features[at : at + 1], "logits": logits[at : at + 1]})[0]
        np.testing.assert_allclose(one[0], together[at], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("units", [1, 2, 12])
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_in_a_networks_file(trained, manifest, make_ood, units, temperature):
    """Behind a network of so many units, two classes for one: on its penultimate features and scaled logits."""
    weight = np.random.default_rng(units).normal(0, 5, (3, units))
    network, names = trained(weight), [f"class {number}" for number in range(max(units, 2))]
    ood = make_ood(3, len(names), METHODS, d=2)
    file = assemble_network(
        network,
        size=4,
        resize="squash",
        temperature=temperature,
        manifest=replace(manifest, classes=tuple(names)),
        ood=ood,
    )
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    session = ort.InferenceSession(answering_graph(network), providers=["CPUExecutionProvider"])
    logits, features = session.run(None, {"pixels": pixels})
    (alone,) = ort.InferenceSession(network, providers=["CPUExecutionProvider"]).run(None, {"pixels": pixels})
    np.testing.assert_array_equal(logits, alone)
    both = np.hstack([np.zeros((5, 1), np.float32), logits]) if units == 1 else logits
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    probabilities, embedding, unknown = session.run(["probabilities", "embedding", "unknown"], {"image": pixels})
    expected = ood.projection(features)
    np.testing.assert_allclose(probabilities, apply_temperature(both, temperature), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)
    scores = ood.detector.score(expected, both / np.float32(temperature))
    np.testing.assert_allclose(unknown, scores, rtol=1e-3, atol=1e-3)


def test_training_embeddings_take_two_bytes_a_number(make_ood):
    few, many = (
        sum(one.ByteSize() for one in ood_nodes(make_ood(20, kept=kept, d=16), "features", "logits")[1])
        for kept in (100, 1100)
    )
    assert 1000 * 16 * 2 <= many - few <= 1000 * (16 * 2 + 5)


def test_the_same_detector_gives_the_same_bytes(trained, manifest, make_ood):
    one, other = (
        assemble_network(trained(np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest, ood=make_ood(3))
        for _ in range(2)
    )
    assert one == other
