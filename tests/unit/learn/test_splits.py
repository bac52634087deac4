"""Every class of a network has training pictures, whatever splits, refusals and shares there are."""

import numpy as np
import pytest
from PIL import Image

from kilat.data.source import open_source
from kilat.learn.network import read_dataset
from kilat.recipe import load
from kilat.runtime.progress import silent

NETWORK = {"model": {"layers": ["flatten", {"dense": "classes"}]}, "input": {"size": 8}}


@pytest.fixture
def data(tmp_path):
    """Writes class folders of small pictures: ``data({"train/ok": 20, "val/ok": 6})``."""
    random = np.random.default_rng(0)

    def write(counts):
        for folder, count in counts.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
        return tmp_path

    return write


def dataset(folder, **choices):
    return read_dataset(open_source(folder), load(NETWORK, choices), silent)[0]


def notes_of(found):
    return {note.code: note.values for note in found.notes}


def test_a_class_with_validation_pictures_only_is_no_output(data):
    found = dataset(data({"train/ng": 20, "train/ok": 20, "val/ng": 6, "val/ok": 6, "val/dent": 6}))
    assert found.classes == ["ng", "ok"]
    assert len(found.validation.rows) == 12
    assert found.catalog.refusal_counts == {"no_training_class": 6}
    values = {"count": 1, "classes": ["dent"], "pictures": 6}
    assert notes_of(found)["class_without_training_pictures"] == values


def test_a_class_whose_training_pictures_cannot_be_decoded_is_no_output(data):
    folder = data({"train/ng": 20, "train/ok": 20, "train/dent": 3, "test/ok": 4, "test/ng": 4, "test/dent": 4})
    for path in (folder / "train" / "dent").iterdir():
        path.write_bytes(b"no picture")
    found = dataset(folder)
    assert found.classes == ["ng", "ok"]
    assert len(found.test.rows) == 8
    assert found.catalog.refusal_counts == {"no_training_class": 4, "not_an_image": 3}
    assert "class_without_training_pictures" in notes_of(found)


def test_a_class_that_was_refused_as_a_whole_is_named(data):
    folder = data({"ng": 20, "ok": 20, "dent": 3})
    for path in (folder / "dent").iterdir():
        path.write_bytes(b"no picture")
    found = dataset(folder)
    assert found.classes == ["ng", "ok"]
    assert notes_of(found)["class_refused"] == {"count": 1, "classes": ["dent"], "pictures": 3}


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("counts", [(1, 10), (4, 4, 4), (5, 40)])
def test_every_class_keeps_pictures_to_train_on(data, counts, share):
    folder = data({f"class{number}": count for number, count in enumerate(counts)})
    for seed in range(3):
        choices = {"test": share, "data.validation": 0.5, "data.calibration": 0.5, "seed": seed}
        found = dataset(folder, **choices)
        assert set(found.train.truth) == set(range(len(counts)))
        parts = [found.train, found.validation, found.test]
        parts += [] if found.calibration is found.validation else [found.calibration]
        assert sum(len(part.rows) for part in parts) == sum(counts)
