"""What verbs print: results in sentences, or as one line of JSON."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kilat.cli.terminal import linked, say, say_aside, wrapped
from kilat.locale import _, localized, ngettext
from kilat.locale.escapes import shell_command, visible
from kilat.locale.lists import listed
from kilat.locale.notes import Note
from kilat.runtime import progress_bars
from kilat.runtime.progress import Progress, silent

_NAMED_CLASSES = 10
_LONG_NAME = 40


def print_json(document: dict[str, Any]) -> None:
    """Print a document as one line of strict JSON, in ASCII: names in it are exact, and no terminal minds them."""
    say(json.dumps(document, allow_nan=False, default=str), at_once=True)


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Show progress on standard error while the block lasts, in plain lines where that is no terminal; or nothing."""
    with progress_bars.show(silent if quiet else None, plain=True) as shown:
        yield shown
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        say_aside()  # between progress and result


def print_page(path: Path, *, as_json: bool, open_page: bool) -> None:
    """Print where a page is, unless the result is JSON, and open it if that was asked for."""
    if not as_json:
        say(_("page    {path}").format(path=linked(path)))
    if open_page:
        open_in_browser(path)


def open_in_browser(path: Path) -> None:
    """Open a page in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        say_aside(_("No browser could be started; open {path}.").format(path=path))


def print_names(names: Sequence[str]) -> None:
    """Print what classes are called, the first ones of many."""
    shortened = [name if len(name) <= _LONG_NAME else name[: _LONG_NAME - 1] + "…" for name in map(visible, names)]
    say(wrapped(_("classes: {names}").format(names=listed(shortened, _NAMED_CLASSES)), "  ", first=""))


def print_notes(notes: Iterable[dict[str, Any]]) -> None:
    """Print what changes how far a result can be believed; a note is a ``code`` with ``values``."""
    for note in notes:
        say(Note(**note).sentence())


def glossary_command(text: str) -> str:
    """Return the command that explains the words of a text that the glossary has; nothing where it has none."""
    from kilat.locale.glossary import GLOSSARY, find_terms

    names = dict.fromkeys(_(GLOSSARY[key].name) for _match, key in find_terms(text))
    return shell_command("kilat", "glossary", *names) if names else ""


def print_import(described: dict[str, Any]) -> None:
    """Print what an imported model is, how it compares with Keras, and how it does on labelled pictures."""
    parity, labelled = described["parity"], described["labelled"]
    print_names(described["classes"])
    sentence = ngettext(
        "as Keras on {count:,} picture: a probability differs by {probability:.1e}, a logit by {logit:.1e} of how "
        "logits vary",
        "as Keras on {count:,} pictures: a probability differs by at most {probability:.1e}, a logit by {logit:.1e} of "
        "how logits vary",
        parity["pictures"],
    )
    values = {"probability": parity["max_difference"], "logit": parity["logit_difference"]}
    say(sentence.format(count=parity["pictures"], **values))
    if labelled:
        taken = described["pixels"]
        say(
            ngettext(
                "accuracy on {count:,} labelled picture, pixels as",
                "accuracy on {count:,} labelled pictures, pixels as",
                labelled["n"],
            ).format(count=labelled["n"])
        )
        for scale, accuracy in labelled["accuracies"].items():
            say(f"  {scale:8}{localized(accuracy, '7.1%')}" + (_("  taken") if scale == taken else ""))
    print_notes(described["notes"])


def print_written(path: Path) -> None:
    """Print the name of a file that was written."""
    say(_("wrote {path}").format(path=path))


def size(count: int) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{localized(count / 1e9, ',.1f')} GB" if count >= 1e9 else f"{localized(count / 1e6, ',.1f')} MB"


def pictures(count: int) -> str:
    """Return a number of pictures in words."""
    return ngettext("{count:,} picture", "{count:,} pictures", count).format(count=count)


def classes(count: int) -> str:
    """Return a number of classes in words."""
    return ngettext("{count:,} class", "{count:,} classes", count).format(count=count)
