"""What was found in the data: one thing worth doing something about, with the pictures that show it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["serious", "look", "note"]
"""``serious`` makes measured figures or the classifier wrong; ``look`` deserves a look; ``note`` is good to know."""

SEVERITIES: tuple[Severity, ...] = ("serious", "look", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        kind: such as ``near_duplicates`` or ``blurred``; a word for programs.
        severity: how much it matters.
        title: what was found, a sentence with its numbers.
        advice: what to do about it, a sentence.
        groups: rows of the catalog that belong together, the worst first; single pictures are groups of one.
        captions: what to say of each group, in their order; none, or one a group.
        facts: numbers for programs, that JSON can hold.
    """

    kind: str
    severity: Severity
    title: str
    advice: str
    groups: tuple[tuple[int, ...], ...] = ()
    captions: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many pictures it concerns."""
        return len({row for group in self.groups for row in group})
