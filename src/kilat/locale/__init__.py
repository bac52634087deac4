"""The language that users read: English in the code, others as gettext catalogs in folders beside this file.

A sentence is translated when it is shown: ``_`` and ``ngettext`` look the language up at every call, so that nothing is
settled when a module is imported. What is written down before anybody reads it is not a sentence but a code with values
(``kilat.locale.notes``, ``kilat.locale.refusals``). Numbers that are filled into a sentence are written as its
language writes them; one that stands alone passes through ``localized``, a date through ``date``. What programs read
(JSON, CSV, recipes, commands) does neither. Text that is filled in is foreign, so that what no terminal should get is
escaped (``kilat.locale.escapes``).

Stands on nothing.
"""

import gettext
import os
from functools import cache
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilat.locale.escapes import Shown, visible
from kilat.locale.marks import N_

if TYPE_CHECKING:
    import datetime as dt

    from kilat.locale.conventions import Conventions

__all__ = [
    "FOLDER",
    "N_",
    "Sentence",
    "_",
    "date",
    "known",
    "language",
    "language_name",
    "languages",
    "localized",
    "ngettext",
    "pgettext",
]

FOLDER = Path(__file__).parent
"""Holds a folder for every language: its gettext catalog, which has its way of writing numbers and dates as well."""

_NAME = N_("English")  # translated by what the language calls itself, such as Deutsch

_VARIABLES = ("KILAT_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts, as in gettext


def languages() -> tuple[str, ...]:
    """Return the codes of all languages, such as ``en`` and ``pt_BR``, English first."""
    return _languages(FOLDER)


def language() -> str:
    """Return the code of the language of the environment; English where it names one that is not here."""
    return _chosen(next(filter(None, map(os.environ.get, _VARIABLES)), ""), FOLDER)


def known(name: str) -> str | None:
    """Return the code of a language by a name such as ``id``, ``id-ID`` or ``id_ID.UTF-8``; None for an unknown one."""
    return _known(name, FOLDER)


def language_name(code: str) -> str:
    """Return what a language calls itself."""
    return _catalog(code, FOLDER).gettext(_NAME)


def _(message: str) -> str:
    """Return a sentence in the language of the environment; ``format`` fills it in as that language writes numbers."""
    code = language()
    return Sentence(message if code == "en" else _catalog(code, FOLDER).gettext(message))


def ngettext(singular: str, plural: str, count: int) -> str:
    """Return the sentence that fits a number, in the language of the environment; ``{count}`` is not filled in."""
    return Sentence(_catalog(language(), FOLDER).ngettext(singular, plural, count))


def pgettext(context: str, message: str) -> str:
    """Return a short text in the language of the environment, where the same English text elsewhere may mean another.

    Args:
        context: where the text stands, for translators.
        message: the text.
    """
    return Sentence(_catalog(language(), FOLDER).pgettext(context, message))


def localized(value: Any, spec: str = "") -> str:
    """Return ``format(value, spec)`` as the language of the environment writes it: 1,234.5 or 1.234,5."""
    code = language()
    return format(value, spec) if code == "en" else _conventions(code, FOLDER).number(value, spec)


def date(day: "dt.date") -> str:
    """Return a date in the language of the environment, with hour and minute where it has them."""
    return _conventions(language(), FOLDER).date(day)


class Sentence(Shown):
    """A sentence, in which places may still be filled in."""

    __slots__ = ()

    def format(self, *values: Any, **named: Any) -> Shown:
        """Fill in values: numbers as the language writes them, foreign text without what no terminal should get."""
        code = language()
        texts, by_name = map(_fillable, values), {name: _fillable(value) for name, value in named.items()}
        if code == "en":
            return Shown(super().format(*texts, **by_name))
        return Shown(_conventions(code, FOLDER).vformat(str(self), tuple(texts), by_name))


def _fillable(value: Any) -> Any:
    """Return what stands for a value in a sentence."""
    if isinstance(value, BaseException):
        value = str(value)  # errors of kilat come as ``Shown``
    if isinstance(value, str) and not isinstance(value, Shown):
        return value if visible(value) == value else _Foreign(value)
    return value if isinstance(value, Shown | Number) else _Foreign(value)


class _Foreign:
    """A value that is escaped when it is filled in, in quotes (``{name!r}``) as well."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __format__(self, spec: str) -> str:
        return visible(format(self._value, spec))

    def __str__(self) -> str:
        return visible(str(self._value))

    def __repr__(self) -> str:
        return visible(repr(self._value))


@cache
def _chosen(wanted: str, folder: Path) -> str:
    return next(filter(None, (_known(name, folder) for name in wanted.split(":"))), "en")


@cache
def _known(name: str, folder: Path) -> str | None:
    plain = name.partition(".")[0].partition("@")[0].replace("-", "_").casefold()
    codes = {"c": "en", "posix": "en", **{code.casefold(): code for code in _languages(folder)}}
    return codes.get(plain) or codes.get(plain.partition("_")[0])


@cache
def _languages(folder: Path) -> tuple[str, ...]:
    return "en", *sorted(file.parent.parent.name for file in folder.glob("*/LC_MESSAGES/kilat.mo"))


@cache
def _catalog(code: str, folder: Path) -> gettext.NullTranslations:
    return gettext.translation("kilat", folder, [code], fallback=code == "en")


@cache
def _conventions(code: str, folder: Path) -> "Conventions":
    from kilat.locale.conventions import Conventions  # where numbers are written; no help needs it

    return Conventions(_catalog(code, folder).gettext)
