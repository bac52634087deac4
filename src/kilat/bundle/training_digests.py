"""The pictures that a model was trained on, as a few bytes of each one's digest: they are never taken for tests.

They stand in the model file under a metadata key of their own: the first five bytes of the SHA-256 of every picture in
the train, validation and calibration set, sorted, in Base64. A picture cannot be made from them, but whoever has the
very file can tell whether it is among them. Another picture matches by chance with a probability of n / 2^40: for
60,000 training pictures, 5 in 100 million.
"""

import base64
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kilat.errors import ModelFileError
from kilat.locale import _
from kilat.runtime.array_types import Flags

KEY = "kilat.training_digests"

_BYTES = 5
_MAX_BYTES = 80 << 20
"""Of the text, which has ten million pictures then; of a longer one the rest is left."""


def pack(digests: Iterable[str]) -> str:
    """Return hexadecimal digests as text; the order in which they come does not matter."""
    starts = sorted({bytes.fromhex(digest[: 2 * _BYTES]) for digest in digests})
    return base64.b64encode(b"".join(starts)).decode("ascii")


def unpack(text: str | memoryview, where: str) -> NDArray[np.int64]:
    """Return the numbers that digests in such a text begin with, ``[n]``.

    Raises:
        ModelFileError: it is damaged.
    """
    try:
        starts = np.frombuffer(base64.b64decode(text[:_MAX_BYTES], validate=True), np.uint8).reshape(-1, _BYTES)
    except ValueError:
        raise ModelFileError(_("{where} has damaged digests of its training pictures.").format(where=where)) from None
    return starts.astype(np.int64) @ (256 ** np.arange(_BYTES - 1, -1, -1))


def are_among(digests: Sequence[str], starts: NDArray[np.int64]) -> Flags:
    """Return which hexadecimal digests begin with one of some numbers, ``[n]``; an empty one does not."""
    return np.isin([int(digest[: 2 * _BYTES], 16) if digest else -1 for digest in digests], starts)
