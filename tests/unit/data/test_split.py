"""A picture's split follows from its content and the seed alone, copies count once, and small classes get a note."""

import hashlib
import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from kilat.data.catalog import Catalog, Entry, PictureRecords
from kilat.data.split import (
    Part,
    all_used,
    assign_splits,
    folds,
    hold_out,
    merge_groups,
    resolve_duplicates,
    train_and_test,
)
from kilat.errors import SourceError
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal

Row = tuple[str, str, str, str]
"""Path, label, content, split."""


def catalog(rows: Iterable[Row]) -> Catalog:
    """A catalog whose pictures have all been read."""
    rows = list(rows)
    made = Catalog.from_entries([Entry(path, label, split) for path, label, _, split in rows])
    made.record_pictures(PictureRecords([hashlib.sha256(content.encode()).hexdigest() for *_, content, _ in rows], {}))
    return made


def pictures(label: str, count: int, split: str = "", start: int = 0) -> list[Row]:
    return [(f"{label}/{i}.jpg", label, f"{label} {i}", split) for i in range(start, start + count)]


def splits(made: Catalog) -> dict[str, str]:
    """The split of every used content."""
    used = made.table[made.used]
    return dict(zip(used["digest"], used["split"], strict=True))


def drawn(rows: Iterable[Row], fraction: float = 0.2, seed: int = 0) -> dict[str, str]:
    made = catalog(rows)
    resolve_duplicates(made)
    assign_splits(made, fraction, seed)
    return splits(made)


def refusals(made: Catalog) -> dict[str, Refusal]:
    return {path: Refusal(code, detail) for path, _, code, detail in made.refused.itertuples(index=False)}


class TestDrawnTestSet:
    ROWS = pictures("cat", 300) + pictures("dog", 200)

    def test_names_and_order_decide_nothing(self) -> None:
        before = drawn(self.ROWS)
        assert set(before.values()) == {"train", "test"}
        renamed = [(f"new/{i}.png", label, content, "") for i, (_, label, content, _) in enumerate(self.ROWS)]
        assert drawn(renamed) == before
        order = np.random.default_rng(0).permutation(len(self.ROWS))
        assert drawn(self.ROWS[i] for i in order) == before
        assert drawn((path, f"other {label}", content, "") for path, label, content, _ in self.ROWS) == before

    def test_another_class_moves_no_picture(self) -> None:
        before = drawn(self.ROWS)
        more = drawn(self.ROWS + pictures("emu", 50))
        assert {digest: more[digest] for digest in before} == before

    @pytest.mark.parametrize("count", [2, 5, 6, 7, 11, 60, 400])
    def test_a_picture_that_comes_or_goes_moves_one_other_of_its_class_at_most(self, count: int) -> None:
        rows = pictures("cat", count)
        before = drawn(rows)
        for index in range(min(count, 40)):
            after = drawn(rows[:index] + rows[index + 1 :])
            assert sum(split != before[digest] for digest, split in after.items()) <= 1

    def test_many_pictures_that_come_move_at_most_as_many_others_and_mostly_far_fewer(self) -> None:
        rows = pictures("cat", 400)
        before, after = drawn(rows[:200]), drawn(rows)
        assert sum(after[digest] != split for digest, split in before.items()) < 40

    @pytest.mark.parametrize("fraction", [0.05, 0.2, 1 / 3, 0.5, 0.9])
    def test_the_share_of_every_class_is_within_a_picture(self, fraction: float) -> None:
        counts = [*range(5, 41), 2000]
        rows = [row for count in counts for row in pictures(f"{count:04}", count)]
        for seed in range(5):
            made = catalog(rows)
            assign_splits(made, fraction, seed)
            tested = (made.table["split"] == "test").groupby(made.table["label"]).sum().to_numpy()
            assert (np.abs(tested - np.array(counts) * fraction) < 1).all()
            assert (tested >= 1).all()
            assert (tested < counts).all()

    def test_a_larger_test_set_keeps_the_smaller_one(self) -> None:
        small, large = drawn(self.ROWS, 0.2), drawn(self.ROWS, 0.3)
        assert {digest for digest, split in small.items() if split == "test"} < {
            digest for digest, split in large.items() if split == "test"
        }

    def test_another_seed_draws_another_test_set(self) -> None:
        """Independent draws of a fifth share a twenty-fifth of all."""
        first, second = drawn(self.ROWS), drawn(self.ROWS, seed=1)
        both = sum(first[digest] == second[digest] == "test" for digest in first)
        assert 0 < both <= binom.ppf(1 - 1e-4, 500, 0.04)

    def test_no_test_set_at_all(self) -> None:
        made = catalog(self.ROWS + pictures("lone", 1))
        assert assign_splits(made, 0.0, 0) == []
        assert set(made.table["split"]) == {"train"}
        classes, train, test = train_and_test(made)
        assert (classes, len(train.rows), len(test.rows)) == (["cat", "dog", "lone"], 501, 0)

    def test_refused_pictures_are_in_no_split(self) -> None:
        made = catalog(self.ROWS)
        made.refuse({3: Refusal("damaged")})
        assign_splits(made, 0.2, 0)
        assert made.table.loc[3, "split"] == ""
        assert (made.table.loc[made.used, "split"] != "").all()
        _, train, test = train_and_test(made)
        assert sorted([*train.rows, *test.rows]) == [i for i in range(500) if i != 3]


class TestSmallClasses:
    @pytest.mark.parametrize("seed", range(12))
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
    def test_a_picture_is_always_trained_on_and_from_four_on_one_tested(self, count: int, seed: int) -> None:
        made = catalog(pictures("big", 50) + pictures("small", count))
        for fraction in (0.2, 0.99):
            made.set_split(np.ones(len(made.table), bool), "")
            notes = assign_splits(made, fraction, seed)
            few = made.table[made.table["label"] == "small"]["split"]
            tested = int((few == "test").sum())
            assert tested < count
            values = {"count": 1, "classes": ["small"]}
            if count == 1:
                assert notes == [Note("class_with_single_picture", values)]
            elif tested:
                assert notes == []
            else:
                assert count < 4
                assert notes == [Note("class_without_test_pictures", values)]

    @pytest.mark.parametrize("seed", range(12))
    def test_six_are_split_five_to_one(self, seed: int) -> None:
        assert sorted(drawn(pictures("small", 6), seed=seed).values()) == ["test"] + ["train"] * 5

    @pytest.mark.parametrize(("classes", "count"), [(60, 7), (1000, 3), (500, 2), (60, 8)])
    def test_small_classes_together_have_nearly_the_share_too(self, classes: int, count: int) -> None:
        rows = [row for number in range(classes) for row in pictures(str(number), count)]
        splits_of = list(drawn(rows).values())
        assert 0.15 < splits_of.count("test") / len(rows) < 0.25

    def test_small_classes_are_one_note(self) -> None:
        rows = [row for number in range(30) for row in pictures(f"{number:02}", 1)]
        made = catalog(pictures("big", 20) + rows)
        (note,) = assign_splits(made, 0.2, 0)
        assert note == Note("class_with_single_picture", {"count": 30, "classes": [f"{i:02}" for i in range(30)]})
        assert note.sentence() == (
            "30 classes have a single picture each, which is trained on and cannot be tested: "
            "'00', '01', '02', '03', '04' and 25 more."
        )


class TestCopies:
    def test_identical_pictures_count_once(self) -> None:
        copies = [("dog/copy.jpg", "dog", "dog 7", ""), ("dog/again.jpg", "dog", "dog 7", "")]
        made = catalog(pictures("cat", 20) + pictures("dog", 20) + copies)
        resolve_duplicates(made)
        why = Refusal("duplicate", "dog/7.jpg")
        assert refusals(made) == {"dog/copy.jpg": why, "dog/again.jpg": why}
        assert made.table.loc[[27, 40, 41], "group"].tolist() == [0, 0, 0]
        assert (made.table["group"] >= 0).sum() == 3
        assign_splits(made, 0.2, 0)
        assert splits(made) == drawn(pictures("cat", 20) + pictures("dog", 20))

    def test_different_labels_refuse_every_copy(self) -> None:
        made = catalog(
            [
                *pictures("cat", 3),
                *pictures("dog", 3),
                ("dog/odd.jpg", "dog", "cat 1", ""),
                ("emu/odd.jpg", "emu", "cat 1", ""),
            ]
        )
        resolve_duplicates(made)
        assert refusals(made) == {
            "cat/1.jpg": Refusal("label_conflict", "dog/odd.jpg"),
            "dog/odd.jpg": Refusal("label_conflict", "cat/1.jpg"),
            "emu/odd.jpg": Refusal("label_conflict", "cat/1.jpg"),
        }

    CONFLICT = (
        ("test/1.jpg", "cat", "same", "test"),
        ("train/2.jpg", "dog", "same", "train"),
        ("train/3.jpg", "emu", "same", "train"),
        ("validation/4.jpg", "emu", "same", "validation"),
    )

    @pytest.mark.parametrize(("corrected", "used"), [({1}, 1), ({2, 3}, 3), (frozenset(range(1)), 0), ({2, 7}, 2)])
    def test_of_different_labels_one_that_was_corrected_counts(self, corrected: set[int], used: int) -> None:
        made = catalog(self.CONFLICT)
        resolve_duplicates(made, corrected)
        assert np.flatnonzero(made.used).tolist() == [used]
        assert set(refusals(made).values()) == {Refusal("duplicate", self.CONFLICT[used][0])}
        assert set(made.table["group"]) == {0}

    @pytest.mark.parametrize("corrected", [{1, 2}, {0, 1, 2, 3}, {9}, set()])
    def test_corrections_that_differ_or_concern_other_pictures_resolve_nothing(self, corrected: set[int]) -> None:
        made = catalog(self.CONFLICT)
        resolve_duplicates(made, corrected)
        assert not made.used.any()
        assert refusals(made)["test/1.jpg"] == Refusal("label_conflict", "validation/4.jpg")

    def test_where_labels_agree_corrections_change_nothing(self) -> None:
        rows = [("train/a.jpg", "cat", "leak", "train"), ("test/a.jpg", "cat", "leak", "test")]
        made = catalog(rows)
        resolve_duplicates(made, {0})
        assert made.table.loc[made.used, "path"].tolist() == ["test/a.jpg"]

    def test_a_picture_that_is_refused_already_is_no_conflict(self) -> None:
        made = catalog([*pictures("cat", 2), ("dog/1.jpg", "dog", "cat 1", "")])
        made.refuse({2: Refusal("no_class_folder")})
        resolve_duplicates(made)
        assert refusals(made) == {"dog/1.jpg": Refusal("no_class_folder")}

    def test_of_a_ready_made_leak_the_test_set_keeps_the_picture_then_the_validation_set(self) -> None:
        rows = [
            ("train/a.jpg", "cat", "leak", "train"),
            ("test/a.jpg", "cat", "leak", "test"),
            ("val/a.jpg", "cat", "leak", "validation"),
            ("train/b.jpg", "cat", "half", "train"),
            ("val/b.jpg", "cat", "half", "validation"),
        ]
        made = catalog(rows)
        resolve_duplicates(made)
        assert made.table.loc[made.used, "path"].tolist() == ["test/a.jpg", "val/b.jpg"]
        assert refusals(made)["train/a.jpg"] == Refusal("duplicate", "test/a.jpg")
        assert refusals(made)["train/b.jpg"] == Refusal("duplicate", "val/b.jpg")

    def test_no_content_is_both_trained_on_and_tested(self) -> None:
        dice = np.random.default_rng(0)
        rows = [
            (
                f"{i}.jpg",
                str(dice.integers(3)),
                str(dice.integers(150)),
                str(dice.choice(["train", "validation", "test"])),
            )
            for i in range(600)
        ]
        for ready in (True, False):
            made = catalog(rows if ready else [(*row[:3], "") for row in rows])
            resolve_duplicates(made)
            assign_splits(made, 0.2, 0)
            _, train, test = train_and_test(made)
            assert not set(train.digests) & set(test.digests)
            both = [*train.digests, *test.digests]
            assert len(both) == len(set(both)) == made.used.sum()


class TestReadyMade:
    def test_it_stays_as_it_is(self) -> None:
        rows = pictures("a", 9, "train") + pictures("b", 9, "test", 50) + pictures("b", 9, "train", 90)
        made = catalog([*rows, ("loose.jpg", "a", "loose", "")])
        assert assign_splits(made, 0.5, 0) == [Note("class_not_in_test_split", {"count": 1, "classes": ["a"]})]
        assert made.table["split"].tolist() == [split for *_, split in rows] + ["train"]

    def test_without_a_test_set_it_is_drawn_from_the_training_pictures(self) -> None:
        rows = [row for label in "ab" for row in pictures(label, 40, "train") + pictures(label, 10, "validation", 40)]
        made = catalog(rows)
        assert assign_splits(made, 0.2, 0) == [Note("test_drawn_from_train")]
        table = made.table
        assert (table.loc[[split == "validation" for *_, split in rows], "split"] == "validation").all()
        alone = drawn([(*row[:3], "") for row in rows if row[3] == "train"])
        assert {digest: split for digest, split in splits(made).items() if split != "validation"} == alone
        again = catalog(rows)
        assert assign_splits(again, 0.0, 0) == []
        assert set(again.table["split"]) == {"train", "validation"}

    @pytest.mark.parametrize(("split", "test"), [("validation", 0.0), ("validation", 0.2), ("test", 0.2)])
    def test_a_class_without_training_pictures_is_refused_and_said(self, split: str, test: float) -> None:
        made = catalog(pictures("a", 5, "train") + pictures("b", 5, "train") + pictures("z", 2, split))
        notes = assign_splits(made, test, 0)
        note = Note("class_without_training_pictures", {"count": 1, "classes": ["z"], "pictures": 2})
        assert notes[0] == note
        assert "Class 'z' has pictures for validation or test only (2), none to train on" in note.sentence()
        classes, train, tested = train_and_test(made)
        assert classes == ["a", "b"]
        assert len(train.rows) + len(tested.rows) == 10
        assert refusals(made) == dict.fromkeys(("z/0.jpg", "z/1.jpg"), Refusal("no_training_class", "z"))

    def test_where_all_test_pictures_are_of_other_classes_a_test_set_is_drawn(self) -> None:
        made = catalog(pictures("a", 10, "train") + pictures("b", 10, "train") + pictures("z", 2, "test"))
        assert [note.code for note in assign_splits(made, 0.2, 0)] == [
            "class_without_training_pictures",
            "test_drawn_from_train",
        ]
        assert (made.table.loc[made.used, "split"] == "test").sum() == 4

    def test_a_class_whose_training_pictures_are_all_refused_is_no_class(self) -> None:
        made = catalog(pictures("a", 5) + pictures("b", 5) + pictures("c", 3, "train") + pictures("c", 2, "test", 3))
        made.refuse(dict.fromkeys((10, 11, 12), Refusal("damaged")))
        assert assign_splits(made, 0.2, 0)[0] == Note(
            "class_without_training_pictures", {"count": 1, "classes": ["c"], "pictures": 2}
        )
        assert train_and_test(made)[0] == ["a", "b"]

    def test_a_class_whose_pictures_are_all_refused_is_said(self) -> None:
        made = catalog(pictures("a", 5) + pictures("b", 5) + pictures("c", 3))
        made.refuse(dict.fromkeys((10, 11, 12), Refusal("damaged")))
        (note,) = assign_splits(made, 0.2, 0)
        assert note == Note("class_refused", {"count": 1, "classes": ["c"], "pictures": 3})
        assert note.sentence() == "All pictures of class 'c' were refused (3): it is no class of the model."

    def test_validation_pictures_are_trained_on_where_there_are_no_others(self) -> None:
        rows = pictures("a", 10, "validation") + pictures("b", 10, "validation")
        for test in (pictures("a", 3, "test", 20) + pictures("b", 3, "test", 20), []):
            made = catalog(rows + test)
            notes = assign_splits(made, 0.2, 0)
            assert notes[0] == Note("trained_on_validation", {"count": 20})
            classes, train, tested = train_and_test(made)
            assert (classes, len(train.rows), len(tested.rows)) == (["a", "b"], 20 if test else 16, 6 if test else 4)
            assert not train.validation.any()

    def test_test_pictures_alone_are_an_error(self) -> None:
        made = catalog(pictures("a", 5, "test") + pictures("b", 5, "test"))
        assign_splits(made, 0.2, 0)
        with pytest.raises(SourceError, match="there is none") as caught:
            train_and_test(made)
        assert "split “test”" in caught.value.hint

    def test_its_validation_is_the_only_fold(self) -> None:
        made = catalog(
            [row for label in "ab" for row in pictures(label, 8, "train") + pictures(label, 3, "validation", 8)]
        )
        assign_splits(made, 0.0, 0)
        _, train, _ = train_and_test(made)
        fold = folds(train, 5, 0)
        np.testing.assert_array_equal(fold, np.where(made.table["split"] == "validation", 0, -1))


class TestParts:
    def test_classes_are_sorted_and_rows_say_where_they_stand(self) -> None:
        made = catalog(pictures("dog", 30) + pictures("cat", 30) + pictures("Ähre", 30))
        assign_splits(made, 0.3, 0)
        classes, train, test = train_and_test(made)
        assert classes == ["cat", "dog", "Ähre"]
        for part in (train, test):
            table = made.table.iloc[part.rows]
            assert [classes[i] for i in part.truth] == table["label"].tolist()
            assert part.digests.tolist() == table["digest"].tolist()
        assert (made.table.iloc[test.rows]["split"] == "test").all()

    def test_one_class_left_is_an_error_with_the_commonest_refusals(self) -> None:
        made = catalog(pictures("cat", 5) + pictures("dog", 3) + pictures("emu", 2))
        made.refuse({row: Refusal("empty_file") for row in (5, 6)})
        made.refuse({7: Refusal("duplicate", "cat/1.jpg"), 8: Refusal("duplicate", "cat/2.jpg")})
        made.refuse({9: Refusal("unreadable", "permission denied")})
        assign_splits(made, 0.2, 0)
        with pytest.raises(SourceError) as caught:
            train_and_test(made)
        assert "training pictures of at least two classes" in caught.value.message
        assert "after refusing 5 of 10 pictures, there is only 'cat'." in caught.value.message
        assert caught.value.hint == (
            "2 × empty file; 2 × byte-identical to …, which counts once; 1 × cannot be read: permission denied"
        )

    def test_nothing_left_is_an_error(self) -> None:
        made = catalog(pictures("cat", 2))
        made.refuse(dict.fromkeys((0, 1), Refusal("empty_file")))
        with pytest.raises(SourceError, match="there is none"):
            train_and_test(made)
        with pytest.raises(SourceError, match="None of the 2 pictures can be evaluated"):
            all_used(made, ["cat"])

    def test_all_used_pictures_in_another_order_of_classes(self) -> None:
        made = catalog(pictures("b", 2) + pictures("a", 1))
        made.refuse({0: Refusal("empty_file")})
        part = all_used(made, ["z", "a", "b"])
        assert (part.rows.tolist(), part.truth.tolist()) == ([1, 2], [2, 1])


class TestFolds:
    @staticmethod
    def table_of(*counts: int, shuffled: int | None = None) -> pd.DataFrame:
        rows = [row for label, count in zip("abcdefg", counts, strict=False) for row in pictures(label, count)]
        if shuffled is not None:
            rows = [rows[i] for i in np.random.default_rng(shuffled).permutation(len(rows))]
        made = catalog(rows)
        assign_splits(made, 0.0, 0)
        _, part, _ = train_and_test(made)
        return pd.DataFrame({"digest": part.digests, "truth": part.truth, "fold": folds(part, 5, 3)})

    def test_every_class_is_spread_evenly_and_so_are_all_pictures(self) -> None:
        table = self.table_of(103, 52, 7, 5)
        counts = pd.crosstab(table["truth"], table["fold"])
        assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
        assert counts.columns.tolist() == [0, 1, 2, 3, 4]
        assert counts.sum().max() - counts.sum().min() <= 3

    def test_a_fold_follows_from_content_and_seed(self) -> None:
        one, other = self.table_of(60, 40), self.table_of(60, 40, shuffled=1)
        pd.testing.assert_series_equal(
            one.set_index("digest")["fold"].sort_index(), other.set_index("digest")["fold"].sort_index()
        )
        made = catalog(pictures("a", 60) + pictures("b", 40))
        assign_splits(made, 0.0, 0)
        _, part, _ = train_and_test(made)
        assert (folds(part, 5, 3) != folds(part, 5, 4)).any()
        np.testing.assert_array_equal(folds(part, 5, 3), folds(part, 5, 3))

    def test_the_fold_is_independent_of_the_test_set(self) -> None:
        """Were both drawn from one number, the folds of what the test set leaves would be lopsided."""
        made = catalog(pictures("a", 1000) + pictures("b", 1000))
        assign_splits(made, 0.2, 0)
        _, train, _ = train_and_test(made)
        before = catalog(pictures("a", 1000) + pictures("b", 1000))
        assign_splits(before, 0.0, 0)
        everything = train_and_test(before)[1]
        fold = dict(zip(everything.digests, folds(everything, 5, 0), strict=True))
        counts = np.bincount([fold[digest] for digest in train.digests], minlength=5)
        assert (counts > 260).all()
        assert (counts < 380).all()

    def test_the_only_picture_of_a_class_is_never_held_out(self) -> None:
        table = self.table_of(10, 1, 2)
        assert table.loc[table["truth"] == 1, "fold"].tolist() == [-1]
        assert table.loc[table["truth"] == 2, "fold"].min() >= 0
        assert table.loc[table["truth"] == 2, "fold"].nunique() == 2


class TestHoldOut:
    @staticmethod
    def part_of(rows: Iterable[Row], test: float = 0.0) -> Part:
        made = catalog(rows)
        assign_splits(made, test, 0)
        return train_and_test(made)[1]

    def test_a_share_of_each_class_and_no_picture_twice(self) -> None:
        part = self.part_of(pictures("a", 1000) + pictures("b", 400))
        train, held_out = hold_out(part, 0.1, 0)
        assert sorted([*train, *held_out]) == list(range(1400))
        assert (np.diff(train) > 0).all()
        assert (np.diff(held_out) > 0).all()
        assert np.bincount(part.truth[held_out]).tolist() == [100, 40]

    def test_it_follows_from_content_and_seed(self) -> None:
        rows = pictures("a", 200) + pictures("b", 200)
        one, other = self.part_of(rows), self.part_of(rows[::-1])
        contents = set(one.digests[hold_out(one, 0.2, 3)[1]])
        assert contents == set(other.digests[hold_out(other, 0.2, 3)[1]])
        assert contents != set(one.digests[hold_out(one, 0.2, 4)[1]])
        more = self.part_of(rows + pictures("b", 1, start=200))
        assert len(contents - set(more.digests[hold_out(more, 0.2, 3)[1]])) <= 1

    def test_it_is_independent_of_the_test_set(self) -> None:
        """Were both drawn from one number, no picture that the test set left would be held out."""
        part = self.part_of(pictures("a", 1000) + pictures("b", 1000), test=0.3)
        _, held_out = hold_out(part, 0.2, 0)
        low, high = binom.interval(0.9999, len(part.rows), 0.2)
        assert low <= len(held_out) <= high

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
    def test_every_class_is_trained_on_and_large_enough_ones_are_validated_on(self, seed: int, share: float) -> None:
        part = self.part_of(pictures("a", 1) + pictures("b", 2) + pictures("c", 5) + pictures("d", 60))
        train, held_out = hold_out(part, share, seed)
        assert set(part.truth[train]) == {0, 1, 2, 3}
        assert {2, 3} <= set(part.truth[held_out])
        assert 0 not in part.truth[held_out]

    def test_a_ready_made_validation_split_is_used_as_it_is(self) -> None:
        part = self.part_of(
            [row for label in "ab" for row in pictures(label, 8, "train") + pictures(label, 3, "validation", 8)]
        )
        train, held_out = hold_out(part, 0.5, 0)
        np.testing.assert_array_equal(held_out, np.flatnonzero(part.validation))
        np.testing.assert_array_equal(train, np.flatnonzero(~part.validation))


class TestGroups:
    """Near-duplicates are drawn together, whatever is drawn; a picture without any stays where it was."""

    ROWS = pictures("cat", 300) + pictures("dog", 200)

    @staticmethod
    def grouped(groups: Iterable[Iterable[int]], rows: Iterable[Row] = ROWS) -> Catalog:
        made = catalog(rows)
        resolve_duplicates(made)
        merge_groups(made, [list(group) for group in groups])
        return made

    @staticmethod
    def divided(made: Catalog) -> list[int]:
        """The groups that lie in several splits."""
        grouped = made.table[made.table["group"] >= 0].groupby("group")["split"]
        return [number for number, found in grouped if len(set(found)) > 1]

    def many(self) -> list[list[int]]:
        """Sixty groups of two to four, some of them of both classes."""
        order = np.random.default_rng(0).permutation(500)
        sizes = [2 + number % 3 for number in range(60)]
        within = [np.sort(part).tolist() for part in np.split(order, np.cumsum(sizes))[:60]]
        labels = np.array([label for _, label, *_ in self.ROWS])
        mixed = [group for group in within if len(set(labels[group])) > 1]
        assert 10 < len(mixed) < 60
        return within

    def test_groups_are_merged_with_those_of_identical_pictures(self) -> None:
        rows = [*pictures("cat", 6), ("cat/again.jpg", "cat", "cat 0", ""), ("cat/more.jpg", "cat", "cat 1", "")]
        made = self.grouped([(0, 1), (2, 3), (3, 4)], rows)
        assert made.table["group"].tolist() == [0, 0, 2, 2, 2, -1, 0, 0]
        assert made.used.tolist() == [True] * 6 + [False] * 2

    @pytest.mark.parametrize("seed", range(5))
    def test_no_group_is_both_trained_on_and_tested(self, seed: int) -> None:
        made = self.grouped(self.many())
        assign_splits(made, 0.2, seed)
        assert self.divided(made) == []
        tested = (made.table["split"] == "test").groupby(made.table["label"]).sum()
        assert abs(tested["cat"] - 60) <= 2
        assert abs(tested["dog"] - 40) <= 2
        _, part, _ = train_and_test(made)
        groups = made.table["group"].to_numpy()[part.rows]
        fold, (train, validation) = folds(part, 5, seed), hold_out(part, 0.2, seed)
        purpose = np.zeros(len(groups), int)
        purpose[validation] = 1
        purpose[train[hold_out(part.take(train), 0.2, seed, "calibration")[1]]] = 2
        assert set(purpose) == {0, 1, 2}
        for group in set(groups[groups >= 0]):
            assert len(set(fold[groups == group])) == len(set(purpose[groups == group])) == 1
        assert np.bincount(fold).min() > 0.6 * np.bincount(fold).max()

    def test_few_pictures_without_copies_leave_their_split(self) -> None:
        groups = self.many()
        made = self.grouped(groups)
        assign_splits(made, 0.2, 3)
        alone = made.table["group"] == -1
        before = catalog(self.ROWS)
        assign_splits(before, 0.2, 3)
        moved = made.table.loc[alone, "split"] != before.table.loc[alone, "split"]
        assert moved.sum() < 0.1 * len(moved)

    def test_the_smallest_digest_of_a_group_stands_for_it(self) -> None:
        rows = [0, 1, 2, 3, 4, 5, 6, 7]
        made = self.grouped([rows])
        assign_splits(made, 0.2, 1)
        _, train, test = train_and_test(made)
        keys = {*train.groups[np.isin(train.rows, rows)], *test.groups[np.isin(test.rows, rows)]}
        assert keys == {made.table.loc[rows, "digest"].min()}

    @pytest.mark.parametrize("largest", [1, 2, 3, 5])
    def test_the_share_is_right_as_far_as_whole_groups_allow(self, largest: int) -> None:
        """Half a group beside the share at most: with the next one it would be farther from it."""
        dice = np.random.default_rng(largest)
        for seed in range(60):
            count = int(dice.integers(5, 41))
            bounds = np.cumsum(dice.integers(1, largest + 1, count))
            groups = [list(range(a, b)) for a, b in itertools.pairwise([0, *bounds[bounds < count], count])]
            made = self.grouped([group for group in groups if len(group) > 1], pictures("cat", count))
            assign_splits(made, 0.2, seed)
            tested = int((made.table["split"] == "test").sum())
            assert abs(tested - 0.2 * count) <= 2 / 3 + (largest / 2 if largest > 1 else 0)
            assert self.divided(made) == []

    def test_a_group_larger_than_the_share_is_trained_on(self) -> None:
        rows = pictures("cat", 20)
        for seed in range(10):
            made = self.grouped([range(10)], rows)
            assign_splits(made, 0.2, seed)
            assert set(made.table.loc[:9, "split"]) == {"train"}
            assert (made.table["split"] == "test").sum() == 4

    def test_of_large_groups_alone_one_is_tested_where_that_is_nearer(self) -> None:
        for seed in range(10):
            made = self.grouped([range(start, start + 5) for start in range(0, 20, 5)], pictures("cat", 20))
            assert assign_splits(made, 0.2, seed) == []
            assert (made.table["split"] == "test").sum() == 5

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("fraction", [0.02, 0.5, 0.98])
    def test_in_small_classes_whole_groups_are_moved(self, seed: int, fraction: float) -> None:
        rows = pictures("big", 40) + pictures("small", 12) + pictures("tiny", 4)
        made = self.grouped([(40, 41, 42, 43), (44, 45, 46), (39, 47), (52, 53, 54, 55)], rows)
        notes = assign_splits(made, fraction, seed)
        assert notes == [Note("class_with_single_group", {"count": 1, "classes": ["tiny"]})]
        table = made.table
        assert self.divided(made) == []
        small = table.loc[table["label"] == "small", "split"]
        assert set(small) == {"train", "test"}
        assert set(table.loc[table["label"] == "tiny", "split"]) == {"train"}

    def test_no_test_picture_is_a_copy_of_a_ready_made_validation_picture(self) -> None:
        rows = [row for label in "ab" for row in pictures(label, 40, "train") + pictures(label, 10, "validation", 40)]
        groups = [(row, 40 + row % 10) for row in range(40)]
        made = self.grouped(groups, rows)
        assign_splits(made, 0.5, 0)
        assert set(made.table.loc[:39, "split"]) == {"train"}
        assert "test" in set(made.table["split"])

    def test_a_ready_made_split_stays_though_it_leaks(self) -> None:
        made = self.grouped([(0, 9)], pictures("a", 9, "train") + pictures("a", 9, "test", 50))
        assign_splits(made, 0.5, 0)
        assert made.table.loc[[0, 9], "split"].tolist() == ["train", "test"]

    def test_copies_of_one_picture_alone_are_never_held_out(self) -> None:
        made = self.grouped([(0, 1, 2), (3, 10)], pictures("a", 3) + pictures("b", 20))
        assign_splits(made, 0.0, 0)
        _, train, _ = train_and_test(made)
        fold = folds(train, 5, 0)
        assert fold[:3].tolist() == [-1, -1, -1]
        assert fold[3] == fold[10] >= 0

    def test_calibration_is_drawn_apart_from_validation(self) -> None:
        made = catalog(self.ROWS)
        assign_splits(made, 0.0, 0)
        _, part, _ = train_and_test(made)
        one, other = (set(hold_out(part, 0.2, 0, purpose)[1]) for purpose in ("validation", "calibration"))
        assert 40 < len(one) < 160
        assert 40 < len(other) < 160
        assert len(one & other) < 50
