"""The language of a command: that of ``--lang``, wherever it stands, settled before anything is shown."""

import gettext
import os
from collections.abc import Sequence

from kilat import locale
from kilat.errors import KilatError
from kilat.locale import _


def settle_language(arguments: Sequence[str]) -> None:
    """Make the language that was asked for that of this process, of those that it starts, and of Typer.

    Args:
        arguments: of the command line, before anything has parsed them.

    Raises:
        KilatError: there is no such language.
    """
    if name := _asked_for(arguments):
        code = locale.known(name)
        if code is None:
            known = ", ".join(f"{code} ({locale.language_name(code)})" for code in locale.languages())
            raise KilatError(
                _("There is no language '{name}'.").format(name=name),
                hint=_("Choose from: {languages}").format(languages=known),
            )
        os.environ["KILAT_LANG"] = code
    os.environ["LANGUAGE"] = locale.language()  # for gettext, which Typer asks for words of its own
    gettext.bindtextdomain("kilat", str(locale.FOLDER))
    gettext.textdomain("kilat")


def complete_language(incomplete: str) -> list[str]:
    """Return the languages that begin with what was typed so far."""
    return [code for code in locale.languages() if code.startswith(incomplete)]


def _asked_for(arguments: Sequence[str]) -> str:
    """Return the value of the last ``--lang``; empty where there is none."""
    found = ""
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        option, _sign, value = argument.partition("=")
        if option == "--lang":
            found = value or "".join(arguments[index + 1 : index + 2])
    return found
