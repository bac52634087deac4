"""The document inside a model file (metadata key ``kilat``): classes, recipe, digests, thresholds, measures."""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.errors import ModelFileError
from kilat.locale import _
from kilat.runtime.json_document import parse_json

KEY = "kilat"
REFERENCE = "kilat.reference"
"""The metadata key of embeddings that new pictures can be compared with (``pack``)."""

SCHEMA = 1
MAX_BYTES = 16 << 20
"""A longer document is refused before it is parsed."""

MAX_SIZE = 16_384
"""Sides of more pixels are no network's input."""


@dataclass(frozen=True)
class Manifest:
    """The description of a model in its file.

    Args:
        classes: their names, in the order of the probabilities.
        size: side of the network's input in pixels.
        backbone: ``name``, ``precision`` and ``digest`` of the network.
        recipe: the resolved recipe.
        thresholds: ``set``: as ``kilat.evaluate.conformal.ConformalSets.to_dict`` writes it; ``unknown``:
            by which ``methods`` unknown pictures are detected, and the false-positive ``rate`` among known ones.
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

    @property
    def resize(self) -> str:
        """How pictures that are not square are resized: ``crop``, ``squash`` or ``pad``; empty where it is not said."""
        section = self.recipe
        if "resize" not in section:  # that of an imported network has no sections
            section = section.get("input" if section.get("model") else "features") or {}
        return str(section.get("resize", "")) if isinstance(section, dict) else ""

    def to_json(self) -> str:
        """Return the document, the same for the same content."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes | memoryview | None, where: str) -> "Manifest":
        """Return the manifest in a document.

        Args:
            text: the document; None where the file has none.
            where: the name of the file, for messages.

        Raises:
            ModelFileError: there is none, it is too long, damaged, or of a newer schema than this kilat knows.
        """
        if text is None:
            raise ModelFileError(
                _("{where} is an ONNX file, but not one that kilat made: it names no classes.").format(where=where),
                hint=_("Make one with: kilat train FOLDER"),
            )
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(data) > MAX_BYTES:
            raise ModelFileError(
                _("{where} has a header of {size:,} bytes; more than {max_bytes:,} are refused.").format(
                    where=where, size=len(data), max_bytes=MAX_BYTES
                )
            )
        try:
            document = parse_json(bytes(data))
        except ValueError as error:
            raise _damaged(where, str(error)) from None
        if not isinstance(document, dict) or type(document.get("schema")) is not int:
            raise _damaged(where, _("it has no '{name}'").format(name="schema"))
        if document["schema"] > SCHEMA:
            raise ModelFileError(
                _("{where} was made by a newer kilat (schema {schema}, known here: {known}).").format(
                    where=where, schema=document["schema"], known=SCHEMA
                ),
                hint=_("pip install --upgrade kilat"),
            )
        for name in cls.__dataclass_fields__:
            if name not in document:
                raise _damaged(where, _("it has no '{name}'").format(name=name))
            if not _is_valid(name, document[name]):
                raise _damaged(where, _("its '{name}' is not valid").format(name=name))
        known = {name: document[name] for name in cls.__dataclass_fields__}
        return cls(**{**known, "classes": tuple(known["classes"])})


def _damaged(where: str, reason: str) -> ModelFileError:
    return ModelFileError(_("{where} has a damaged header: {reason}.").format(where=where, reason=reason))


def _is_valid(name: str, value: Any) -> bool:
    """Return whether a field of the document is of the kind that everything relies on."""
    if name == "classes":
        return isinstance(value, list) and all(map(_is_class_name, value)) and 0 < len(value) == len(set(value))
    if name in {"size", "schema"}:
        return type(value) is int and 0 < value <= MAX_SIZE
    return isinstance(value, dict) and _PARTS.get(name, _is_anything)(value)


def _is_anything(_value: dict[str, Any]) -> bool:
    return True


def _is_class_name(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:  # half of a pair of surrogates, which no stream can write
        return False


def _has_measures(value: dict[str, Any]) -> bool:
    test = value.get("test", {})
    if not isinstance(test, dict):
        return False
    interval = test.get("accuracy_interval")
    if interval is None:
        return True
    shares = [*interval, test.get("accuracy")] if isinstance(interval, list) else []
    return len(shares) == 3 and all(map(_is_share, shares)) and isinstance(test.get("n"), int)


def _has_a_detector(value: dict[str, Any]) -> bool:
    detector = value.get("unknown", {})
    return isinstance(detector, dict) and _is_share(detector.get("rate", 0))


def _is_share(value: Any) -> bool:
    return type(value) in {int, float} and 0 <= value <= 1


_PARTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "backbone": lambda value: isinstance(value.get("name"), str),
    "measures": _has_measures,
    "recipe": lambda value: isinstance(value.get("model") or {}, dict),
    "thresholds": _has_a_detector,
}
"""What else has to hold for a field that is a group."""


def pack(embeddings: NDArray[np.float32]) -> str:
    """Return embeddings ``[n, d]`` as text: the width, a colon, and float16 numbers in Base64."""
    numbers = base64.b64encode(embeddings.astype("<f2").tobytes()).decode("ascii")
    return f"{embeddings.shape[1]}:{numbers}"


def unpack(text: str | memoryview, where: str) -> NDArray[np.float32]:
    """Return the embeddings ``[n, d]`` in such a text.

    Raises:
        ModelFileError: it is too long, damaged, or holds numbers that are not finite.
    """
    start = text[:MAX_BYTES]  # a longer one is cut off, and so damaged
    try:
        text = start if isinstance(start, str) else bytes(start).decode("ascii")
        width, _unused, numbers = text.partition(":")
        found = np.frombuffer(base64.b64decode(numbers, validate=True), "<f2").reshape(-1, int(width))
    except (ValueError, OverflowError):
        raise ModelFileError(_("{where} has damaged reference embeddings.").format(where=where)) from None
    if not np.isfinite(found).all():
        raise ModelFileError(_("{where} has reference embeddings that are not finite.").format(where=where))
    return found.astype(np.float32)
