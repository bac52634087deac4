"""How a training ends in a terminal of 80 columns: what to believe, what to look at, what to do; it can be pasted."""

import io
import shlex
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import kilat
from kilat.cli import outcome
from kilat.data.arrays import ArraySource


class Terminal(io.StringIO):
    """What is written to it, as a terminal of 80 columns would show it."""

    def isatty(self):
        return True


@pytest.fixture
def printed(monkeypatch):
    """Prints the end of a run into a terminal, and returns its lines."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_HYPERLINK", "0")

    def show(run):
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            outcome.print_run(run)
        return terminal.getvalue().splitlines()

    return show


def test_a_training_ends_with_what_to_believe_and_what_to_do(printed, photos, photos_run):
    lines = printed(photos_run)
    text = "\n".join(lines)
    test = photos_run.metrics.test
    headline, baseline = f"accuracy {test.accuracy:.1%} on {test.n} test pictures", test.majority.accuracy
    order = [
        "100 pictures of 2 classes",
        "classes: flower, temple",
        headline,
        f"baseline {baseline:.1%}: always answering",
        "Next:",
        f"   {shlex.join(['kilat', 'predict', str(photos_run.folder), 'photo.jpg'])}",
        f"   kilat check {photos}",
        f"report  {photos_run.report}",
        f"model   {photos_run.folder / 'model.onnx'}",
    ]
    positions = [text.index(part) for part in order]
    assert positions == sorted(positions)
    assert max(len(line) for line in lines if str(photos_run.folder) not in line) <= 80


def test_the_mistakes_to_look_at_come_with_how_often_they_happened(printed, digits_run):
    pairs = digits_run.metrics.test.confusion
    wrong = sum(map(sum, pairs)) - sum(row[i] for i, row in enumerate(pairs))
    lines = printed(digits_run)
    shown = lines[lines.index("Look at:") + 1 : lines.index("Next:") - 1]
    assert 0 < len(shown) <= min(3, wrong)
    assert all("answered as" in line or line.endswith(" recognised") for line in shown)


def test_without_a_test_set_it_says_what_was_measured_instead(printed, tmp_path):
    digits = load_digits()
    images, labels = (digits.images[:60] * 15).astype(np.uint8), list(map(str, digits.target[:60]))
    source = ArraySource(images, labels, "digits")
    run = kilat.train(source, runs=tmp_path, size=32, **{"data.test": 0, "head.components": 16})
    text = "\n".join(printed(run))
    assert f"in cross-validation on {run.metrics.validation.n:,} pictures, as there is no test set" in " ".join(
        text.split()
    )
    assert "kilat check" not in text  # which cannot be given what came from Python
