"""Floods of mutants: good files changed at random, and read here; whatever is raised but a sentence is counted."""

import gzip
import json
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import yaml

import kilat
from document_mutants import text_mutants, value_mutants
from hostile_inputs.archives import LAST, bomb, good, pax, sparse_chain, stored, tarred, zipped
from hostile_inputs.tables import good_columns, lines, parquet, rows, write_pictures
from kilat.data.archive import ArchiveSource
from kilat.data.reading import Reading
from kilat.data.table.source import TableSource
from kilat.errors import KilatError, PictureError
from kilat.recipe.document import built_in, load, parse_override, text
from kilat.verbs.runs import list_runs
from model_mutants import model_mutants

SLOWEST = 10.0
"""Processor seconds after which the reading of a mutant is ended."""

LONGEST = 40_000
"""Characters of a sentence about one."""


class Late(BaseException):
    """The reading of a mutant takes too long; no code catches it."""


@dataclass
class Flood:
    """What became of mutants.

    Args:
        count: how many there were.
        refused: how many of them were refused in a sentence.
        slowest: processor seconds of the slowest.
        faults: what was wrong, with the number of the mutant.
    """

    count: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def read(self, call: Callable[[], object]) -> None:
        """Read a mutant, and count what becomes of it."""
        signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST)
        begun = time.process_time()
        try:
            call()
        except KilatError as error:
            self.refused += 1
            if len(str(error)) > LONGEST:
                self.faults.append(f"{self.count}: a sentence of {len(str(error)):,} characters")
        except Late:
            self.faults.append(f"{self.count}: more than {SLOWEST:g} processor seconds")
        except Exception as error:  # noqa: BLE001 - which is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.faults.append(f"{self.count}: {error!r:.200} in {Path(where.filename).name}:{where.lineno}")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.slowest = max(self.slowest, time.process_time() - begun)
        self.count += 1


def flood(kind: str, folder: Path, run: Path, count: int, seed: int) -> Flood:
    """Read mutants of a kind, the same for the same seed.

    Args:
        kind: one of ``KINDS``.
        folder: an empty one.
        run: the folder of a finished run.
        count: how many.
        seed: of what is drawn.
    """
    found = Flood()
    before = signal.signal(signal.SIGVTALRM, _late)
    try:
        for call in KINDS[kind](folder, run, count, seed):
            found.read(call)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return found


def _late(_number: int, _frame: FrameType | None) -> None:
    raise Late


def byte_mutants(contents: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield files in which bits, bytes, numbers and whole parts are changed."""
    draw = random.Random(seed)
    for _number in range(count):
        changed = bytearray(draw.choice(contents))
        for _change in range(draw.choice((1, 1, 2, 4, 16))):
            at, length = draw.randrange(len(changed) + 1), draw.choice((1, 2, 4, 8, 100, 512))
            match draw.randrange(7):
                case 0:
                    del changed[at : at + length]
                case 1:
                    changed[at:at] = changed[at : at + length] * draw.choice((1, 3, 50))
                case 2:
                    changed[at : at + length] = draw.choice((b"\0", b"\xff", b"9", b"\x80", b"-")) * length
                case 3 if draw.random() < 0.3:
                    del changed[at:]
                case 4:
                    other = draw.choice(contents)
                    start = draw.randrange(len(other))
                    changed[at : at + length] = other[start : start + length]
                case _ if at < len(changed):
                    changed[at] ^= 1 << draw.randrange(8)
        yield bytes(changed)


def _models(folder: Path, run: Path, count: int, seed: int) -> Iterator[Callable[[], object]]:
    for mutant in model_mutants((run / "model.onnx").read_bytes(), count, seed):
        yield lambda mutant=mutant: _use_model(mutant)  # type: ignore[misc]


def _use_model(content: bytes) -> None:
    from kilat.bundle.predictor import Classifier

    with Classifier(content) as classifier:
        list(classifier.predictions([_PIXELS]))
        _unused = classifier.reference, classifier.was_trained_on(["0" * 64])


def _recipes(folder: Path, run: Path, count: int, seed: int) -> Iterator[Callable[[], object]]:
    texts = [text(name) for name in built_in()]
    documents = [yaml.safe_load(one) for one in texts] + [load(name).model_dump(mode="json") for name in built_in()]
    file = folder / "recipe.yaml"
    options = ["features.size=192", "fit.optimizer={name: adam, lr: 0.1}", "augment.rotation=[1, 2]", "head.l2=1e-3"]
    for mutant in text_mutants(texts, count // 2, seed):
        file.write_bytes(mutant.encode("utf-8", "surrogatepass"))
        yield lambda: load(file)
    for mutant in value_mutants(documents, count // 4, seed):
        yield lambda mutant=mutant: load(mutant)  # type: ignore[misc]
    for mutant in text_mutants(options, count - count // 2 - count // 4, seed):
        yield lambda mutant=mutant: load("transfer", dict([parse_override(mutant)]))  # type: ignore[misc]


def _tables(folder: Path, run: Path, count: int, seed: int) -> Iterator[Callable[[], object]]:
    write_pictures(folder)
    contents = {
        "table.csv": [rows(), rows('"a,b",c\n'), rows().replace(b",", b";"), rows().decode().encode("utf-16")],
        "table.txt": [rows().replace(b",", b" ")[11:], rows().replace(b",", b"\t")],
        "table.jsonl": [lines(), lines('{"file_name": "a0.jpg", "label": {"a": [1, null, 1e5]}}')],
        "table.parquet": [parquet(good_columns()), parquet(good_columns(), compression="zstd", use_dictionary=False)],
    }
    draw = random.Random(seed)
    for number in range(count):
        name = draw.choice([*contents])
        if name == "table.parquet" or draw.random() < 0.5:
            mutant = next(byte_mutants(contents[name], 1, seed * count + number))
        else:
            originals = [one.decode("utf-8", "surrogateescape") for one in contents[name]]
            mutant = next(text_mutants(originals, 1, seed * count + number)).encode("utf-8", "surrogatepass")
        (folder / name).write_bytes(mutant)
        yield lambda name=name, labelled=number % 2 > 0: _use_source(  # type: ignore[misc]
            TableSource(folder / name, reading=Reading(is_labelled=labelled))
        )


def _archives(folder: Path, run: Path, count: int, seed: int) -> Iterator[Callable[[], object]]:
    tar = tarred(pax({"path": b"pictures/b/long.jpg", "mtime": b"1.5"}) + LAST, sparse_chain(2), LAST)
    small = [zipped([*good()[:3], *good()[5:7], bomb(1), stored("pictures/b/x/y.jpg", b"")]), zipped(good()[4:6])]
    contents = {"archive.zip": small, "archive.tar": [tar], "archive.tar.gz": [gzip.compress(tar, mtime=0)]}
    draw = random.Random(seed)
    for number in range(count):
        name = draw.choice([*contents])
        mutant = next(byte_mutants(contents[name], 1, seed * count + number))
        if name.endswith(".gz") and draw.random() < 0.7:  # most changes of what is packed are found by its checksum
            mutant = gzip.compress(next(byte_mutants([tar], 1, seed * count + number)), 1, mtime=0)
        (folder / name).write_bytes(mutant)
        yield lambda name=name: _use_source(ArchiveSource(folder / name))  # type: ignore[misc]


def _use_source(source: ArchiveSource | TableSource) -> None:
    for index in range(min(len(source.entries), 50)):
        try:
            source.read(index)
        except PictureError:
            continue
    if isinstance(source, ArchiveSource):
        source.close()


def _run_documents(folder: Path, run: Path, count: int, seed: int) -> Iterator[Callable[[], object]]:
    copy = Path(shutil.copytree(run, folder / "runs" / "copy"))
    names = ("metrics.json", "run.json", "report.json", "recipe.yaml", "catalog.csv", "predictions.csv")
    contents = {name: (copy / name).read_text("utf-8") for name in names}
    draw = random.Random(seed)
    for number in range(count):
        name = draw.choice(names)
        if name.endswith(".json") and draw.random() < 0.7:
            mutant = _as_json(next(value_mutants([json.loads(contents[name])], 1, seed * count + number)))
        else:
            mutant = next(text_mutants([contents[name]], 1, seed * count + number))
        (copy / name).write_bytes(mutant.encode("utf-8", "surrogatepass"))
        yield lambda: _use_run(copy)
        (copy / name).write_text(contents[name], "utf-8")


def _use_run(folder: Path) -> None:
    list_runs(folder.parent).document()
    run = kilat.Run.open(folder)
    _unused = run.metrics.sentences, run.start.resume_command(folder), run.catalog, run.predictions, run.recipe
    run.write_report()


def _as_json(document: Any) -> str:
    try:
        return json.dumps(document)
    except (ValueError, RecursionError, TypeError):
        return "[" * 5_000


KINDS: dict[str, Callable[[Path, Path, int, int], Iterator[Callable[[], object]]]] = {
    "model files": _models,
    "recipes": _recipes,
    "tables": _tables,
    "archives": _archives,
    "run documents": _run_documents,
}
"""What makes mutants of a kind, and reads each when it is called."""

_PIXELS = np.full((24, 20, 3), 90, np.uint8)
