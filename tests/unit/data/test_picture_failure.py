"""What a library raised on a picture, as that picture's refusal."""

import weakref

import pytest

from kilat.data.picture_failure import picture_failure
from kilat.errors import PictureError
from kilat.locale.refusals import Refusal


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), Refusal("out_of_memory")),
        (RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer"), Refusal("out_of_memory")),
        (RuntimeError("std::bad_alloc"), Refusal("out_of_memory")),
        (OSError("image file is truncated (4 bytes)"), Refusal("truncated", "image file is truncated (4 bytes)")),
        (ValueError("odd"), Refusal("undecodable", "odd")),
        (KeyError(), Refusal("undecodable", "KeyError")),
        (PictureError("empty_file"), Refusal("empty_file")),
    ],
)
def test_every_error_is_a_refusal(error: Exception, expected: Refusal) -> None:
    assert picture_failure(error).refusal == expected


def test_a_refusal_that_is_kept_holds_on_to_no_bytes():
    class Content(bytearray):
        """Bytes that can be watched."""

    def read() -> None:
        content = Content(10)
        raise PictureError("truncated", f"{len(content)} bytes")

    watched = []
    try:
        read()
    except PictureError as error:
        watched.append(weakref.ref(error.__traceback__.tb_next.tb_frame.f_locals["content"]))
        kept = picture_failure(error)
    assert kept.refusal.code == "truncated"
    assert watched[0]() is None
