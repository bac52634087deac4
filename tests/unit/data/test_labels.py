"""Labels: one spelling for each, those that may be one class, and what is no label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kilat.data.labels import label_name, normalize_label, similar_labels
from kilat.errors import SourceError


class TestOneSpelling:
    @pytest.mark.parametrize(
        "written",
        [
            "cat",
            " cat",
            "cat ",
            "\tcat\r\n",
            "\u00a0cat\u2003",
            "\ufeffcat",
            "cat\u200b",
            "\u2060cat\u3000",
            "\u2800cat",
        ],
    )
    def test_blanks_around_a_label_are_no_part_of_it(self, written):
        assert normalize_label(written) == "cat"

    def test_it_is_composed_and_on_one_line(self):
        assert normalize_label("cafe\u0301") == "café"
        assert normalize_label("hot\ndog\ttoday") == "hot dog today"

    @pytest.mark.parametrize("label", ["hot  dog", "T-shirt/top", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👩‍🔬", "日本", "\uff41\uff42", "x" * 300])
    def test_everything_else_stays(self, label):
        assert normalize_label(label) == label

    @pytest.mark.parametrize("blank", ["", " ", "\u200b\ufeff", "\n\t"])
    def test_blanks_alone_are_no_label(self, blank):
        assert normalize_label(blank) == ""


class TestSimilar:
    @pytest.mark.parametrize(
        "group",
        [
            ["Dog", "dog", "DOG"],
            ["hot dog", "hot-dog", "hot_dog", "hotdog", "Hot\u2013Dog", "hot\u00a0dog"],
            ["cat", "\uff43\uff41\uff54", "ca\u200bt"],
            ["Straße", "strasse"],
            ["m²", "m2"],
            ["ﬁr", "fir"],
            ["❤️", "❤"],
            ["1", "01", "1.0"],
            ["class 1", "class_1", "Class1"],
            ["2020-01", "2020_01"],
        ],
    )
    def test_spellings_of_one_class(self, group):
        assert similar_labels(["other", *group, "another"]) == [group]

    @pytest.mark.parametrize(
        "labels",
        [["1-1", "11"], ["-1", "1"], ["1 0", "10"], ["1.5", "15"], ["-", "_", "+"], ["cafe", "café"], ["10", "1"]],
    )
    def test_other_classes(self, labels):
        assert similar_labels(labels) == []

    def test_groups_stand_in_the_order_of_the_labels(self):
        assert similar_labels(["b", "a", "B", "c", "A", "b"]) == [["b", "B"], ["a", "A"]]


class TestValuesOfPrograms:
    @pytest.mark.parametrize(
        "missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), " "]
    )
    def test_what_is_no_label(self, missing):
        assert label_name(missing) == ""

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            ("cat ", "cat"),
            (np.str_("cat"), "cat"),
            (b"cat", "cat"),
            (Path("cat"), "cat"),
            (1, "1"),
            (1.0, "1"),
            (np.int64(1), "1"),
            (np.float32(1), "1"),
            (np.array(1), "1"),
            (0.5, "0.5"),
            (True, "True"),
            (np.bool_(False), "False"),
            ("nan", "nan"),
        ],
    )
    def test_names(self, value, name):
        assert label_name(value) == name

    @pytest.mark.parametrize("several", [["a", "b"], ("a",), {"a": 1}, np.array([0, 1]), {"a"}])
    def test_several_labels_are_not_one(self, several):
        with pytest.raises(SourceError, match="one for each picture") as refused:
            label_name(several)
        assert "cat+dog" in refused.value.hint
