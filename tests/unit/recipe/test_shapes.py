"""Output sizes of sliding windows, against counting their positions, and questions about them."""

from itertools import product

import pytest

from kilat.errors import RecipeError
from kilat.recipe.shapes import answer, output_size


def positions(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Count the starts of a window whose last pixel still lies inside."""
    return sum(start + (kernel - 1) * dilation < size for start in range(0, size, stride))


def test_valid_windows_lie_inside() -> None:
    for size, kernel, stride, dilation in product(range(1, 12), range(1, 5), range(1, 4), range(1, 4)):
        assert output_size(size, kernel, stride, "valid", dilation) == (positions(size, kernel, stride, dilation),) * 2


def test_same_windows_start_at_every_stride() -> None:
    for size, kernel, stride in product(range(1, 12), range(1, 5), range(1, 4)):
        assert output_size(size, kernel, stride, "same") == (len(range(0, size, stride)),) * 2


def test_height_and_width_may_differ() -> None:
    assert output_size((9, 16), (3, 5), (2, 1), "valid", (1, 2)) == (4, 8)


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("7x7, kernel 3, stride 2, valid", "7x7, kernel 3, stride 2, valid → 3x3"),
        ("7×7 kernel 3x5 strides=2 same dilation 2", "7x7, kernel 3x5, stride 2, same, dilation 2 → 4x4"),
        ("Kernel: 5; size 28 x 30", "28x30, kernel 5, stride 1, valid → 24x26"),
        ("32 k3 s2 padding same", "32x32, kernel 3, stride 2, same → 16x16"),
        ("5x5, kernel 3, VALID padding, dilation 2", "5x5, kernel 3, stride 1, valid, dilation 2 → 1x1"),
    ],
)
def test_questions_are_answered_however_they_are_written(question: str, found: str) -> None:
    assert answer(question) == found


@pytest.mark.parametrize(
    "question", ["", "hello", "kernel 3", "7x7", "7x7, kernel 0", "7x7x3, kernel 3", "7x7, kernel 3.5", "-7, kernel 3",
                 "7x7, kernel 3, padding 1", "7x7, kernel 3, stride 2, stride 3", "9999999, kernel 3"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_an_example(question: str) -> None:
    with pytest.raises(RecipeError, match="For example: 7x7, kernel 3, stride 2, valid"):
        answer(question)


def test_a_kernel_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RecipeError, match="the kernel is larger than its input"):
        answer("7x7, kernel 3, dilation 4")
