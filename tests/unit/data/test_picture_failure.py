"""What a library raised on a picture, as that picture's refusal."""

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
