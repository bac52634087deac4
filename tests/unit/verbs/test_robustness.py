"""What is left of a model's accuracy under corruption: which pictures, at what size, counted how."""

import json
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle.assemble import assemble_network
from kilat.bundle.manifest import Manifest
from kilat.bundle.predictor import Classifier
from kilat.data.catalog import Entry
from kilat.evaluate.corruptions import CORRUPTIONS, GROUPS
from kilat.evaluate.metrics import wilson_interval
from kilat.features.resize_graph import OPSET
from kilat.locale.notes import Note
from kilat.verbs.robustness import choose_pictures, measure_robustness

Pixels = np.ndarray
SIDE = 4


class Arrays:
    """Pictures in memory."""

    name = "arrays"
    skipped: dict[str, int] = {}  # noqa: RUF012 - the protocol's own type
    notes: list[Note] = []  # noqa: RUF012

    def __init__(self, pictures: list[Pixels]) -> None:
        self.pictures, self.entries = pictures, [Entry(str(i), "") for i in range(len(pictures))]
        self.read_rows: list[int] = []

    def read(self, index: int) -> Pixels:
        self.read_rows.append(index)
        return self.pictures[index]

    def link(self, index: int) -> str | None:
        return None


def coloured(channel: int, strength: int, height: int = 40, width: int = 40) -> Pixels:
    """Grey with more of one colour."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[..., channel] += strength
    return picture


def colour_classifier(**manifest: Any) -> Classifier:
    """Answers which of three colours is strongest in the mean of a picture; ``manifest`` says what the file claims."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["logits"], keepdims=0),
    ]
    axes = numpy_helper.from_array(np.array([1, 2]), "axes")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "colours", [pixels], [logits], [axes])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    given = {"size": SIDE, "recipe": {"imported": "colours", "resize": "crop"}, **manifest}
    document = Manifest(
        classes=("red", "green", "blue"),
        backbone={"name": "colours"},
        thresholds={},
        measures={},
        digests={},
        versions={},
        **given,
    )
    file = assemble_network(network.SerializeToString(), size=SIDE, resize="crop", temperature=85, manifest=document)
    return Classifier(file)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return colour_classifier()


def measured(classifier: Classifier, pictures: list[Pixels], truth: list[int], **choices: int) -> dict:
    return measure_robustness(classifier, Arrays(pictures), np.arange(len(truth)), np.array(truth), **choices)


def test_what_no_corruption_hides_stays_correct(classifier: Classifier) -> None:
    found = measured(classifier, [coloured(i % 3, 150) for i in range(6)], [0, 1, 2] * 2)
    assert found["n"] == 6
    assert found["clean"] == {"accuracy": 1.0, "accuracy_interval": wilson_interval(6, 6)}
    for name in ("gaussian_noise", "defocus_blur", "brightness", "contrast", "pixelate"):
        assert found["corruptions"][name]["accuracy"] == 1, name
    json.dumps(found, allow_nan=False)


def test_every_number_follows_from_the_answers(classifier: Classifier) -> None:
    generator = np.random.default_rng(0)
    pictures = [coloured(i % 3, int(generator.integers(1, 12))) for i in range(12)]
    found = measured(classifier, pictures, [0, 1, 2] * 4)
    assert list(found["corruptions"]) == list(CORRUPTIONS)
    assert 0 < found["mean"]["accuracy"] < 1
    means = {name: one["accuracy"] for name, one in found["corruptions"].items()}
    for name, one in found["corruptions"].items():
        assert name in GROUPS[one["group"]]
        assert [s["severity"] for s in one["severities"]] == [1, 2, 3, 4, 5]
        assert one["accuracy"] == pytest.approx(np.mean([s["accuracy"] for s in one["severities"]]))
        for s in one["severities"]:
            assert s["accuracy_interval"] == pytest.approx(wilson_interval(round(12 * s["accuracy"]), 12))
    for group, names in GROUPS.items():
        assert found["groups"][group]["accuracy"] == pytest.approx(np.mean([means[name] for name in names]))
    assert found["mean"]["accuracy"] == pytest.approx(np.mean(list(means.values())))
    assert found["mean_error"] == pytest.approx(1 - found["mean"]["accuracy"])
    assert found["relative_drop"] == pytest.approx(1 - found["mean"]["accuracy"] / found["clean"]["accuracy"])
    low, high = found["mean"]["accuracy_interval"]
    assert 0 < low < found["mean"]["accuracy"] < high < 1


def test_the_interval_of_a_mean_is_as_wide_as_pictures_differ(classifier: Classifier) -> None:
    """Pictures that are always right or always wrong say no more with 75 copies than with one."""
    found = measured(classifier, [coloured(0, 150)] * 4, [0, 0, 1, 1])
    steady = found["groups"]["digital"]
    assert steady["accuracy"] == 0.5
    assert steady["accuracy_interval"] == pytest.approx(wilson_interval(2, 4))


def test_equal_seeds_give_equal_numbers(classifier: Classifier) -> None:
    pictures, truth = [coloured(i % 3, 8) for i in range(6)], [0, 1, 2] * 2
    first = measured(classifier, pictures, truth)
    assert first == measured(classifier, pictures, truth)
    assert first != measured(classifier, pictures, truth, seed=1)


def test_at_most_so_many_pictures_are_read_evenly_over_the_classes(classifier: Classifier) -> None:
    truth = np.array([0] * 50 + [1] * 2 + [2] * 30)
    chosen = choose_pictures(truth, 20, 0)
    assert np.bincount(truth[chosen]).tolist() == [9, 2, 9]
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, choose_pictures(truth, 20, 0))
    assert not np.array_equal(chosen, choose_pictures(truth, 20, 1))
    assert np.array_equal(choose_pictures(truth, 1000, 0), np.arange(82))
    assert len(np.unique(truth[choose_pictures(truth, 2, 0)])) == 2
    source, calls = Arrays([coloured(0, 150)] * 5), []
    rows = np.array([0, 1, 3, 4])
    found = measure_robustness(
        classifier, source, rows, np.zeros(4, int), limit=3, advance=lambda done, total: calls.append((done, total))
    )
    assert found["n"] == 3
    assert set(source.read_rows) < set(rows)
    assert source.read_rows == sorted(source.read_rows)
    assert calls[-1] == (3, 3)


def test_no_pictures_give_no_numbers(classifier: Classifier) -> None:
    found = measured(classifier, [], [])
    assert found["n"] == 0
    assert found["mean"] == found["clean"] == {"accuracy": None, "accuracy_interval": None}
    assert found["mean_error"] is None
    assert found["relative_drop"] is None


def test_a_picture_is_corrupted_at_the_models_size_or_at_its_own_if_that_is_smaller() -> None:
    shapes = [(400, 300), (150, 500), (100, 120), (33, 32), (9, 9), (3, 5)]
    found = measured(colour_classifier(size=150), [coloured(0, 150, *shape) for shape in shapes], [0] * 6)
    assert found["tables"] == {"32": 3, "64": 1, "224": 2}
    assert found["clean"]["accuracy"] == 1


def test_pictures_are_resized_as_the_model_does() -> None:
    """Only the middle third of the picture is red: a crop has nothing else, a squash more green."""
    picture = np.concatenate([coloured(1, 150), coloured(0, 100), coloured(1, 150)], axis=1)
    for resize, accuracy in (("crop", 1.0), ("squash", 0.0)):
        of_network = {"model": {"layers": []}, "input": {"resize": resize}}
        of_features = {"features": {"resize": resize}}
        for recipe in (of_network, of_features, {"imported": "model.keras", "resize": resize}):
            assert measured(colour_classifier(recipe=recipe), [picture], [0])["clean"]["accuracy"] == accuracy
