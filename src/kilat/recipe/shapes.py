"""Output sizes of convolution and pooling, and questions about them."""

import re
from typing import Literal

from kilat.errors import RecipeError
from kilat.locale import _

_NUMBER = r"(\d{1,6})(?:\s*x\s*(\d{1,6}))?"
_EXAMPLE = "7x7, kernel 3, stride 2, valid"

Sides = int | tuple[int, int]


def output_size(
    size: Sides, kernel: Sides, stride: Sides, padding: Literal["valid", "same"], dilation: Sides = 1
) -> tuple[int, int]:
    """Return the output size of a sliding window, as Keras and TensorFlow count it.

    With ``valid`` padding these are ``⌊(size − dilation·(kernel − 1) − 1) / stride⌋ + 1``, with ``same``
    ``⌈size / stride⌉`` (Dumoulin and Visin, arXiv 1603.07285). One number stands for height and width.

    Returns:
        Height and width of the output; 0 where the window does not fit in.
    """
    height, width = (
        -(-n // s) if padding == "same" else max(0, (n - d * (k - 1) - 1) // s + 1)
        for n, k, s, d in zip(_pair(size), _pair(kernel), _pair(stride), _pair(dilation), strict=True)
    )
    return height, width


def answer(question: str) -> str:
    """Return a question about a shape with its answer: ``7x7, kernel 3, stride 2, valid → 3x3``.

    Args:
        question: the size, ``kernel``, and where they are not 1, ``stride`` and ``dilation``; ``same``, or ``valid``,
            the default.

    Raises:
        RecipeError: it cannot be read, or the kernel does not fit in.
    """
    size, kernel, stride, dilation, padding = _read(question)
    written = f"{_written(size, full=True)}, kernel {_written(kernel)}, stride {_written(stride)}, {padding}"
    written += f", dilation {_written(dilation)}" if dilation != (1, 1) else ""
    output = output_size(size, kernel, stride, padding, dilation)
    if 0 in output:
        message = _("{question}: the kernel is larger than its input.").format(question=written)
        raise RecipeError(message, hint=_("Take a smaller kernel or dilation, or the padding 'same'."))
    return f"{written} → {_written(output, full=True)}"


def _read(
    question: str,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], Literal["valid", "same"]]:
    """Return size, kernel, stride, dilation and padding; where anything else is left over, refuse the question."""
    rest = question.lower().replace("×", "x")
    found: dict[str, tuple[int, int]] = {}
    for word in ("kernel", "stride", "dilation"):
        if match := re.search(rf"\b(?:{word}s?|{word[0]})\s*[:=]?\s*{_NUMBER}(?![\dx.])", rest):
            found[word] = _numbers(match)
            rest = rest[: match.start()] + " " + rest[match.end() :]
    padding: Literal["valid", "same"] = "same" if re.search(r"\bsame\b", rest) else "valid"
    rest = re.sub(rf"\b(?:padding\s*[:=]?\s*)?{padding}\b(?:\s+padding\b)?", " ", rest, count=1)
    size = re.fullmatch(rf"(?:(?:size|input)\s*[:=]?\s*)?{_NUMBER}", rest.strip(" ,;?\t\n"))
    if size is None or "kernel" not in found or 0 in {n for pair in found.values() for n in pair} | {*_numbers(size)}:
        message = _("“{question}” is not a question about a shape.").format(question=question)
        raise RecipeError(message, hint=_("For example: {example}").format(example=_EXAMPLE))
    return _numbers(size), found["kernel"], found.get("stride", (1, 1)), found.get("dilation", (1, 1)), padding


def _numbers(match: re.Match[str]) -> tuple[int, int]:
    height, width = match.groups()
    return int(height), int(width or height)


def _pair(value: Sides) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _written(pair: tuple[int, int], *, full: bool = False) -> str:
    height, width = pair
    return f"{height}x{width}" if full or height != width else f"{height}"
