"""Networks that take pictures as they are: from 8-bit pixels to logits, what the model file will hold."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from kilat.model.layers import LayerNetwork

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (luma of ITU-R BT.601), as in Pillow and OpenCV."""


class ImageModel(nn.Module):
    """A network from pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, k]``.

    ``size`` is the side of its input in pixels. It answers by the mean over a picture and its mirror image with
    ``flip_average``, and over the picture moved by ``shift_average`` pixels; training takes the picture alone.
    """

    size: int
    flip_average: bool = False
    shift_average: int = 0

    def logits(self, planes: Tensor) -> Tensor:
        """Return the logits of float planes ``[n, 3, side, side]`` with values 0 to 255, as augmentation gives them."""
        raise NotImplementedError


class PixelNetwork(ImageModel):
    """Pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, classes]`` (or ``[n, 1]``, for two classes).

    Args:
        network: normalised float planes ``[n, channels, size, size]`` to logits.
        size: side of its input in pixels.
        mean: of the pixels, 0 to 255; one value, or one a channel.
        std: their standard deviation.
        colour: ``rgb`` for three channels, ``grey`` for one (luma of ITU-R BT.601, as in Pillow).
        flip_average: whether it answers by the mean over a picture and its mirror image.
        shift_average: by how many pixels the picture is moved, up and left and down and right, for two further views
            (reflected at the border) that together count as much as the picture itself; 0 for none.
    """

    mean: Tensor
    scale: Tensor
    luma: Tensor

    def __init__(
        self,
        network: nn.Module,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        colour: Literal["rgb", "grey"] = "rgb",
        *,
        flip_average: bool = False,
        shift_average: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.size, self.colour = network, size, colour
        self.flip_average, self.shift_average = flip_average, shift_average
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of a batch of pictures."""
        planes = pixels.permute(0, 3, 1, 2).float()
        if not self.flip_average and not self.shift_average:
            return self.logits(planes)
        views = self._views(self.normalised(planes))
        if isinstance(self.network, LayerNetwork):
            # The last layer is linear: the mean of its inputs gives the mean of the logits, and one embedding of all.
            features = torch.stack([weight * self.network.features(view) for weight, view in views])
            return self.network.last(features.sum(0))
        return torch.stack([weight * self.network(view).float() for weight, view in views]).sum(0)

    def _views(self, normal: Tensor) -> list[tuple[float, Tensor]]:
        """Return what the network answers to, by its weight in the mean: the picture, moved ones, and all mirrored."""
        views, shift, size = [(1.0, normal)], self.shift_average, normal.shape[-1]
        if shift:
            padded = functional.pad(normal, [shift] * 4, mode="reflect")
            corners = [padded[..., start : start + size, start : start + size] for start in (0, 2 * shift)]
            views = [(0.5, normal), *((0.25, corner) for corner in corners)]
        if self.flip_average:
            views = [(weight / 2, side) for weight, view in views for side in (view, view.flip(3))]
        return views

    def logits(self, planes: Tensor) -> Tensor:
        """Return the logits of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        logits: Tensor = self.network(self.normalised(planes))
        return logits.float()

    def normalised(self, planes: Tensor) -> Tensor:
        """Return what the network gets of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        if self.colour == "grey":
            planes = (planes * self.luma).sum(1, keepdim=True)
        return (planes - self.mean) * self.scale
