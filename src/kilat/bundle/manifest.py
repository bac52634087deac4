"""The document inside a model file (metadata key ``kilat``): classes, recipe, digests, thresholds, measures."""

import base64
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.errors import ModelFileError
from kilat.locale import _

KEY = "kilat"
REFERENCE = "kilat.reference"
"""The metadata key of embeddings that new pictures can be compared with (``pack``)."""

SCHEMA = 1
MAX_BYTES = 16 << 20
"""A longer document is refused before it is parsed."""


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
    def from_json(cls, text: str | None, where: str) -> "Manifest":
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
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES:
            raise ModelFileError(
                _("{where} has a header of {size:,} bytes; more than {max_bytes:,} are refused.").format(
                    where=where, size=size, max_bytes=MAX_BYTES
                )
            )
        try:
            document = json.loads(text)
            schema = int(document["schema"])
            if schema > SCHEMA:
                raise ModelFileError(
                    _("{where} was made by a newer kilat (schema {schema}, known here: {known}).").format(
                        where=where, schema=schema, known=SCHEMA
                    ),
                    hint=_("pip install --upgrade kilat"),
                )
            known = {name: document[name] for name in cls.__dataclass_fields__}
            manifest = cls(**{**known, "classes": tuple(str(name) for name in known["classes"])})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelFileError(
                _("{where} has a damaged header: {kind} {error}.").format(
                    where=where, kind=type(error).__name__, error=error
                )
            ) from None
        classes, size = known["classes"], known["size"]
        sound = (
            isinstance(classes, list)
            and 0 < len(classes) == len(set(map(str, classes)))
            and isinstance(size, int)
            and size > 0
            and isinstance(known["thresholds"], dict)
        )
        if not sound:
            raise ModelFileError(
                _("{where} has a damaged header: invalid classes, size or thresholds.").format(where=where)
            )
        return manifest


def pack(embeddings: NDArray[np.float32]) -> str:
    """Return embeddings ``[n, d]`` as text: the width, a colon, and float16 numbers in Base64."""
    numbers = base64.b64encode(embeddings.astype("<f2").tobytes()).decode("ascii")
    return f"{embeddings.shape[1]}:{numbers}"


def unpack(text: str, where: str) -> NDArray[np.float32]:
    """Return the embeddings ``[n, d]`` in such a text.

    Raises:
        ModelFileError: it is too long, damaged, or holds numbers that are not finite.
    """
    width, _unused, numbers = text[:MAX_BYTES].partition(":")  # a longer one is cut off, and so damaged
    try:
        found = np.frombuffer(base64.b64decode(numbers, validate=True), "<f2").reshape(-1, int(width))
    except (ValueError, OverflowError):
        raise ModelFileError(_("{where} has damaged reference embeddings.").format(where=where)) from None
    if not np.isfinite(found).all():
        raise ModelFileError(_("{where} has reference embeddings that are not finite.").format(where=where))
    return found.astype(np.float32)
