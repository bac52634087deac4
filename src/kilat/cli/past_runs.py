"""The verb about run folders: runs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilat.cli import show
from kilat.cli.options import Json
from kilat.cli.terminal import is_terminal, say
from kilat.cli.verb import verb
from kilat.locale import N_, _, ngettext
from kilat.locale.escapes import visible

if TYPE_CHECKING:
    from kilat.verbs.runs import FinishedRun, UnfinishedRun

FAMILY = "Train"

_SHORTEST = 8
"""Characters that a column of names keeps at least, however narrow the terminal is."""


@verb(FAMILY, "kilat runs", "kilat runs experiments/ --json", name="runs")
def list_runs(
    folder: Annotated[Path, typer.Argument(help=N_("The folder with the runs' folders."))] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder: data, recipe, accuracy, time."""
    from kilat.verbs.runs import list_runs

    found = list_runs(folder)
    if as_json:
        show.print_json({"folder": str(folder), **found.document()})
        return
    if found.finished:
        say(*_table(found.finished))
    for run in found.unfinished:
        say(_unfinished(run))
    for broken in found.broken:
        say(broken.error.message)
    if not (found.finished or found.unfinished or found.broken):
        say(_("There are no runs in {folder}. Make one with: kilat train FOLDER").format(folder=folder))


def _table(runs: "list[FinishedRun]") -> list[str]:
    """Return a line for every run below a heading; in a terminal, names are shortened to its width."""
    head = (_("run"), _("data"), _("recipe"), _("accuracy (95% interval)"), _("time"))
    rows = [head, *map(_cells, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if is_terminal():
        room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
        while sum(widths) > room and max(widths[:3]) > _SHORTEST:
            widths[widths.index(max(widths[:3]))] -= 1
    return ["  ".join(map(_fitted, row[:-1], widths)) + "  " + row[-1].rjust(widths[-1]) for row in rows]


def _cells(run: "FinishedRun") -> tuple[str, ...]:
    identity = run.document()
    data = _("from Python") if run.start and run.start.data is None else Path(identity["data"] or "–").name
    names = map(visible, (identity["name"], data, identity["recipe"] or "–"))
    return *names, _accuracy(run), _duration(identity["seconds"])


def _accuracy(run: "FinishedRun") -> str:
    measured = run.measured
    if measured.accuracy is None or measured.accuracy_interval is None:
        return "–"
    low, high = measured.accuracy_interval
    text = _("{accuracy:.1%} ({low:.1%} to {high:.1%})").format(accuracy=measured.accuracy, low=low, high=high)
    return text if run.metrics.test.n else _("{accuracy}, validation").format(accuracy=text)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return _("{s:.1f} s").format(s=seconds)
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _unfinished(run: "UnfinishedRun") -> str:
    some = ngettext("after {count} epoch", "after {count} epochs", run.epochs)
    after = some if run.epochs else _("before its first epoch ended")
    after = after.format(count=run.epochs)
    if run.holder is not None:
        return _("{folder}: still trains ({after}; {holder}).").format(
            folder=run.folder, after=after, holder=run.holder
        )
    sentence = _("{folder}: not finished ({after}). Go on with it: {resume}")
    return sentence.format(folder=run.folder, after=after, resume=run.resume)
