"""Notes on a source: labels that look like mistakes, frames that were left, and why pictures were refused."""

import numpy as np
import pytest

from kilat.data.catalog import Catalog, Entry, PictureRecords
from kilat.data.source_notes import frame_notes, label_notes, refusal_notes
from kilat.locale.refusals import Refusal


def entries(**counts: int) -> list[Entry]:
    return [Entry(f"{label}/{i}.jpg", label) for label, count in counts.items() for i in range(count)]


def refused(**counts: tuple[int, int, str]) -> Catalog:
    """A catalog with classes of so many pictures, so many of them refused, for this reason."""
    return Catalog.from_entries(
        [
            Entry(f"{label}/{i}.jpg", label, refused=Refusal(code) if i < lost else None)
            for label, (count, lost, code) in counts.items()
            for i in range(count)
        ]
    )


class TestLabels:
    def test_those_that_may_be_one_class_are_named_with_their_pictures(self) -> None:
        (note,) = label_notes(entries(dog=2, Dog=3, cat=5))
        assert note.values == {"labels": {"Dog": 3, "dog": 2}}
        assert note.sentence().startswith(
            "These labels differ only in case, blanks, hyphens or Unicode form, and are kept apart: 'Dog' (3), "
            "'dog' (2). If they are one class, give them one name"
        )

    def test_refused_pictures_and_other_splits_count_as_well(self) -> None:
        both = [
            Entry("train/Dog/1.jpg", "Dog", "train"),
            Entry("val/dog/1.jpg", "dog", "validation", Refusal("empty_file")),
        ]
        (note,) = label_notes(both)
        assert note.values == {"labels": {"Dog": 1, "dog": 1}}

    def test_of_many_the_first_are_named(self) -> None:
        letters = "abcdefghijklmnopqrstuvwxyz"
        (note,) = label_notes(entries(**dict.fromkeys(letters + letters.upper(), 1)))
        assert len(note.values["labels"]) == 52
        assert "apart: 'A' (1), 'a' (1), 'B' (1), 'b' (1), 'C' (1) and 47 more." in note.sentence()

    @pytest.mark.parametrize("label", ["nan", "NaN", "None", "null", "N/A", "<NA>"])
    def test_text_that_stands_for_no_label_is_pointed_out(self, label: str) -> None:
        (note,) = label_notes([*entries(cat=2), *[Entry("x", label)] * 3])
        assert note.sentence() == f"Class “{label}” looks like missing labels: it has 3 pictures."

    def test_other_labels_are_fine(self) -> None:
        assert label_notes([*entries(cat=1, dog=1, no=1, naan=1), Entry("x.jpg", "")]) == []


class TestFrames:
    def test_those_that_were_left_are_counted(self) -> None:
        (note,) = frame_notes(np.array([1, 40, 0, 3]))
        assert note.values == {"count": 2, "left": 41}
        assert "2 files have several frames or pages: the first of each is used, 41 more are not." in note.sentence()

    def test_one_each_is_not_worth_a_word(self) -> None:
        assert frame_notes(np.array([1, 1, 0])) == []


class TestRefusals:
    def test_the_main_reasons_with_what_to_do(self) -> None:
        catalog = refused(a=(9, 4, "heic"), b=(9, 3, "empty_file"), c=(9, 2, "damaged"), d=(9, 1, "truncated"))
        sentences = [note.sentence() for note in refusal_notes(catalog)]
        assert len(sentences) == 3
        assert sentences[0].startswith("4 pictures were refused: a HEIC picture, which kilat does not read. Convert")
        assert sentences[1:] == ["3 pictures were refused: empty file.", "2 pictures were refused: damaged or cut off."]

    def test_a_detail_that_all_share_is_given(self) -> None:
        catalog = Catalog.from_entries(entries(a=3))
        catalog.record_pictures(
            PictureRecords(["", "", ""], {0: Refusal("undecodable", "no tiles"), 1: Refusal("undecodable", "no tiles")})
        )
        (note, mostly) = refusal_notes(catalog)
        assert note.sentence() == "2 pictures were refused: cannot be decoded: no tiles."
        catalog.refuse({1: Refusal("undecodable", "no strips")})
        assert refusal_notes(catalog)[0].sentence() == "2 pictures were refused: cannot be decoded: …."
        assert mostly.sentence() == "Most of class “a” was refused: 2 of 3 pictures."

    def test_half_of_a_class_is_not_most_of_it_and_what_is_said_elsewhere_is_not_repeated(self) -> None:
        assert [note.code for note in refusal_notes(refused(a=(4, 2, "empty_file")))] == ["refused"]
        assert refusal_notes(refused(a=(4, 3, "unknown_class"), b=(2, 2, "time_limit"))) == []
