"""The first characters of what came from outside, as messages show them: bounded in time, and on one line.

Whatever a value is (a text of megabytes, lists inside lists that share their items, a number of a million digits), it
costs as much as what is shown of it. What a terminal would obey, or nobody would see, stands as escape sequences.
"""

import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from kilat.locale.escapes import visible

MOST_CHARACTERS = 80


def excerpt(value: object, most: int = MOST_CHARACTERS) -> str:
    """Return a value as Python writes it, of a long one the first characters and an ellipsis.

    Args:
        value: any value, even one that contains itself.
        most: characters before the ellipsis.
    """
    shown = ""
    for piece in _pieces(value, most):
        shown += piece
        if len(shown) > most:
            return f"{shown[:most].rstrip()}…"
    return shown


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text without quotes, of a long one the first characters and an ellipsis.

    Args:
        text: any text.
        most: characters before the ellipsis.
    """
    shown = visible(text[: most + 1])
    return shown if len(shown) <= most and len(text) <= most else f"{shown[:most].rstrip()}…"


def _pieces(value: object, most: int) -> Iterator[str]:
    """Yield what a value is written as, piece by piece; whoever has enough stops."""
    if isinstance(value, Mapping):
        yield "{"
        for number, (key, one) in enumerate(value.items()):
            yield ", " if number else ""
            yield from _pieces(key, most)
            yield ": "
            yield from _pieces(one, most)
        yield "}"
    elif isinstance(value, list | tuple | AbstractSet):
        begin, end = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
        yield begin
        for number, one in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(one, most)
        yield f",{end}" if isinstance(value, tuple) and len(value) == 1 else end
    elif isinstance(value, str | bytes):
        yield repr(value[: most + 1])
    elif isinstance(value, int) and abs(value).bit_length() > 4 * most:  # Python refuses to write thousands of digits
        yield f"{'-' if value < 0 else ''}10**{math.floor(value.bit_length() * math.log10(2))}"
    else:
        yield shortened(repr(value), most)
