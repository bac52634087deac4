"""A frozen timm network as one torch module, from pixels to the features of every stage."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kilat.features import lite
from kilat.features.backbone import Block
from kilat.model import input_size, timm_networks
from kilat.model.sequential_view import SequentialView

_DEPTHS = 4
"""How many stages a network has whose maps are all of one size, such as a ViT."""


class FeatureExtractor(nn.Module):
    """A frozen network: pixels uint8 ``[n, size, size, 3]`` to features float32 ``[n, width]``.

    The features are the mean and the log variance of each channel after every stage, and the pooled features that
    timm's classifier would get (``last``). Statistics are taken in float32, whatever the network computes in.

    Args:
        network: a timm network without classifier.
        size: side of its input in pixels.
    """

    pixel_mean: Tensor
    pixel_scale: Tensor

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.stage_indices = _stage_indices(network)
        config = timm_networks.config(network)
        self.register_buffer("pixel_mean", 255 * torch.tensor(config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("pixel_scale", 1 / (255 * torch.tensor(config["std"]).view(1, -1, 1, 1)))
        self.eval().requires_grad_(False)
        with torch.inference_mode():
            named = self._named_features(torch.zeros(1, 3, size, size))
        self.blocks = tuple(Block(name, feature.shape[1]) for name, feature in named)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features of a batch."""
        return self.features(pixels.permute(0, 3, 1, 2).float())

    def features(self, planes: Tensor) -> Tensor:
        """Return the features of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        return torch.cat([feature for _, feature in self._named_features(planes)], 1)

    def forward_lower(self, planes: Tensor, split_index: int | None) -> Tensor:
        """Return the activations of planes at a split, for ``forward_upper`` to go on from.

        Args:
            planes: float ``[n, 3, size, size]``, 0 to 255.
            split_index: how many parts of ``sequential_view`` are below the split; None for all, and what makes
                features of the last map.

        Returns:
            Float32 ``[n, activation_width]``: the features from below, then the map at the split with channels last.
        """
        if split_index is None:
            return self.features(planes)
        assert self.sequential_view is not None
        value, maps = self.sequential_view.run(self._normalise(planes), 0, split_index)
        return torch.cat([*_statistics(maps), value.permute(0, 2, 3, 1).flatten(1).float()], 1)

    def forward_upper(self, activations: Tensor, split_index: int | None) -> Tensor:
        """Return the ``features`` of planes, from what ``forward_lower`` gave for the same split."""
        if split_index is None:
            return activations
        assert self.sequential_view is not None
        channels, *grid = self.sequential_view.input_shapes[split_index]
        flat = activations[:, -channels * math.prod(grid) :]
        value = flat.reshape(-1, *grid, channels).permute(0, 3, 1, 2).to(next(self.network.parameters()).dtype)
        # A copy: the activations may be needed again, and parts may write over their input.
        last, maps = self.sequential_view.run(value.clone(memory_format=torch.channels_last), split_index)
        pooled = self._pooled(last).flatten(1).float()
        return torch.cat([activations[:, : -flat.shape[1]], *_statistics(maps), pooled], 1)

    def activation_width(self, split_index: int | None) -> int:
        """Return how many numbers ``forward_lower`` gives for a picture."""
        if split_index is None:
            return sum(block.width for block in self.blocks)
        view = self.sequential_view
        assert view is not None
        below = self.blocks[: 2 * sum(index < split_index for index in view.output_indices)]  # two of each stage
        return math.prod(view.input_shapes[split_index]) + sum(block.width for block in below)

    @cached_property
    def sequential_view(self) -> SequentialView | None:
        """The network as a sequence in which the map of every stage arises between parts; None where it is none.

        To be read first in inference mode.
        """
        noise = 255 * torch.rand(1, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            planes = self._normalise(noise.to(self.pixel_mean.device))
            view = SequentialView.of(self.network, planes, lambda planes: self.stage_maps(planes)[0])
            if view and torch.equal(self._pooled(view.run(planes)[0]), self.stage_maps(planes)[1]):
                return view
            return None

    def stage_maps(self, planes: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the map of every stage ``[n, channels, height, width]``, and the pooled features ``[n, channels]``."""
        network: Any = self.network
        if not self.stage_indices:
            return [], self._pooled(network.forward_features(planes))
        last, maps = network.forward_intermediates(planes, indices=self.stage_indices, output_fmt="NCHW")
        return maps, self._pooled(last)

    def _normalise(self, planes: Tensor) -> Tensor:
        normal = (planes - self.pixel_mean) * self.pixel_scale
        return normal.to(next(self.network.parameters()).dtype)

    def _pooled(self, last_map: Tensor) -> Tensor:
        network: Any = self.network
        features: Tensor = network.forward_head(last_map, pre_logits=True)
        return features

    def _named_features(self, planes: Tensor) -> list[tuple[str, Tensor]]:
        maps, last = self.stage_maps(self._normalise(planes))
        names = [f"stage{number}.{kind}" for number in range(1, len(maps) + 1) for kind in ("mean", "log_variance")]
        return [*zip(names, _statistics(maps), strict=True), ("last", last.flatten(1).float())]


class LiteExtractor(FeatureExtractor):
    """A network ``tf_efficientnet_lite`` with all seven of its stages; timm itself counts one per resolution."""

    def stage_maps(self, planes: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the maps of the seven stages, and the pooled features."""
        network: Any = self.network
        value, maps = network.bn1(network.conv_stem(planes)), []
        for stage in network.blocks:
            value = stage(value)
            maps.append(value)
        return maps, network.global_pool(network.bn2(network.conv_head(value)))


def create(name: str, size: int | None = None, weights: Path | Literal["none"] | None = None) -> FeatureExtractor:
    """Return a network with its trained weights.

    Args:
        name: that of an embedded network, or as timm has it, such as ``resnet18`` or ``resnet18.a1_in1k``.
        size: side of the input in pixels; None for its default.
        weights: a file of weights (``.safetensors``, or ``.pth``, ``.pt``, ``.bin`` with nothing but tensors in it);
            None for timm's hub, ``none`` for random ones. Embedded networks have their own.

    Raises:
        BackboneError: there is no such network, it cannot take pictures of this size, or its weights are missing,
            unreachable or do not fit.
        MissingExtra: the weights come with the extra ``weights``, which is not installed.
    """
    if name in lite.NAMES:
        return LiteExtractor(timm_networks.embedded(name), size or lite.DEFAULT_SIZES[name])
    network = timm_networks.load(name, size, weights or "hub")
    side = size or timm_networks.config(network)["input_size"][-1]
    try:
        return FeatureExtractor(network, side)
    except timm_networks.SIZE_ERRORS as error:
        raise timm_networks.size_error(name, side, error) from error


def _statistics(maps: Sequence[Tensor]) -> list[Tensor]:
    """Return mean and log variance of each channel of every map in turn, float32 ``[n, channels]``."""
    features = []
    for stage_map in maps:
        values = stage_map.float()
        mean = values.mean((2, 3), keepdim=True)
        deviation = values - mean
        variance = (deviation * deviation).mean((2, 3))
        features += [mean.flatten(1), torch.log(variance + lite.LOG_FLOOR)]
    return features


def _stage_indices(network: nn.Module) -> list[int]:
    """Return which of timm's intermediate maps to take: the last of each size; where all are alike, four depths."""
    if not hasattr(network, "forward_intermediates"):
        return []
    reductions = input_size.reductions(network)
    if len(set(reductions)) == 1:
        return sorted({round((depth + 1) * len(reductions) / _DEPTHS) - 1 for depth in range(_DEPTHS)} - {-1})
    return sorted({reduction: index for index, reduction in enumerate(reductions)}.values())
