"""Notes: what changes how far a result can be believed, as a code with values, translated when it is shown.

Whoever finds something worth saying makes a ``Note``; it is kept in ``metrics.json`` as it is, and becomes a sentence
on the terminal and in the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kilat.locale import _, localized, ngettext
from kilat.locale.comparison_sentences import COMPARISONS
from kilat.locale.diagnosis_sentences import DIAGNOSES
from kilat.locale.escapes import Shown
from kilat.locale.file_sentences import FILES
from kilat.locale.lab_sentences import LABS
from kilat.locale.layer_sentences import LAYERS
from kilat.locale.lists import listed
from kilat.locale.note_sentences import NOTES
from kilat.locale.phrases import phrases
from kilat.locale.refusals import refusal_hint, refusal_sentence
from kilat.locale.system_errors import system_reason

_SENTENCES = NOTES | LAYERS | DIAGNOSES | COMPARISONS | FILES | LABS


@dataclass(frozen=True)
class Note:
    """Something that the user should know about a result.

    Args:
        code: a key of ``kilat.locale.note_sentences.NOTES``, ``kilat.locale.layer_sentences.LAYERS``,
            ``kilat.locale.diagnosis_sentences.DIAGNOSES``, ``kilat.locale.comparison_sentences.COMPARISONS``,
            ``kilat.locale.file_sentences.FILES`` or ``kilat.locale.lab_sentences.LABS``.
        values: what its sentence names; numbers, strings, lists of names or phrases, and numbers by name, as JSON can
            hold them.
            The code of a refusal becomes its reason, and what to do about it stands behind the sentence.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return the note as a sentence in the language of the environment."""
        template = _SENTENCES[self.code]
        text = _(template) if isinstance(template, str) else ngettext(*template, int(self.values["count"]))
        values = {name: _shown(value) for name, value in self.values.items()}
        if isinstance(values.get("reason"), str):
            values["reason"] = system_reason(values["reason"])
        if "code" in self.values:
            code = self.values["code"]
            values["reason"] = refusal_sentence(code, self.values["detail"])
            return Shown(" ").join(filter(None, (text.format(**values), refusal_hint(code))))
        return text.format(**values)

    def document(self) -> dict[str, Any]:
        """Return the note as JSON holds it."""
        return {"code": self.code, "values": dict(self.values)}


def _shown(value: Any) -> Any:
    """Return a value as it stands in a sentence: names in quotes, with their numbers or meanings in brackets."""
    if isinstance(value, Mapping):
        return listed(
            [f"'{name}' ({one if isinstance(one, str) else localized(one, ',')})" for name, one in value.items()]
        )
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return phrases(value)
    return listed([f"'{one}'" for one in value]) if isinstance(value, list) else value
