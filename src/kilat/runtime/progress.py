"""Progress of long tasks: whoever works says how far it is, whoever called decides whether and how it is shown."""

from collections.abc import Callable
from typing import Protocol


class Advance(Protocol):
    """Called as a task goes on."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` are done; ``note`` says how it goes."""
        ...


Progress = Callable[[str], Advance]
"""Called with the name of a long task that begins; returns what is called as it goes on."""


def ignore(done: int, total: int, note: str = "") -> None:
    """Report to nobody; an ``Advance``."""


def silent(_task: str) -> Advance:
    """Report to nobody; a ``Progress``."""
    return ignore
