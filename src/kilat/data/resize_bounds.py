"""Long and thin pictures, made shorter before a resize whose square, or whose steps on the way, would be huge."""

from math import ceil, isqrt

from PIL import Image

from kilat.runtime.byte_budget import decoded_bytes

_MOST = 1 << 26
"""Pixels of a square around a picture, or of what a resize holds on its way: a photo of 8,192 by 6,144 has fewer."""


_LARGE = 4
"""How much larger than the picture a square is whose memory is not in that for decoding."""

_BYTES_OF_SQUARE = 4
"""Bytes a pixel of it, as ONNX Runtime takes them."""


def shortened(image: Image.Image, size: int, resize: str) -> Image.Image:
    """Return a picture that can be resized to the network's square in bounded memory: nearly always the picture itself.

    With ``pad``, a picture of 1 by 100,000 pixels would be put into a square of 10,000,000,000; with ``squash``, one of
    80,000,000 rows is first resized across, to ``size`` pixels a row. Such are averaged over whole numbers of pixels,
    and keep at least twice the resolution that is needed: with ``pad`` in both directions alike, since there the aspect
    ratio counts.

    The memory for a large square is taken from ``decoded_bytes``, in place of that for decoding.

    Args:
        image: the picture.
        size: side of the network's square in pixels.
        resize: ``crop``, ``squash`` or ``pad``.
    """
    longer = max(image.size)
    if resize == "pad" and longer**2 > _LARGE * image.width * image.height:
        if longer**2 > _MOST:
            image = image.reduce(ceil(longer / isqrt(_MOST)))
        decoded_bytes.exchange(_BYTES_OF_SQUARE * max(image.size) ** 2)
    if resize == "squash" and image.height * size > _MOST:
        return image.reduce((1, ceil(image.height * size / _MOST)))
    return image
