"""KilatError and its few kinds: what was given, why it is refused, how to mend it."""

from collections.abc import Iterable
from difflib import get_close_matches

from kilat.locale import _


class KilatError(Exception):
    """An error that is shown to the user as sentences, without a traceback.

    Args:
        message: what was given and why it is refused.
        mend: what to do about it; shown on a line of its own.
    """

    kind = "error"
    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message}\n{hint}" if hint else message)


class SourceError(KilatError):
    """Data that cannot be read as labelled pictures: a missing path, an empty folder, a table without its columns."""

    kind = "source"


class PictureError(KilatError):
    """One picture that is refused; ``message`` is the reason that the catalog records."""

    kind = "picture"


class RecipeError(KilatError):
    """A recipe with unknown keys, impossible values or contradictions; all of them are in the message."""

    kind = "recipe"


class BackboneError(KilatError):
    """A backbone that does not exist, cannot be looked through, or whose weights cannot be trusted."""

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


def nearest(name: str, valid: Iterable[str]) -> str:
    """A sentence with the valid names nearest to ``name``, or with all of them where they are few."""
    names = list(valid)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(n) for n in close)}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"Valid names: {shown}." if names else ""
