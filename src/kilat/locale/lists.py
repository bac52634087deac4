"""Lists of names inside a sentence."""

from collections.abc import Sequence

from kilat.locale import ngettext


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names in a row; of more than ``most`` only the first ones, and how many there are besides."""
    shown, rest = ", ".join(names[:most]), len(names) - most
    if rest <= 0:
        return shown
    return ngettext("{names} and {count:,} more", "{names} and {count:,} more", rest).format(names=shown, count=rest)
