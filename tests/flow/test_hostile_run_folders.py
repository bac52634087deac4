"""Run folders and labs of other hands: whatever a file of theirs holds, it is shown or refused with a sentence."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from document_mutants import text_mutants, value_mutants
from kilat import Run, compare
from kilat.errors import KilatError
from kilat.verbs.runs import list_runs

DOCUMENTS = ("metrics.json", "report.json", "run.json")
TABLES = ("catalog.csv", "predictions.csv")
ANSWERS = "path,split,label,row,predicted,probability"
MARKUP = "\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def run(photos_run: Run, tmp_path: Path) -> Path:
    """The folder of a run, to be changed."""
    return Path(shutil.copytree(photos_run.folder, tmp_path / "runs" / "photos"))


def uses(folder: Path, other: Path) -> Iterator[Callable[[], object]]:
    """Yield everything that reads the folder of a run."""
    run = Run.open(folder)
    yield lambda: run.metrics.sentences
    yield lambda: run.start.resume_command(folder)
    yield lambda: (run.catalog, run.predictions, run.history, run.layers, run.recipe)
    yield run.write_report
    yield lambda: list_runs(folder.parent).document()
    yield lambda: compare(folder, other).document()


def refusals(folder: Path, other: Path) -> list[str]:
    """Use the folder of a run in every way, and return what is refused."""
    found = []
    for use in uses(folder, other):
        try:
            use()
        except KilatError as error:
            found.append(str(error))
    assert all(len(one) < 1_000 for one in found)
    return found


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", "[" * 5_000, "metrics.json cannot be read: its groups are nested too deeply."),
        ("metrics.json", '{"schema": 1, "schema": 1}', "'schema' stands twice in one group"),
        ("report.json", '{"schema": 1, "thumbnails": {"a": 1e999}}', "not finite: 1e999"),
        ("catalog.csv", "path,label\n1.png,a\n", "catalog.csv cannot be read: it has no column 'split'."),
        ("predictions.csv", f"{ANSWERS}\na,test,b,0,b,2.5\n", "'probability' has an invalid"),
        ("predictions.csv", f"{ANSWERS}\na,test,b,x,b,0.5\n", "'row' has an invalid value"),
        ("predictions.csv", f"{ANSWERS}\na,test\n", "invalid value in row 1"),
        ("predictions.csv", f"{ANSWERS}\na,b,c,1,d,0,7,8\n", "more cells than its first line"),
        ("recipe.yaml", "a: &a [1]\nb: &b [*a, *a]\n", "unknown section"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(run: Path, photos_run: Run, name: str, content: str, said: str) -> None:
    (run / name).write_text(content, "utf-8")
    found = refusals(run, photos_run.folder)
    assert any(said in one for one in found), found


@pytest.mark.parametrize("name", [*DOCUMENTS, *TABLES])
def test_devices_and_files_that_say_to_be_huge_are_not_read(run: Path, photos_run: Run, name: str) -> None:
    (run / name).unlink()
    if name != "metrics.json":  # without it, it is no finished run
        (run / name).symlink_to("/dev/zero")
        assert refusals(run, photos_run.folder)
        (run / name).unlink()
    with (run / name).open("wb") as file:
        file.truncate(1 << 40)
    found = refusals(run, photos_run.folder)
    assert any("1,099,511,627,776 bytes" in one or "run that was begun" in one for one in found)


def test_files_of_different_runs_do_not_fit_together(run: Path, photos_run: Run) -> None:
    metrics = json.loads((run / "metrics.json").read_bytes())
    metrics["data"]["classes"] = metrics["data"]["classes"][:1]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert any("do not fit together" in one for one in refusals(run, photos_run.folder))


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_no_markup_gets_into_the_page(run: Path, every: int) -> None:
    """One text of a document after the other is one that would run a script."""
    for name in ("metrics.json", "report.json"):
        document = json.loads((run / name).read_bytes())
        for place, key in list(texts_in(document))[::every]:
            before, place[key] = place[key], MARKUP
            (run / name).write_text(json.dumps(document))
            try:
                page = Run.open(run).write_report().read_text("utf-8")
            except KilatError:
                page = ""
            assert "<img src=x" not in page, (name, key)
            place[key] = before
        (run / name).write_text(json.dumps(document))


def texts_in(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the places of texts in a document, one of each list."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document[:1])
    for key, value in list(pairs):
        if isinstance(value, str):
            yield document, key
        elif isinstance(value, dict | list):
            yield from texts_in(value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_flood_of_mutants(run: Path, photos_run: Run, seed: int) -> None:
    """Four times 1,000."""
    draw = random.Random(seed)
    contents = {name: (run / name).read_text("utf-8") for name in (*DOCUMENTS, *TABLES)}
    for number in range(1_000 * seed, 1_000 * (seed + 1)):
        name = draw.choice(list(contents))
        if name in DOCUMENTS and draw.random() < 0.75:
            changed = _json(next(value_mutants([json.loads(contents[name])], 1, number)))
        else:
            changed = next(text_mutants([contents[name]], 1, number))
        (run / name).write_bytes(changed.encode("utf-8", "surrogatepass"))
        refusals(run, photos_run.folder)
        (run / name).write_text(contents[name], "utf-8")


def _json(document: Any) -> str:
    try:
        return json.dumps(document)
    except (ValueError, RecursionError):  # deeper than Python writes
        return "[" * 5_000
