"""Labels: one spelling for each, those that look like two spellings of one class, and what is no label at all."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kilat.data.image_file import printable
from kilat.errors import SourceError
from kilat.locale import _

LIKE_MISSING = frozenset(("nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "nat"))
"""How programs write a missing value as text, in lower case."""

_LINE_ENDS = frozenset(("Cc", "Zl", "Zp"))
"""Categories of Unicode that would break a line of the terminal or of a table: control characters, separators."""

_FILLERS = frozenset("\u2800\u3164\uffa0")
"""What is blank though Unicode counts it among letters and signs: the fillers of Braille and Hangul."""

_PARTS_OF_EMOJI = re.compile("[\ufe0e\ufe0f\U000e0020-\U000e007f]")
"""Selectors of text or colour, and the tags of flags."""

_SEPARATOR = re.compile(r"[\s_\u2212\u2010-\u2015\ufe58-]")
"""White space, underscores, and hyphens and dashes of all lengths."""

_NUMBER = re.compile(r"0*(\d+?)(?:\.0*)?")


def normalize_label(name: str) -> str:
    """Return the class name as kilat writes it: composed (NFC), on one line, without blanks around it.

    Blanks are white space of any kind (no-break spaces, tabs), control characters, and what has no width.
    """
    composed = unicodedata.normalize("NFC", printable(name))
    if composed.isascii() and composed.isalnum():
        return composed
    visible = [
        i for i, one in enumerate(composed) if _PARTS_OF_EMOJI.match(one) or not (one.isspace() or _is_invisible(one))
    ]
    inside = composed[visible[0] : visible[-1] + 1] if visible else ""
    return "".join(" " if unicodedata.category(one) in _LINE_ENDS else one for one in inside)


def label_name(value: Any) -> str:
    """Return the class name that a value from a program stands for; empty where it is no label.

    No labels are None, NaN, NaT, pandas.NA, and text of blanks alone. Whole numbers have one name, 1 and 1.0 alike.

    Raises:
        SourceError: it is a list, an array or another container, such as several labels of one picture.
    """
    if hasattr(value, "item") and not np.ndim(value):
        value = value.item()  # scalars of NumPy, pandas and PyTorch
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str | Path):
        return normalize_label(str(value))
    if hasattr(value, "__len__") or hasattr(value, "__iter__"):
        raise SourceError(
            _("A label was given as {what}; a label is text or a number, one for each picture.").format(
                what=printable(repr(value)[:60])
            ),
            hint=_("Pictures with several labels: join them to one, such as 'cat+dog', or keep the main one."),
        )
    if pd.isna(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return normalize_label(str(value))


def similar_labels(labels: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that may be one class spelled in several ways, in the order of the labels.

    They differ only in case, in blanks, underscores, hyphens and other dashes, in Unicode form (composed, compatible,
    full-width), in what is invisible, or in how a number is written (1, 01, 1.0).
    """
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(spelling_key(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def spelling_key(label: str) -> str:
    """Return what labels that look like spellings of one class have in common."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    if number := _NUMBER.fullmatch(folded.strip()):
        return number[1]
    plain = _PARTS_OF_EMOJI.sub("", folded)
    spaced = "".join("_" if _SEPARATOR.match(one) else one for one in plain if not _is_invisible(one))
    # Separators do not count, except before a number: 1-1 is not 11, and -1 is not 1.
    merged = re.sub(r"(^|(?<=\d))_+(?=\d)|_+", lambda found: "_" if found[1] is not None else "", spaced)
    return merged or folded


def _is_invisible(character: str) -> bool:
    return character in _FILLERS or unicodedata.category(character) in ("Cc", "Cf")
