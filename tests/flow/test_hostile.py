"""Hostile files of every kind: each is refused in a sentence or used within bounds, and what is good is answered.

The ordinary suite takes those that cost milliseconds; the whole corpus, with the memory and the time of every process,
is marked slow. ``benchmarks/hostile.py`` prints the same as a table.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kilat
from hostile_inputs.archives import TAR, ZIP
from hostile_inputs.case import Hostile
from hostile_inputs.floods import KINDS, flood
from hostile_inputs.graphs import graph_corpus
from hostile_inputs.jpeg import photo
from hostile_inputs.judge import PICTURES, every, is_hostile
from hostile_inputs.tables import TABLES, write_pictures
from kilat import Run
from kilat.data.source import open_source
from kilat.errors import KilatError, ModelFileError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="memory is read in /proc, and pipes and devices are Linux's"
)

QUICK_PICTURES = [case for corpus in PICTURES.values() for case in corpus.values() if case.is_quick]
QUICK_ARCHIVES = [
    "60-members-of-250-mib.zip", "says-ten-bytes-unpacks-to-a-gibibyte.zip", "outside.zip", "name-with-controls.zip",
    "encrypted.zip", "zip64-of-2-to-the-63.zip", "directory-of-4-gib.zip", "links.tar", "devices.tar",
    "member-of-2-to-the-88.tar", "member-below-0.tar", "pax-name-of-lines.tar", "sparse-of-a-terabyte.tar",
    "long-name-of-8-gib.tar", "wrong-sum.tar.gz", "dictionary-of-4-gib.tar.xz",
]  # fmt: skip
QUICK_TABLES = [
    "stray-quote.csv", "two-stray-quotes.csv", "controls.csv", "nul-bytes.csv", "pipe.csv", "zeros.csv",
    "hundred-gigabytes.csv", "paths-of-devices.csv", "depth-of-100-thousand.jsonl", "number-of-4300-digits.jsonl",
    "surrogates.jsonl", "features-a-list.parquet", "footer-of-2-gib.parquet",
]  # fmt: skip
QUICK_GRAPHS = [
    "loop-of-2-to-the-62", "functions-in-functions", "constant-of-2-to-the-62", "external-data",
    "answers-nan", "answers-over-1", "header-of-depth", "link-to-zeros", "pipe", "sparse-3-gib",
]  # fmt: skip


def test_hostile_pictures_among_good_ones(photos_run: Run, kilat_here: Callable, json_lines: Callable, tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for case in QUICK_PICTURES:
        case.write(folder)
    good = [folder / "0-first.jpg", folder / "zz-last.jpg"]
    for path in good:
        path.write_bytes(photo(80))
    done = kilat_here("predict", photos_run.folder, folder, "--json")
    assert done.returncode == 1
    answers = {Path(row["path"]).name: row for row in json_lines(done.stdout)}
    assert answers.keys() == {case.name for case in QUICK_PICTURES} | {path.name for path in good}
    assert all("label" in answers[path.name] for path in good)
    for case in QUICK_PICTURES:
        assert case.may == "either" or (case.may == "used") == ("label" in answers[case.name]), answers[case.name]
    assert not any(map(is_hostile, done.stdout + done.stderr))


@pytest.mark.parametrize("name", [*QUICK_ARCHIVES, *QUICK_TABLES])
def test_every_good_picture_of_a_hostile_source_is_there_or_an_error_says_why(name: str, tmp_path: Path):
    write_pictures(tmp_path)
    case = {**ZIP, **TAR, **TABLES}[name]
    said, good = "", 0
    try:
        good = sum(not entry.refused for entry in open_source(case.write(tmp_path)).entries)
    except KilatError as error:
        said = str(error)
    assert good >= 10 or 0 < len(said) < 2_000
    assert not any(map(is_hostile, said))


@pytest.fixture(scope="module")
def graphs(photos_run: Run) -> dict[str, Hostile]:
    return dict(graph_corpus(photos_run.classifier.content))


@pytest.mark.parametrize("name", QUICK_GRAPHS)
def test_a_hostile_model_is_refused(graphs: dict[str, Hostile], name: str, tmp_path: Path):
    with pytest.raises(ModelFileError), kilat.load(graphs[f"{name}.onnx"].write(tmp_path)) as classifier:
        classifier.predict_proba([photo(64)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_handful_of_mutants(photos_run: Run, kind: str, tmp_path: Path):
    assert flood(kind, tmp_path, photos_run.folder, 12, seed=7).faults == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_of_mutants(photos_run: Run, kind: str, tmp_path: Path):
    found = flood(kind, tmp_path, photos_run.folder, 1_000, seed=8)
    assert found.faults == []
    assert 0 < found.refused < found.count


@pytest.mark.slow  # each case is a process of its own
@pytest.mark.parametrize("kind", every(Path()))
def test_bounds_hold(photos_run: Run, kind: str, tmp_path: Path, own_cache: Path):
    run = Path(shutil.copytree(photos_run.folder, tmp_path / "run"))
    (tmp_path / "work").mkdir()
    broken = [str(found) for found in every(run)[kind](tmp_path / "work") if found.problems]
    assert broken == []
