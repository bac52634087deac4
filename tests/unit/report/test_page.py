"""The report page: what it says is what was measured, it stands alone, and no name can break it."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest

from kilat.report.network_diagram import COLOURS
from kilat.report.page import LISTED, CurvePoint, Mistake, Report, render
from kilat.report.pictures import Shown
from kilat.report.template import percent

SECTIONS = [
    "samples",
    "data",
    "curve",
    "confusion",
    "reliability",
    "classes",
    "mistakes",
    "refused",
    "notes",
    "timings",
]
SECTIONS += ["use", "recipe", "versions"]


def measures(classes: list[str], confusion: list[list[int]]) -> dict[str, Any]:
    n = sum(map(sum, confusion))
    return {
        "n": n,
        "accuracy": sum(confusion[i][i] for i in range(len(classes))) / n,
        "accuracy_interval": [0.871, 0.942],
        "balanced_accuracy": 0.8765,
        "balanced_accuracy_interval": [0.851, 0.922],
        "log_loss": 0.2171,
        "brier": 0.1234,
        "ece": 0.0138,
        "top_k": {"3": 0.9911},
        "majority": {"label": classes[0], "accuracy": 0.417},
        "confusion": confusion,
        "per_class": {
            name: {"precision": 0.9, "recall": 0.8, "f1": 0.99 - 0.001 * i, "support": 40}
            for i, name in enumerate(classes)
        },
        "reliability": [{"low": 0.8, "high": 0.9, "n": n, "confidence": 0.85, "accuracy": 0.86}],
        "uncalibrated": {"log_loss": 0.2345, "brier": 0.1299, "ece": 0.0456},
    }


def catalog_of(classes: list[str], refused: Sequence[tuple[str, str]] = ()) -> pd.DataFrame:
    rows = [(f"{name}/{i}.jpg", name, "test" if i % 5 == 0 else "train", "used") for name in classes for i in range(10)]
    rows += [(path, classes[0], "", f"refused: {reason}") for path, reason in refused]
    return pd.DataFrame(rows, columns=["path", "label", "split", "status"], dtype=object)


def report_of(classes: tuple[str, ...] = ("cat", "dog", "owl"), confusion: list[list[int]] | None = None) -> Report:
    names = list(classes)
    matrix = confusion or [
        [40 if r == c else 7 * (r == 1 and c == 0) for c in range(len(names))] for r in range(len(names))
    ]
    shown = Shown(f"{names[1]}/a b.jpg", names[1], b"\xff\xd8jpeg", "/data/a b#.jpg")
    metrics = {
        "schema": 1,
        "data": {"used": 1234, "refused": 2, "classes": names, "train": 1, "validation": 0, "test": 1, "duplicates": 5,
                 "cropped_share": 0.0625},
        "test": measures(names, matrix),
        "validation": measures(names, [[4 * n for n in row] for row in matrix]),
        "head": {"strength": 0.01, "temperature": 1.0834, "class_weight": None},
        "parity": {"pictures": 64, "max_difference": 3.1e-6, "tolerance": 1e-3, "labels_agree": True},
        "model": {"backbone": "lite0", "size": 224, "precision": "int8", "bytes": 5_240_113, "fit": "squash"},
        "timing": {"total_s": 19.31, "features_s": 12.34, "head_s": 4.56},
        "versions": {"kilat": "0.1.0"},
    }  # fmt: skip
    return Report(
        name="pets",
        metrics=metrics,
        recipe="features:\n  fit: squash\n",
        catalog=catalog_of(names, [("bad.jpg", "not an image"), ("empty.jpg", "empty file")]),
        samples=[shown, replace(shown, link=None)],
        curve=[CurvePoint(100, 0.8, 0.75, 0.85), CurvePoint(200, 0.85, 0.8, 0.9)],
        mistakes=[Mistake(shown, names[0], 0.9876)],
        notes=["Nearly a third of each picture is cut away."],
    )


class Tags(HTMLParser):
    """Every tag with its attributes, and the visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [found for _tag, attrs in self.tags if (found := attrs.get(attribute)) is not None]


def nothing(value: Any) -> Any:
    """The same metrics with every number undefined."""
    if isinstance(value, dict):
        return {key: nothing(inner) for key, inner in value.items()}
    return [] if isinstance(value, list) else None


def test_every_section_is_there_in_order() -> None:
    ids = re.findall(r'<section id="(\w+)"', render(report_of()))
    assert ids == SECTIONS


def test_the_verdict_says_how_good_how_honest_and_where_to_look() -> None:
    text = Tags(render(report_of())).text
    assert "94.5% of 127 test pictures are right (95% interval 87.1 to 94.2); always answering “cat”" in text
    assert "would be right in 41.7%." in text
    assert "can be taken at face value: on average they are off by 1.4 points." in text
    assert "Look first at “dog”, which is taken for “cat” in 7 of its 47 pictures." in text


def test_numbers_shown_are_the_numbers_measured() -> None:
    text = Tags(render(report_of())).text
    for shown in ("87.6%", "99.1%", "0.217", "0.123", "0.014", "0.046", "1,234", "6.2%", "1.083", "5.2 MB", "19.31 s"):
        assert shown in text, shown
    assert "said with 98.8%" in text
    assert "Nearly a third" in text
    assert "fit: squash" in text
    assert "3.1e-06" in text
    assert "From 100 to 200 pictures it went from 80.0% to 85.0%: more pictures are likely to help." in text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = Tags(render(report_of()))
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _attrs in page.tags}
    assert all(address.startswith(("data:", "file:", "#")) for name in ("src", "href", "xlink:href")
               for address in page.values(name))  # fmt: skip
    assert not re.search(r"@import|url\((?!#)", render(report_of()))
    assert "default-src 'none'" in page.values("content")[-1]


def test_names_and_labels_are_only_ever_text() -> None:
    names = ("<script>alert(1)</script>", "\"'><img src=x onerror=y>", "日本語 \udc80 $a_b$", "x" * 300, "{{ 7*7 }}{n}")
    hostile = "</pre></style><script>x</script>\ud800\x00"
    report = replace(report_of(names), name=hostile, recipe=hostile, notes=[hostile])
    html = render(replace(report, catalog=catalog_of(list(names), [(hostile, hostile)])))
    page = Tags(html)
    html.encode("utf-8")
    assert "<script" not in html
    assert "onerror" not in {key for _tag, attrs in page.tags for key in attrs}
    assert "<script>alert(1)</script>" in page.text
    assert "$a_b$" in page.text
    assert "{{ 7*7 }}{n}" in page.text
    assert len([tag for tag, _attrs in page.tags if tag == "img"]) == 3


def test_links_lead_to_the_files_that_exist() -> None:
    page = Tags(render(report_of()))
    assert page.values("href").count("file:///data/a%20b%23.jpg") == 3
    unlinked = replace(
        report_of(), samples=[Shown("p", "cat", b"j", None), Shown("p", "cat", b"j", "/\ud800")], mistakes=[]
    )
    assert not [address for address in Tags(render(unlinked)).values("href") if address.startswith("file:")]


def test_equal_reports_give_equal_pages() -> None:
    assert render(report_of()) == render(report_of())


def test_ids_are_unique() -> None:
    ids = Tags(render(report_of())).values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in Tags(render(report_of())).values("href") if address.startswith("#")} <= set(ids)


@pytest.mark.parametrize("test", [None, {}, {"n": 0, "accuracy": None, "confusion": [], "majority": None}])
def test_without_test_pictures_cross_validation_speaks(test: Any) -> None:
    report = report_of()
    text = Tags(render(replace(report, metrics={**report.metrics, "test": test}))).text
    assert "No pictures were kept for a test; in cross-validation 94.5% of 508 pictures are right" in text


def test_undefined_numbers_read_as_a_dash() -> None:
    report = report_of()
    metrics = {key: nothing(value) for key, value in report.metrics.items()}
    metrics["data"]["classes"] = ["cat", "dog", "owl"]
    metrics["test"]["n"] = metrics["validation"]["n"] = 0
    bare = replace(report, metrics=metrics, samples=[], curve=[], mistakes=[], notes=[], catalog=catalog_of(["cat"]))
    text = Tags(render(bare)).text
    assert "Nothing could be measured" in text
    assert "–" in text
    assert "None: every picture was used." in text
    assert "nan" not in text
    assert "Undefined" not in text


def test_a_class_never_predicted_has_no_precision() -> None:
    report = report_of()
    report.metrics["test"]["per_class"]["owl"] = {"precision": None, "recall": 0.0, "f1": None, "support": 3}
    report.metrics["test"]["per_class"]["dog"] = {"precision": None, "recall": None, "f1": None, "support": 0}
    rows = re.findall(r'class="name clip" title="(\w+)">\w+</span></td><td class="right">(\S+?)</td>', render(report))
    assert rows == [("owl", "–"), ("cat", "0.900"), ("dog", "–")]


def test_few_test_pictures_are_called_few() -> None:
    report = report_of(("cat", "dog"), [[2, 0], [1, 0]])
    report.metrics["test"]["majority"]["accuracy"] = 0.2
    text = Tags(render(report)).text
    assert "too few pictures to say how far its stated probabilities" in text
    assert "So few test pictures say little; in cross-validation 66.7% of 12 pictures are right." in text


def test_no_better_than_always_the_same_answer_is_said() -> None:
    report = report_of()
    report.metrics["test"]["majority"]["accuracy"] = 0.9
    assert "not clearly better than always giving the same answer" in render(report)


def test_long_lists_of_refused_pictures_are_cut_and_say_so() -> None:
    refused = [(f"bad_{i}.jpg", "not an image") for i in range(500)] + [("empty.jpg", "empty file")]
    text = Tags(render(replace(report_of(), catalog=catalog_of(["cat", "dog", "owl"], refused)))).text
    assert len(re.findall(r"bad_\d+\.jpg", text)) + 1 == LISTED
    assert "empty.jpg" in text
    assert "501" in text
    assert f"Not listed here: {501 - LISTED}; catalog.csv has them all." in text


def test_hundreds_of_classes_are_all_in_the_table() -> None:
    names = tuple(f"class-{i:03d}" for i in range(120))
    html = render(report_of(names))
    rows = re.findall(r'class="name clip" title="(class-\d+)">', html)
    assert rows == sorted(names, reverse=True)
    assert "data:image/png;base64," in html
    assert 'class-001</span> → <span class="name">class-000' in html


def test_nothing_wrong_is_said_so() -> None:
    text = Tags(render(replace(report_of(("cat", "dog"), [[60, 0], [0, 60]]), mistakes=[]))).text
    assert "No picture was answered wrongly." in text
    assert "Look first" not in text


@pytest.mark.parametrize(
    ("share", "shown"),
    [(1.0, "100.0%"), (0.9999, "99.9%"), (0.936, "93.6%"), (0, "0.0%"), (None, "–"), (float("nan"), "–")],
)
def test_what_is_not_all_never_reads_as_all(share: float | None, shown: str) -> None:
    assert percent(share) == shown


@dataclass(frozen=True)
class Layer:
    label: str
    kind: str
    output_shape: tuple[int, ...]
    trainable: int = 0
    frozen: int = 0
    macs: int = 0
    receptive_field: int | None = None


@dataclass(frozen=True)
class Described:
    name: str
    input_shape: tuple[int, int, int]
    rows: list[Layer]
    total: int = 12_378
    trainable: int = 12_314
    macs: int = 987_654


def trained() -> Report:
    """A report on a network that was trained by gradient."""
    report = report_of()
    metrics = {key: value for key, value in report.metrics.items() if key != "head"}
    metrics["model"] = {"network": "vgg-small", "size": 32, "precision": "fp32", "resize": "crop", "bytes": 4_800_000}
    metrics["fit"] = {"epochs": 3, "best_epoch": 2, "stop_reason": "early stopping", "optimizer": "nadam",
                      "schedule": "one_cycle", "batch": 96, "precision": "bf16", "device": "cpu", "parameters": 12_378,
                      "trainable": 12_314, "rollbacks": 0, "temperature": 1.234}  # fmt: skip
    rows = [
        {"epoch": e, "loss": 1 / e, "accuracy": 0.5 + e / 10, "validation_loss": 1.1 / e, "validation_accuracy": 0.5,
         "learning_rate": 0.01, "seconds": 2.0, "pictures_per_second": 700.0 + e}
        for e in (1, 2, 3)
    ]  # fmt: skip
    layers = [
        Layer("conv", "conv", (32, 32, 8), 224, 0, 221_184, 3),
        Layer("norm", "batch_norm", (32, 32, 8), 16, 16, 0, 3),
        Layer("dense", "dense", (3,), 12_074, 48, 766_470),
    ]
    network = Described("vgg-small", (32, 32, 3), layers)
    return replace(report, metrics=metrics, history=rows, network=network, augmented=b"\x89PNG", curve=[])


def test_a_trained_network_has_sections_of_its_own() -> None:
    html = render(trained())
    ids = re.findall(r'<section id="(\w+)"', html)
    assert ids == ["samples", "data", "augmented", "training", "network", *SECTIONS[3:]]
    assert set(re.findall(r'<a href="#(\w+)"', html)) <= set(ids)
    page = Tags(html)
    assert f"data:image/png;base64,{base64.b64encode(trained().augmented or b'').decode()}" in page.values("src")
    found = page.values("id")
    assert len(found) == len(set(found))


def test_how_training_went_is_said_in_figures_and_numbers() -> None:
    text = Tags(render(trained())).text
    for shown in ("early stopping", "nadam", "one_cycle", "96", "bf16", "702", "best: 2", "with temperature 1.234"):
        assert shown in text, shown


def test_the_layers_are_drawn_and_listed() -> None:
    html = render(trained())
    text = " ".join(Tags(html).text.split())
    assert "layers as volumes" in html
    assert "32×32×8" in text
    assert "221,184" in text
    assert "3×3" in text
    assert "12,378 parameters, 12,314 of them trained; 987,654 multiply-accumulates a picture." in text
    assert all(f"--{name}:" in html for name in COLOURS)


def test_a_trained_network_is_not_said_to_be_cross_validated() -> None:
    report = trained()
    for metrics in (report.metrics, {**report.metrics, "test": {}}):
        page = render(replace(report, metrics=metrics))
        assert "cross-valid" not in page.lower()
        assert "validation, 508 pictures" in page
    assert "No test pictures were kept; of 508 validation pictures, which also chose the epoch, 94.5% are right" in page
    few = report_of(("cat", "dog"), [[2, 0], [1, 0]])
    few.metrics["test"]["majority"]["accuracy"] = 0.2
    few = replace(few, metrics={**few.metrics, "fit": report.metrics["fit"]})
    assert "So few test pictures say little; 66.7% of 12 validation pictures are right." in render(few)


def test_names_of_layers_are_only_ever_text() -> None:
    network = Described("x", (4, 4, 3), [Layer("<script>\ud800", "<b>", (3,))])
    html = render(replace(trained(), network=network))
    html.encode("utf-8")
    assert "<script" not in html
    assert "<b>" not in html


def test_a_learning_curve_is_no_setting() -> None:
    report = report_of()
    report.metrics["head"]["curve"] = [{"pictures": 77_777, "correct": 1, "n": 2}]
    assert "77777" not in render(report)
