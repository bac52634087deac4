"""What the table and the page of a lab say: a record of the sentences, and what must be on the page."""

import re
from dataclasses import replace

import pytest

from kilat.lab.analysis import analyse
from kilat.lab.answers import Dropped, Failure
from kilat.locale.notes import Note
from kilat.report.lab_content import verdict
from kilat.report.lab_page import render
from kilat.report.lab_table import lines
from kilat.report.pictures import Thumbnail

GRID = {
    "none, sgd": {"model.normalisation": "none", "fit.optimizer": "sgd"},
    "none, adam": {"model.normalisation": "none", "fit.optimizer": "adam"},
    "norm, sgd": {"model.normalisation": "batch_norm", "fit.optimizer": "sgd"},
    "norm, adam": {"model.normalisation": "batch_norm", "fit.optimizer": "adam"},
}


@pytest.fixture(scope="module")
def results(draw_lab):
    gains = dict(zip(GRID, (0.0, 1.5, 0.1, -1.5), strict=True))
    return analyse(draw_lab(gains, options=GRID))


def test_record_of_what_the_terminal_shows(results):
    assert "\n".join(verdict(results)) == (
        "“none, adam” is better than “none, sgd”: accuracy rises from 64.0% to 86.0%, +22.0 (+14.0 to +30.2) points, "
        "more than chance explains.\n"
        "Worse than “none, sgd” by more than chance explains: “norm, adam”.\n"
        "No trial has seen the test set: training with the recipe of “none, adam” measures it there."
    )
    assert "\n".join(lines(results)) == (
        "    accuracy       points against it  better        p  log loss  a trial                   needs more\n"
        "  none, sgd\n"
        "       64.0%               reference                      0.900    2.0 s\n"
        "  none, adam\n"
        "       86.0%  +22.0 (+14.0 to +30.2)     99%  < 0.001     0.381    2.0 s                            –\n"
        "  norm, sgd\n"
        "       66.0%     +2.0 (-2.7 to +7.6)     80%    0.478     0.879    2.0 s  47 seeds and 1,100 pictures\n"
        "  norm, adam\n"
        "       27.3%  -36.7 (-47.4 to -25.1)      0%  < 0.001     1.751    2.0 s                            –"
    )


def _text(html):
    body = re.sub(r"<(style|script|svg).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_page_leads_with_the_answer_and_has_everything_below(results):
    html = render(results)
    text = _text(html)
    assert text.index(verdict(results)[0]) < text.index("Effects")
    sections = re.findall(r'<section id="([\w-]+)">', html)
    assert sections == ["effects", "variants", "options", "curves", "lost", "recipe", "method", "words"]
    assert 'id="search"' not in html
    assert "kilat train flowers --set none, adam" in text
    assert "note: none, adam" in text
    assert html.count("<svg") == html.count('role="img"')
    assert render(results) == html


def test_names_break_nothing(draw_lab):
    name = "<b>&\"' " + "long " * 30
    html = render(analyse(draw_lab({name: 0.0, "<script>": 1.0, "\udcff\x07": 0.5})))
    assert "<b>&" not in html
    assert html.count("<script>") == 1
    html.encode()


def test_pictures_that_others_lose_are_shown(results):
    thumbnails = {one.path: Thumbnail(uri="data:image/jpeg;base64,AA==") for one in results.lost[0].shown[:2]}
    html = render(results, thumbnails)
    assert html.count("<img ") == sum(one.path in thumbnails for lost in results.lost for one in lost.shown)
    assert "the other way round" in html


def test_what_was_dropped_and_what_failed_is_said(draw_lab):
    answers = draw_lab({"plain": 0.0, "better": 1.5})
    failures = [Failure("better", 7, 0, "the loss is not finite at step 3")]
    html = render(analyse(replace(answers, failures=failures, dropped=[Dropped("better", 5)])))
    text = _text(html)
    assert "better : dropped after 5 seeds" in text
    assert "1 trial failed: the loss is not finite at step 3" in text


def test_notes_on_trials_are_said_once_with_how_many_have_them(draw_lab):
    answers = draw_lab({"plain": 0.0, "better": 1.5})
    note = Note("micro_batches_batch_norm", {"batch": 32, "parts": 2, "micro_batch": 16})
    trials = [replace(one, notes=[note] if one.variant == "better" and one.seed > 1 else []) for one in answers.trials]
    results = analyse(replace(answers, trials=trials))
    assert [(found.code, found.trials) for found in results.variant("better").notes] == [(note.code, 3)]
    assert "better , in 3 of 5 trials" in _text(render(results))


def test_a_search_is_drawn_in_the_order_of_its_trials(draw_lab):
    gains = {f"rate {rate}": rate for rate in (0.1, 0.5, 0.9)}
    options = {name: {"fit.optimizer.learning_rate": str(rate)} for name, rate in gains.items()}
    results = analyse(replace(draw_lab(gains, options=options), is_search=True))
    html = render(results)
    assert 'id="search"' in html
    assert "Accuracy of each variant, and the best so far" in html
    assert "Accuracy by fit.optimizer.learning_rate" in html
    rows = re.findall(r'<th scope="row" class="name">(?:<strong>)?(rate [\d.]+)', html.split('id="variants"')[1])
    assert rows[:3] == sorted(gains, key=lambda name: -results.variant(name).accuracy)


@pytest.mark.parametrize("seeds", [0, 1])
def test_labs_without_anything_to_compare_have_a_page(draw_lab, seeds):
    html = render(analyse(draw_lab({"plain": 0.0, "other": 1.0}, seeds=seeds)))
    assert ("nothing to compare" in html) == (seeds == 0)


def test_the_table_fits_the_terminal(results):
    assert max(map(len, lines(results, 200))) <= 200
    narrow = lines(results, 60)
    assert len(narrow) == 1 + 2 * len(results.variants)
