"""Long and thin pictures before a resize: bounded squares, and ordinary pictures as they are."""

import pytest
from PIL import Image

from kilat.data.resize_bounds import shortened

MOST = 1 << 26


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (8_192, 60), (60, 8_192), (1, 8_000)])
def test_ordinary_ones_are_left_as_they_are(size: tuple[int, int], resize: str) -> None:
    image = Image.new("RGB", size)
    assert shortened(image, 224, resize) is image


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (3_000_000, 3), (20_000, 500)])
def test_with_pad_in_both_directions_alike(size: tuple[int, int]) -> None:
    width, height = shortened(Image.new("RGB", size), 224, "pad").size
    assert max(width, height) > 4_096
    assert max(width, height) ** 2 <= MOST
    if min(size) > 100:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.05)


@pytest.mark.parametrize(("size", "expected"), [((1, 3_000_000), (1, 272_728)), ((3_000_000, 1), (3_000_000, 1))])
def test_with_squash_only_rows_are_many(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shortened(Image.new("RGB", size), 224, "squash").size == expected
