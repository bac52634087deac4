"""A run's data as the report takes it, and a parser of the page that comes of it."""

from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest

from kilat import recipe as recipes
from kilat.learn.metrics import Metrics
from kilat.report.illustrations import Illustrations
from kilat.report.page import Report
from kilat.report.pictures import Thumbnail


class Page(HTMLParser):
    """The tags of a page with their attributes, its text without runs of space and styles, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._text = ""
        self.scripts: list[str] = []
        self._in_script = self._in_style = False
        self.feed(html)
        self.text = " ".join(self._text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script, self._in_style = tag == "script", tag == "style"
        self.scripts += [""] * self._in_script

    def handle_endtag(self, tag: str) -> None:
        self._text += " " if tag in {"th", "td"} else ""
        self._in_script = self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        elif not self._in_style:
            self._text += data

    def names(self) -> set[str]:
        """Return the kinds of tags."""
        return {tag for tag, _attrs in self.tags}

    def values(self, attribute: str) -> list[str]:
        """Return the values of an attribute, in the order of the tags that have it."""
        return [found for _tag, attrs in self.tags if (found := attrs.get(attribute)) is not None]


def measures(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the measures of one part of the pictures; without any, every number is undefined."""
    n = sum(map(sum, confusion))
    if not n:
        undefined = dict.fromkeys(("log_loss", "brier", "ece", "ece_interval", "adaptive_ece"))
        of_class = dict.fromkeys(("precision", "recall", "f1", "brier", "ece"))
        return {
            **undefined,
            **dict.fromkeys(("accuracy", "accuracy_interval", "balanced_accuracy", "balanced_accuracy_interval")),
            "n": 0,
            "top_k": {},
            "majority": {"label": None, "accuracy": None},
            "confusion": [list(row) for row in confusion],
            "per_class": {name: {**of_class, "support": 0} for name in classes},
            "uncalibrated": undefined,
        }
    bins = [{"low": 0.8, "high": 0.9, "n": n, "confidence": 0.85, "accuracy": 0.86, "accuracy_interval": [0.8, 0.9]}]
    return {
        "n": n,
        "accuracy": sum(confusion[i][i] for i in range(len(classes))) / n,
        "accuracy_interval": [0.871, 0.942],
        "balanced_accuracy": 0.8765,
        "balanced_accuracy_interval": [0.851, 0.922],
        "log_loss": 0.2171,
        "brier": 0.1234,
        "ece": 0.0138,
        "ece_interval": [0.01, 0.031],
        "adaptive_ece": 0.0127,
        "top_k": {"3": 0.9911},
        "majority": {"label": classes[0], "accuracy": 0.417},
        "confusion": [list(row) for row in confusion],
        "per_class": {
            name: {"precision": 0.9, "recall": 0.8, "f1": 0.99 - 0.001 * i, "support": 40, "brier": 0.1, "ece": 0.02}
            for i, name in enumerate(classes)
        },
        "reliability": bins,
        "uncalibrated": {
            "log_loss": 0.2345, "brier": 0.1299, "ece": 0.0456, "ece_interval": [0.03, 0.06], "adaptive_ece": 0.041,
            "reliability": bins,
        },
    }  # fmt: skip


def metrics_of(classes: Sequence[str], confusion: Sequence[Sequence[int]] | None = None) -> dict[str, Any]:
    """Return the document of a run with a frozen backbone; ``dog`` is classified as ``cat`` seven times."""
    names = list(classes)
    matrix = confusion or [
        [40 if r == c else 7 * (r == 1 and c == 0) for c in range(len(names))] for r in range(len(names))
    ]
    return {
        "schema": 1,
        "notes": [],
        "data": {"used": 1234, "refused": 2, "classes": names, "train": 1, "validation": 0, "test": 1, "duplicates": 5,
                 "cropped_share": 0.0625},
        "test": measures(names, matrix),
        "validation": measures(names, [[4 * n for n in row] for row in matrix]),
        "head": {"l2_penalty": 0.01, "l2_penalties": [], "temperature": 1.0834, "class_weight": None,
                 "curve": [{"pictures": 100, "correct": 80, "n": 100}, {"pictures": 200, "correct": 85, "n": 100}]},
        "unknown": {"methods": [], "rate": 0.05, "auroc": {}, "left_out": 0,
                    "test": {"n": 0, "flagged": 0, "share": None, "interval": None}},
        "check": {"serious": 0, "findings": []},
        "parity": {"pictures": 64, "max_difference": 3.1e-6, "tolerance": 1e-3, "labels_agree": 1.0,
                   "max_ood_difference": 1e-7},
        "model": {"backbone": "lite0", "size": 224, "precision": "int8", "bytes": 5_240_113, "resize": "squash",
                  "digest": "d1ge5t"},
        "timing": {"total_s": 19.31, "features_s": 12.34, "head_s": 4.56},
        "versions": {"kilat": "0.1.0"},
    }  # fmt: skip


def catalog_of(classes: Sequence[str], refused: Sequence[tuple[str, str, str]] = ()) -> pd.DataFrame:
    """Return ten used pictures of every class, and refused ones by path, code and detail."""
    rows = [
        (f"{name}/{i}.jpg", name, "test" if i % 5 == 0 else "train", "used", "", "")
        for name in classes
        for i in range(10)
    ]
    rows += [(path, classes[0], "", "refused", code, detail) for path, code, detail in refused]
    return pd.DataFrame(rows, columns=["path", "label", "split", "status", "code", "detail"], dtype=object)


def report_of(
    classes: Sequence[str] = ("cat", "dog", "owl"),
    confusion: Sequence[Sequence[int]] | None = None,
    *,
    metrics: dict[str, Any] | None = None,
    refused: Sequence[tuple[str, str, str]] = (("bad.jpg", "not_an_image", ""), ("empty.jpg", "empty_file", "")),
    mistakes: Sequence[tuple[str, float]] = (("5.jpg", 0.9876),),
    history: Sequence[dict[str, float]] = (),
    illustrations: Illustrations | None = None,
    name: str = "pets",
    recipe: dict[str, Any] | None = None,
) -> Report:
    """Return a report; its mistakes are pictures of the second class classified as the first."""
    document = metrics_of(classes, confusion) | (metrics or {})
    catalog = catalog_of(classes, refused)
    columns = {
        "path": [f"{classes[1]}/{file}" for file, _probability in mistakes],
        "split": "test",
        "label": classes[1],
        "predicted": classes[0],
        "probability": [probability for _file, probability in mistakes],
    }
    used = catalog.loc[catalog["status"] == "used", "path"]
    thumbnails = {path: Thumbnail(uri="data:image/webp;base64,UklGRg==") for path in used}
    return Report(
        name,
        Metrics.model_validate(document),
        recipes.load(recipe or {"features": {"resize": "pad"}}),
        catalog,
        pd.DataFrame(columns),
        pd.DataFrame(list(history)),
        illustrations or Illustrations(thumbnails=thumbnails),
    )


@pytest.fixture(name="parse")
def _parse() -> type[Page]:
    return Page


@pytest.fixture(name="measures")
def _measures() -> Callable[..., dict[str, Any]]:
    return measures


@pytest.fixture(name="metrics_of")
def _metrics_of() -> Callable[..., dict[str, Any]]:
    return metrics_of


@pytest.fixture(name="catalog_of")
def _catalog_of() -> Callable[..., pd.DataFrame]:
    return catalog_of


@pytest.fixture(name="report_of")
def _report_of() -> Callable[..., Report]:
    return report_of
