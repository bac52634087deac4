"""Some labelled pictures of any data, as a notebook shows them."""

import numpy as np
import pytest
from PIL import Image

import kilat


@pytest.fixture
def folder(tmp_path):
    """Pictures of three classes, one of which cannot be decoded."""
    for number, (name, count) in enumerate({"cat": 5, "dog <&>": 3, "owl": 1}.items()):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for at in range(count):
            Image.new("RGB", (8, 6), (50 * number, 40 * at, 0)).save(tmp_path / "pets" / name / f"{at}.png")
    (tmp_path / "pets" / "owl" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return tmp_path / "pets"


def test_every_class_is_shown_before_any_is_shown_twice(folder):
    batch = kilat.show(folder, count=5)
    assert sorted(batch.labels[:3]) == ["cat", "dog <&>", "owl"]
    assert sorted(batch.labels[3:]) == ["cat", "dog <&>"]
    assert (batch.total, len(batch.paths)) == (9, 5)
    assert len(kilat.show(folder, count=100).labels) == 9


def test_the_same_seed_draws_the_same(folder):
    drawn = [kilat.show(folder, count=4, seed=seed).paths for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(one) for one in drawn}) > 1


def test_a_notebook_shows_pictures_labels_and_why_one_is_missing(folder):
    html = kilat.show(folder)._repr_html_()
    assert html.count('src="data:image/png;base64,') == 8
    assert "dog &lt;&amp;&gt;" in html
    assert "9 pictures of 3 classes" in html
    assert html.count("<small>") == 1


def test_pictures_from_a_program():
    pictures = np.zeros((6, 4, 4, 3), np.uint8)
    batch = kilat.show(pictures, ["a", "b"] * 3, count=2)
    assert batch.labels == ["a", "b"]
    assert repr(batch) == "Batch(2 of 6 pictures, 2 classes)"


def test_a_large_picture_is_made_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)
    html = kilat.show([noise, noise[::-1]], ["a", "b"], count=1)._repr_html_()
    assert 'width="112" height="75"' in html
    assert len(html) < 20_000
