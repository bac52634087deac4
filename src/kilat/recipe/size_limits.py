"""How large a recipe may be, whether it comes from a file, the command line, a model or Python."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.locale.excerpt import excerpt, shortened

MAX_VALUES = 20_000
"""More names and values than this, shared ones counted as often as they stand, are no recipe."""

MAX_DEPTH = 100
"""Groups inside groups."""

MAX_TEXT = 10_000
"""Characters of one value."""

_MAX_BITS = 64
"""Of a whole number."""

_SHOWN_PARTS = 5
"""Of a path."""


def count_values(document: Any) -> int:
    """Return how many values a recipe has; refuse what none holds, before anything is made of it.

    Args:
        document: a recipe, or options by their path. What is neither a group, a list, a text nor a number is passed
            over, and so are finished sections.

    Raises:
        RecipeError: it has too many values, they are too deep inside of each other (or of themselves), or one of them
            is too large.
    """
    count = 0
    left: list[tuple[Any, tuple[Any, ...]]] = [(document, ())]
    while left:
        value, path = left.pop()
        if reason := _reason(value, len(path)):
            raise _refusal(path, reason)
        if not isinstance(value, Mapping | list | tuple | AbstractSet):
            continue
        count += len(value)
        if count > MAX_VALUES:
            raise _refusal(path, _("more values than a recipe can have"))
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in pairs:
            if not isinstance(key, str | int | float | None) or too_large_number(key):
                raise _refusal(path, _("a name that is neither text nor a number: {name}").format(name=excerpt(key)))
            left.append((one, (*path, key)))
    return count


def too_large_number(value: object) -> str:
    """Return what is wrong with a number that is too large for anything; nothing of any other value."""
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return _("a number of {count:,} bits, which is too large").format(count=value.bit_length())
    return ""


def _reason(value: object, depth: int) -> str:
    if depth > MAX_DEPTH:
        return _("groups are nested too deeply")
    if isinstance(value, str | bytes) and len(value) > MAX_TEXT:
        reason = _("a value of {count:,} characters, which is more than a recipe can have")
        return reason.format(count=len(value))
    return too_large_number(value)


def _refusal(path: tuple[Any, ...], reason: str) -> RecipeError:
    where = ".".join(shortened(str(part), 40) for part in path[:_SHOWN_PARTS]) or _("The recipe")
    return RecipeError(f"{where}: {reason}.")
