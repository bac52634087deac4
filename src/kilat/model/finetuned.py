"""A frozen backbone and its fitted head as one network, opened from the top: training goes on where the head ended."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.model import feature_extractor
from kilat.model.backbone_layer import depth, modes, stages_of
from kilat.model.image_model import ImageModel
from kilat.probe import CLIP, Head


class FineTuned(ImageModel):
    """Pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, classes]``, at first those of a fitted head.

    What is frozen stays in inference mode, batch norms and all, also while the rest is trained. The means and scales by
    which features are standardised stay as they were fitted.

    Args:
        eyes: the backbones that look side by side, all at the same size.
        head: as it was fitted on their features.
        flip_average: whether features are averaged over a picture and its mirror image; training takes one side at a
            time.
        norms: whether batch norms of open stages learn their running statistics.
    """

    eyes: Any  # nn.ModuleList, which does not say of what
    mean: Tensor
    scale: Tensor

    def __init__(
        self, eyes: Sequence[feature_extractor.FeatureExtractor], head: Head, *, flip_average: bool, norms: bool
    ) -> None:
        super().__init__()
        self.eyes, self.size = nn.ModuleList(eyes), eyes[0].size
        self.flip_average, self.norms = flip_average, norms
        self.register_buffer("mean", torch.from_numpy(head.mean), persistent=False)
        self.register_buffer("scale", torch.from_numpy(head.scale), persistent=False)
        self.weight = nn.Parameter(torch.tensor(head.weight))
        self.bias = nn.Parameter(torch.tensor(head.bias))
        self._stages = [stages_of(eye.network) for eye in eyes]
        self._open: list[set[str]] = [set() for _ in eyes]
        self._cuts: list[int | None] = []
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
        if self.flip_average:
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
                    _("fit: unfreeze {count}: the backbone has {number} stages: {names}.").format(
                        count=count, number=len(names), names=", ".join(names)
                    ),
                    hint=_("Unfreeze at most {count}, or all.").format(count=len(names)),
                )
            self._open[place] = set(names[len(names) - count :])
            eye.requires_grad_(False)
            for name in self._open[place]:
                for module in all_stages[name]:
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)
        self._cuts = []
        self.train(self.training)
        return [name for name in self.stages if any(name in opened for opened in self._open)]

    @property
    def is_divided(self) -> bool:
        """Whether there is something below what training changes, and what is above can go on from it."""
        was = self.training
        self.eval()
        are_sequences = all(eye.way is not None for eye in self.eyes)
        self.train(was)
        return are_sequences and any(cut != 0 for cut in self._where())

    def lower(self, planes: Tensor) -> Tensor:
        """What planes come to below the lowest stage that training changes: float32 rows ``[n, width]``.

        Only where ``is_divided``. They stay what they are until other stages are opened.
        """
        with torch.no_grad():
            return torch.cat([eye.lower(planes, cut) for eye, cut in zip(self.eyes, self._where(), strict=True)], 1)

    def see_upper(self, rows: Tensor) -> Tensor:
        """The logits that ``see`` gives of planes, from their rows."""
        return self._answer(self._look_on(rows))

    def answer_upper(self, rows: Tensor) -> Tensor:
        """The logits that ``forward`` gives of pictures, from their rows.

        Args:
            rows: ``[n, sides, width]``, of two sides with ``flip_average``: the picture and its mirror image.
        """
        features = self._look_on(rows.flatten(0, 1))
        return self._answer(features.reshape(*rows.shape[:2], -1).mean(1))

    def _where(self) -> list[int | None]:
        """How many parts of each backbone lie below what training changes; None for a backbone that stays as it is."""
        if not self._cuts:
            for eye, stages, opened in zip(self.eyes, self._stages, self._open, strict=True):
                modules = [module for name in opened for module in stages[name]]
                self._cuts.append(eye.way.cut(modules) if opened else None)
        return self._cuts

    def _look_on(self, rows: Tensor) -> Tensor:
        cuts = self._where()
        parts = torch.split(rows, [eye.row_width(cut) for eye, cut in zip(self.eyes, cuts, strict=True)], 1)
        return torch.cat([eye.upper(part, cut) for eye, part, cut in zip(self.eyes, parts, cuts, strict=True)], 1)

    def _look(self, planes: Tensor) -> Tensor:
        return torch.cat([eye.look(planes) for eye in self.eyes], 1)

    def _answer(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            standard = ((features.float() - self.mean) * self.scale).clamp(-CLIP, CLIP)
            logits: Tensor = standard @ self.weight + self.bias
        return logits
