"""Progress bars: on standard error where that is a terminal, in the output of the cell in a notebook, else none."""

import contextlib
import html
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from kilat.runtime.progress import Advance, Progress, silent

_SECONDS_BETWEEN_UPDATES = 0.1


@contextlib.contextmanager
def show(progress: Progress | None = None) -> Iterator[Progress]:
    """Yield the progress callback to report to while the block lasts.

    Args:
        progress: the caller's own; None for bars in a terminal or a notebook, and for silence elsewhere.
    """
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it; nobody else pays for the import
    shell = ipython.get_ipython() if ipython is not None else None
    in_notebook = getattr(shell, "kernel", None) is not None
    if progress is not None:
        yield progress
    elif in_notebook:
        yield _notebook_bar
    elif sys.stderr is not None and sys.stderr.isatty():
        with _terminal_bars() as bars:
            yield bars
    else:
        yield silent


@contextlib.contextmanager
def _terminal_bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    def start(task: str) -> Advance:
        """Return what moves a bar, which appears at the first call."""
        bar: Any = None

        def advance(done: int, total: int, note: str = "") -> None:
            nonlocal bar
            if bar is None:
                bar = bars.add_task("", total=None, rate="")
            elapsed = bars.tasks[bar].elapsed or 0.0
            rate = f"{done / elapsed:,.0f}/s" if elapsed else ""
            bars.update(bar, completed=done, total=total, rate=rate, description=f"{task}: {note}" if note else task)

        return advance

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield start


def _notebook_bar(task: str) -> Advance:
    """Return what moves a bar in the output of the cell; rich's own needs ipywidgets, this one a browser alone."""
    ipython = import_module("IPython.display")
    handle: Any = None
    updated = 0.0

    def advance(done: int, total: int, note: str = "") -> None:
        nonlocal handle, updated
        now = time.monotonic()
        if handle is not None and done < total and now - updated < _SECONDS_BETWEEN_UPDATES:
            return
        updated = now
        text = html.escape(f"{task}: {note}" if note else task)
        bar = ipython.HTML(f'<div>{text} <progress value="{done}" max="{total}"></progress> {done:,} / {total:,}</div>')
        if handle is None:
            handle = ipython.display(bar, display_id=True)
        else:
            handle.update(bar)

    return advance
