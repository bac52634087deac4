"""What was found in the data: one thing worth doing something about, with the pictures that show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kilat.check import sentences

Severity = Literal["serious", "warning", "note"]
"""``serious`` makes measured figures or the classifier wrong; ``warning`` deserves a look; ``note`` is good to know."""

SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that was found, as data: its sentences are made when they are shown (``kilat.check.sentences``).

    Args:
        kind: such as ``near_duplicates`` or ``blurred``.
        severity: how much it matters.
        values: what its title and advice name: numbers, strings, lists and dictionaries that JSON can hold.
        groups: rows of the catalog that belong together, the worst first; single pictures are groups of one.
        caption_values: what the caption of each group names, in their order; none, or one a group.
    """

    kind: str
    severity: Severity
    values: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[tuple[int, ...], ...] = ()
    caption_values: tuple[Mapping[str, Any], ...] = ()

    @property
    def count(self) -> int:
        """How many pictures it concerns."""
        return len({row for group in self.groups for row in group})

    def title(self) -> str:
        """Return what was found, a sentence with its numbers."""
        return sentences.title(self.kind, self.values)

    def advice(self) -> str:
        """Return what to do about it, a sentence or two."""
        return sentences.advice(self.kind, self.values)

    def captions(self) -> list[str]:
        """Return what there is to say of each group."""
        return [sentences.caption(self.kind, values) for values in self.caption_values]

    def document(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return the finding as JSON holds it, pictures by their paths.

        Args:
            paths: of all rows of the catalog.
        """
        return {
            "kind": self.kind,
            "severity": self.severity,
            "values": dict(self.values),
            "pictures": [[str(paths[row]) for row in group] for group in self.groups],
            "caption_values": [dict(values) for values in self.caption_values],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], paths: Sequence[str]) -> "Finding":
        """Return the finding that gave this document.

        Args:
            document: what ``document`` returned.
            paths: of all rows of the catalog.

        Raises:
            KeyError: a picture is not in the catalog, or the document is not one of a finding.
        """
        rows = {path: row for row, path in reversed([*enumerate(paths)])}
        return cls(
            document["kind"],
            document["severity"],
            document["values"],
            tuple(tuple(rows[path] for path in group) for group in document["pictures"]),
            tuple(document["caption_values"]),
        )
