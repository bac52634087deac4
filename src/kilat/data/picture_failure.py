"""Why a picture is refused, by what a library raised on it: whatever that is, it is no reason to stop."""

from kilat.errors import KilatError, PictureError
from kilat.locale.excerpt import shortened

_OF_MEMORY = ("allocate", "bad_alloc", "out of memory")
"""What ONNX Runtime and others say where memory was not given; their exceptions are of no kind of their own."""


def picture_failure(error: Exception) -> PictureError:
    """Return the refusal of a picture on which a decoder, a resize or the measuring of it failed.

    It is an error of its own, without the traceback of the one that was caught: through that it would hold on to the
    picture's bytes, for as long as anybody keeps it.

    Raises:
        KilatError: it was raised, and is about no picture: a setting, a file that all need.
    """
    if isinstance(error, PictureError):
        return PictureError(error.refusal.code, error.refusal.detail, error.path)
    if isinstance(error, KilatError):
        raise error
    reason = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in reason.lower() for words in _OF_MEMORY):
        return PictureError("out_of_memory")
    return PictureError("truncated" if "truncated" in reason.lower() else "undecodable", shortened(reason))
