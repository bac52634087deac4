"""Which pictures a finished model is measured on: of its classes, and of the test split where the data has one."""

import numpy as np

from kilat.data.catalog import Catalog, Entry
from kilat.verbs.answers import MAX_OOD_PICTURES, select_test_pictures, with_classes_of

CLASSES = ("cat", "dog")


def catalog(*parts):
    """A catalog of ``(label, split, count)``."""
    return Catalog.from_entries(
        [Entry(f"{number}.jpg", label, split) for label, split, count in parts for number in range(count)]
    )


def test_without_splits_all_pictures_of_known_classes_are_used():
    made = catalog(("cat", "", 3), ("dog", "", 2))
    rows, notes = select_test_pictures(made, CLASSES)
    assert (made.used.sum(), len(rows), notes) == (5, 0, [])


def test_of_splits_only_the_test_split_is_used_and_the_others_are_one_note():
    made = catalog(("cat", "test", 3), ("cat", "train", 4), ("dog", "validation", 5), ("dog", "", 1))
    _, (note,) = select_test_pictures(made, CLASSES)
    assert made.table.loc[made.used, "label"].tolist() == ["cat"] * 3
    assert made.refusal_counts == {"other_split": 10}
    assert note.values == {"count": 10, "splits": ["train", "validation"]}


def test_a_test_split_of_unknown_classes_alone_is_not_replaced_by_another_split():
    made = catalog(("wolf", "test", 3), ("cat", "train", 4))
    rows, notes = select_test_pictures(made, CLASSES)
    assert not made.used.any()
    assert rows.tolist() == [0, 1, 2]
    assert {note.code: note.values["count"] for note in notes} == {"unknown_class": 3, "other_split": 4}


def test_unknown_pictures_are_of_the_test_split_and_evenly_spread():
    made = catalog(("wolf", "train", 10), ("wolf", "test", 3 * MAX_OOD_PICTURES), ("cat", "test", 1))
    rows, _ = select_test_pictures(made, CLASSES)
    assert len(rows) == MAX_OOD_PICTURES
    assert rows.min() == 10
    assert rows.max() == len(made.table) - 2
    assert np.diff(rows).max() <= 4


def test_a_class_that_is_spelled_in_another_way_is_named_beside_the_models():
    made = catalog(("Cat", "", 3), ("dog", "", 2), ("wolf", "", 1), ("c_a_t", "", 1))
    _, notes = select_test_pictures(made, CLASSES)
    assert made.refusal_counts == {"unknown_class": 5}
    spelled = [note.values for note in notes if note.code == "unknown_spelling"]
    assert spelled == [{"count": 3, "label": "Cat", "name": "cat"}, {"count": 1, "label": "c_a_t", "name": "cat"}]
    assert [note.values["label"] for note in notes if note.code == "unknown_class"] == ["wolf"]


def test_blanks_around_the_names_of_a_models_classes_do_not_matter():
    """Those of imported models, and of models that an earlier kilat made."""
    entries = [Entry("1.jpg", "cat"), Entry("2.jpg", "dog"), Entry("3.jpg", "wolf")]
    assert [entry.label for entry in with_classes_of(entries, ["cat ", "\tdog"])] == ["cat ", "\tdog", "wolf"]
