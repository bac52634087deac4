"""The language of the sentences that users read: English in the code, others as gettext catalogs beside this file.

A sentence is translated when it is shown: ``_`` and ``ngettext`` look the language up at every call, so that nothing is
settled when a module is imported. What is written down before anybody reads it is not a sentence but a code with values
(``kilat.locale.notes``, ``kilat.locale.refusals``).

Stands on nothing.
"""

import gettext
import os
from functools import cache
from pathlib import Path

_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # in the order in which gettext itself asks for them


def _(message: str) -> str:
    """Return a sentence in the language of the environment."""
    return _catalog(tuple(os.environ.get(name) for name in _VARIABLES)).gettext(message)


def ngettext(singular: str, plural: str, count: int) -> str:
    """Return the sentence that fits a number, in the language of the environment; ``{count}`` is not filled in."""
    return _catalog(tuple(os.environ.get(name) for name in _VARIABLES)).ngettext(singular, plural, count)


def N_(message: str) -> str:  # noqa: N802 - gettext's usual name for it
    """Mark a sentence for translators where it stands in a table; whoever shows it calls ``_``."""
    return message


@cache
def _catalog(_environment: tuple[str | None, ...]) -> gettext.NullTranslations:
    return gettext.translation("kilat", Path(__file__).parent, fallback=True)
