"""Text in a terminal: lines that fit, paths that can be clicked and pasted; where there is none, both as they are."""

import io
import sys
from pathlib import Path

import pytest

from hostile_texts import HOSTILE, controls_of
from kilat.cli.terminal import knows_links, linked, say, say_aside, wrapped
from kilat.locale import _

SENTENCE = (
    "Pictures are not mirrored: that can change the meaning of '1'. Where it does not, set augment.horizontal_flip."
)


class Terminal(io.StringIO):
    """What is written to it, as a terminal would show it."""

    def isatty(self):
        return True


def test_sentences_fit_into_the_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    lines = wrapped(SENTENCE, "   ", first=" - ").splitlines()
    assert max(map(len, lines)) <= 60
    assert [line[:3] for line in lines] == [" - ", "   "]
    assert " ".join(line[3:] for line in lines) == SENTENCE


def test_what_has_no_blank_stays_whole(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    path = "runs/" + "long-name/" * 8
    assert path in wrapped(f"See {path} for more.").split()


def test_in_a_file_a_sentence_is_a_line(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert wrapped(SENTENCE, "   ", first=" - ") == f" - {SENTENCE}"


def test_a_click_opens_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    monkeypatch.chdir(tmp_path)
    text = linked(Path("my runs/report.html"))
    assert text == f"\x1b]8;;{tmp_path.as_uri()}/my%20runs/report.html\x1b\\'my runs/report.html'\x1b]8;;\x1b\\"


def test_in_a_file_a_path_is_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    assert linked(Path("runs/flowers/report.html")) == "runs/flowers/report.html"


@pytest.mark.parametrize(
    ("environment", "known"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4002"}, False),
        ({"WT_SESSION": "x"}, True),
        ({"TERM": "dumb", "TERM_PROGRAM": "vscode"}, False),
        ({"TERM": "xterm-kitty", "FORCE_HYPERLINK": "0"}, False),
        ({"TERM": "xterm", "FORCE_HYPERLINK": "1"}, True),
    ],
)
def test_which_terminals_know_links(environment, known):
    assert knows_links(environment) is known


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_foreign_name_is_one_line_without_controls(capsys, text):
    say(f"{text}: dog 100.0%", wrapped(text, "  "))
    say_aside(_("{path}: refused: {reason}").format(path=text, reason=text))
    printed = capsys.readouterr()
    assert not controls_of(printed.out + printed.err)
    assert printed.out.count("\n") == 2
    assert printed.err.count("\n") == 1


def test_a_link_to_a_hostile_path_is_no_other_command_of_the_terminal(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    text = linked(tmp_path / "a\x1b]0;title\x07\nb")
    assert "a%1B%5D0%3Btitle%07%0Ab" in text
    assert text.endswith("$'" + str(tmp_path) + "/a\\x1b]0;title\\x07\\nb'\x1b]8;;\x1b\\")
