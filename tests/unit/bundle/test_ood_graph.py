"""The file's ``embedding`` and ``unknown`` are those of NumPy, whatever notices them and however many are asked."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from kilat.bundle.assemble import export_network
from kilat.bundle.ood_graph import OodGraph, Projection, sensing
from kilat.bundle.penultimate import tapped
from kilat.evaluate.calibration import apply_temperature
from kilat.evaluate.out_of_distribution import EmbeddingStatistics, OodDetector
from kilat.features.resize_graph import OPSET
from kilat.recipe import METHODS

EVERY = [names for count in (1, 2, 3, 4) for names in combinations(METHODS, count)]


def alone(senses: OodGraph, classes: int) -> ort.InferenceSession:
    """Nothing but the senses as a graph: ``seen`` and ``logits`` go in."""
    nodes, constants = sensing(senses, "seen", "logits")
    width = len(senses.projection.offset)
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1), *nodes],
        "senses",
        [
            helper.make_tensor_value_info("seen", TensorProto.FLOAT, ["batch", width]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
        ],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", senses.projection.basis.shape[1]]),
            helper.make_tensor_value_info("unknown", TensorProto.FLOAT, ["batch"]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def asked(count: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    scale = random.choice([0.1, 1, 30], size=(count, 1))
    seen, logits = scale * random.normal(size=(count, width)), 5 * random.normal(size=(count, classes))
    return seen.astype(np.float32), logits.astype(np.float32)


@pytest.mark.parametrize("methods", EVERY, ids="+".join)
@pytest.mark.parametrize(("width", "classes"), [(7, 2), (40, 12)])
def test_it_is_numpys_answer(make_senses, methods, width, classes):
    senses = make_senses(width, classes, methods)
    session = alone(senses, classes)
    for count in (1, 2, 64):
        seen, logits = asked(count, width, classes)
        embedding, unknown = session.run(["embedding", "unknown"], {"seen": seen, "logits": logits})
        expected = senses.projection(seen)
        assert (embedding.shape, unknown.shape) == ((count, 5), (count,))
        np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(unknown, senses.detector.score(expected, logits), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("kept", "d", "methods"), [(1, 1, ("knn", "energy")), (3, 1, METHODS), (700, 128, METHODS)])
def test_few_and_many_of_few_and_many_numbers(make_senses, kept, d, methods):
    senses = make_senses(150, 2, methods, kept=kept, d=d)
    seen, logits = asked(9, 150, 2)
    embedding, unknown = alone(senses, 2).run(["embedding", "unknown"], {"seen": seen, "logits": logits})
    expected = senses.detector.score(senses.projection(seen), logits)
    assert embedding.shape == (9, d)
    assert np.isfinite(unknown).all()
    np.testing.assert_allclose(unknown, expected, rtol=1e-3, atol=1e-3)


def test_exact_copies_of_what_is_kept():
    """The distance is 0, of which nothing is left but rounding: both say the same, and no root of a negative square."""
    random = np.random.default_rng(0)
    places = (random.normal(size=(300, 128)) / 11).astype(np.float16).astype(np.float32)
    logits = random.normal(size=(300, 3)).astype(np.float32)
    statistics = EmbeddingStatistics.fit(places, np.arange(300) % 3)
    away = places + (0.02 * random.normal(size=places.shape)).astype(np.float32)
    detector = OodDetector.fit(statistics, ("knn",), away, logits, false_positive_rate=0.05)
    projection = Projection(np.zeros(128, np.float32), np.eye(128, dtype=np.float32))
    senses = OodGraph(projection, detector, places[:3])
    (unknown,) = alone(senses, 3).run(["unknown"], {"seen": places, "logits": logits})
    expected = detector.score(places, logits)
    assert np.isfinite(unknown).all()
    assert (unknown < 0).all()
    assert (unknown < detector.score(away, logits).min()).all()
    np.testing.assert_allclose(unknown, expected, atol=1e-6)


@pytest.mark.parametrize("methods", EVERY, ids="+".join)
def test_pictures_that_are_all_alike_and_answers_that_are_all_sure(methods):
    """What differs between them is rounding, which is no spread: both say the same within a hundredth."""
    random = np.random.default_rng(0)
    truth = np.arange(200) % 2
    places = (np.eye(8)[truth] + 1e-4 * random.normal(size=(200, 8))).astype(np.float32)
    logits = (60 * np.eye(2)[truth] + 0.01 * random.normal(size=(200, 2))).astype(np.float32)
    detector = OodDetector.fit(
        EmbeddingStatistics.fit(places[:100], truth[:100]),
        methods,
        places[100:],
        logits[100:],
        false_positive_rate=0.05,
    )
    projection = Projection(np.zeros(8, np.float32), np.eye(8, dtype=np.float32))
    (unknown,) = alone(OodGraph(projection, detector, places[:3]), 2).run(
        ["unknown"], {"seen": places, "logits": logits}
    )
    np.testing.assert_allclose(unknown, detector.score(places, logits), atol=0.01)


def test_a_detector_that_knew_no_picture_never_speaks(make_senses):
    senses = make_senses(9)
    none = np.zeros((0, 5), np.float32), np.zeros((0, 3), np.float32)
    quiet = replace(
        senses, detector=OodDetector.fit(senses.detector.statistics, ("knn", "energy"), *none, false_positive_rate=0.05)
    )
    seen, logits = asked(20, 9, 3)
    (unknown,) = alone(quiet, 3).run(["unknown"], {"seen": 1000 * seen, "logits": logits})
    assert (unknown < 0).all()
    np.testing.assert_array_equal(unknown, quiet.detector.score(senses.projection(1000 * seen), logits))
    assert quiet.detector.false_positive_rate == 1


def test_a_batch_answers_as_its_pictures_do(make_senses):
    senses = make_senses(20, 3, METHODS)
    session, (seen, logits) = alone(senses, 3), asked(33, 20, 3)
    together = session.run(["unknown"], {"seen": seen, "logits": logits})[0]
    for at in range(33):
        one = session.run(["unknown"], {"seen": seen[at : at + 1], "logits": logits[at : at + 1]})[0]
        np.testing.assert_allclose(one[0], together[at], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("units", [1, 2, 12])
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_in_a_networks_file(trained, manifest, make_senses, units, temperature):
    """Behind a network of so many units, two classes for one: what the tap sees, and the softened logits."""
    weight = np.random.default_rng(units).normal(0, 5, (3, units))
    network, names = trained(weight), [f"class {number}" for number in range(max(units, 2))]
    senses = make_senses(3, len(names), METHODS, d=2)
    file = export_network(
        network,
        size=4,
        resize="squash",
        temperature=temperature,
        manifest=replace(manifest, classes=tuple(names)),
        senses=senses,
    )
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    seen = ort.InferenceSession(tapped(network), providers=["CPUExecutionProvider"]).run(None, {"pixels": pixels})[0]
    (logits,) = ort.InferenceSession(network, providers=["CPUExecutionProvider"]).run(None, {"pixels": pixels})
    both = np.hstack([np.zeros((5, 1), np.float32), logits]) if units == 1 else logits
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    probabilities, embedding, unknown = session.run(["probabilities", "embedding", "unknown"], {"image": pixels})
    expected = senses.projection(seen)
    np.testing.assert_allclose(probabilities, apply_temperature(both, temperature), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)
    strange = senses.detector.score(expected, both / np.float32(temperature))
    np.testing.assert_allclose(unknown, strange, rtol=1e-3, atol=1e-3)


def test_the_kept_pictures_take_two_bytes_a_number(make_senses):
    few, many = (
        sum(one.ByteSize() for one in sensing(make_senses(20, kept=kept, d=16), "seen", "logits")[1])
        for kept in (100, 1100)
    )
    assert 1000 * 16 * 2 <= many - few <= 1000 * (16 * 2 + 5)


def test_the_same_senses_give_the_same_bytes(trained, manifest, make_senses):
    one, other = (
        export_network(
            trained(np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest, senses=make_senses(3)
        )
        for _ in range(2)
    )
    assert one == other
