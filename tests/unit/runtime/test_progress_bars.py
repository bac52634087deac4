"""Whom progress is shown to: a terminal, a notebook, a pipe of the command line, and nobody else."""

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


def work(progress, name="Counting", steps=3):
    with progress.stage(name) as stage:
        for done in range(1, steps + 1):
            stage.advance(done, steps, note="half way" if done == steps else "")
        stage.say("[b]so far[/b]")


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


def test_a_library_says_nothing_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bars.show() as progress:
        assert progress is silent
        work(progress)
    assert sys.stderr.getvalue() == ""


def test_nothing_where_there_is_no_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bars.show(plain=True) as progress:
        work(progress)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_plain_lines_where_no_bar_can_be_painted(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("TERM", "dumb")
    with progress_bars.show(plain=True) as progress:
        work(progress)
    assert sys.stderr.getvalue().splitlines()[-1] == "Counting: 3 pictures, 0.0 s"
    assert "\x1b" not in sys.stderr.getvalue()


def test_the_callers_own_takes_the_place_of_bars(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bars.show(silent, plain=True) as progress:
        assert progress is silent
    assert sys.stderr.getvalue() == ""


def test_bars_in_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars.show() as progress:
        with progress.stage("Reading [a-z]"):
            assert "Reading [a-z]" in sys.stderr.getvalue()
        work(progress)
    text = sys.stderr.getvalue()
    assert "Reading [a-z]: 0.0 s" in text
    assert "[b]so far[/b]" in text
    assert "Counting: 3 pictures, 0.0 s" in text


def test_the_terminal_is_as_it_was_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(ZeroDivisionError), progress_bars.show() as progress, progress.stage("Dividing"):
        raise ZeroDivisionError
    hidden, visible = "\x1b[?25l", "\x1b[?25h"
    text = sys.stderr.getvalue()
    assert text.count(hidden) == text.count(visible) == 1


def test_what_goes_into_a_file_stays_there_while_bars_are_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars.show():
        sys.stdout.write("a result\n")
    assert sys.stdout.getvalue() == "a result\n"


def test_a_table_in_a_notebook(monkeypatch, notebook):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bars.show() as progress:
        work(progress, "Reading <b>")
    assert notebook[0] == "<pre></pre><div>Reading &lt;b&gt; <progress></progress> 0.0 s</div>"
    assert '<div>Reading &lt;b&gt;: half way <progress value="3" max="3"></progress> 3/3' in notebook[1]
    assert notebook[-1] == "<pre>[b]so far[/b]\nReading &lt;b&gt;: 3 pictures, 0.0 s</pre>"
    assert sys.stderr.getvalue() == ""


def test_ipython_in_a_terminal_is_a_terminal(monkeypatch, notebook):
    sys.modules["IPython"].get_ipython = SimpleNamespace
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars.show() as progress:
        work(progress)
    assert "3 pictures" in sys.stderr.getvalue()
    assert not notebook
