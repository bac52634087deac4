"""Illustrations are data: read once from the pictures, kept as JSON, and enough for the same page without pictures."""

import base64
import io
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Entry
from kilat.locale.notes import Note
from kilat.recipe.network_summary import Row, Summary
from kilat.report.findings import select
from kilat.report.illustrations import (
    MISTAKES,
    PER_FINDING,
    Illustrations,
    augmented_sheet,
    examples,
    illustrate,
    most_confident_mistakes,
    select_for_report,
)
from kilat.report.page import render


class Folder:
    """Pictures in files, in the order of a catalog."""

    def __init__(self, folder: Path, catalog: pd.DataFrame) -> None:
        self.name, self.skipped, self.notes, self.folder = "folder", dict[str, int](), list[Note](), folder
        self.entries = [Entry(path, label) for path, label in zip(catalog["path"], catalog["label"], strict=True)]
        self.read_rows = list[int]()
        for i, entry in enumerate(self.entries):
            (folder / entry.path).parent.mkdir(exist_ok=True)
            Image.new("RGB", (20, 30), (i, 2 * i, 90)).save(folder / entry.path)

    def read(self, index: int) -> bytes:
        self.read_rows.append(index)
        return (self.folder / self.entries[index].path).read_bytes()

    def link(self, index: int) -> str | None:
        return str(self.folder / self.entries[index].path)

    def delete(self) -> None:
        """Delete all pictures."""
        for entry in self.entries:
            (self.folder / entry.path).unlink()


NETWORK = Summary(
    "tiny", (8, 8, 3), [Row("conv", "conv", (8, 8, 4), 112, 0, 6912, 3), Row("fc", "dense", (3,), 9, 3, 9, None)]
)
BLURRED = Finding("blurred", "warning", {"count": 2}, ((4,), (12,)), ({"share": 0.1}, {"share": 0.2}))


@pytest.fixture(name="run")
def _run(tmp_path, report_of, metrics_of):
    """Returns a report, and the pictures that it is about."""
    metrics = metrics_of(("cat", "dog", "owl"))
    plain = report_of(metrics=metrics)
    findings = [BLURRED.document(plain.catalog["path"].tolist())]
    report = report_of(metrics={**metrics, "check": {"serious": 0, "findings": findings}}, refused=[])
    return report, Folder(tmp_path, report.catalog)


def illustrations_of(report, folder) -> Illustrations:
    catalog = Catalog(report.catalog)
    sheet = io.BytesIO()
    Image.new("RGB", (1500, 200), "red").save(sheet, "PNG")
    nearest: dict[str, tuple[str | None, str | None]] = {"dog/5.jpg": ("dog/3.jpg", None)}
    known = Illustrations(network=NETWORK, nearest=nearest, augmented=augmented_sheet(sheet.getvalue()))
    return illustrate(folder, catalog, report.predictions, [BLURRED], known)


def test_every_picture_that_the_page_shows_is_read_once(run):
    report, folder = run
    html = render(replace(report, illustrations=illustrations_of(report, folder)))
    assert np.all(np.diff(folder.read_rows) > 0)
    # The blurred ones; dog/5.jpg, which is a mistake; and the training picture that it is most like.
    assert folder.read_rows == [4, 12, 13, 15]
    for row in folder.read_rows:
        assert f'title="{folder.entries[row].path}"' in html
    assert 'nearest <span class="name">dog</span>' in html


def test_the_page_is_the_same_from_json_with_the_pictures_gone(run, tmp_path):
    report, folder = run
    illustrations = illustrations_of(report, folder)
    first = render(replace(report, illustrations=illustrations))
    text = json.dumps(illustrations.to_document(), allow_nan=False)
    folder.delete()
    again = Illustrations.from_document(json.loads(text))
    assert again == illustrations
    assert render(replace(report, illustrations=again)) == first
    assert pickle.loads(pickle.dumps(illustrations)) == illustrations


def test_tables_may_go_through_csv(run):
    report, folder = run
    report = replace(report, illustrations=illustrations_of(report, folder))
    tables = {
        name: pd.read_csv(io.StringIO(getattr(report, name).to_csv(index=False)), keep_default_na=False)
        for name in ("catalog", "predictions")
    }
    assert render(replace(report, **tables)) == render(report)


def test_a_document_with_other_keys_is_refused():
    with pytest.raises(ValidationError):
        Illustrations.from_document({"schema": 1, "samples": []})
    with pytest.raises(ValidationError):
        Illustrations.from_document({"schema": 2})


def test_pictures_that_cannot_be_read_are_left_out(run):
    report, folder = run
    (folder.folder / "dog/5.jpg").write_bytes(b"nothing")
    assert "dog/5.jpg" not in illustrations_of(report, folder).thumbnails


def test_the_most_confident_mistakes_on_the_test_set_are_shown():
    n = 2 * MISTAKES
    predictions = pd.DataFrame(
        {
            "path": [f"{i}.jpg" for i in range(n)],
            "split": ["test", "validation"] * MISTAKES,
            "label": "a",
            "predicted": ["b", "b", "b", "b", "a", "b"] * (n // 6),
            "probability": np.linspace(0.9, 0.1, n).astype(np.float32)[::-1],
        }
    )
    wrong = most_confident_mistakes(predictions)
    assert set(wrong["split"]) == {"test"}
    assert (wrong["predicted"] == "b").all()
    assert wrong["probability"].is_monotonic_decreasing
    assert len(most_confident_mistakes(pd.concat([predictions] * 9))) == MISTAKES


def test_a_report_shows_less_of_a_finding_than_the_page_about_the_data():
    many = Finding("blurred", "warning", {"count": 30}, tuple((row,) for row in range(30)))
    (selection,) = select_for_report([many])
    assert len(selection.groups) == PER_FINDING < len(select([many])[0].groups)


def answers(*rows: tuple[str, str, float], split: str = "test") -> pd.DataFrame:
    paths = [f"{split}/{i}.jpg" for i in range(len(rows))]
    labels, predicted, probabilities = zip(*rows, strict=True)
    columns = {"path": paths, "split": split, "label": labels, "predicted": predicted, "probability": probabilities}
    return pd.DataFrame(columns)


def test_the_first_screen_shows_answers_of_every_kind_and_of_many_classes():
    right = [("a", "a", 0.99), ("a", "a", 0.98), ("a", "a", 0.97), ("b", "b", 0.8), ("c", "c", 0.7), ("c", "c", 0.35)]
    wrong = [("a", "b", 0.9), ("a", "b", 0.89), ("a", "b", 0.88), ("b", "c", 0.6), ("c", "a", 0.4)]
    shown = examples(answers(*right, *wrong))
    assert list(shown.right["label"]) == ["a", "b", "c"]
    assert list(zip(shown.wrong["label"], shown.wrong["predicted"], strict=True)) == [
        ("a", "b"),
        ("b", "c"),
        ("c", "a"),
    ]
    assert list(shown.unsure["probability"]) == [0.35, 0.7, 0.8]


def test_answers_that_are_all_certain_are_not_called_unsure():
    assert examples(answers(("a", "a", 0.99), ("b", "b", 0.98))).unsure.empty


def test_without_a_test_set_answers_are_those_of_validation():
    predictions = pd.concat(
        [answers(("a", "b", 0.9), split="validation"), answers(("a", "b", 0.8), split="calibration")]
    )
    assert list(most_confident_mistakes(predictions)["path"]) == ["validation/0.jpg"]


def test_a_sheet_of_augmented_pictures_is_made_as_large_as_a_page_needs(run):
    report, folder = run
    uri = illustrations_of(report, folder).augmented
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert image.size == (1200, 160)
    assert augmented_sheet(None) is None
