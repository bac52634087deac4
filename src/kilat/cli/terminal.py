"""Text as a terminal shows it: wrapped to its width, and paths that it opens with a click."""

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

_WIDEST = 100
"""Columns; longer lines are hard to read, however wide the terminal is."""

_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio", "WarpTerminal"}
_KINDS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour")
_VARIABLES = ("WT_SESSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "DOMTERM")
_VTE = 5000
"""The first version of the library behind GNOME's and many other terminals that knows links."""


def wrapped(text: str, indent: str = "", *, first: str | None = None) -> str:
    """Return text in lines that fit into the terminal; as it is, where output is none.

    Args:
        text: a paragraph.
        indent: before every line.
        first: before the first line instead.
    """
    first = indent if first is None else first
    if not sys.stdout.isatty():
        return first + text
    width = max(20, min(shutil.get_terminal_size().columns, _WIDEST))
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def linked(path: Path) -> str:
    """Return a path as it can be pasted; where the terminal knows links (OSC 8), a click opens it as well."""
    text = shlex.quote(str(path))
    if not (sys.stdout.isatty() and knows_links(os.environ)):
        return text
    return f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{text}\x1b]8;;\x1b\\"


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
