"""Notes: what changes how far a result can be believed, as a code with values, translated when it is shown.

Whoever finds something worth saying makes a ``Note``; it is kept in ``metrics.json`` as it is, and becomes a sentence on
the terminal and in the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kilat.locale import _, ngettext

NOTES: dict[str, str | tuple[str, str]] = {}
"""The sentence of every code; where there is a singular, both, chosen by the value ``count``."""


@dataclass(frozen=True)
class Note:
    """Something that the user should know about a result.

    Args:
        code: a key of ``NOTES``.
        values: what its sentence names; numbers and strings that JSON can hold.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return the note as a sentence in the language of the environment."""
        template = NOTES[self.code]
        text = _(template) if isinstance(template, str) else ngettext(*template, int(self.values["count"]))
        return text.format(**self.values)

    def document(self) -> dict[str, Any]:
        """Return the note as JSON holds it."""
        return {"code": self.code, "values": dict(self.values)}
