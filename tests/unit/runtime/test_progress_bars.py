"""Progress bars: in a terminal, in a notebook, and nowhere else."""

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest

from kilat.runtime import progress_bars
from kilat.runtime.progress import silent


class Terminal(io.StringIO):
    """What is written to it, as a terminal would show it."""

    def isatty(self):
        return True


def work(progress, task="Counting", steps=3):
    advance = progress(task)
    for done in range(1, steps + 1):
        advance(done, steps, note="half way" if done == steps else "")


@pytest.fixture
def notebook(monkeypatch):
    """A stand-in for IPython in a kernel of Jupyter; holds what the output of the cell showed, one after the other."""
    shown = []

    class Handle:
        def update(self, bar):
            shown.append(bar)

    def display(bar, *, display_id):
        assert display_id
        shown.append(bar)
        return Handle()

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    displays = ModuleType("IPython.display")
    displays.HTML, displays.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return shown


def test_nothing_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bars.show() as progress:
        assert progress is silent
        work(progress)
    assert sys.stderr.getvalue() == ""


def test_nothing_where_there_is_no_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bars.show() as progress:
        work(progress)


def test_the_callers_own_takes_the_place_of_bars(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    calls = []
    with progress_bars.show(lambda task: lambda done, total, note="": calls.append((task, done, total))) as progress:
        work(progress)
    assert calls == [("Counting", 1, 3), ("Counting", 2, 3), ("Counting", 3, 3)]
    assert sys.stderr.getvalue() == ""


def test_a_bar_in_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bars.show() as progress:
        progress("Never begun")
        work(progress, "Reading [a-z]")
    text = sys.stderr.getvalue()
    assert "Reading [a-z]: half way" in text
    assert "3/3" in text
    assert "Never begun" not in text


def test_the_terminal_is_as_it_was_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ZeroDivisionError), progress_bars.show() as progress:
        progress("Dividing")(1, 3 // 0)
    hidden, visible = "\x1b[?25l", "\x1b[?25h"
    text = sys.stderr.getvalue()
    assert text.count(hidden) == text.count(visible)


def test_a_bar_in_a_notebook(monkeypatch, notebook):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bars.show() as progress:
        work(progress, "Reading <b>")
    assert notebook[0] == '<div>Reading &lt;b&gt; <progress value="1" max="3"></progress> 1 / 3</div>'
    assert notebook[-1] == '<div>Reading &lt;b&gt;: half way <progress value="3" max="3"></progress> 3 / 3</div>'
    assert sys.stderr.getvalue() == ""


def test_ipython_in_a_terminal_is_a_terminal(monkeypatch, notebook):
    sys.modules["IPython"].get_ipython = SimpleNamespace
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bars.show() as progress:
        work(progress)
    assert "3/3" in sys.stderr.getvalue()
    assert not notebook
