"""Pictures and labels that a program gives: what is wrong with them is said, with the line of Python that fixes it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kilat.data.from_program import class_values, list_of_pictures, names_of_labels, require_files, source_of_pictures
from kilat.errors import SourceError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 28, 28), np.uint8)
COLOUR = RNG.integers(0, 256, (4, 28, 28, 3), np.uint8)


def problem(pictures: object) -> tuple[str, str]:
    with pytest.raises(SourceError) as refused:
        list_of_pictures(pictures, "X")
    return refused.value.message, refused.value.hint


class TestPictures:
    @pytest.mark.parametrize("pictures", [GREY, COLOUR, list(GREY), list(COLOUR), [GREY[0], COLOUR[0]]])
    def test_pixels(self, pictures: object) -> None:
        source = source_of_pictures(pictures, list("abab")[: len(pictures)], "X")
        assert source.entries[1].path == "X[1]"
        np.testing.assert_array_equal(source.read(1), pictures[1])

    @pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, lambda names: np.array(names, object)])
    def test_paths(self, kind: type) -> None:
        source = source_of_pictures(kind(["1.jpg", "2.jpg"]), ["a ", "b"])
        assert [(entry.path, entry.label) for entry in source.entries] == [("1.jpg", "a"), ("2.jpg", "b")]

    @pytest.mark.parametrize(
        ("pictures", "message", "hint", "fixed"),
        [
            (GREY.reshape(4, -1), "[4, 784], but a picture in it is flat", "X.reshape(-1, 28, 28)", True),
            (COLOUR.reshape(4, -1), "[4, 2352]", "X.reshape(-1, 28, 28, 3), or", False),
            (GREY[..., :5].reshape(4, -1), "[4, 140]", "X.reshape(-1, height, width)", False),
            (GREY / 255, "its type is float64", "(X * 255).round().astype('uint8')", True),
            (GREY / 127.5 - 1, "its type is float64", "((X + 1) * 127.5).round().astype('uint8')", True),
            (GREY.astype(np.float32), "its type is float32", "X.astype('uint8')", True),
            (GREY.astype(int), "its type is int64", "X.astype('uint8')", True),
            (GREY.astype(int) * 16, "its type is int64", "scale them to 0..255", False),
            (GREY > 99, "its type is bool", "X.astype('uint8') * 255", True),
            (np.moveaxis(COLOUR, -1, 1), "its channels come first", "np.moveaxis(X, -3, -1)", True),
            (GREY[:, None], "its channels come first", "np.moveaxis(X, -3, -1)", False),
            (GREY[..., None], "its pictures have one channel", "X[..., 0]", True),
            (np.concatenate([COLOUR, COLOUR[..., :1]], -1), "its pictures have four channels", "X[..., :3]", True),
            (COLOUR[0], "that is one picture", "[X]", True),
            (COLOUR[None], "no picture has such a shape", "[height, width, 3]", False),
        ],
    )
    def test_arrays_that_are_none_come_with_the_line_that_makes_them_some(self, pictures, message, hint, fixed) -> None:
        said, how = problem(pictures)
        assert message in said
        assert hint in how
        if fixed:
            list_of_pictures(eval(hint, {"X": pictures, "np": np}), "X")

    def test_of_a_list_the_first_that_is_wrong_is_named(self) -> None:
        assert problem([GREY[0], GREY[1] / 255])[0].startswith("X[1] is an array of shape [28, 28], but its type is")
        assert problem([GREY[0], GREY[1].ravel()])[1].endswith("X[1].reshape(28, 28)")

    @pytest.mark.parametrize(
        ("pictures", "message", "hint"),
        [
            ("flowers", "X is one path, 'flowers', not a list", "['flowers']"),
            (Path("flowers"), "X is one path", "['flowers']"),
            ([Image.fromarray(GREY[0])], "X[0] is neither a path nor", "np.asarray(image.convert('RGB'))"),
            ([1, 2], "X[0] is neither a path nor an array of pixels: 1", "Give paths"),
            (pd.DataFrame({"path": ["a"], "n": [1]}), "X is a table with the columns 'path', 'n'", "X['path']"),
            (pd.DataFrame({"path": ["a"]}).to_numpy(), "X has the shape [1, 1]", "np.ravel(X)"),
            ({"a": 1}, "X is of the type dict", "list(X)"),
            (iter([]), "X is of the type list_iterator", "list(X)"),
        ],
    )
    def test_other_things(self, pictures, message, hint) -> None:
        said, how = problem(pictures)
        assert message in said
        assert hint in how

    def test_none_and_another_number_of_labels(self) -> None:
        with pytest.raises(SourceError, match="There are no pictures: X is empty"):
            source_of_pictures([], [], "X")
        with pytest.raises(SourceError, match="There are 4 pictures and 3 labels"):
            source_of_pictures(GREY, list("aba"), "X")
        with pytest.raises(SourceError, match="Paths and arrays are mixed"):
            source_of_pictures(["1.jpg", GREY[0]], ["a", "b"])

    def test_files_that_are_missing_are_named(self, tmp_path: Path) -> None:
        there = tmp_path / "1.jpg"
        there.touch()
        require_files([there, str(there)], "X")
        require_files(GREY, "X")
        with pytest.raises(SourceError, match=r"2 of 3 pictures in X were not found: '2.jpg', '.*3.jpg'\."):
            require_files([there, "2.jpg", tmp_path / "3.jpg"], "X")
        with pytest.raises(SourceError) as refused:
            require_files(["https://example.org/1.jpg"], "X")
        assert "kilat does not download" in refused.value.hint


class TestLabels:
    @pytest.mark.parametrize(
        "missing",
        [
            ["cat", None, "dog", float("nan")],
            np.array(["cat", None, "dog", np.nan], object),
            np.array(["cat", np.nan, "dog", np.nan]),  # NumPy makes text of it
            pd.Series(["cat", pd.NA, "dog", pd.NA], dtype="string"),
            pd.Series(["cat", None, "dog", None], dtype="category"),
            pd.Series([1, None, 2, None]),
            np.array([1, np.nan, 2, np.nan]),
            [1, pd.NaT, 2, " "],
        ],
    )
    def test_missing_ones_are_counted_and_named(self, missing) -> None:
        for read in (names_of_labels, class_values):
            with pytest.raises(
                SourceError, match=r"^2 of 4 labels are missing \(None, NaN or blank\): y\[1\], y\[3\]\.\n"
            ):
                read(missing, "y")

    def test_text_loses_the_blanks_around_it(self) -> None:
        assert names_of_labels(["cat ", "cat\u00a0", "nan"]) == ["cat", "cat", "nan"]
        assert class_values(["cat ", " cat"], "y").tolist() == ["cat", "cat"]

    @pytest.mark.parametrize(
        ("labels", "dtype", "names"),
        [
            ([3, 7], np.int64, ["3", "7"]),
            (np.array([3, 7], np.uint8), np.uint8, ["3", "7"]),
            (np.array([3, 7], np.float32), np.float32, ["3", "7"]),
            ([True, False], np.bool_, ["True", "False"]),
            ([1, 1.0], np.float64, ["1", "1"]),
            (np.array(["a", "b"], object), object, ["a", "b"]),
            (pd.Series(["a", "b"]), object, ["a", "b"]),
        ],
    )
    def test_types_stay_for_scikit_learn(self, labels, dtype, names) -> None:
        assert class_values(labels, "y").dtype == dtype
        assert names_of_labels(labels) == names

    @pytest.mark.parametrize(
        ("labels", "message", "hint"),
        [
            (np.eye(3)[[0, 1, 2]], "not an array of shape (3, 3)", "np.argmax(y, axis=1)"),
            ([[0, 1], [1, 0]], "not an array of shape (2, 2)", "np.argmax(y, axis=1)"),
            (np.array([[0], [1]]), "not an array of shape (2, 1)", "np.ravel(y)"),
            ([["a", "b"], ["a", "c"]], "not an array of shape (2, 2)", "cat+dog"),
            ([["a", "b"], ["c"]], "A label was given as ['a', 'b']", "cat+dog"),
            (pd.DataFrame({"label": ["a"]}), "y is a table with the columns 'label'", "y['label']"),
            ("cat", "y is one text, 'cat'", "a label for each picture"),
            (None, "y is of the type NoneType", "list"),
            ([1, "1"], "y has labels of several types: 1 (number), '1' (text)", "[str(label) for label in y]"),
            ([True, 2], "y has labels of several types", "[str(label) for label in y]"),
            ([0.25, 1.0], "y has fractions such as 0.25", "[str(label) for label in y]"),
        ],
    )
    def test_what_is_no_list_of_classes(self, labels, message, hint) -> None:
        with pytest.raises(SourceError) as refused:
            class_values(labels, "y")
        assert message in refused.value.message
        assert hint in refused.value.hint
