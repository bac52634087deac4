"""The catalog: a row for every picture, each column written by one method, refusals as codes with details."""

import ast
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kilat
from kilat.data.catalog import Catalog, Entry, PictureRecords
from kilat.data.image_stats import IMAGE_STATS
from kilat.locale.refusals import Refusal

COLUMNS = ["path", "label", "split", "status", "code", "detail", "digest", "width", "height", "group"]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog.from_entries(
        [
            Entry("a/0.jpg", "a"),
            Entry("a/1.jpg", "a", "train"),
            Entry("b/0.jpg", "b", "test"),
            Entry("loose.jpg", "", refused=Refusal("no_class_folder")),
            Entry("b/1.jpg", "b", refused=Refusal("unknown_split", "holdout")),
        ]
    )


def stats(*sizes: tuple[int, int]) -> np.ndarray:
    made = np.zeros(len(sizes), IMAGE_STATS)
    for row, (width, height) in enumerate(sizes):
        made[row]["width"], made[row]["height"] = width, height
    return made


def test_entries_become_rows(catalog: Catalog) -> None:
    assert list(catalog.table.columns) == COLUMNS
    assert catalog.table["status"].tolist() == ["used", "used", "used", "refused", "refused"]
    assert catalog.table["split"].tolist() == ["", "train", "test", "", ""]
    assert catalog.used.tolist() == [True, True, True, False, False]
    assert catalog.refused.to_dict("list") == {
        "path": ["loose.jpg", "b/1.jpg"],
        "label": ["", "b"],
        "code": ["no_class_folder", "unknown_split"],
        "detail": ["", "holdout"],
    }
    assert (catalog.table["group"] == -1).all()


def test_a_catalog_of_nothing() -> None:
    catalog = Catalog.from_entries([])
    assert list(catalog.table.columns) == COLUMNS
    assert len(catalog.refused) == 0
    assert catalog.refusal_counts == {}
    assert catalog.refusal_summary() == ""


def test_what_was_read_is_recorded(catalog: Catalog) -> None:
    records = PictureRecords(["d0", "", "d2", "", ""], {1: Refusal("unreadable", "permission denied")}, stats(
        (4, 3), (0, 0), (8, 6), (0, 0), (0, 0)
    ))  # fmt: skip
    catalog.record_pictures(records)
    assert catalog.table["digest"].tolist() == ["d0", "", "d2", "", ""]
    assert catalog.table["width"].tolist() == [4, 0, 8, 0, 0]
    assert catalog.table["height"].tolist() == [3, 0, 6, 0, 0]
    assert catalog.table.loc[1, ["status", "code", "detail"]].tolist() == ["refused", "unreadable", "permission denied"]
    assert catalog.image_stats is records.image_stats


def test_without_image_stats_sizes_stay_unknown(catalog: Catalog) -> None:
    catalog.record_pictures(PictureRecords(["d"] * 5, {}))
    assert catalog.table["width"].tolist() == [0] * 5
    assert len(catalog.image_stats) == 0


def test_refusals_are_counted_by_code(catalog: Catalog) -> None:
    catalog.refuse({0: Refusal("duplicate", "b/0.jpg"), 1: Refusal("duplicate", "b/1.jpg")})
    assert catalog.refusal_counts == {"duplicate": 2, "no_class_folder": 1, "unknown_split": 1}
    assert catalog.refusal_summary() == (
        "2 × byte-identical to …, which counts once; 1 × no class folder; "
        "1 × unknown split 'holdout': use train, validation or test"
    )
    catalog.refuse({})
    assert catalog.used.tolist() == [False, False, True, False, False]


def test_splits_are_set_by_mask_or_rows(catalog: Catalog) -> None:
    catalog.set_split(catalog.used, "train")
    catalog.set_split(np.array([2]), "calibration")
    assert catalog.table["split"].tolist() == ["train", "train", "calibration", "", ""]


def test_as_csv_it_is_read_back(catalog: Catalog) -> None:
    catalog.refuse({0: Refusal("duplicate", 'a, "b".jpg')})
    text = catalog.table.to_csv(index=False)
    again = Catalog(pd.read_csv(io.StringIO(text), keep_default_na=False))
    assert again.refused.to_dict("list") == catalog.refused.to_dict("list")
    assert again.used.tolist() == catalog.used.tolist()


def test_no_other_module_writes_its_columns() -> None:
    """An assignment to ``….table[…]`` or ``….table.loc[…]`` stands in no module but the catalog's own."""
    package = Path(kilat.__file__).parent
    tables = {f"{name}.table{suffix}" for name in ("catalog", "self") for suffix in ("", ".loc", ".iloc", ".at")}
    writers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Subscript) and ast.unparse(target.value) in tables
    }
    assert writers == {"data/catalog.py"}
