"""Networks that take pictures as they are: from 8-bit pixels to logits, what the model file will hold."""

from typing import Literal

import torch
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (luma of ITU-R BT.601), as in Pillow and OpenCV."""


class ImageModel(nn.Module):
    """A network from pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, k]``."""

    size: int

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
    ) -> None:
        super().__init__()
        self.network, self.size, self.colour = network, size, colour
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of a batch of pictures."""
        return self.logits(pixels.permute(0, 3, 1, 2).float())

    def logits(self, planes: Tensor) -> Tensor:
        """Return the logits of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        logits: Tensor = self.network(self.normalised(planes))
        return logits.float()

    def normalised(self, planes: Tensor) -> Tensor:
        """Return what the network gets of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        if self.colour == "grey":
            planes = (planes * self.luma).sum(1, keepdim=True)
        return (planes - self.mean) * self.scale
