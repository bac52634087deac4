"""What verbs print: results in sentences, or as one line of JSON."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilat.cli.terminal import wrapped
from kilat.locale import _, ngettext
from kilat.locale.lists import listed
from kilat.locale.notes import Note
from kilat.runtime import progress_bars
from kilat.runtime.progress import Progress, silent

if TYPE_CHECKING:
    from kilat.bundle.predictor import Prediction, RefusedPicture

_NAMED_CLASSES = 10
_LONG_NAME = 40

_LIKELIEST = 3
_WORTH_NAMING = 0.01
"""How many classes a model without prediction sets names, and how likely they are at least."""


def print_json(document: dict[str, Any]) -> None:
    """Print a document as one line of strict JSON."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str))


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Show progress on standard error while the block lasts, in plain lines where that is no terminal; or nothing."""
    with progress_bars.show(silent if quiet else None, plain=True) as shown:
        yield shown
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        print(file=sys.stderr)  # between progress and result


def open_page(path: Path) -> None:
    """Open a page in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        print(_("No browser could be started; open {path}.").format(path=path), file=sys.stderr)


def print_names(names: Sequence[str]) -> None:
    """Print what classes are called, the first ones of many."""
    shortened = [name if len(name) <= _LONG_NAME else name[: _LONG_NAME - 1] + "…" for name in names]
    print(wrapped(_("classes: {names}").format(names=listed(shortened, _NAMED_CLASSES)), "  ", first=""))


def print_notes(notes: Iterable[dict[str, Any]]) -> None:
    """Print what changes how far a result can be believed; a note is a ``code`` with ``values``."""
    for note in notes:
        print(Note(**note).sentence())


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
    print(sentence.format(count=parity["pictures"], **values))
    if labelled:
        taken = described["pixels"]
        print(
            ngettext(
                "accuracy on {count:,} labelled picture, pixels as",
                "accuracy on {count:,} labelled pictures, pixels as",
                labelled["n"],
            ).format(count=labelled["n"])
        )
        for scale, accuracy in labelled["accuracies"].items():
            print(f"  {scale:8}{accuracy:7.1%}" + (_("  taken") if scale == taken else ""))
    print_notes(described["notes"])


def print_prediction(prediction: "Prediction | RefusedPicture", *, as_json: bool, has_sets: bool) -> None:
    """Print one prediction, or why there is none; lines for people appear at once.

    Args:
        prediction: for a picture.
        as_json: whether as one line of JSON.
        has_sets: whether the model rules classes out; otherwise the likeliest are named.
    """
    from kilat.bundle.predictor import RefusedPicture

    if as_json and isinstance(prediction, RefusedPicture):
        error = {"kind": prediction.error.kind, "message": prediction.error.message}
        print_json({"path": prediction.path, "error": error})
    elif as_json:
        print_json(vars(prediction))
    elif isinstance(prediction, RefusedPicture):
        line = _("{path}: refused: {reason}").format(path=prediction.path, reason=prediction.error.message)
        print(line, flush=True)
    elif prediction.unknown:
        line = _("{path}: none of these (nearest: {label} {probability:.1%})").format(**vars(prediction))
        print(line, flush=True)
    else:
        named = [name for name in prediction.set if name != prediction.label]
        if not has_sets:
            named = [name for name in named if prediction.probabilities[name] >= _WORTH_NAMING][: _LIKELIEST - 1]
        others = [f"{name} {prediction.probabilities[name]:.1%}" for name in named]
        more = _(" or {others}").format(others=", ".join(others)) if others else ""
        print(f"{prediction.path}: {prediction.label} {prediction.probability:.1%}{more}", flush=True)


def print_hints(codes: Iterable[str]) -> None:
    """Print what to do about pictures that were refused with these codes."""
    from kilat.locale.refusals import refusal_hint

    for hint in filter(None, map(refusal_hint, sorted(codes))):
        print(hint)


def print_written(path: Path) -> None:
    """Print the name of a file that was written."""
    print(_("wrote {path}").format(path=path))


def size(count: int) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def pictures(count: int) -> str:
    """Return a number of pictures in words."""
    return ngettext("{count:,} picture", "{count:,} pictures", count).format(count=count)


def classes(count: int) -> str:
    """Return a number of classes in words."""
    return ngettext("{count:,} class", "{count:,} classes", count).format(count=count)
