"""Which of kilat's optional extras are installed, found out without importing them."""

import importlib.util

from kilat.errors import MissingExtra


def has_torch() -> bool:
    """Return whether the extra ``torch`` is installed, without importing it, which takes seconds."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "timm"))


def require_torch(wanted: str) -> None:
    """Raise unless the extra ``torch`` is installed.

    Args:
        wanted: what needs it, as the beginning of a sentence.

    Raises:
        MissingExtra: it is not.
    """
    if not has_torch():
        raise MissingExtra(wanted, "torch")
