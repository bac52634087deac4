"""A frozen backbone and its fitted head as one network, opened from the top: training goes on where the head ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from kilat.errors import RecipeError
from kilat.features import lite
from kilat.model import frozen
from kilat.model.backbone_layer import depth, modes, stages_of
from kilat.model.network import Sighted
from kilat.probe import CLIP, Head


class FineTuned(Sighted):
    """Pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, classes]``, at first those of a fitted head.

    What is frozen stays in inference mode, batch norms and all, also while the rest is trained. The means and scales by
    which features are standardised stay as they were fitted.

    Args:
        eyes: the backbones that look side by side, all at the same size.
        head: as it was fitted on their features.
        mirror: whether answers are for the mean of what is seen of a picture and of its mirror image; training sees one
            side at a time.
        norms: whether batch norms of open stages learn their running statistics.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, eyes: Sequence[frozen.Frozen], head: Head, *, mirror: bool, norms: bool) -> None:
        super().__init__()
        self.eyes, self.size = nn.ModuleList(eyes), eyes[0].size
        self.mirror, self.norms = mirror, norms
        self.register_buffer("mean", torch.from_numpy(head.mean), persistent=False)
        self.register_buffer("scale", torch.from_numpy(head.scale), persistent=False)
        self.weight, self.bias = nn.Parameter(torch.from_numpy(head.weight)), nn.Parameter(torch.from_numpy(head.bias))
        self._stages = [stages_of(eye.network) for eye in eyes]
        self._open: list[set[str]] = [set() for _ in eyes]
        self.to(memory_format=torch.channels_last)
        self.unfreeze(0)

    @property
    def stages(self) -> list[str]:
        """The names of the stages, from pixels up; those of the backbone with the most where there are several."""
        return max((list(stages) for stages in self._stages), key=len)

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits of a batch of pictures."""
        planes = pixels.permute(0, 3, 1, 2).float()
        features = self._look(planes)
        if self.mirror:
            features = (features + self._look(planes.flip(3))) / 2
        return self._answer(features)

    def see(self, planes: Tensor) -> Tensor:
        """The logits of float planes ``[n, 3, side, side]`` with values 0 to 255, as augmentation gives them."""
        return self._answer(self._look(planes))

    def train(self, mode: bool = True) -> "FineTuned":
        """Sets the mode of what is trained; what is frozen stays in inference mode."""
        super().train(mode)
        for stages, opened in zip(self._stages, self._open, strict=True):
            modes(stages, opened, mode, self.norms)
        return self

    def depth(self, parameter_name: str) -> int:
        """How many stages down a parameter is: 0 in the head, 1 in a backbone's top stage, 2 in the one below it."""
        return max(depth(self, stages, parameter_name) for stages in self._stages)

    def unfreeze(self, stages: int | Literal["all"]) -> list[str]:
        """Lets training change the top stages of every backbone, and the head.

        Args:
            stages: how many; 0 for the head alone.

        Raises:
            RecipeError: a backbone has fewer.

        Returns:
            The names of the stages that training changes now.
        """
        for place, (eye, all_stages) in enumerate(zip(self.eyes, self._stages, strict=True)):
            names = list(all_stages)
            count = len(names) if stages == "all" else stages
            if count > len(names):
                raise RecipeError(
                    f"fit: unfreeze {count}: the backbone has {len(names)} stages: {', '.join(names)}.",
                    mend=f"Unfreeze at most {len(names)}, or all.",
                )
            self._open[place] = set(names[len(names) - count :])
            eye.requires_grad_(False)
            for name in self._open[place]:
                for module in all_stages[name]:
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)
        self.train(self.training)
        return [name for name in self.stages if any(name in opened for opened in self._open)]

    def _look(self, planes: Tensor) -> Tensor:
        return torch.cat([eye.look(planes) for eye in self.eyes], 1)

    def _answer(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            standard = ((features.float() - self.mean) * self.scale).clamp(-CLIP, CLIP)
            logits: Tensor = standard @ self.weight + self.bias
        return logits


class Seeing(nn.Module):
    """What training sees of a network: normalised by itself, from float planes 0 to 255 to logits."""

    def __init__(self, network: FineTuned) -> None:
        super().__init__()
        self.network, self.see = network, network.see

    def forward(self, planes: Tensor) -> Tensor:
        """The logits of a batch of planes."""
        return self.see(planes)


def eye(name: str, size: int, weights: Path | None) -> frozen.Frozen:
    """A backbone of a recipe in PyTorch; its features are laid out as those that its ONNX graph gives.

    Raises:
        BackboneError: it cannot be had.
    """
    if name in lite.NAMES and weights is None:
        return frozen.embedded(size, name)
    return frozen.create(name, size, weights)
