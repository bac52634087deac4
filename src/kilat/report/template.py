"""Filling in the templates of this folder, which no name can break, and numbers as text."""

import base64
import hashlib
import math
import re
from functools import cache
from numbers import Real
from operator import itemgetter
from pathlib import Path
from typing import TypeGuard

from jinja2 import Environment, FileSystemLoader, Undefined
from markupsafe import Markup

from kilat.locale import _, language, localized, ngettext
from kilat.locale.escapes import visible
from kilat.locale.glossary import GLOSSARY, find_terms
from kilat.report import palette
from kilat.report.svg_canvas import shorten


def fill(template: str, /, **content: object) -> str:
    """Return a template of this folder filled in; equal content gives equal text.

    Args:
        template: such as ``page.html.j2``.
        content: what it shows, by the names that it uses.
    """
    return _environment().get_template(template).render(words=Words(), **content)


class Words:
    """The words of the glossary that one page explains at its end."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}

    def link(self, sentence: str) -> Markup:
        """Return a sentence in which each word of the glossary leads to its meaning, where the page has it first."""
        parts, end = [], 0
        for match, key in find_terms(visible(sentence)):
            if key not in self.keys:
                self.keys[key] = None
                parts += [Markup.escape(match.string[end : match.start()])]
                parts += [Markup('<a class="word" href="#word-{}">{}</a>').format(key, match.group())]
                end = match.end()
        return Markup().join([*parts, visible(sentence)[end:]])

    def explained(self) -> list[tuple[str, str, str]]:
        """Return key, name and meaning of every word that was linked, by name."""
        return sorted(((key, name(key), meaning(key)) for key in self.keys), key=itemgetter(1))


@cache
def _environment() -> Environment:
    """Make the environment once a process: compiling the templates takes longer than filling them in."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    script = Markup(Path(__file__).with_name("page.js").read_text("utf-8"))  # noqa: S704 - it is ours
    environment.globals.update(_=_, ngettext=ngettext, language=language, palette=palette, script=script)
    environment.globals.update(name=name, meaning=meaning)
    filters = (
        breakable,
        percent,
        points,
        number,
        signed,
        count,
        rounded,
        size,
        lines,
        digest,
        headings,
        shorten,
        split_name,
    )
    environment.filters.update({filter_.__name__: filter_ for filter_ in filters})
    return environment


def name(term: str) -> str:
    """Return what the glossary calls a term, as a sentence begins with it."""
    called = _(GLOSSARY[term].name)
    return called[:1].upper() + called[1:]


def meaning(term: str) -> str:
    """Return what a term of the glossary means."""
    return _(GLOSSARY[term].meaning)


def digest(text: str) -> str:
    """Return the digest by which a content policy names a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def headings(html: str) -> list[tuple[str, Markup]]:
    """Return the sections of a page: the id of each, and its heading."""
    found = re.findall(r'<section id="([\w-]+)">\s*<h2>(.*?)</h2>', html, re.DOTALL)
    return [(anchor, Markup(heading)) for anchor, heading in found]  # noqa: S704 - it was escaped when it was written


def _finalize(value: object) -> object:
    """Return what the template writes: everything printable, and a dash for what is undefined."""
    if value is None or isinstance(value, Undefined):
        return "–"
    return value if isinstance(value, Markup) else visible(str(value))


def percent(value: object, digits: int = 1) -> str:
    """Return a share as text; a dash where it is undefined. What is not quite all never reads as 100%."""
    if not defined(value):
        return "–"
    return localized(_below_one(value, digits), f".{digits}%")


def _below_one(share: float, digits: int) -> float:
    """Return a share that rounds to 100% only where it is."""
    unit = 10 ** (digits + 2)
    return math.floor(share * unit) / unit if 0 < 1 - share < 1 / unit else share


def points(value: object) -> str:
    """Return a share in percentage points, without the sign."""
    return localized(_below_one(value, 1) * 100, ".1f") if defined(value) else "–"


def number(value: object, digits: int = 3) -> str:
    """Return a number as text; a dash where it is undefined."""
    return localized(value, f".{digits}f") if defined(value) else "–"


def signed(value: object, digits: int) -> str:
    """Return a number with its sign as text, never minus zero; a dash where it is undefined."""
    return localized(value, f"+z.{digits}f") if defined(value) else "–"


def count(value: object) -> str:
    """Return a whole number with its thousands apart; a dash where it is undefined."""
    return localized(int(value), ",") if defined(value) else "–"


def rounded(value: object) -> object:
    """Return a fraction to three digits as text, and anything else as it is."""
    return localized(value, ".3g") if defined(value) and not isinstance(value, int) else value


def size(value: object) -> str:
    """Return a number of bytes in kilobytes or megabytes."""
    if not defined(value):
        return "–"
    if value >= 1e5:
        return f"{localized(value / 1e6, '.1f')} MB"
    return f"{localized(value / 1e3, '.1f')} kB"


def defined(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number."""
    return isinstance(value, Real) and math.isfinite(float(value))


def lines(text: str) -> Markup:
    """Return text with its line breaks."""
    return Markup("\n").join(Markup.escape(visible(line)) for line in text.split("\n"))


def breakable(path: str) -> Markup:
    """Return a path that may go on in the next line behind its folders and between the parts of its name."""
    return Markup(re.sub(r"([/_\\-])", r"\1<wbr>", str(Markup.escape(visible(path)))))  # noqa: S704 - escaped


def split_name(split: str) -> str:
    """Return what a split is called; empty for a picture in none."""
    names = {
        "train": _("train"),
        "validation": _("validation"),
        "calibration": _("calibration"),
        "test": _("test"),
    }
    return names.get(split, split)
