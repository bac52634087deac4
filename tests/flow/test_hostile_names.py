"""Pictures and classes whose names are made for a terminal, a page or a spreadsheet: every verb shows them as names."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kilat
from hostile_texts import HOSTILE, MARKUP, controls_of
from kilat import Run
from kilat.data.image_file import printable
from kilat.runtime.csv_tables import unquoted

CLASSES = ("b\nok.png: dog 100.0%", "=1+1", "\u202egnp[red]<script>")
FORGED = "\nok.png: dog"


@pytest.fixture(scope="module")
def names() -> list[str]:
    """What a system takes as the name of a file."""
    texts = [*HOSTILE.values(), *MARKUP.values(), "=cmd|' /C calc'!A0", "-1+2", "'@x"]
    return [f"{text}.png" for text in texts if not set(text) & {"/", "\0"} and "\ud800" not in text]


@pytest.fixture(scope="module")
def pictures(names, tmp_path_factory) -> Path:
    """Class folders of drawn pictures, one of them damaged in each."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures") / "a\x1b[2J\nb"
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for file in names[number::3]:
            pixels = random.integers(0, 80, (24, 24, 3), np.uint8)
            pixels[..., number] += 150
            Image.fromarray(pixels).save(folder / name / file, "PNG")
        (folder / name / "damaged\x1b[31m\n.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory) -> Run:
    return kilat.train(pictures, runs=tmp_path_factory.mktemp("runs"), **{"data.test": 0.5})


@pytest.fixture
def clean(kilat_here):
    """Runs the command line and looks at what it printed."""

    def printed(*arguments, code=0):
        done = kilat_here(*arguments)
        text = done.stdout + done.stderr
        assert done.returncode == code, text
        assert not controls_of(text)
        assert FORGED not in text
        return done

    return printed


def test_answers_are_a_line_each(run, pictures, names, clean, tmp_path, json_lines):
    done = clean("predict", run.folder, pictures, "--csv", "answers.csv", "--html", "answers.html", code=1)
    assert done.stdout.count("\n") == len(names)
    assert done.stderr.count(": refused: ") == len(CLASSES)
    assert "b\\nok.png: dog 100.0%/" in done.stdout
    assert not controls_of((tmp_path / "answers.html").read_text("utf-8"))
    text = (tmp_path / "answers.csv").read_bytes().decode("utf-8-sig")
    paths = {os.fspath(path) for path in pictures.rglob("*.png")}
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {unquoted(row[0]) for row in rows[1:]} == set(map(printable, paths))
    done = clean("predict", run.folder, pictures, "--json", code=1)
    assert done.stdout.isascii()
    assert {one["path"] for one in json_lines(done.stdout)} == paths


def test_what_a_run_wrote_is_read_back_exactly(run, pictures):
    files = {printable(os.fspath(path.relative_to(pictures))) for path in pictures.rglob("*.png")}
    assert set(run.catalog["path"]) == files
    assert set(run.predictions["path"]) <= files
    assert "'=1+1" in (run.folder / "catalog.csv").read_text("utf-8")
    assert set(run.predictions["label"]) <= set(run.metrics.data.classes)


@pytest.mark.parametrize("verb", ["check", "eval", "drift", "report", "runs", "summary", "activations"])
def test_verbs_print_and_draw_names_alone(verb, run, pictures, clean, tmp_path):
    given = {
        "check": [pictures],
        "report": [run.folder],
        "runs": [run.folder.parent],
        "summary": [run.folder],
        "activations": [run.folder, next((pictures / "=1+1").glob("*.png"))],
    }
    done = clean(verb, *given.get(verb, [run.folder, pictures]))
    assert done.stdout
    for page in (*tmp_path.rglob("*.html"), run.report):
        assert not controls_of(page.read_text("utf-8"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "{}"],
        ["train", "x", "--recipe", "{}"],
        ["train", "digits", "--set", "{}=1"],
        ["train", "digits", "--set", "fit.epochs={}"],
        ["train", "digits", "--time-limit", "{}"],
        ["train", "--{}"],
        ["predict", "{}", "x"],
        ["report", "{}"],
        ["compare", "{}", "x"],
        ["lab", "report", "{}"],
        ["check", "digits", "--labels", "{}"],
        ["glossary", "{}"],
        ["shape", "{}"],
        ["recipes", "{}"],
        ["schedule", "{}"],
        ["{}"],
        ["--lang", "{}", "runs"],
    ],
    ids=" ".join,
)
def test_errors_name_what_was_given_and_nothing_else(arguments, kilat_here):
    text = "b\nok.png: dog 100.0%\x1b[31m\u202e"
    done = kilat_here(*(one.replace("{}", text) for one in arguments))
    assert done.returncode in (1, 2)
    assert not controls_of(done.stdout + done.stderr)
    assert FORGED not in done.stderr
    assert "Traceback" not in done.stderr
