"""The document inside a model file (metadata key ``kilat``): classes, recipe, digests, thresholds, measures."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from kilat.errors import ModelFileError

KEY = "kilat"
SCHEMA = 1
MAX_BYTES = 16 << 20
"""A longer document is refused before it is parsed."""


@dataclass(frozen=True)
class Manifest:
    """What a model file says of itself.

    Args:
        classes: their names, in the order of the probabilities.
        size: side in pixels at which the network looks.
        backbone: ``name``, ``precision`` and ``digest`` of the network.
        recipe: the resolved recipe.
        thresholds: ``set``: the ``coverage`` that prediction sets promise and the ``probability`` that a class needs.
        measures: accuracy and its interval on the test pictures, and on how many.
        digests: SHA-256 of the training pictures' digests.
        versions: of kilat, of what it was made with, and the ``opset``.
        schema: of this document.
    """

    classes: tuple[str, ...]
    size: int
    backbone: dict[str, Any]
    recipe: dict[str, Any]
    thresholds: dict[str, Any]
    measures: dict[str, Any]
    digests: dict[str, str]
    versions: dict[str, Any]
    schema: int = field(default=SCHEMA)

    def to_json(self) -> str:
        """The document, the same for the same content."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Manifest":
        """Reads the document.

        Raises:
            ModelFileError: there is none, it is too long, damaged, or of a newer schema than this kilat knows.
        """
        if text is None:
            raise ModelFileError(
                f"{where} is an ONNX file, but not one that kilat made: it names no classes.",
                mend="Make one with: kilat train FOLDER",
            )
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES:
            raise ModelFileError(f"{where} has a header of {size:,} bytes; more than {MAX_BYTES:,} are refused.")
        try:
            document = json.loads(text)
            schema = int(document["schema"])
            if schema > SCHEMA:
                raise ModelFileError(
                    f"{where} was made by a newer kilat (schema {schema}, known here: {SCHEMA}).",
                    mend="pip install --upgrade kilat",
                )
            known = {name: document[name] for name in cls.__dataclass_fields__}
            manifest = cls(**{**known, "classes": tuple(str(name) for name in known["classes"])})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelFileError(f"{where} has a damaged header: {type(error).__name__} {error}.") from None
        if not _is_sound(known):
            raise ModelFileError(f"{where} has a damaged header: its classes, size or thresholds cannot be meant.")
        return manifest


def _is_sound(document: dict[str, Any]) -> bool:
    """Whether what a predictor works with is of the right kind."""
    classes, size, thresholds = document["classes"], document["size"], document["thresholds"]
    sets = thresholds.get("set", {}) if isinstance(thresholds, dict) else None
    return (
        isinstance(classes, list)
        and 0 < len(classes) == len(set(map(str, classes)))
        and isinstance(size, int)
        and size > 0
        and isinstance(sets, dict)
        and isinstance(sets.get("probability", 0.0), int | float)
    )
