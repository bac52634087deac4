"""How pages are written: the templates of this folder, which no name can break, and numbers as text."""

import base64
import math
from functools import cache
from numbers import Real
from pathlib import Path
from typing import TypeGuard

from jinja2 import Environment, FileSystemLoader, Undefined
from markupsafe import Markup

from kilat.locale import _
from kilat.report import network_diagram
from kilat.report.svg_canvas import printable, shorten


def fill(template: str, /, **content: object) -> str:
    """A template of this folder, filled in; equal content gives equal text.

    Args:
        template: such as ``page.html.j2``.
        content: what it says, by the names that it uses.
    """
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    """Once a process: turning the templates into code takes longer than filling them in."""
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    page.globals.update(_=_, tones=network_diagram.COLOURS)
    page.filters.update(percent=percent, points=points, number=number, count=count, short=short, size=size)
    page.filters.update(lines=lines, jpeg=_jpeg, png=_png, uri=_uri, shorten=shorten)
    return page


def percent(value: object, digits: int = 1) -> str:
    """A share as text; a dash where it is undefined. What is not quite all never reads as 100%."""
    if not defined(value):
        return "–"
    unit = 10 ** (digits + 2)
    share = math.floor(value * unit) / unit if 0 < 1 - value < 1 / unit else value
    return f"{share:.{digits}%}"


def points(value: object) -> str:
    """A share in percentage points, without the sign."""
    return percent(value).rstrip("%")


def number(value: object, digits: int = 3) -> str:
    """A number as text; a dash where it is undefined."""
    return f"{value:.{digits}f}" if defined(value) else "–"


def count(value: object) -> str:
    """A whole number with its thousands apart; a dash where it is undefined."""
    return f"{int(value):,}" if defined(value) else "–"


def short(value: object) -> object:
    """A setting as text: numbers to three digits, anything else as it is."""
    return f"{value:.3g}" if defined(value) and not isinstance(value, int) else value


def lines(text: str) -> Markup:
    """Text whose line breaks count."""
    return Markup("\n").join(Markup.escape(printable(line)) for line in text.split("\n"))


def size(value: object) -> str:
    """A number of bytes as people say it."""
    if not defined(value):
        return "–"
    return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"


def defined(value: object) -> TypeGuard[float]:
    """Whether a measure is a number at all."""
    return isinstance(value, Real) and math.isfinite(float(value))


def _finalize(value: object) -> object:
    """What the template writes: everything printable, and a dash for what is undefined."""
    if value is None or isinstance(value, Undefined):
        return "–"
    return value if isinstance(value, Markup) else printable(str(value))


def _jpeg(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')}"


def _png(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"


def _uri(link: str | None) -> str:
    """The address of a file, or nothing where there is none that an address can name."""
    try:
        return Path(link).as_uri() if link else ""
    except ValueError:
        return ""
