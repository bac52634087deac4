"""Ranges of values that a search chooses from, as they are written: ``1e-4..1e-1(log)``, ``16..256``, or a list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kilat.errors import RecipeError
from kilat.lab.variants import parse_vary, varied_twice
from kilat.locale import _
from kilat.locale.excerpt import shortened

if TYPE_CHECKING:
    from optuna.trial import Trial

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:\(\s*(\w+)\s*\))?\s*")
_LONGEST = 200
"""Characters of a range."""

_LARGEST = 1e18

_DIGITS = 4
"""Of a value that is drawn from a range: more say nothing, and make its name longer."""


@dataclass(frozen=True)
class Range:
    """Numbers between two others.

    Args:
        low: the least.
        high: the largest.
        is_log: whether each order of magnitude is as likely as any other.
        is_whole: whether they are whole numbers.
    """

    low: float
    high: float
    is_log: bool
    is_whole: bool

    def suggest(self, name: str, trial: "Trial") -> Any:
        """Return the value that a trial is to have."""
        if self.is_whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.is_log)
        return float(f"{trial.suggest_float(name, self.low, self.high, log=self.is_log):.{_DIGITS}g}")


@dataclass(frozen=True)
class Choice:
    """One of some values, of any kind."""

    values: tuple[Any, ...]

    def suggest(self, name: str, trial: "Trial") -> Any:
        """Return the value that a trial is to have."""
        return self.values[trial.suggest_categorical(name, list(range(len(self.values))))]


def parse_range(text: str) -> tuple[str, Range | Choice]:
    """Parse ``fit.optimizer.learning_rate=1e-4..1e-1(log)`` or ``fit.optimizer=sgd,adam`` into a path and its values.

    Raises:
        RecipeError: there are no values in it, or the range is none.
    """
    path, _sign, written = text.partition("=")
    shown = shortened(text)
    found = _RANGE.fullmatch(written) if len(written) <= _LONGEST else None
    if found is None:
        if re.search(r"\d\s*\.\.", written):
            raise RecipeError(
                _("'{text}' gives no range.").format(text=shown),
                hint=_("Write it as PATH=LOW..HIGH, or PATH=LOW..HIGH(log) for orders of magnitude."),
            )
        path, values = parse_vary(text)
        return path, Choice(tuple(values))
    low, high, scale = float(found[1]), float(found[2]), found[3]
    if scale not in (None, "log", "linear"):
        raise RecipeError(
            _("'{text}': a range is (log) or (linear), not ({scale}).").format(text=shown, scale=shortened(scale)),
        )
    if not low < high or (scale == "log" and low <= 0):
        raise RecipeError(
            _("'{text}': the first number must be the smaller one, and above 0 for (log).").format(text=shown)
        )
    if max(-low, high) > _LARGEST:
        raise RecipeError(_("'{text}': a number is too large.").format(text=shown))
    is_whole = all(re.fullmatch(r"[+-]?\d+", number) for number in found.groups()[:2])
    return path.strip(), Range(low, high, scale == "log", is_whole)


def ranges_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the ranges of several such texts as they are written, by path.

    Raises:
        RecipeError: one is not valid, or two are about the same option.
    """
    found: dict[str, str] = {}
    for text in texts:
        path, _values = parse_range(text)
        if path in found:
            raise varied_twice(path)
        found[path] = text.partition("=")[2]
    return found
