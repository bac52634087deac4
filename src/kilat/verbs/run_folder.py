"""The run folder ``runs/<name>/``: what is written where, and read again. Files appear whole or not at all."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from kilat.data.reading import Reading
from kilat.errors import KilatError, RunError
from kilat.learn.metrics import Metrics
from kilat.locale import _
from kilat.locale.escapes import shell_command, shell_word
from kilat.locale.excerpt import excerpt
from kilat.locale.system_errors import system_reason
from kilat.runtime.csv_tables import to_csv
from kilat.runtime.file_lock import HeldError, Holder, file_lock, holder_of
from kilat.runtime.files import PARTIAL, require_folder, require_possible, write_file, write_json
from kilat.runtime.json_document import MAX_BYTES_OF_RESULTS, DocumentError, read_json, read_typed
from kilat.verbs.run_tables import CATALOG, HISTORY, LAYERS, PREDICTIONS

if TYPE_CHECKING:
    import pandas as pd

    from kilat.recipe import Recipe
    from kilat.report.illustrations import Illustrations

# What only tables and pages need is imported when they come: a list of runs is there at once.

MODEL, REPORT, METRICS = "model.onnx", "report.html", "metrics.json"
START, RECIPE, CHECKPOINTS = "run.json", "recipe.yaml", "checkpoints"
SUSPECTS, CHECK, ILLUSTRATIONS = "suspects.csv", "check.html", "report.json"
FINDINGS, VARIANTS = "check.json", "variants"
LOCK = ".lock"
"""The file that stands for a folder while a process works in it; it is gone afterwards."""

_FILES = {
    MODEL, REPORT, METRICS, START, RECIPE, SUSPECTS, CHECK, ILLUSTRATIONS, FINDINGS, LOCK, CATALOG, PREDICTIONS,
    HISTORY, LAYERS,
}  # fmt: skip
_FOLDERS = {CHECKPOINTS, VARIANTS}
"""What kilat writes into the folder of a run, a check, or a lab that has just begun."""

_LONGEST_NAME = 255
"""Bytes of a folder's name."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
"""Names that stand for devices on Windows, whatever follows behind a dot."""

Row = dict[str, float]
D = TypeVar("D", bound=BaseModel)


@dataclass(frozen=True)
class Start:
    """What a run was started with, beside its recipe; enough to go on with it.

    Args:
        data: the folder, table, archive or known set; None where it was given from Python.
        root: a folder that already holds copies of a known set.
        network: the name of the network.
        labels: the table of corrected labels; None where there is none.
        reading: what was said about how the data is read.
        is_module: whether the network was given from Python.
        track: whether the run is logged to MLflow.
        lab: the folder of the lab that it is a trial of.
    """

    data: str | None
    root: str | None
    network: str
    labels: str | None = None
    reading: Reading = field(default_factory=Reading)
    is_module: bool = False
    track: bool = False
    lab: str | None = None

    @classmethod
    def of(
        cls,
        data: object,
        labels: object,
        root: str | Path | None,
        network: str,
        reading: Reading,
        *,
        is_module: bool = False,
        track: bool = False,
    ) -> "Start":
        """Return the start of a run that may be resumed from another folder; what is no path cannot be written down."""
        place = None
        if isinstance(data, str | Path):
            place = str(Path(data).resolve() if Path(data).exists() else data)
        table = str(Path(labels).resolve()) if isinstance(labels, str | Path) else None
        copies = None if root is None else str(Path(root).resolve())
        return cls(place, copies, network, table, reading.anywhere(), is_module, track)

    @classmethod
    def read(cls, folder: Path) -> "Start":
        """Return the start of the run in a folder, whether it is finished or not.

        Raises:
            KilatError: it is not the folder of a run.
        """
        try:
            return cls.of_document(read_json(folder / START))
        except (ValueError, KeyError, TypeError):
            raise KilatError(
                _("{folder} is not the folder of a run that was begun: it has no sound {file}.").format(
                    folder=folder, file=START
                ),
                hint=_("Give a folder such as runs/flowers, or start anew without --resume."),
            ) from None

    @classmethod
    def of_document(cls, document: Any) -> "Start":
        """Return the start that a document holds.

        Raises:
            KeyError, TypeError: it holds none.
        """
        if not isinstance(document, Mapping) or not isinstance(reading := document.get("reading", {}), Mapping):
            raise TypeError
        data, root = (_text(document[name]) for name in ("data", "root"))
        labels, lab = _text(document.get("labels")), _text(document.get("lab"))
        is_module, track = (document.get(name, False) for name in ("is_module", "track"))
        said = {name: value if name == "is_labelled" else _text(value) for name, value in reading.items()}
        if not isinstance(network := document["network"], str):
            raise TypeError
        if not all(isinstance(one, bool) for one in (is_module, track, said.get("is_labelled", True))):
            raise TypeError
        return cls(data, root, network, labels, Reading(**said), is_module, track, lab)

    @classmethod
    def read_unfinished(cls, folder: Path) -> "Start":
        """Return the start of the run in a folder, to go on with it.

        Raises:
            KilatError: it is not the folder of a run, or the run is finished.
        """
        require_possible(folder)
        if (folder / METRICS).exists():
            raise KilatError(
                _("The run {folder} is finished; there is nothing left to go on with.").format(folder=folder)
            )
        start = cls.read(folder)
        if start.lab is not None:
            raise KilatError(
                _("{folder} is a trial of a lab, whose pictures it shares out.").format(folder=folder),
                hint=_("Go on with the lab: {command}").format(command=start.resume_command(folder)),
            )
        return start

    def arguments(self) -> str:
        """Return the data and how it is read, as they are typed behind a verb; dots for what Python gave."""
        given = {
            "--labels": self.labels,
            "--root": self.root,
            **{f"--{name.replace('_', '-')}": value for name, value in asdict(self.reading).items()},
        }
        options = [part for name, value in given.items() if isinstance(value, str) for part in (name, value)]
        return shell_command(self.data or "…", *options)

    def resume_command(self, folder: Path) -> str:
        """Return what goes on with the run in a folder: a command, or a call in Python for what only Python can give.

        Args:
            folder: of the run.
        """
        if self.lab is not None:
            if self.data is None:
                return f"kilat.lab(data, labels=labels, resume={self.lab!r})"
            return f"kilat lab resume {shell_word(self.lab)}"
        if self.data is not None and not self.is_module:
            return f"kilat train --resume {shell_word(str(folder))}"
        given = [] if self.data is not None else ["data", "labels=labels"]
        network = ["network=network"] if self.is_module else []
        return f"kilat.train({', '.join([*given, *network, f'resume={str(folder)!r}'])})"


def _text(value: Any) -> Any:
    """Return text, or None.

    Raises:
        TypeError: it is neither.
    """
    if not isinstance(value, str | None):
        raise TypeError
    return value


class History:
    """The rows of the epochs of a training, kept in ``history.csv`` and passed on to who listens.

    Args:
        folder: of the run.
        listeners: called with every row.
    """

    def __init__(self, folder: Path, listeners: Sequence[Callable[[Row], object]]) -> None:
        self.folder, self.listeners = folder, listeners
        self.rows: list[Row] = []

    def append(self, row: Row) -> None:
        """Keep one more epoch."""
        import pandas as pd

        self.rows.append(row)
        write_file(self.folder / HISTORY, to_csv(pd.DataFrame(self.rows)))
        for listen in self.listeners:
            listen(row)


def write_layers(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Keep how the layers of a training are, a row for each in each epoch, in ``layers.csv``."""
    import pandas as pd

    write_file(folder / LAYERS, to_csv(pd.DataFrame(rows)))


def begin(folder: Path, recipe: "Recipe", start: Start) -> None:
    """Write recipe and start: with them it is a run that can be resumed."""
    write_file(folder / RECIPE, recipe.to_yaml())
    write_json(folder / START, {"schema": 1, **asdict(start)})


@contextlib.contextmanager
def fitting_together(folder: object) -> Iterator[None]:
    """Say that the files of a folder do not fit together, where that is why what is made of them fails.

    Each of them was read as what it must be. What one says of another (how many classes, which row, which picture)
    shows where it is used.

    Args:
        folder: of a run or a lab, for the message; or several, as text.

    Raises:
        RunError: they do not.
    """
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {excerpt(error.args[0] if error.args else '')}"
        raise RunError(
            _("The files in {folder} do not fit together ({reason}).").format(folder=folder, reason=reason),
            hint=_("They are of different runs, of another version of kilat, or damaged."),
        ) from error


def finished_files(folder: Path) -> list[Path]:
    """Return what a finished run is shown by elsewhere: model, report and metrics."""
    return [folder / MODEL, folder / REPORT, folder / METRICS]


def write_suspects(folder: Path, suspects: "pd.DataFrame") -> None:
    """Write the table of suspected labels, in a way that spreadsheets read its letters rightly."""
    write_file(folder / SUSPECTS, "\ufeff" + to_csv(suspects))


def read_metrics(folder: Path) -> Metrics:
    """Return the content of ``metrics.json``.

    Raises:
        RunError: it cannot be read, or this version of kilat did not write it.
    """
    return _read_document(Metrics, folder / METRICS)


def read_illustrations(folder: Path) -> "Illustrations":
    """Return the content of ``report.json``.

    Raises:
        RunError: it cannot be read, or this version of kilat did not write it.
    """
    from kilat.report.illustrations import Illustrations

    return _read_document(Illustrations, folder / ILLUSTRATIONS)


def _read_document(kind: type[D], path: Path) -> D:
    try:
        return read_typed(kind, path, MAX_BYTES_OF_RESULTS)
    except DocumentError as error:
        raise RunError(str(error)) from None


def is_worth_keeping(folder: Path) -> bool:
    """Return whether a run that did not end left something to go on from: a checkpoint, or its model."""
    return any((folder / CHECKPOINTS).glob("*.json")) or (folder / MODEL).is_file()


def require_place(runs: Path, name: str | None = None) -> None:
    """Refuse a place where no folder of a run can be made, before the work for it begins.

    Args:
        runs: the folder to make it in.
        name: of the run; None where that follows from the data.

    Raises:
        RecipeError: no folder can be made there.
        RunError: the name is too long.
    """
    require_folder(runs)
    if name and len(os.fsencode(_folder_name(name))) > _LONGEST_NAME:
        raise _unmakeable(runs / _folder_name(name), "file name too long")


@contextlib.contextmanager
def new_folder(runs: Path, name: str, keep: Callable[[Path], bool] = is_worth_keeping) -> Iterator[Path]:
    """Yield a fresh folder for a run, held; where the name is taken, the next free number is added.

    The folder is removed again if the run does not come to its end, unless it has something to go on from, or somebody
    put something of their own into it.

    Args:
        runs: the folder to make it in.
        name: of the run.
        keep: whether it has.

    Raises:
        RunError: the folder cannot be made.
    """
    folder = _claim(runs, _folder_name(name))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(folder))
            yield folder
        except BaseException:
            if not keep(folder):
                _remove(folder)
            raise


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes from working in the folder of a run, or of a lab, while the block lasts.

    Raises:
        KilatError: one of them does.
        RunError: the folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(folder / LOCK, wait=False))
        except HeldError as error:
            raise KilatError(
                _("{folder} is in use: {holder} works in it.").format(folder=folder, holder=error.holder),
                hint=_("Wait until it is done, or stop it."),
            ) from None
        except OSError as error:
            raise RunError(
                _("{path} cannot be written: {reason}.").format(path=folder / LOCK, reason=system_reason(error))
            ) from error
        yield


def holder(folder: Path) -> Holder | None:
    """Return which process works in the folder of a run now; None where none does."""
    return holder_of(folder / LOCK)


def _folder_name(name: str) -> str:
    """Return what a folder is called for a name: letters, digits, dots and hyphens, which every system takes."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    return f"run-{plain}" if plain.partition(".")[0].lower() in _RESERVED else plain


def _remove(folder: Path) -> None:
    """Remove what kilat wrote into a folder, and the folder itself unless somebody put something else into it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name in _FOLDERS and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name in _FILES or path.name.endswith(PARTIAL):
                path.unlink()
        folder.rmdir()


def _claim(runs: Path, name: str) -> Path:
    number = 1
    while True:
        folder = runs / (name if number == 1 else _numbered(name, number))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not runs.is_dir():
                raise RunError(_("{runs} is not a folder, so no run can be kept in it.").format(runs=runs)) from None
            number += 1
        except OSError as error:
            raise _unmakeable(folder, error) from error


def _numbered(name: str, number: int) -> str:
    """Return a name with a number, shortened where it would be too long with it."""
    suffix = f"-{number}"
    shortened = os.fsencode(name)[: _LONGEST_NAME - len(suffix)].decode("utf-8", "ignore")
    return shortened + suffix


def _unmakeable(folder: Path, reason: OSError | str) -> RunError:
    return RunError(_("{folder} cannot be made: {reason}.").format(folder=folder, reason=system_reason(reason)))
