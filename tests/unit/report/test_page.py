"""The report page: what it says is what was measured, it stands alone, and no name can break it."""

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from kilat.recipe.network_summary import Row, Summary
from kilat.report.illustrations import Illustrations
from kilat.report.page import Report, render
from kilat.report.palette import LAYER_COLOURS
from kilat.report.tables import LISTED
from kilat.report.template import percent

SECTIONS = ["confusion", "mistakes", "data", "curve", "reliability", "classes", "refused", "recipe", "use"]


def test_every_section_is_there_in_order(report_of):
    ids = re.findall(r'<section id="(\w+)"', render(report_of()))
    assert ids == SECTIONS


def test_contents_have_the_words_of_the_headings(trained):
    html = render(trained())
    contents = re.findall(r'<a href="#([\w-]+)">(.*?)</a>', html[html.index("<nav") : html.index("</nav>")])
    assert contents == re.findall(r'<section id="([\w-]+)">\s*<h2>(.*?)</h2>', html)
    assert len(contents) == html.count("<h2>")


def test_the_first_screen_says_what_was_wanted_how_good_it_is_and_what_follows(report_of, parse):
    report = report_of()
    illustrations = report.illustrations.model_copy(
        update={"command": "kilat train 'my pets'", "begun": "2026-05-01T09:30"}
    )
    html = render(replace(report, illustrations=illustrations))
    lead = parse(html[: html.index("</header>")])
    assert "kilat train 'my pets' 1,234 pictures, 3 classes 1 May 2026, 09:30" in lead.text
    assert "94.5% of 127 test pictures are answered rightly, 95% interval 87.1 to 94.2; always" in lead.text
    assert "answering “cat” would be right for 41.7%." in lead.text
    assert "Accuracy 94.5%, between 0 and 100%" in lead.values("aria-label")
    assert "100% of all mistakes are between “cat” and “dog” (7 of 7): look at these" in lead.text
    assert "Wrong, and most certain" in lead.text


def test_numbers_shown_are_the_numbers_measured(report_of, parse):
    text = parse(render(report_of())).text
    for shown in ("87.6%", "99.1%", "0.217", "0.123", "0.014", "0.046", "1,234", "6.2%", "1.083", "5.2 MB", "19.3 s"):
        assert shown in text, shown
    assert "labelled doganswered cat 98.8%" in text
    assert "resize: pad" in text
    assert "3.1e-06" in text
    assert "All predictions agree." in text
    assert "Its probabilities are well calibrated: on average they are off by 1.4 points." in text
    assert "From 100 to 200 pictures the accuracy rose from 80.0% to 85.0%." in text


def test_every_statistic_is_explained(report_of, parse):
    text = parse(render(report_of())).text
    for term in ("Minus the logarithm", "The squared distance", "How far a probability is", "The mean over the classes",
                 "divided by before", "harmonic mean"):  # fmt: skip
        assert term in text, term


def test_notes_stand_in_the_lead(report_of, metrics_of, parse):
    values = {"largest": "cat", "most": 900, "smallest": "owl", "count": 1, "section": "head"}
    metrics = metrics_of(("cat", "dog", "owl")) | {"notes": [{"code": "class_imbalance", "values": values}]}
    html = render(report_of(metrics=metrics))
    lead = parse(html[: html.index("</header>")]).text
    assert metrics["notes"]
    assert all(note in lead for note in report_of(metrics=metrics).metrics.sentences)
    assert "900" in lead
    assert '<div class="notes"' not in render(report_of())


def test_words_in_the_lead_lead_to_their_meaning(report_of, metrics_of):
    metrics = metrics_of(("cat", "dog", "owl")) | {
        "notes": [{"code": "batch_norm_unsettled", "values": {"count": 9, "share": 0.8}}]
    }
    html = render(report_of(metrics=metrics))
    assert '<a class="word" href="#word-batch_norm">' in html
    assert '<dt id="word-batch_norm">Batch norm</dt>' in html
    assert html.count('id="word-batch_norm"') == 1


def test_notes_that_change_little_are_folded_where_others_do_not(report_of, metrics_of, parse):
    values = {"largest": "cat", "most": 900, "smallest": "owl", "count": 1, "section": "head"}
    minor = [{"code": code, "values": {"count": 3}} for code in ("skipped_hidden", "skipped_not_a_picture")]
    notes = [*minor, {"code": "class_imbalance", "values": values}]
    html = render(report_of(metrics=metrics_of(("cat", "dog", "owl")) | {"notes": notes}))
    lead = parse(html[: html.index("</header>")]).text
    assert lead.index("900 training pictures") < lead.index("2 more notes") < lead.index("3 hidden or helper files")


def test_the_page_loads_nothing_and_runs_one_script_that_its_policy_names(report_of, parse):
    page = parse(render(report_of()))
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.values("content")[-1]
    assert len(script) <= 30_000
    assert not re.search(r"\beval\b|new Function|innerHTML|https?:|fetch\(", script)
    assert not [name for _tag, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not {"link", "iframe", "object", "base"} & page.names()
    assert all(address.startswith(("data:", "#")) for name in ("src", "href", "xlink:href")
               for address in page.values(name))  # fmt: skip
    assert not re.search(r"@import|url\((?!#)", page.html)
    policy = page.values("content")[-1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style" not in {name for _tag, attributes in page.tags for name in attributes}
    style = page.html[page.html.index("<style>") + 7 : page.html.index("</style>")]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy


def test_names_and_labels_are_only_ever_text(report_of, metrics_of, parse):
    names = ("<script>alert(1)</script>", "\"'><img src=x onerror=y>", "日本語 \udc80 $a_b$", "x" * 300, "{{ 7*7 }}{n}")
    hostile = "</pre></style><script>x</script>\ud800\x00"
    values = {"largest": hostile, "most": 9, "smallest": hostile, "count": 1, "section": "head"}
    report = report_of(
        names,
        metrics=metrics_of(names) | {"notes": [{"code": "class_imbalance", "values": values}]},
        name=hostile,
        recipe={"features": {"weights": hostile.encode("utf-8", "replace").decode()}},
        refused=[(hostile, "undecodable", hostile)],
    )
    html = render(report)
    page = parse(html)
    html.encode("utf-8")
    assert html.count("<script") == 1
    assert "onerror" not in {key for _tag, attrs in page.tags for key in attrs}
    assert "<script>alert(1)</script>" in page.text
    assert "$a_b$" in page.text
    assert "{{ 7*7 }}{n}" in page.text
    assert page.html.count("<img ") == 2  # the mistake, on the first screen and below


def test_pictures_without_a_thumbnail_are_left_out(report_of, parse):
    page = parse(render(report_of(illustrations=Illustrations())))
    assert "img" not in page.names()
    assert "mistakes" not in page.values("id")


def test_mistakes_stand_beside_what_they_resemble_and_can_be_filtered(report_of, parse):
    report = report_of(mistakes=[("5.jpg", 0.9876), ("0.jpg", 0.5)])
    nearest = {"dog/5.jpg": ("dog/3.jpg", "cat/4.jpg")}
    both = replace(report, illustrations=report.illustrations.model_copy(update={"nearest": nearest}))
    page = parse(render(both))
    assert page.values("data-pair") == ["dog → cat", "dog → cat"]
    assert page.values("data-probability") == ["0.988", "0.500"]
    assert "nearest dog nearest cat dog/5.jpg" in page.text
    assert page.values("title").count("cat/4.jpg") == 1


def test_equal_reports_give_equal_pages(report_of):
    assert render(report_of()) == render(report_of())


def test_ids_are_unique(report_of, parse):
    page = parse(render(report_of()))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(ids)


def test_without_test_pictures_cross_validation_speaks(report_of, metrics_of, measures, parse):
    names = ("cat", "dog", "owl")
    metrics = metrics_of(names) | {"test": measures(names, [[0] * 3] * 3)}
    text = parse(render(report_of(metrics=metrics))).text
    assert "94.5% of 508 pictures are answered rightly in cross-validation (there is no test set), 95% interval" in text
    assert "cross-validation, 508 pictures" in text
    assert "test, " not in text


def test_undefined_numbers_read_as_a_dash(report_of, metrics_of, measures, parse):
    names = ("cat", "dog", "owl")
    nothing = measures(names, [[0] * 3] * 3)
    metrics = metrics_of(names) | {"test": nothing, "validation": nothing, "timing": {}}
    metrics["head"]["curve"] = []
    text = parse(render(report_of(metrics=metrics, refused=[], mistakes=[]))).text
    assert "Nothing could be measured" in text
    assert "There was nothing to measure this on." in text
    assert "–" in text
    assert "Would more pictures help?" not in text
    assert "Refused pictures" not in text
    assert "nan" not in text
    assert "Undefined" not in text


def test_a_class_never_predicted_has_no_precision(report_of, metrics_of):
    metrics = metrics_of(("cat", "dog", "owl"))
    metrics["test"]["per_class"]["owl"] |= {"precision": None, "recall": 0.0, "f1": None, "support": 3}
    metrics["test"]["per_class"]["dog"] |= {"precision": None, "recall": None, "f1": None, "support": 0}
    html = render(report_of(metrics=metrics))
    rows = re.findall(r'class="name clip" title="(\w+)">\w+</span></td><td class="right">(\S+?)</td>', html)
    assert rows == [("owl", "–"), ("cat", "0.900"), ("dog", "–")]


def test_few_test_pictures_are_called_few(report_of, metrics_of, parse):
    metrics = metrics_of(("cat", "dog"), [[2, 0], [1, 0]])
    metrics["test"]["majority"]["accuracy"] = 0.2
    text = parse(render(report_of(("cat", "dog"), metrics=metrics))).text
    assert "There are too few pictures to say how well its probabilities are calibrated." in text
    assert "Measured on 3 pictures, where chance decides much" in text


def test_a_single_test_picture_is_spoken_of_in_the_singular(report_of, parse):
    text = parse(render(report_of(("cat", "dog"), [[1, 0], [0, 0]]))).text
    assert "100.0% of 1 test picture is answered rightly" in text
    assert "test, 1 picture " in text
    assert "1 pictures" not in text


def test_no_better_than_always_the_same_class_is_said(report_of, metrics_of):
    metrics = metrics_of(("cat", "dog", "owl"))
    metrics["test"] |= {"majority": {"label": "cat", "accuracy": 0.9}, "balanced_accuracy": 0.4}
    assert "not clearly better than always answering “cat”" in render(report_of(metrics=metrics))


def test_refused_pictures_are_grouped_by_code(report_of, parse):
    refused = [("a.jpg", "duplicate", "b.jpg"), ("c.jpg", "duplicate", "d.jpg"), ("e.jpg", "label_conflict", "owl")]
    text = parse(render(report_of(refused=refused))).text
    assert "3 pictures were refused and are part of nothing above." in text
    assert "byte-identical to …, which counts once 2 a.jpg cat b.jpg c.jpg cat d.jpg" in text
    assert "also under another label: owl 1 e.jpg cat" in text
    assert "1 picture was refused" in parse(render(report_of(refused=refused[:1]))).text


def test_long_lists_of_refused_pictures_are_cut_and_say_so(report_of, parse):
    refused = [(f"bad_{i}.jpg", "not_an_image", "") for i in range(500)] + [("empty.jpg", "empty_file", "")]
    text = parse(render(report_of(refused=refused))).text
    assert len(re.findall(r"bad_\d+\.jpg", text)) + 1 == LISTED
    assert "empty.jpg" in text
    assert "501" in text
    assert f"Not listed here: {501 - LISTED}; catalog.csv has them all." in text


def test_hundreds_of_classes_are_all_in_the_table(report_of):
    names = tuple(f"class-{i:03d}" for i in range(120))
    html = render(report_of(names))
    rows = re.findall(r'class="name clip" title="(class-\d+)">', html)
    assert rows == sorted(names, reverse=True)
    assert "Confusion matrix of all classes" in html
    assert 'class-001</span> → <span class="name">class-000' in html


def test_nothing_wrong_is_said_so(report_of, parse):
    text = parse(render(report_of(("cat", "dog"), [[60, 0], [0, 60]], mistakes=[]))).text
    assert "No picture was answered wrongly." in text
    assert "No test picture was answered wrongly: harder pictures would show more." in text


@pytest.mark.parametrize(
    ("share", "shown"),
    [(1.0, "100.0%"), (0.9999, "99.9%"), (0.936, "93.6%"), (0, "0.0%"), (None, "–"), (float("nan"), "–")],
)
def test_what_is_not_all_never_reads_as_all(share, shown):
    assert percent(share) == shown


def test_the_learning_curve_is_no_setting(report_of, metrics_of):
    metrics = metrics_of(("cat", "dog", "owl"))
    metrics["head"]["curve"] = [{"pictures": 77_777, "correct": 1, "n": 2}]
    assert "77777" not in render(report_of(metrics=metrics))


FIT = {
    "epochs": 3, "best_epoch": 2, "horizontal_flip": True, "precise_batch_norm": 0,
    "stop_reason": "early_stopping", "optimizer": "nadam", "schedule": "one_cycle",
    "batch": 96, "micro_batch": 96, "precision": "bf16", "device": "cpu", "devices": 1, "rollbacks": 0, "averaged": 0,
    "parameters": 12_378, "trainable": 12_314, "macs": 987_654, "temperature": 1.234,
}  # fmt: skip
LAYERS = [
    Row("conv", "conv", (32, 32, 8), 224, 0, 221_184, 3),
    Row("norm", "batch_norm", (32, 32, 8), 16, 16, 0, 3),
    Row("dense", "dense", (3,), 12_074, 48, 766_470, None),
]


@pytest.fixture(name="trained")
def _trained(report_of, metrics_of):
    """Returns a report on a network that was trained by gradient."""

    def report(network: Summary | None = None, **changes) -> Report:
        metrics = metrics_of(("cat", "dog", "owl"))
        del metrics["head"]
        model = {key: value for key, value in metrics["model"].items() if key != "backbone"} | {"network": "vgg-small"}
        history = [
            {"epoch": e, "loss": 1 / e, "accuracy": 0.5 + e / 10, "validation_loss": 1.1 / e,
             "validation_accuracy": 0.5, "learning_rate": 0.01, "seconds": 2.0, "pictures_per_second": 700.0 + e}
            for e in (1, 2, 3)
        ]  # fmt: skip
        whole = report_of(metrics={**metrics, "model": model, "fit": FIT, **changes}, history=history)
        # The document of a network has no head at all.
        document = {key: value for key, value in whole.metrics.document().items() if key != "head"}
        illustrations = Illustrations(
            thumbnails=whole.illustrations.thumbnails,
            augmented="data:image/webp;base64,UklGRg==",
            network=network or Summary("vgg-small", (32, 32, 3), LAYERS),
        )
        return replace(whole, metrics=type(whole.metrics).model_validate(document), illustrations=illustrations)

    return report


def test_a_trained_network_has_sections_of_its_own(trained, parse):
    page = parse(render(trained()))
    ids = re.findall(r'<section id="(\w+)"', page.html)
    assert ids == [*SECTIONS[:3], "training", "augmented", "network", *SECTIONS[4:], "words"]
    assert set(re.findall(r'<a href="#(\w+)"', page.html)) <= set(ids)
    assert "data:image/webp;base64,UklGRg==" in page.values("src")
    found = page.values("id")
    assert len(found) == len(set(found))


def test_how_training_went_is_said_in_figures_and_numbers(trained, parse):
    text = parse(render(trained())).text
    for shown in ("early stopping", "nadam", "one_cycle", "96", "bf16", "702", "best: 2", "Temperature: 1.234"):
        assert shown in text, shown


def test_the_layers_are_drawn_and_listed(trained, parse):
    page = parse(render(trained()))
    assert "layers as volumes" in page.html
    for shown in ("32×32×8", "221,184", "3×3"):
        assert shown in page.text
    assert "12,378 parameters, 12,314 of them trained; 987,654 multiply-accumulates (MACs) a picture." in page.text
    assert all(f"--{name}:" in page.html for name in LAYER_COLOURS)


def test_a_trained_network_is_not_said_to_be_cross_validated(trained, measures):
    names = ("cat", "dog", "owl")
    nothing = measures(names, [[0] * 3] * 3)
    for report in (trained(), trained(test=nothing)):
        html = render(report)
        assert "cross-valid" not in html.lower()
        assert "validation, 508 pictures" in html
    assert "of 508 validation pictures, which also chose the epoch, are answered rightly" in render(
        trained(test=nothing)
    )


def test_names_of_layers_are_only_ever_text(trained):
    network = Summary("x", (4, 4, 3), [Row("<script>\ud800", "<b>", (3,), 0, 0, 0, None)])
    html = render(trained(network))
    html.encode("utf-8")
    assert html.count("<script") == 1
    assert "<b>" not in html


def test_missing_numbers_of_the_history_are_left_out(trained, parse):
    report = trained()
    history = report.history.astype(object)
    history.loc[1, ["validation_loss", "pictures_per_second"]] = ""
    history["learning_rate"] = np.nan
    page = parse(render(replace(report, history=history)))
    assert "Loss by epoch" in page.values("aria-label")
    assert "Learning rate" not in page.values("aria-label")
    assert "nan" not in page.text
