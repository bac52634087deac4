"""Augmentation of batches, on their device: what a recipe chooses, drawn for every picture."""

import torch
from torch import Generator, Tensor

from kilat.fit.augment import colour, mixing, policies, random
from kilat.fit.augment.geometry import Outside, move
from kilat.fit.augment.random import Draws
from kilat.recipe import Augment


class Augmenter:
    """Augments training pictures as a recipe's section ``augment`` says, in the order of its fields.

    Args:
        choices: the section; with nothing chosen, pixels are only converted to planes.
    """

    def __init__(self, choices: Augment) -> None:
        self.choices = choices

    @property
    def is_repeatable(self) -> bool:
        """Whether it does the same to every batch, but for the numbers that are drawn."""
        choices = self.choices
        return not (choices.randaugment or choices.trivialaugment or (choices.mixup and choices.cutmix))

    def __call__(
        self, pixels: Tensor, targets: Tensor, generator: Draws, mirrored: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Augment one batch.

        Args:
            pixels: uint8 ``[n, height, width, channels]`` with 1 or 3 channels.
            targets: float32 ``[n, classes]``, rows that add up to 1.
            generator: on the CPU, wherever the pictures are: equal generators give equal draws on every device. Or,
                where it ``is_repeatable``, draws that are recorded, or that were made before.
            mirrored: which pictures a horizontal flip mirrors, bool ``[n]`` on the CPU; drawn where it is None.

        Returns:
            Planes, float32 ``[n, channels, height, width]`` in 0..255 with channels last in memory, and targets,
            mixed like the pictures by MixUp and CutMix.
        """
        assert pixels.dtype == torch.uint8, pixels.dtype
        assert pixels.ndim == 4, pixels.shape
        assert pixels.shape[3] in (1, 3), pixels.shape
        planes = move(pixels, self.choices, generator, mirrored)
        planes = self._change_colours(planes, generator)
        outside = Outside(self.choices.fill, self.choices.fill_value)
        if self.choices.randaugment:
            assert isinstance(generator, Generator), "is_repeatable"
            planes = policies.randaugment(planes, self.choices.randaugment, outside, generator)
        if self.choices.trivialaugment:
            assert isinstance(generator, Generator), "is_repeatable"
            planes = policies.trivialaugment(planes, outside, generator)
        if self.choices.cutout:
            planes = mixing.cutout(planes, self.choices.cutout, generator)
        if self.choices.erasing:
            planes = mixing.erasing(planes, self.choices.erasing, generator)
        planes, targets = self._mix(planes, targets, generator)
        return planes.clamp_(0, 255).contiguous(memory_format=torch.channels_last), targets

    def _change_colours(self, planes: Tensor, generator: Draws) -> Tensor:
        for change, bounds in (
            (colour.brightness, self.choices.brightness),
            (colour.contrast, self.choices.contrast),
        ):
            if bounds != (1.0, 1.0):
                factor = random.uniform(len(planes), *bounds, generator)
                planes = change(planes, factor.to(planes.device)[:, None, None, None])
        if self.choices.channel_shift:
            shift = random.symmetric(len(planes), 255 * self.choices.channel_shift, generator)
            planes = (planes + shift.to(planes.device)[:, None, None, None]).clamp_(0, 255)
        return planes

    def _mix(self, planes: Tensor, targets: Tensor, generator: Draws) -> tuple[Tensor, Tensor]:
        chosen = [
            (mix, alpha)
            for mix, alpha in ((mixing.mixup, self.choices.mixup), (mixing.cutmix, self.choices.cutmix))
            if alpha
        ]
        if not chosen:
            return planes, targets
        mix, alpha = chosen[int(random.integers(1, 0, 1, generator))] if len(chosen) > 1 else chosen[0]
        return mix(planes, targets, alpha, generator)
