"""JSON documents from outside: file, size, depth, numbers and types are looked at before anyone relies on them."""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.locale.system_errors import system_reason
from kilat.runtime.regular_file import read_regular_file

if TYPE_CHECKING:
    from pydantic import BaseModel

D = TypeVar("D", bound="BaseModel")

MAX_BYTES = 1 << 20
"""Of an ordinary document: what was asked for, what was decided."""

MAX_BYTES_OF_RESULTS = 1 << 26
"""Of one with results: those of 2,000 classes have a confusion matrix of 4 million numbers."""

_MAX_VALUES = 10_000_000
"""An empty list takes 64 bytes in memory, and three in a document."""

_MAX_DEPTH = 60
_MAX_DIGITS = 20
"""Of a whole number."""

_SHOWN_PARTS = 6

_STRING_OR_BRACKET = re.compile(r'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}]))?', re.DOTALL)
"""What comes before one, and it; a string that is never closed reaches to the end: nothing is looked at twice."""


class DocumentError(ValueError):
    """A document that cannot be read; says its file, and why."""


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return what a JSON file holds.

    Raises:
        DocumentError: it cannot be read, or is not a sound document of at most so many bytes.
    """
    try:
        return parse_json(read_regular_file(path, max_bytes))
    except OSError as error:
        raise _unreadable(path, system_reason(error)) from None
    except ValueError as error:
        raise _unreadable(path, str(error)) from None


def read_typed(kind: type[D], path: Path, max_bytes: int = MAX_BYTES) -> D:
    """Return what a JSON file holds, as a type.

    Raises:
        DocumentError: it cannot be read, or this version of kilat did not write it.
    """
    from pydantic import ValidationError  # here, for model files are read without it

    document = read_json(path, max_bytes)
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"][:_SHOWN_PARTS])
        sentence = _("{path} was not written by this version of kilat, or it is damaged.")
        if where:
            sentence = _("{path} was not written by this version of kilat: its {where} is missing or not valid.")
        raise DocumentError(sentence.format(path=path, where=shortened(where))) from None


def parse_json(data: bytes) -> Any:
    """Return what JSON holds; a name that stands twice in one group is refused, and so is what is no finite number.

    Raises:
        ValueError: it is not valid, or larger or deeper than documents are; says why.
    """
    try:
        text = data.decode("utf-8-sig")
        _refuse_size(text)
        return json.loads(
            text,
            object_pairs_hook=_without_twice,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
    except json.JSONDecodeError as error:
        reason = _("it is not valid JSON, from line {line}, column {column} on")
        raise ValueError(reason.format(line=error.lineno, column=error.colno)) from None
    except UnicodeDecodeError:
        raise ValueError(_("it is not text in UTF-8")) from None


def _unreadable(path: Path, reason: str) -> DocumentError:
    return DocumentError(_("{path} cannot be read: {reason}.").format(path=path, reason=reason))


def _refuse_size(text: str) -> None:
    """Refuse so many values that they would fill the memory, and groups inside groups without end."""
    if text.count(",") + text.count("[") + text.count("{") > _MAX_VALUES:
        raise ValueError(_("it has more than {most:,} values").format(most=_MAX_VALUES))
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += (0, 1, -1)[found.lastindex or 0]
        if depth > _MAX_DEPTH:
            raise ValueError(_("its groups are nested too deeply"))


def _without_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        ((twice, _times),) = Counter(name for name, _value in pairs).most_common(1)
        raise ValueError(_("'{name}' stands twice in one group").format(name=shortened(twice)))
    return document


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(_("it has a number that is not finite: {number}").format(number=shortened(written, 20)))
    return number


def _whole(written: str) -> int:
    if len(written) > _MAX_DIGITS:
        raise ValueError(_("it has a number of {count:,} digits").format(count=len(written)))
    return int(written)
