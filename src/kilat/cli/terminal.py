"""What the program writes: lines without what no terminal should get, wrapped to its width; paths that a click opens.

Everything that is printed goes through here, so that no call can forget it: what is not a sentence of kilat's own
counts as foreign, and every line break in it is escaped as well (``kilat.locale.escapes``).
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from kilat.locale.escapes import Shown, shell_word, shown

_WIDEST = 100
"""Columns; longer lines are hard to read, however wide the terminal is."""

_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio", "WarpTerminal"}
_KINDS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour")
_VARIABLES = ("WT_SESSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "DOMTERM")
_VTE = 5000
"""The first version of the library behind GNOME's and many other terminals that knows links."""


def say(*lines: str, at_once: bool = False) -> None:
    """Print lines on standard output; an empty one where none is given.

    Args:
        lines: sentences, which may hold line breaks of their own, or any other text, which becomes one line each.
        at_once: whether they are to appear before more is printed.
    """
    for line in lines or ("",):
        print(shown(line), flush=at_once)


def say_aside(*lines: str) -> None:
    """Print lines on standard error at once, so that standard output holds results alone; as ``say``."""
    if sys.stderr is not None:
        for line in lines or ("",):
            print(shown(line), file=sys.stderr, flush=True)


def wrapped(text: str, indent: str = "", *, first: str | None = None) -> str:
    """Return text in lines that fit into the terminal; as it is, where output is none.

    Args:
        text: a paragraph.
        indent: before every line.
        first: before the first line instead.
    """
    text, first = shown(text), indent if first is None else first
    if not is_terminal():
        return Shown(first + text)
    width = max(20, min(shutil.get_terminal_size().columns, _WIDEST))
    filled = textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return Shown(filled)


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def linked(path: Path) -> str:
    """Return a path as it can be pasted; where the terminal knows links (OSC 8), a click opens it as well."""
    text = shell_word(str(path))
    if not (is_terminal() and knows_links(os.environ)):
        return text
    return Shown(f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{text}\x1b]8;;\x1b\\")


def knows_links(environment: Mapping[str, str]) -> bool:
    """Return whether the terminal knows links, by what terminals say of themselves.

    Args:
        environment: the variables of the environment; FORCE_HYPERLINK decides it, as for other programs.
    """
    if (forced := environment.get("FORCE_HYPERLINK")) is not None:
        return forced not in ("", "0", "false")
    if environment.get("TERM") == "dumb":
        return False
    version = environment.get("VTE_VERSION", "")
    return (
        environment.get("TERM_PROGRAM") in _PROGRAMS
        or environment.get("TERM", "").startswith(_KINDS)
        or any(name in environment for name in _VARIABLES)
        or (version.isdigit() and int(version) >= _VTE)
    )
