"""KilatError and its few kinds: what was given, why it is refused, what to do about it."""

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches

from kilat.locale import _
from kilat.locale.escapes import Shown, shown
from kilat.locale.excerpt import excerpt, shortened
from kilat.locale.refusals import Refusal

_COMPARED_CHARACTERS = 200
"""Longer names are nobody's slip of the pen, and comparing two of them takes time that grows with both."""

_COMPARED_PAIRS = 30_000_000
"""Of a character of the name and one of a valid name; the rest of the valid names is left out."""

_LISTED = 12


class KilatError(Exception):
    """An error that is shown to the user as sentences, without a traceback.

    What is neither a sentence of kilat nor made of such (``kilat.locale.escapes.Shown``) is escaped, line breaks too.

    Args:
        message: what was given and why it is refused.
        hint: what to do about it; shown on a line of its own.
    """

    kind = "error"
    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        self._message: str = shown(message)
        self.hint: str = shown(hint)
        super().__init__(str(self))

    @property
    def message(self) -> str:
        """What was given and why it is refused."""
        return self._message

    def __str__(self) -> str:
        return Shown("\n").join(filter(None, (self.message, self.hint)))


class SourceError(KilatError):
    """Data that cannot be read as labelled pictures: a missing path, an empty folder, a table without its columns."""

    kind = "source"


class PictureError(KilatError):
    """One picture that is refused.

    Args:
        code: why, a key of ``kilat.locale.refusals.REFUSALS``.
        detail: what its sentence names.
        path: of the picture, where the message is to name it.
    """

    kind = "picture"

    def __init__(self, code: str, detail: str = "", path: str = "") -> None:
        self.refusal, self.path, self.hint = Refusal(code, detail), path, ""
        Exception.__init__(self, code, detail, path)

    @property
    def message(self) -> str:
        """Why the picture is refused, in the language of the environment."""
        sentence = self.refusal.sentence()
        return Shown(": ").join((self.path, sentence)) if self.path else sentence


class RecipeError(KilatError):
    """A recipe with unknown keys, impossible values or contradictions; all of them are in the message."""

    kind = "recipe"


class BackboneError(KilatError):
    """A backbone that does not exist, gives no features, or whose weights cannot be trusted."""

    kind = "backbone"


class ModelFileError(KilatError):
    """A file that is not a kilat model, or one that would reach outside itself."""

    kind = "model-file"


class MissingExtra(KilatError):
    """Something that an optional extra of kilat brings was asked for without it."""

    kind = "missing-extra"

    def __init__(self, wanted: str, extra: str) -> None:
        super().__init__(
            _("{wanted} needs the extra '{extra}'.").format(wanted=wanted, extra=extra),
            hint=_("pip install 'kilat[{extra}]'").format(extra=extra),
        )


class RunError(KilatError):
    """A run that started well and could not be finished, such as one that failed the parity gate."""

    kind = "run"
    exit_code = 1


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return a question with the valid names nearest to ``name``, those about equally near; nothing where none is."""
    names = list(_comparable(name, valid))
    close = get_close_matches(name, names, n=3, cutoff=0.5) if names else []
    least = max((_similarity(name, one) for one in close), default=0.0) - 0.1
    shown = [excerpt(one) for one in close if _similarity(name, one) >= least]
    return _("Did you mean {names}?").format(names=_(" or ").join(shown)) if shown else ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence with the valid names nearest to ``name``, or with the first of all where none is near."""
    names = list(valid)
    shown = ", ".join(map(shortened, names[:_LISTED])) + (", …" if len(names) > _LISTED else "")
    return did_you_mean(name, names) or (_("Valid names: {names}.").format(names=shown) if names else "")


def _comparable(name: str, valid: Iterable[str]) -> Iterator[str]:
    """Yield the valid names that are worth comparing with a name, each once, until that is work enough."""
    if len(name) > _COMPARED_CHARACTERS:
        return
    short = (one for one in dict.fromkeys(valid) if len(one) <= _COMPARED_CHARACTERS)
    work = 0
    for one in short:
        work += len(name) * len(one)
        if work > _COMPARED_PAIRS:
            return
        yield one


def _similarity(name: str, other: str) -> float:
    return SequenceMatcher(None, other, name).ratio()
