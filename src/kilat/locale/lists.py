"""Lists of names inside a sentence."""

from collections.abc import Sequence

from kilat.locale import ngettext


def listed(names: Sequence[str], most: int = 5, *, of: int | None = None) -> str:
    """Return names in a row; of more than ``most`` only the first ones, and how many there are besides.

    Args:
        names: the first ones at least.
        most: how many are named.
        of: how many there are, where ``names`` are not all.
    """
    shown, rest = ", ".join(names[:most]), (len(names) if of is None else of) - min(most, len(names))
    if rest <= 0:
        return shown
    return ngettext("{names} and {count:,} more", "{names} and {count:,} more", rest).format(names=shown, count=rest)
