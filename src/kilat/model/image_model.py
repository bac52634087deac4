"""A network from pixels to logits: what the model file will hold, and what training changes."""

from typing import Literal

import torch
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue count in the grey that the eye sees (ITU-R BT.601), as Pillow and OpenCV weigh them."""


class ImageModel(nn.Module):
    """A network that gets pictures as they are: pixels uint8 ``[n, size, size, 3]`` to logits ``[n, k]``."""

    size: int

    def see(self, planes: Tensor) -> Tensor:
        """The logits of float planes ``[n, 3, side, side]`` with values 0 to 255, as augmentation gives them."""
        raise NotImplementedError


class PixelNetwork(ImageModel):
    """Pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, classes]`` (or ``[n, 1]``, for two classes).

    Args:
        network: normalised float planes ``[n, channels, size, size]`` to logits.
        size: side of its input in pixels.
        mean: of the pixels, 0 to 255; one value, or one a channel.
        std: their standard deviation.
        colour: ``rgb`` for three channels, ``grey`` for one (ITU-R BT.601 luma, as Pillow's).
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
        """The logits of a batch of pictures."""
        return self.see(pixels.permute(0, 3, 1, 2).float())

    def see(self, planes: Tensor) -> Tensor:
        """The logits of float planes ``[n, 3, size, size]`` with values 0 to 255, as augmentation gives them."""
        if self.colour == "grey":
            planes = (planes * self.luma).sum(1, keepdim=True)
        normal: Tensor = (planes - self.mean) * self.scale
        logits: Tensor = self.network(normal)
        return logits.float()
