"""What a notebook shows of predictions: the pictures, the answers, and both facts about an unknown one."""

import numpy as np
import pytest

from kilat.bundle.prediction import Prediction, Predictions


def prediction(path="", probabilities=(0.9, 0.08, 0.02), of_set=1, unknown=False):
    names = ["rose <&>", "tulip", "daisy"]
    given = dict(zip(names, probabilities, strict=True))
    return Prediction(path, names[0], probabilities[0], given, names[:of_set], unknown)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_picture_with_its_answer():
    html = Predictions([prediction()], [picture()])._repr_html_()
    assert html.count("<img ") == 1
    assert "<strong>rose &lt;&amp;&gt; 90.0%</strong>" in html
    assert "tulip" not in html


def test_other_classes_of_the_set_and_the_files_name():
    html = Predictions([prediction("photos/1.jpg", of_set=2)], [picture()])._repr_html_()
    assert "or tulip 8.0%" in html
    assert "1.jpg" in html
    assert "photos/" not in html


def test_an_unknown_picture_keeps_both_facts_apart():
    html = Predictions([prediction(unknown=True)], [picture()])._repr_html_()
    assert "<strong>none of these</strong>" in html
    assert "if it is one of the classes: rose &lt;&amp;&gt; 90.0%" in html


def test_one_prediction_finds_its_picture_by_the_path(tmp_path):
    from PIL import Image

    Image.fromarray(picture()).save(tmp_path / "1.png")
    assert "<img " in prediction(str(tmp_path / "1.png"))._repr_html_()
    gone = prediction(str(tmp_path / "2.png"))._repr_html_()
    assert "<img " not in gone
    assert "<small>" in gone


@pytest.mark.parametrize(("count", "more"), [(24, ""), (30, "and 6 more")])
def test_a_long_list_is_cut(count, more):
    html = Predictions([prediction()] * count, [picture()] * count)._repr_html_()
    assert html.count("<img ") == min(count, 24)
    assert ("more" in html) is bool(more)
    assert more in html


def test_it_is_a_list_like_any_other():
    found = Predictions([prediction("a"), prediction("b")])
    assert found == [prediction("a"), prediction("b")]
    assert [one.path for one in found] == ["a", "b"]
