"""Labels: one spelling for each, and those that look like two spellings of one class."""

import unicodedata

from kilat.data.image_file import printable


def normalize_label(name: str) -> str:
    """Return the class name as kilat writes it: composed (NFC), on one line, without blanks around it.

    Blanks are white space of any kind (no-break spaces, tabs), control characters, and what has no width.
    """
    composed = unicodedata.normalize("NFC", printable(name))
    characters = list(composed)
    while characters and _is_blank(characters[-1]):
        characters.pop()
    start = next((i for i, one in enumerate(characters) if not _is_blank(one)), 0)
    return "".join(" " if unicodedata.category(one) in _LINE_ENDS else one for one in characters[start:])


_LINE_ENDS = {"Cc", "Zl", "Zp"}
"""Categories of Unicode that would break a line of a table or of the terminal: control characters, separators."""

_INVISIBLE = "\u2800\u3164\uffa0"
"""Letters and signs that are blank all the same: Braille's and Hangul's fillers."""


def _is_blank(character: str) -> bool:
    """Return whether a character at the edge of a label cannot be seen; tags are parts of flags."""
    if character in _INVISIBLE or character.isspace():
        return True
    category = unicodedata.category(character)
    return category == "Cc" or (category == "Cf" and not "\U000e0020" <= character <= "\U000e007f")
