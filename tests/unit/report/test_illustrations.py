"""Illustrations are data: read once from the pictures, kept as JSON, and enough for the same page without pictures."""

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
    SAMPLES,
    Illustrations,
    illustrate,
    most_confident_mistakes,
    sample_rows,
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
    return illustrate(folder, catalog, report.predictions, [BLURRED], network=NETWORK, augmented=b"\x89PNG")


def test_every_picture_that_the_page_shows_is_read_once(run):
    report, folder = run
    html = render(replace(report, illustrations=illustrations_of(report, folder)))
    assert np.all(np.diff(folder.read_rows) > 0)
    assert {4, 12, 15} <= set(folder.read_rows)  # the blurred ones, and dog/5.jpg, which is a mistake
    for row in folder.read_rows:
        assert f'title="{folder.entries[row].path}"' in html
    assert "None to show." not in html


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


@pytest.mark.parametrize(("classes", "per_class"), [(1, 20), (2, 10), (3, 6), (20, 1), (300, 1)])
def test_samples_are_of_every_class_alike(catalog_of, classes, per_class):
    names = [f"{i:03d}" for i in range(classes)]
    catalog = pd.concat([catalog_of(names)] * 3, ignore_index=True)
    catalog.loc[0, "status"] = "refused"
    rows = sample_rows(catalog)
    labels = catalog["label"].iloc[rows].value_counts()
    assert set(labels) == {per_class}
    assert len(labels) == min(classes, SAMPLES)
    assert 0 not in rows


def test_samples_are_there_for_classes_of_a_single_picture(catalog_of):
    catalog = catalog_of(["a", "b"]).iloc[[0, 10]].reset_index(drop=True)
    assert sample_rows(catalog) == [0, 1]
    assert sample_rows(catalog[:0]) == []
