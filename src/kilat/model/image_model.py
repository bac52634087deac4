"""Networks that take pictures as they are: from 8-bit pixels to logits, what the model file will hold."""

from typing import Literal

import torch
from torch import Tensor, nn

from kilat.model.layers import LayerNetwork

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (luma of ITU-R BT.601), as in Pillow and OpenCV."""


class ImageModel(nn.Module):
    """A network from pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, k]``.

    ``size`` is the side of its input in pixels; ``flip_average`` is whether it answers by the mean over a picture and
    its mirror image (training takes the picture alone).
    """

    size: int
    flip_average: bool = False

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
    ) -> None:
        super().__init__()
        self.network, self.size, self.colour, self.flip_average = network, size, colour, flip_average
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of a batch of pictures."""
        planes = pixels.permute(0, 3, 1, 2).float()
        if not self.flip_average:
            return self.logits(planes)
        if not isinstance(self.network, LayerNetwork):
            return (self.logits(planes) + self.logits(planes.flip(3))) / 2
        # The last layer is linear: the mean of its inputs gives the mean of the logits, and one embedding of both.
        normal = self.normalised(planes)
        features = (self.network.features(normal) + self.network.features(normal.flip(3))) / 2
        return self.network.last(features).float()

    def logits(self, planes: Tensor) -> Tensor:
        """Return the logits of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        logits: Tensor = self.network(self.normalised(planes))
        return logits.float()

    def normalised(self, planes: Tensor) -> Tensor:
        """Return what the network gets of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        if self.colour == "grey":
            planes = (planes * self.luma).sum(1, keepdim=True)
        return (planes - self.mean) * self.scale
