"""What one entry of the tables of words is."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

NOTHING = object()
"""What a conversion returns where nothing has to be set: the option's default is what was asked for."""


def same(value: Any) -> Any:
    """Return a value as it is."""
    return value


@dataclass(frozen=True)
class Word:
    """An option of another library.

    Args:
        to: the options of a recipe that it sets: a path from the top (``fit.batch``), or the name of one (``batch``),
            in the section where the word stands if that has one of this name. Empty where there is none.
        value: makes the option's value of the word's; a list with a value for each, where there are several options.
        note: a sentence about what differs, or about why there is no such option (translated when it is shown).
    """

    to: tuple[str, ...] = ()
    value: Callable[[Any], Any] = same
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A class or function of another library that is a part of a recipe.

    Args:
        place: where it stands in a recipe: ``layer``, ``activation``, a path such as ``fit.optimizer``; empty where its
            parameters set options by their path, and where there is no such part.
        base: what it says there without parameters; of a layer, its kind alone.
        parameters: by name, in the order in which they may be given without. One whose ``to`` is a name goes beside
            what ``base`` says, one with a path to where that leads.
        note: as of a word.
    """

    place: str
    base: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Word] = field(default_factory=dict)
    note: str = ""


def to(*options: str, value: Callable[[Any], Any] = same, note: str = "") -> Word:
    """Return a word for these options."""
    return Word(options, value, note)


def left_out(note: str = "") -> Word:
    """Return a word that a recipe leaves out, and why where that matters."""
    return Word(note=note)


def named(words: str, word: Word) -> dict[str, Word]:
    """Return an entry for each of several words of the same meaning, separated by blanks."""
    return dict.fromkeys(words.split(), word)


def parts(names: str, part: Part) -> dict[str, Part]:
    """Return an entry for each of several names of the same part, separated by blanks."""
    return dict.fromkeys(names.split(), part)


def read_python(value: Any) -> Any:
    """Return what Python writes as a tuple or list, or a person as per cent, both of which are text in YAML."""
    if not isinstance(value, str):
        return value
    if share := re.fullmatch(r"(\d+\.?|\d*\.\d+) ?%", value):
        return float(share[1]) / 100
    if not value.startswith(("(", "[")):
        return value
    try:
        items = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value
    return list(items) if isinstance(items, tuple | list) else items


@lru_cache(maxsize=4096)
def normal(name: object) -> str:
    """Return a name without its package, its capitals and what joins its words: ``keras.layers.Conv2D`` is conv2d."""
    return re.sub(r"[\W_]", "", str(name).rpartition(".")[2]).lower()
