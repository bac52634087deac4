"""Findings are data: from their document alone they give the same sentences, in any language."""

import json

import numpy as np
import pandas as pd
import pytest

from kilat.check import counts, image_quality, label_issues, near_duplicates, shortcuts
from kilat.check.finding import Finding
from kilat.check.near_duplicates import NearDuplicates
from kilat.data.catalog import Catalog, Entry
from kilat.data.image_stats import IMAGE_STATS
from kilat.locale.refusals import Refusal

COUNT = 200
QUALITY_KINDS = (
    "uniform", "blurred", "tiny", "underexposed", "overexposed", "extreme_aspect", "rotated", "grey", "coloured",
    "exif_rotated", "outlier",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    entries = [
        Entry(f"{'ab'[row % 2]}/{row:03}.jpg", "ab"[row % 2], "train" if row % 5 else "test") for row in range(COUNT)
    ]
    made = Catalog.from_entries([*entries, Entry("a/x.jpg", "a", refused=Refusal("truncated", "byte 3"))])
    made.image_stats = np.zeros(COUNT + 1, IMAGE_STATS)
    made.image_stats["quality"][1::2] = 70
    return made


@pytest.fixture(scope="module")
def found(catalog: Catalog) -> list[Finding]:
    """Findings of all checks in a set with planted defects."""
    duplicates = NearDuplicates(
        ((0, 2), (4, 6, 8), (1, 10), (3, 7)), ((0.99,), (0.98, 0.97), (0.98,), (0.97,)), ((),) * 4
    )
    probabilities = np.where(np.arange(COUNT)[:, None] % 2 == [0, 1], 0.9, 0.1).astype(np.float32)
    probabilities[:30] = probabilities[:30, ::-1]
    distances = np.append(np.random.default_rng(0).lognormal(0, 0.2, COUNT), np.nan)
    distances[7] = 50
    table = catalog.table.assign(width=100, height=80)
    issues = label_issues.find_label_issues(np.arange(COUNT) % 2, probabilities)
    return [
        *near_duplicates.findings(duplicates, table),
        *shortcuts.find(table, catalog.image_stats),
        *label_issues.findings(issues, np.arange(COUNT), ["a", "b"], catalog),
        *counts.find(table.assign(label=np.where(np.arange(COUNT + 1) < 3, "rare", "common"))),
        *image_quality.find(table, catalog.image_stats, distances),
    ]


def test_the_planted_defects_are_of_many_kinds(found):
    kinds = {finding.kind for finding in found}
    assert kinds >= {
        "leak",
        "conflicting_duplicates",
        "shortcut",
        "suspected_labels",
        "refused",
        "imbalance",
        "outlier",
    }


def test_a_finding_comes_back_from_its_document(found, catalog):
    paths = catalog.table["path"].tolist()
    for finding in found:
        document = json.loads(json.dumps(finding.document(paths), allow_nan=False))
        again = Finding.from_document(document, paths)
        assert (again.kind, again.severity, again.groups) == (finding.kind, finding.severity, finding.groups)
        assert again.title() == finding.title()
        assert again.advice() == finding.advice()
        assert again.captions() == finding.captions()
        assert again.document(paths) == document


def test_a_document_holds_no_sentences(found, catalog):
    for finding in found:
        text = json.dumps(finding.document(catalog.table["path"].tolist()), ensure_ascii=False)
        assert finding.title() not in text
        assert finding.advice() not in text
        assert ". " not in text


def test_a_document_of_other_pictures_is_refused(found):
    with pytest.raises(KeyError):
        Finding.from_document(found[0].document([f"{row}" for row in range(COUNT + 1)]), ["somewhere-else.jpg"])


@pytest.mark.parametrize("kind", QUALITY_KINDS)
def test_one_picture_is_named_and_several_are_counted(kind):
    one, many = (Finding(kind, "warning", {"count": count, "path": "a/b {x}.jpg"}) for count in (1, 1234))
    assert one.title().startswith("a/b {x}.jpg ")
    assert many.title().startswith("1,234 pictures ")
    for finding in (one, many):
        assert finding.title().endswith(".")
        assert finding.advice().endswith(".")
    assert one.advice() != many.advice()


@pytest.mark.parametrize("kind", QUALITY_KINDS)
def test_one_picture_is_named_where_a_language_has_no_singular(kind, monkeypatch):
    monkeypatch.setenv("KILAT_LANG", "id")
    one, many = (Finding(kind, "warning", {"count": count, "path": "a/b.jpg"}).title() for count in (1, 1234))
    assert one.startswith("a/b.jpg ")
    assert many.startswith("1.234 gambar ")


@pytest.mark.parametrize(
    ("trait", "values", "words"),
    [
        ("width", {"low": 100, "high": 100, "open": "below"}, "a width of 100 pixels"),
        ("width", {"low": 100, "high": 220, "open": "below"}, "a width of at most 220 pixels"),
        ("width", {"low": 100, "high": 220, "open": "above"}, "a width of at least 100 pixels"),
        ("aspect", {"low": 1.5, "high": 2, "open": ""}, "a width that is 1.50 to 2.00 times the height"),
        ("brightness", {"low": 0.711, "high": 0.714, "open": ""}, "a mean brightness of 71%"),
        ("camera", {"names": ["Canon", ""], "more_names": False}, "the camera Canon, (none)"),
        ("format", {"names": ["GIF", "JPEG", "PNG"], "more_names": True}, "the file format GIF, JPEG, PNG, …"),
        ("subsampling", {"names": ["4:2:0", "none"], "more_names": False}, "chroma subsampling 4:2:0, (not a JPEG)"),
        ("is_grey", {"names": ["grey"], "more_names": False}, "no colour"),
    ],
)
def test_a_rule_is_put_into_words(trait, values, words):
    assert f"88 of its 90 pictures have {words}, 0.1% of the others." in shortcut(trait, values).title()


def test_numbers_of_a_rule_are_written_as_in_the_language(monkeypatch):
    monkeypatch.setenv("KILAT_LANG", "id")
    title = shortcut("aspect", {"low": 1.5, "high": 2, "open": ""}).title()
    assert "1,50 sampai 2,00" in title
    assert "0,1%" in title


def shortcut(trait, values):
    rule = {
        "label": "rose", "trait": trait, **values, "pictures": 90, "pictures_with": 88, "others": 1000,
        "others_with": 1, "balanced_accuracy": 0.95, "balanced_accuracy_interval": [0.92, 0.97],
    }  # fmt: skip
    return Finding("shortcut", "serious", {"group": "size", "rules": [rule]})


def test_a_leak_names_its_picture_and_the_other_one():
    table = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "label": "x", "split": ["test", "train"], "status": "used"})
    table = table.assign(width=1, height=1)
    (leak,) = near_duplicates.findings(NearDuplicates(((1, 0),), ((0.99,),), ((),)), table)
    assert leak.title() == (
        "1 of 1 test pictures has a near-duplicate in the training data: a.jpg is nearly the same as b.jpg."
    )
