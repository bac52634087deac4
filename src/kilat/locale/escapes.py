"""Text from outside as people may be shown it: on one line, in the order in which it is stored, with nothing hidden.

Names of files and classes, cells of tables and what libraries say may hold control characters (a terminal obeys them),
line breaks (they forge a line of kilat's own), marks that turn the direction of writing, and signs that nobody sees.
Each of them is shown as an escape sequence, as Python and shells write it. Letters of any script, and emoji with all
their parts, stay as they are. A backslash does too: what is shown is for people; programs read JSON.
"""

import re
import shlex
import unicodedata
from collections.abc import Iterable

MOST_MARKS = 6
"""Marks above or below one letter; more of them (up to four are in use) would cover the lines around it.

A mark that begins a text would stand on whatever is before it.
"""

_PLAIN = re.compile(
    "[ -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e\u2190-\u27ff"
    "\u3041-\u3096\u309b-\u30ff\u4e00-\u9fff]*"
)
"""Letters and signs that are all seen, of the alphabets and syllabaries of which most text is."""

_BREAKING = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Categories of Unicode: control characters, halves of surrogate pairs, line and paragraph separators."""

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0")
"""Signs that show nothing though Unicode counts them among letters, marks and symbols."""

_NUMBER_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs of Arabic, Syriac and Kaithi that are seen, though Unicode counts them among those that format."""

_JOINERS = "\u200c\u200d"
_EMOJI_OUTSIDE_SYMBOLS = frozenset("\u203c\u2049\u2139\u3030\u303d\ufe0f")
_KEYCAP = "\u20e3"


class Shown(str):
    """Text that people may be shown as it is: its line breaks are kilat's own, and what is foreign in it was escaped.

    Sentences that were filled in are such text. Whatever is plain text counts as foreign wherever it is shown.
    """

    __slots__ = ()

    def join(self, parts: Iterable[str]) -> "Shown":
        """Return the parts with this between them, such as a line break."""
        return Shown(super().join(map(shown, parts)))


def shown(text: str) -> Shown:
    """Return text as people may be shown it: as it is where it is such text already, else escaped, on one line."""
    return text if isinstance(text, Shown) else Shown(visible(text))


def visible(text: str) -> str:
    """Return a foreign text with escape sequences for what moves, turns, hides or breaks what a terminal shows."""
    if _PLAIN.fullmatch(text):
        return str(text)
    parts, marks = [], 0
    for index, sign in enumerate(text):
        category = unicodedata.category(sign)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        is_hidden = marks > min(MOST_MARKS, index) or _is_hidden(text, index, category)
        parts.append(_escape(sign) if is_hidden else sign)
    return "".join(parts)


def shell_command(*words: str) -> Shown:
    """Return a command as it can be pasted into a shell."""
    return Shown(" ".join(map(shell_word, words)))


def shell_word(word: str) -> Shown:
    """Return a word as shells read it, where needed in quotes: ``$'…'`` (bash, zsh, ksh) where something is escaped."""
    if visible(word) == word:
        return Shown(shlex.quote(word))
    inside = "".join(f"\\{sign}" if sign in "\\'" else visible(sign) for sign in word)
    return Shown(f"$'{inside}'")


def _is_hidden(text: str, index: int, category: str) -> bool:
    sign = text[index]
    if category in _BREAKING or sign in _BLANK:
        return True
    before, after = text[index - 1 : index], text[index + 1 : index + 2]
    if sign in _JOINERS:
        return not _may_join(before, after)
    if "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef":
        return not _has_variants(before, after)
    if category == "Cn":  # what this Python does not know yet may be a letter or an emoji; these never will be
        is_none = ord(sign) & 0xFFFE == 0xFFFE or "\ufdd0" <= sign <= "\ufdef"
        return is_none or "\ufff0" <= sign <= "\ufff8" or sign >= "\U000e0000"
    return category == "Cf" and sign not in _NUMBER_SIGNS


def _may_join(before: str, after: str) -> bool:
    """Return whether a joiner between two signs changes what is seen: in emoji, and in scripts from Arabic to Khmer."""
    if not before:
        return False
    if "\u0600" <= before <= "\u1cff":
        return "\u0600" <= after <= "\u1cff" or unicodedata.combining(before) == _VIRAMA
    return _is_emoji(before) and _is_emoji(after)


_VIRAMA = 9
"""The class of the sign that joins consonants; a joiner may end a word behind it."""


def _is_emoji(sign: str) -> bool:
    return bool(sign) and (unicodedata.category(sign) == "So" or sign >= "\U0001f000" or sign in _EMOJI_OUTSIDE_SYMBOLS)


def _has_variants(before: str, after: str) -> bool:
    """Return whether a sign may be followed by a selector of its form: emoji, symbols, keycaps, ideographs."""
    if not before or "\ufe00" <= before <= "\ufe0f" or before >= "\U000e0000":
        return False
    is_symbol = _is_emoji(before) or unicodedata.category(before) == "Sm" or after == _KEYCAP
    return is_symbol or (unicodedata.category(before) == "Lo" and before >= "\u3400")


def _escape(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file's name that is no UTF-8
        return f"\\x{ord(sign) - 0xDC00:02x}"
    if "\x80" <= sign <= "\xff":  # not \\x, which is a byte
        return f"\\u{ord(sign):04x}"
    return sign.encode("unicode_escape").decode("ascii")
