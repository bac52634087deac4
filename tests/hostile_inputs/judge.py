"""Judge what a process did with hostile inputs: against an ordinary run of the same verb, and by what it answered."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile_inputs.archives import TAR, ZIP, stored, with_part
from hostile_inputs.case import Corpus, Hostile
from hostile_inputs.graphs import graph_corpus, usable_corpus
from hostile_inputs.jpeg import JPEG, photo
from hostile_inputs.odd_files import ODD
from hostile_inputs.odd_places import ODD_FILES, PLACES, OddPlace, clear, fill, prepare
from hostile_inputs.old_formats import BMP, GIF, PNM
from hostile_inputs.png import PNG
from hostile_inputs.tables import TABLES, rows, write_pictures
from hostile_inputs.tiff import TIFF
from hostile_inputs.watch import Limits, Watched, kilat
from hostile_inputs.webp_avif import AVIF, WEBP

PICTURES: dict[str, Corpus] = {
    "png": PNG, "jpeg": JPEG, "tiff": TIFF, "webp": WEBP, "avif": AVIF, "gif": GIF, "bmp": BMP, "pnm": PNM, "odd": ODD,
}  # fmt: skip
"""Hostile pictures by format."""

MOST_MEMORY = 1_500_000_000
"""Bytes above an ordinary run."""

MOST_SECONDS = 10.0
"""Of the processor for one file, beyond an ordinary run: by the clock nothing is said of a machine that is busy."""

MOST_OUTPUT = 100_000
"""Characters that a run may print about one hostile input."""

MOST_AFTER_INTERRUPT = 2.0
"""Processor seconds between Ctrl-C and the end."""

_ENOUGH = Limits(seconds=240, cpu=60)
_INVISIBLE = "\u2028\u2029\ufeff\u200b\u200e\u200f\u061c\u00ad"


@dataclass(frozen=True)
class Judged:
    """What became of a hostile input.

    Args:
        name: of the verb and the case.
        watched: what was measured.
        ordinary: the same of an ordinary run.
        files: how many hostile files there were.
        problems: what is wrong; none where all is as it should be.
        outcome: what became of the input, in a word.
    """

    name: str
    watched: Watched
    ordinary: Watched
    files: int = 1
    problems: list[str] = field(default_factory=list)
    outcome: str = ""

    @property
    def memory(self) -> int:
        """Bytes above the ordinary run."""
        return self.watched.peak - self.ordinary.peak

    @property
    def cpu(self) -> float:
        """Processor seconds beyond the ordinary run, for each file."""
        return (self.watched.cpu - self.ordinary.cpu) / self.files

    def __str__(self) -> str:
        problems = "; ".join(self.problems) or "ok"
        return f"{self.name:60} {self.outcome:9} {self.memory / 1e6:+7,.0f} MB {self.cpu:+6.1f} s  {problems}"


def judged(name: str, watched: Watched, ordinary: Watched, codes: Sequence[int], files: int = 1) -> Judged:
    """Return which bounds a process broke: its end, its exit code, its memory, its time, its output."""
    problems = list(watched.faults)
    if watched.code not in codes and not watched.was_killed:
        problems.append(f"exit code {watched.code}")
    found = Judged(name, watched, ordinary, files, problems, f"code {watched.code}")
    if found.memory > MOST_MEMORY:
        problems.append(f"{found.memory / 1e9:.1f} GB above an ordinary run")
    if found.cpu > MOST_SECONDS:
        problems.append(f"{found.cpu:.0f} processor seconds a file beyond an ordinary run")
    printed = len(watched.out) + len(watched.err) - len(ordinary.out) - len(ordinary.err)
    if printed > MOST_OUTPUT * files:
        problems.append(f"{printed:,} characters printed")
    signs = {sign for text in (watched.out, watched.err) for sign in text if is_hostile(sign)}
    if signs:
        problems.append(f"printed {', '.join(sorted(map(ascii, signs)))}")
    return found


def is_hostile(sign: str) -> bool:
    """Return whether a character moves the cursor, breaks the line, turns the direction of a text or is not visible."""
    code = ord(sign)
    return sign != "\n" and (
        code < 0x20
        or 0x7F <= code < 0xA0
        or sign in _INVISIBLE
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
    )


def judge_pictures(folder: Path, model: Path, cases: Sequence[Hostile]) -> Iterator[Judged]:
    """Show each hostile picture to a model between two good ones, which have to be answered."""
    before, after = folder / "0-good.jpg", folder / "z-good.jpg"
    before.write_bytes(photo(200))
    after.write_bytes(photo(201))
    ordinary = kilat("predict", model, before, after, "--json")
    for case in cases:
        picture = case.write(folder)
        given = [str(before), str(picture), str(after)]
        found = judged(
            f"predict {case.name}", kilat("predict", model, *given, "--json", limits=_ENOUGH), ordinary, (0, 1)
        )
        answers = [row for line in found.watched.out.splitlines() if isinstance(row := _json(line), dict)]
        yield _answered(case, found, given, answers)
        clear(picture)


def _answered(case: Hostile, found: Judged, given: list[str], answers: list[dict[str, Any]]) -> Judged:
    problems = found.problems
    if [row.get("path") for row in answers] != given:
        problems.append(f"{len(answers)} rows for 3 pictures")
        return found
    first, row, last = answers
    if "label" not in first or "label" not in last:
        problems.append("a good picture was not answered")
    outcome = "used" if "label" in row else "refused"
    if case.may not in ("either", outcome):
        problems.append(f"{outcome}: {row.get('error', {}).get('message', '')[:200]}")
    return Judged(found.name, found.watched, found.ordinary, problems=problems, outcome=outcome)


def judge_folder(folder: Path, run: Path, cases: Sequence[Hostile]) -> Iterator[Judged]:
    """Put many hostile pictures among good ones of two classes, and give the folder to every verb that reads it."""
    data = {name: folder / name / "data" for name in ("ordinary", "hostile")}
    labels = json.loads((run / "metrics.json").read_text("utf-8"))["data"]["classes"][:2]
    for number in range(12):
        for label in labels:
            for place in data.values():
                (place / label).mkdir(parents=True, exist_ok=True)
                side = 40 + number + 30 * (label == labels[1])
                (place / label / f"{'0z'[number % 2]}-good-{number:02}.jpg").write_bytes(photo(side))
    for number, case in enumerate(cases):
        case.write(data["hostile"] / labels[number % 2])
    files = sum(1 for path in data["hostile"].rglob("*") if not path.is_dir() and not path.name.startswith("."))
    for verb, command, codes in (
        ("train", ("train", "data", "--size", 32, "--name", "new", "--json"), (0,)),
        ("check", ("check", "data", "--name", "new", "--json"), (0, 3)),
        ("eval", ("eval", run, "data", "--page", "page.html", "--json"), (0,)),
        ("drift", ("drift", run, "data", "--page", "page.html", "--json"), (0, 3)),
        ("predict", ("predict", run, "data", "--csv", "answers.csv", "--html", "page.html"), (0, 1)),
        ("preview", ("preview", "data", "--size", 32), (0,)),
    ):
        ordinary = kilat(*command, cwd=folder / "ordinary", limits=_ENOUGH)
        limits = Limits(60 + 20 * files, 60 + 10 * files)
        found = judged(
            f"{verb} of a folder", kilat(*command, cwd=folder / "hostile", limits=limits), ordinary, codes, files
        )
        found.problems.extend(_accounted(verb, folder / "hostile", files))
        yield found
        for place in data.values():
            shutil.rmtree(place.parent / "runs", ignore_errors=True)


def _accounted(verb: str, folder: Path, files: int) -> Iterator[str]:
    """Yield what is missing in the table that a verb writes."""
    table = {"train": folder / "runs/new/catalog.csv", "predict": folder / "answers.csv"}.get(verb)
    if table is None:
        return
    if not table.is_file():
        yield f"no {table.name}"
        return
    csv.field_size_limit(sys.maxsize)
    with table.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    if len(found) != files:
        yield f"{len(found)} rows in {table.name} for {files} files"
    column = "status" if verb == "train" else "label"
    good = [row for row in found if "-good-" in row["path"]]
    unused = [row for row in good if row[column] in ("", "refused")]
    if unused or len(good) != 24:
        yield f"{len(unused)} of {len(good)} good pictures were not used"


def judge_archives(folder: Path, model: Path, cases: Sequence[Hostile]) -> Iterator[Judged]:
    """Give each hostile archive to predict, which opens it, goes over its members and reads them."""
    ordinary_file = folder / "ordinary.zip"
    ordinary_file.write_bytes(with_part(stored("pictures/b/5.jpg", photo(30))))
    yield from _judge_sources(folder, model, cases, ordinary_file)


def judge_tables(folder: Path, model: Path, cases: Sequence[Hostile]) -> Iterator[Judged]:
    """Give each hostile table to predict, beside the pictures that it names."""
    write_pictures(folder)
    ordinary_file = folder / "ordinary.csv"
    ordinary_file.write_bytes(rows())
    yield from _judge_sources(folder, model, cases, ordinary_file)


def _judge_sources(folder: Path, model: Path, cases: Sequence[Hostile], good: Path) -> Iterator[Judged]:
    """Yield, for each source, whether its ten good pictures were answered, or an error was given in a sentence."""
    ordinary = kilat("predict", model, good, "--json")
    assert ordinary.code == 0, ordinary
    for case in cases:
        source = case.write(folder)
        watched = kilat("predict", model, source, "--json", limits=_ENOUGH)
        found = judged(f"predict {case.name}", watched, ordinary, (0, 1, 2))
        # Every row is printed, so that many rows make long outputs.
        found.problems[:] = [one for one in found.problems if not one.endswith("characters printed")]
        answers = [row for line in watched.out.splitlines() if isinstance(row := _json(line), dict)]
        if watched.code in (0, 1) and sum("label" in row for row in answers) < 10 and case.may != "either":
            found.problems.append("a good picture was not answered")
        if watched.code == 2 and "Error: " not in watched.err:
            found.problems.append("an error without a sentence")
        if case.may == "refused" and watched.code != 2:
            found.problems.append("was read")
        yield found
        clear(source)


def judge_models(folder: Path, run: Path) -> Iterator[Judged]:
    """Ask each hostile model file for the answer to a good picture."""
    picture = folder / "good.jpg"
    picture.write_bytes(photo(64))
    content = (run / "model.onnx").read_bytes()
    ordinary = kilat("predict", run, picture, "--json")
    for corpus, codes in ((graph_corpus(content), (2,)), (usable_corpus(content), (0, 1, 2))):
        for case in corpus.values():
            model = case.write(folder)
            watched = kilat("predict", model, picture, "--json", limits=_ENOUGH)
            yield judged(f"predict {case.name}", watched, ordinary, codes)
            clear(model)


def judge_places(folder: Path, run: Path, places: Sequence[OddPlace] = PLACES) -> Iterator[Judged]:
    """Fill every place where a command takes a file with what is no file, or has no end."""
    prepare(folder, run)
    for place in places:
        ordinary = kilat("runs", folder)
        for name, put in ODD_FILES.items():
            fill(folder, run, place, put)
            watched = kilat(*place.command, cwd=folder, limits=Limits(90, 30))
            yield judged(f"{place.command[0]} {place.name} {name}", watched, ordinary, place.codes)
            clear(folder / place.file)


def judge_interrupts(folder: Path, run: Path) -> Iterator[Judged]:
    """End every verb with one Ctrl-C while it is at work on what is slow: soon, with code 130 and nothing left."""
    labels = json.loads((run / "metrics.json").read_text("utf-8"))["data"]["classes"][:2]
    slow = JPEG["scan-of-400-megapixels.jpg"].write(folder)
    for label in labels:
        (folder / "data" / label).mkdir(parents=True)
        for number in range(60):
            (folder / "data" / label / f"{number}.jpg").write_bytes(slow.read_bytes() + bytes(number))
    write_pictures(folder)
    table = TABLES["million-times-the-same.csv"].write(folder)
    archive = TAR["empty-members-without-end.tar.gz"].write(folder)
    for command in (
        ("train", "data", "--size", 32),
        ("check", "data"),
        ("predict", run, "data"),
        ("eval", run, "data"),
        ("drift", run, "data"),
        ("preview", "data", "--size", 32),
        ("train", table),
        ("check", archive),
        ("predict", run, archive),
    ):
        limits = Limits(seconds=120, cpu=40, interrupt=1.5)
        watched = kilat(*command, cwd=folder, limits=limits, environment={"KILAT_CACHE": str(folder / "cache")})
        found = judged(f"{' '.join(Path(str(word)).name for word in command)}, Ctrl-C", watched, watched, (130,))
        if watched.after_interrupt > MOST_AFTER_INTERRUPT:
            found.problems.append(f"{watched.after_interrupt:.1f} processor seconds after it")
        if watched.left:
            found.problems.append(f"{watched.left} processes left")
        yield found


def every(run: Path) -> dict[str, Callable[[Path], Iterator[Judged]]]:
    """Return everything that can be judged, by kind: each takes an empty folder.

    Args:
        run: the folder of a finished run.
    """
    kinds: dict[str, Callable[[Path], Iterator[Judged]]] = {}
    for name, corpus in PICTURES.items():
        kinds[f"pictures: {name}"] = lambda folder, corpus=corpus: judge_pictures(folder, run, [*corpus.values()])  # type: ignore[misc]
    cases = [case for corpus in PICTURES.values() for case in corpus.values()]
    kinds["folders of pictures"] = lambda folder: judge_folder(folder, run, cases)
    kinds["archives"] = lambda folder: judge_archives(folder, run, [*ZIP.values(), *TAR.values()])
    kinds["tables"] = lambda folder: judge_tables(folder, run, [*TABLES.values()])
    kinds["model files"] = lambda folder: judge_models(folder, run)
    kinds["Ctrl-C"] = lambda folder: judge_interrupts(folder, run)
    kinds["odd files in every place"] = lambda folder: judge_places(folder, run)
    return kinds


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
