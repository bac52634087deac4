"""Why a picture is refused, by what a library raised on it: whatever that is, it is no reason to stop."""

from kilat.errors import KilatError, PictureError
from kilat.locale.excerpt import shortened

_OF_MEMORY = ("allocate", "bad_alloc", "out of memory")
"""What ONNX Runtime and others say where memory was not given; their exceptions are of no kind of their own."""


def picture_failure(error: Exception) -> PictureError:
    """Return the refusal of a picture on which a decoder, a resize or the measuring of it failed.

    Raises:
        KilatError: it was raised, and is about no picture: a setting, a file that all need.
    """
    if isinstance(error, PictureError):
        return error
    if isinstance(error, KilatError):
        raise error
    reason = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in reason.lower() for words in _OF_MEMORY):
        return PictureError("out_of_memory")
    return PictureError("truncated" if "truncated" in reason.lower() else "undecodable", shortened(reason))
