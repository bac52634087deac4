"""``kilat runs``: the run folders in a folder, by what each says of itself; no model is loaded, no picture read."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kilat.errors import KilatError, SourceError
from kilat.learn.measures import Measures
from kilat.learn.metrics import Metrics
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.file_lock import Holder
from kilat.runtime.regular_file import read_regular_file
from kilat.verbs import run_folder, run_tables

_LATEST = 1 << 37
"""Seconds that a calendar can hold: a file may claim any time."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that came to its end.

    Args:
        folder: of the run.
        start: what it was started with; None where its folder does not say.
        metrics: what was measured.
        finished: when its metrics were written, in local time.
    """

    folder: Path
    start: run_folder.Start | None
    metrics: Metrics
    finished: datetime

    @property
    def measured(self) -> Measures:
        """The measures to go by: of the test pictures, of validation where there are none."""
        return self.metrics.measured

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            **_identity(self.folder, self.start),
            "accuracy": self.measured.accuracy,
            "accuracy_interval": self.measured.accuracy_interval,
            "n": self.measured.n,
            "part": "test" if self.metrics.test.n else "validation",
            "seconds": self.metrics.timing.get("total_s"),
            "finished": self.finished.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that was begun and did not end: it was stopped, or it still trains.

    Args:
        folder: of the run.
        start: what it was started with.
        epochs: how many were trained.
        holder: the process that trains; None where it was stopped.
    """

    folder: Path
    start: run_folder.Start
    epochs: int
    holder: Holder | None

    @property
    def resume(self) -> str:
        """What goes on with it: a command, or a call in Python where the data came from there."""
        return self.start.resume_command(self.folder)

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        identity = _identity(self.folder, self.start)
        return {**identity, "epochs": self.epochs, "training": self.holder is not None, "resume": self.resume}


@dataclass(frozen=True)
class BrokenRun:
    """A run folder that cannot be read, and why."""

    folder: Path
    error: KilatError

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {"name": self.folder.name, "folder": str(self.folder), "error": self.error.message}


@dataclass(frozen=True)
class Runs:
    """The runs in a folder, each kind in the order in which they ended or were begun."""

    finished: list[FinishedRun]
    unfinished: list[UnfinishedRun]
    broken: list[BrokenRun]

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "runs": [run.document() for run in self.finished],
            "unfinished": [run.document() for run in self.unfinished],
            "broken": [run.document() for run in self.broken],
        }


def list_runs(folder: Path) -> Runs:
    """Return the runs in a folder of runs, or the one that the folder is.

    Args:
        folder: such as ``runs``. What is in it beside runs is passed over.

    Raises:
        SourceError: there is no such folder.
    """
    try:
        inside = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(
            _("There is no folder {folder}.").format(folder=folder),
            hint=_("Runs are in the folder runs of the place where kilat train was started; name another one."),
        ) from None
    except OSError as error:
        raise SourceError(
            _("The folder {folder} cannot be read: {reason}.").format(folder=folder, reason=system_reason(error))
        ) from None
    changed = {path: seconds for path in [folder, *inside] if (seconds := _changed(path)) is not None}
    found = [_read(path, changed[path]) for path in sorted(changed, key=changed.__getitem__)]
    return Runs(
        [run for run in found if isinstance(run, FinishedRun)],
        [run for run in found if isinstance(run, UnfinishedRun)],
        [run for run in found if isinstance(run, BrokenRun)],
    )


def _read(folder: Path, changed: float) -> FinishedRun | UnfinishedRun | BrokenRun:
    try:
        holder = run_folder.holder(folder)  # first, for it may come to its end just now
        if not (folder / run_folder.METRICS).exists():
            return UnfinishedRun(folder, run_folder.Start.read(folder), _count_epochs(folder), holder)
        metrics = run_folder.read_metrics(folder)
        start = run_folder.Start.read(folder) if (folder / run_folder.START).exists() else None
    except KilatError as error:
        return BrokenRun(folder, error)
    return FinishedRun(folder, start, metrics, datetime.fromtimestamp(min(max(changed, 0), _LATEST)).astimezone())


def _changed(folder: Path) -> float | None:
    """Return when a run folder was finished, or begun where it is not; None for what is no run folder."""
    for name in (run_folder.METRICS, run_folder.START):
        try:
            return (folder / name).stat().st_mtime
        except OSError:
            continue
    return None


def _count_epochs(folder: Path) -> int:
    try:
        return max(0, len(read_regular_file(folder / run_tables.HISTORY, run_tables.MAX_BYTES).splitlines()) - 1)
    except OSError:
        return 0


def _identity(folder: Path, start: run_folder.Start | None) -> dict[str, Any]:
    return {
        "name": folder.resolve().name,
        "folder": str(folder),
        "data": start and start.data,
        "recipe": start and start.network,
    }
