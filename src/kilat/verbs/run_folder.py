"""The run folder ``runs/<name>/``: what is written where. Files appear whole or not at all."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kilat.errors import KilatError, RunError
from kilat.locale import _
from kilat.runtime.files import write_json

MODEL, REPORT, METRICS = "model.onnx", "report.html", "metrics.json"
RECIPE, CATALOG, PREDICTIONS = "recipe.yaml", "catalog.csv", "predictions.csv"
START, HISTORY, CHECKPOINTS = "run.json", "history.csv", "checkpoints"
SUSPECTS, CHECK = "suspects.csv", "check.html"


@dataclass(frozen=True)
class Start:
    """What a run was started with, beside its recipe; enough to go on with it.

    Args:
        data: the folder, table, archive or known set; None where it was given from Python.
        root: where copies of a known set lie.
        network: the name of the network.
        labels: the table of corrected labels; None where there is none.
    """

    data: str | None
    root: str | None
    network: str
    labels: str | None = None

    def write(self, folder: Path) -> None:
        """Into the run's folder."""
        write_json(folder / START, {"schema": 1, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> "Start":
        """From the run's folder.

        Raises:
            KilatError: it is no folder of a run, or the run is finished.
        """
        if (folder / METRICS).exists():
            raise KilatError(
                _("The run {folder} is finished; there is nothing left to go on with.").format(folder=folder)
            )
        try:
            document = json.loads((folder / START).read_text("utf-8"))
            return cls(document["data"], document["root"], document["network"], document.get("labels"))
        except (OSError, ValueError, KeyError, TypeError):
            raise KilatError(
                _("{folder} is not the folder of a run that was begun: it has no sound {start}.").format(
                    folder=folder, start=START
                ),
                hint=_("Give a folder such as runs/flowers, or start anew without --resume."),
            ) from None


@contextlib.contextmanager
def new_folder(runs: Path, name: str) -> Iterator[Path]:
    """A fresh folder for a run; where the name is taken, the next free number is added.

    The folder is removed again if the run does not come to its end, unless it has checkpoints to go on from.

    Raises:
        RunError: the folder cannot be made.
    """
    folder = _claim(runs, re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")
    try:
        yield folder
    except BaseException:
        if not any((folder / CHECKPOINTS).glob("*.json")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _claim(runs: Path, name: str) -> Path:
    number = 1
    while True:
        folder = runs / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not runs.is_dir():
                raise RunError(_("{runs} is not a folder, so no run can be kept in it.").format(runs=runs)) from None
            number += 1
        except OSError as error:
            raise RunError(
                _("{folder} cannot be made: {reason}.").format(folder=folder, reason=error.strerror or error)
            ) from error
