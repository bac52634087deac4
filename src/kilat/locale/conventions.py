"""How a language writes numbers and dates. Its catalog says so, as translations of the examples below."""

import datetime as dt
import re
from collections.abc import Callable
from functools import cached_property
from numbers import Number
from string import Formatter
from typing import Any

from kilat.locale.marks import N_

NUMBER = N_("1,234.5")
"""Translated by how that number is written: its second sign parts thousands, its last but one begins the decimals."""

PERCENT = N_("{number}%")
DATE = N_("{day} {month} {year}")
TIME = N_("{date}, {hour}:{minute}")
MONTHS = (
    N_("January"), N_("February"), N_("March"), N_("April"), N_("May"), N_("June"), N_("July"), N_("August"),
    N_("September"), N_("October"), N_("November"), N_("December"),
)  # fmt: skip

_BEFORE_VALUE = re.compile(r"(?:=|--[\w-]+ )$")  # such as --set fit.dropout={value}
_AS_IN_CODE = "\0"


class Conventions(Formatter):
    """The conventions of one language; fills in templates by them.

    Args:
        translate: returns the translation of one of the examples.
    """

    def __init__(self, translate: Callable[[str], str]) -> None:
        self._translate = translate

    def number(self, value: Any, spec: str = "") -> str:
        """Return ``format(value, spec)`` with the language's separators; other values as they are."""
        text = format(value, spec)
        if isinstance(value, bool) or not isinstance(value, Number):
            return text
        text = text.translate(self._separators)
        return self._percent.format(number=text[:-1]) if text.endswith("%") else text

    def date(self, day: dt.date) -> str:
        """Return a date, such as 28 November 2026; with hour and minute where it has them."""
        month = self._translate(MONTHS[day.month - 1])
        date = self._translate(DATE).format(day=day.day, month=month, year=day.year)
        if not isinstance(day, dt.datetime):
            return date
        return self._translate(TIME).format(date=date, hour=f"{day.hour:02}", minute=f"{day.minute:02}")

    def parse(self, format_string: Any) -> Any:
        """Yield the parts of a template; a number that is a value in a command is marked, as it knows no language."""
        for text, name, spec, conversion in super().parse(format_string):
            in_command = name is not None and _BEFORE_VALUE.search(text)
            yield text, name, f"{_AS_IN_CODE}{spec}" if in_command else spec, conversion

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return one filled-in place of a template."""
        if format_spec.startswith(_AS_IN_CODE):
            return format(value, format_spec.removeprefix(_AS_IN_CODE))
        return self.number(value, format_spec)

    @cached_property
    def _percent(self) -> str:
        return self._translate(PERCENT)

    @cached_property
    def _separators(self) -> dict[int, str]:
        example = self._translate(NUMBER)
        return str.maketrans({",": example[1], ".": example[-2]})
