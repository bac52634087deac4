"""How a kernel or a pooling window slides over a map, with the padding of Keras and TensorFlow."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from kilat.recipe.network import Padding


class Window(NamedTuple):
    """How a window slides over a map.

    Args:
        kernel: height and width of the window.
        stride: how far it moves.
        dilation: distance between the values it takes.
        before: rows and columns of padding at the top and on the left.
        after: rows and columns of padding at the bottom and on the right.
        output_size: height and width of the result; below 1 where the window is larger than the map.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    output_size: tuple[int, int]

    @property
    def is_symmetric(self) -> bool:
        """Whether the padding is the same on both sides, which PyTorch's layers add by themselves."""
        return self.before == self.after

    @property
    def padding(self) -> tuple[int, int]:
        """The padding that PyTorch's own layer is given."""
        return self.before if self.is_symmetric else (0, 0)

    def pad(self, planes: Tensor, value: float = 0.0) -> Tensor:
        """Return the planes with the padding that PyTorch's own layer does not add; no copy where that is none."""
        if self.is_symmetric:
            return planes
        (top, left), (bottom, right) = self.before, self.after
        return F.pad(planes, (left, right, top, bottom), value=value)


def sliding_window(
    grid: Iterable[int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    """Return how a window slides over a map of this height and width; the odd row of padding comes after the map."""
    sides = []
    for size, width, stride_along, distance in zip(grid, kernel, stride, dilation, strict=True):
        field = (width - 1) * distance + 1
        if padding == "valid":
            sides.append((0, 0, (size - field) // stride_along + 1))
        else:
            count = -(-size // stride_along)
            total = max((count - 1) * stride_along + field - size, 0)
            sides.append((total // 2, total - total // 2, count))
    (top, bottom, height), (left, right, width) = sides
    return Window(kernel, stride, dilation, (top, left), (bottom, right), (height, width))
