"""Whom progress is shown to: bars in a terminal, a table in a notebook, plain lines in a pipe, or nobody."""

import contextlib
import html
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kilat.runtime.progress import Progress, Stage, silent
from kilat.runtime.progress_figures import outcome, running
from kilat.runtime.progress_lines import Lines

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_UPDATES_PER_SECOND = 5
_SHORTEST, _LONGEST = 5, 24
"""The length of a bar, in columns."""


@contextlib.contextmanager
def show(progress: Progress | None = None, *, plain: bool = False) -> Iterator[Progress]:
    """Yield the progress to report to while the block lasts.

    Args:
        progress: the caller's own; None for bars in a terminal or a table in a notebook.
        plain: whether there are plain lines where standard error is neither, as the command line has them; a library
            says nothing there.
    """
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it; nobody else pays for the import
    shell = ipython.get_ipython() if ipython is not None else None
    stream = sys.stderr
    if progress is not None:
        yield progress
    elif getattr(shell, "kernel", None) is not None:
        yield Progress(_NotebookTable())
    elif stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb":
        with _terminal_bars() as bars:
            yield Progress(bars)
    elif stream is not None and plain:
        with Lines(stream) as lines:
            yield Progress(lines)
    else:
        yield silent


@contextlib.contextmanager
def _terminal_bars() -> Iterator["_TerminalBars"]:
    from rich.console import Console
    from rich.live import Live

    stages: list[Stage] = []
    console = Console(stderr=True)
    live = Live(
        get_renderable=lambda: _bars(tuple(stages), console.width),
        console=console,
        refresh_per_second=_UPDATES_PER_SECOND,
        transient=True,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # what goes into a file stays as it is
    )
    with live:
        yield _TerminalBars(live, stages)


class _TerminalBars:
    """A bar for every stage that goes on, at the bottom; what is over stays above, a line each.

    Args:
        live: paints the bars a few times a second.
        stages: that go on.
    """

    def __init__(self, live: "Live", stages: list[Stage]) -> None:
        self._live, self._stages = live, stages

    def begin(self, stage: Stage) -> None:
        """Show its bar at once: a stage may begin with what lets no other thread paint, such as an import."""
        self._stages.append(stage)
        self._live.refresh()

    def update(self, stage: Stage) -> None:
        """Leave it to the next time that bars are painted."""

    def end(self, stage: Stage) -> None:
        """Put a line in the place of its bar."""
        self._stages.remove(stage)
        self._print(f"{stage.name}: {outcome(stage)}", "dim")

    def say(self, line: str) -> None:
        """Show a line above the bars."""
        self._print(line)

    def _print(self, line: str, style: str | None = None) -> None:
        self._live.console.print(line, style=style, markup=False, emoji=False, highlight=False)


def _bars(stages: tuple[Stage, ...], width: int) -> "Table":
    """Return a line for every stage, its bar as long as there is room for."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for stage in stages:
        title, figures = _title(stage), running(stage)
        length = min(max(width - len(title) - len(figures) - 2, _SHORTEST), _LONGEST)
        bar = ProgressBar(stage.total or None, stage.done, width=length, animation_time=stage.seconds)
        before, behind = (Text(text, no_wrap=True, overflow="ellipsis") for text in (title, figures))
        table.add_row(before, bar, behind)
    return table


class _NotebookTable:
    """What is over and a bar for every stage that goes on, in one output of the cell.

    Rich's own needs ipywidgets, this one a browser alone.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._painted = now, now()
        self._lines: list[str] = []
        self._stages: list[Stage] = []
        self._handle: Any = None

    def begin(self, stage: Stage) -> None:
        """Show its bar."""
        self._stages.append(stage)
        self._paint()

    def update(self, stage: Stage) -> None:
        """Paint again, not more than a few times a second."""
        if self._now() - self._painted >= 1 / _UPDATES_PER_SECOND:
            self._paint()

    def end(self, stage: Stage) -> None:
        """Put a line in the place of its bar."""
        self._stages.remove(stage)
        self.say(f"{stage.name}: {outcome(stage)}")

    def say(self, line: str) -> None:
        """Show a line above the bars."""
        self._lines.append(html.escape(line))
        self._paint()

    def _paint(self) -> None:
        self._painted = self._now()
        ipython = import_module("IPython.display")
        shown = ipython.HTML("<pre>{}</pre>{}".format("\n".join(self._lines), "".join(map(_html_bar, self._stages))))
        if self._handle is None:
            self._handle = ipython.display(shown, display_id=True)
        else:
            self._handle.update(shown)


def _html_bar(stage: Stage) -> str:
    count = f' value="{stage.done}" max="{stage.total}"' if stage.total else ""
    return f"<div>{html.escape(_title(stage))} <progress{count}></progress> {html.escape(running(stage))}</div>"


def _title(stage: Stage) -> str:
    return f"{stage.name}: {stage.note}" if stage.note else stage.name
