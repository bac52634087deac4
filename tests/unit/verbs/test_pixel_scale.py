"""The scale of an imported network's pixels and the order of its classes, from labelled pictures."""

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.verbs.pixel_scale import SCALES, find_labelled, measure_scales

TRUTH = np.arange(60) % 3
CLASSES = ("ant", "bee", "cat")


def wrong_in(labels: np.ndarray, count: int) -> np.ndarray:
    """Return labels of which some, evenly spread, are another class."""
    changed = labels.copy()
    rows = np.linspace(0, len(labels) - 1, count).astype(int)
    changed[rows] = (changed[rows] + 1) % 3
    return changed


def measured(truth=TRUTH, classes=CLASSES, **predicted):
    names = {name.replace("_", ".."): labels for name, labels in predicted.items()}
    return measure_scales(names.__getitem__, [*names], truth, classes)


def codes(found) -> list[str]:
    return [note.code for note in found.notes]


def test_the_first_scale_stays_unless_another_one_is_clearly_better():
    found = measured(a=wrong_in(TRUTH, 6), b=wrong_in(TRUTH, 4))
    assert (found.scale, codes(found)) == ("a", [])
    assert found.accuracies == {"a": 0.9, "b": pytest.approx(56 / 60)}
    document = found.document()
    assert (document["n"], document["accuracy"]) == (60, 0.9)
    low, high = document["accuracy_interval"]
    assert low < 0.9 < high


def test_a_clearly_better_scale_is_taken_and_said():
    found = measured(a=np.zeros(60, int), b=wrong_in(TRUTH, 4))
    assert (found.scale, codes(found)) == ("b", ["pixels_chosen"])
    assert "Pixels are scaled as b: 93%" in found.notes[0].sentence()


def test_classes_in_another_order_are_said_with_the_right_one():
    found = measured(a=np.array([1, 2, 0])[wrong_in(TRUTH, 4)])
    assert codes(found) == ["classes_in_other_order"]
    # output 0 stands for the class that was called cat
    assert "--classes cat,ant,bee" in found.notes[0].sentence()


def test_a_reversed_sigmoid_is_told_from_a_wrong_scale():
    truth = np.arange(40) % 2
    found = measured(truth, ("no", "yes, sure"), a=np.zeros(40, int), b=1 - truth)
    assert (found.scale, codes(found)) == ("b", ["pixels_chosen_reordered", "classes_in_other_order"])
    assert found.document()["accuracy"] == 0
    assert 'but 100% if the classes stood in another order: --classes "yes, sure",no' in found.notes[1].sentence()


@pytest.mark.parametrize("predicted", [np.zeros(60, int), np.random.default_rng(0).integers(0, 3, 60)])
def test_an_accuracy_at_chance_is_said(predicted):
    found = measured(a=predicted)
    assert codes(found) == ["no_better_than_chance"]
    assert "commonest class (33%)" in found.notes[0].sentence()


def test_pictures_of_one_class_say_nothing_of_chance():
    assert codes(measured(np.zeros(60, int), a=np.zeros(60, int))) == []


def test_labels_are_matched_with_classes_in_other_spellings():
    pictures = [np.zeros((2, 2, 3), np.uint8)] * 5
    source = ArraySource(pictures, ["Red Rose", "red_rose", "daisy", "tulip", "tulip"], "mine")
    truth, notes = find_labelled(source, ("daisy", "red-rose"))
    assert truth == {0: 1, 1: 1, 2: 0}
    assert [note.code for note in notes] == ["unknown_class"]
    assert "2 pictures of class “tulip”" in notes[0].sentence()


def test_no_more_pictures_than_needed_are_measured_on():
    source = ArraySource([np.zeros((2, 2, 3), np.uint8)] * 400, ["a"] * 200 + ["b"] * 200, "mine")
    truth, _notes = find_labelled(source, ("a", "b"))
    assert len(truth) == 100
    assert sum(truth.values()) == 50


def test_scales_are_those_of_keras():
    """The values of ``keras.applications.imagenet_utils.preprocess_input`` in each of its modes."""
    pixels = np.array([[[[255, 0, 128]]]], np.uint8)
    wanted = {
        "0..255": [255, 0, 128],
        "0..1": [1, 0, 128 / 255],
        "-1..1": [1, -1, 128 / 127.5 - 1],
        "caffe": [128 - 103.939, -116.779, 255 - 123.68],
        "torch": [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225],
    }
    assert {*wanted} == {*SCALES}
    for name, values in wanted.items():
        np.testing.assert_allclose(SCALES[name](pixels)[0, 0, 0], values, rtol=1e-4, atol=1e-4)
