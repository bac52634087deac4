"""Frozen backbones with their fitted head as one network, to be unfrozen from the top and trained on from there."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.model import feature_extractor
from kilat.model.backbone_layer import modules_by_stage, set_training_modes, stage_depth
from kilat.model.image_model import ImageModel
from kilat.probe import CLIP, Head


class FineTuned(ImageModel):
    """Pixels uint8 ``[n, size, size, 3]`` to logits float32 ``[n, classes]``, at first those of a fitted head.

    Frozen parts stay in inference mode, batch norms and all, also while the rest is trained. The means and scales by
    which features are standardised stay as they were fitted.

    Args:
        backbones: those whose features are concatenated, all at the same size.
        head: as it was fitted on their features.
        flip_average: whether features are averaged over a picture and its mirror image; training takes the picture
            alone.
        train_batch_norms: whether batch norms of unfrozen stages update their running statistics.
    """

    backbones: Any  # nn.ModuleList, which does not say of what
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        backbones: Sequence[feature_extractor.FeatureExtractor],
        head: Head,
        *,
        flip_average: bool,
        train_batch_norms: bool,
    ) -> None:
        super().__init__()
        self.backbones, self.size = nn.ModuleList(backbones), backbones[0].size
        self.flip_average, self.train_batch_norms = flip_average, train_batch_norms
        self.register_buffer("mean", torch.from_numpy(head.mean), persistent=False)
        self.register_buffer("scale", torch.from_numpy(head.scale), persistent=False)
        self.weight = nn.Parameter(torch.tensor(head.weight))
        self.bias = nn.Parameter(torch.tensor(head.bias))
        self._stages = [modules_by_stage(backbone.network) for backbone in backbones]
        self._unfrozen: list[set[str]] = [set() for _ in backbones]
        self._split_indices: list[int | None] = []
        self.to(memory_format=torch.channels_last)
        self.unfreeze(0)

    @property
    def stages(self) -> list[str]:
        """The names of the stages, from pixels up; those of the backbone with the most where there are several."""
        return max((list(stages) for stages in self._stages), key=len)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of a batch of pictures."""
        planes = pixels.permute(0, 3, 1, 2).float()
        features = self._features(planes)
        if self.flip_average:
            features = (features + self._features(planes.flip(3))) / 2
        return self._apply_head(features)

    def logits(self, planes: Tensor) -> Tensor:
        """Return the logits of float planes ``[n, 3, side, side]`` with values 0 to 255, as augmentation gives them."""
        return self._apply_head(self._features(planes))

    def train(self, mode: bool = True) -> "FineTuned":
        """Set the mode of what is trained; frozen stages stay in inference mode."""
        super().train(mode)
        for stages, unfrozen in zip(self._stages, self._unfrozen, strict=True):
            set_training_modes(stages, unfrozen, mode, self.train_batch_norms)
        return self

    def depth(self, parameter_name: str) -> int:
        """Return how many stages down a parameter is: 0 in the head, 1 in a backbone's top stage, 2 in the next."""
        return max(stage_depth(self, stages, parameter_name) for stages in self._stages)

    def unfreeze(self, stages: int | Literal["all"]) -> list[str]:
        """Let training change the top stages of every backbone, and the head.

        Args:
            stages: how many; 0 for the head alone.

        Raises:
            RecipeError: a backbone has fewer.

        Returns:
            The names of the unfrozen stages.
        """
        for index, (backbone, all_stages) in enumerate(zip(self.backbones, self._stages, strict=True)):
            names = list(all_stages)
            count = len(names) if stages == "all" else stages
            if count > len(names):
                raise RecipeError(
                    _("fit: unfreeze {count}: the backbone has {number} stages: {names}.").format(
                        count=count, number=len(names), names=", ".join(names)
                    ),
                    hint=_("Unfreeze at most {count}, or all.").format(count=len(names)),
                )
            self._unfrozen[index] = set(names[len(names) - count :])
            backbone.requires_grad_(False)
            for name in self._unfrozen[index]:
                for module in all_stages[name]:
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)
        self._split_indices = []
        self.train(self.training)
        return [name for name in self.stages if any(name in unfrozen for unfrozen in self._unfrozen)]

    @property
    def is_split(self) -> bool:
        """Whether there are frozen parts below the unfrozen ones whose output the others can go on from."""
        was_training = self.training
        self.eval()
        are_sequences = all(backbone.sequential_view is not None for backbone in self.backbones)
        self.train(was_training)
        return are_sequences and any(index != 0 for index in self._splits())

    def forward_lower(self, planes: Tensor) -> Tensor:
        """Return the activations of planes at the split: float32 ``[n, width]``.

        Only where ``is_split``. They stay the same until other stages are unfrozen.
        """
        parts = zip(self.backbones, self._splits(), strict=True)
        with torch.no_grad():
            return torch.cat([backbone.forward_lower(planes, index) for backbone, index in parts], 1)

    def logits_upper(self, activations: Tensor) -> Tensor:
        """Return, from their activations ``[n, width]``, the ``logits`` of planes."""
        return self._apply_head(self._features_upper(activations))

    def forward_upper(self, activations: Tensor) -> Tensor:
        """Return, from their activations, the logits that ``forward`` gives of pictures.

        Args:
            activations: ``[n, sides, width]``, of two sides with ``flip_average``: the picture and its mirror image.
        """
        features = self._features_upper(activations.flatten(0, 1))
        return self._apply_head(features.reshape(*activations.shape[:2], -1).mean(1))

    def _splits(self) -> list[int | None]:
        """Return how many parts of each backbone lie below the unfrozen ones; None for a wholly frozen backbone."""
        if not self._split_indices:
            for backbone, stages, unfrozen in zip(self.backbones, self._stages, self._unfrozen, strict=True):
                modules = [module for name in unfrozen for module in stages[name]]
                self._split_indices.append(backbone.sequential_view.split_index(modules) if unfrozen else None)
        return self._split_indices

    def _features(self, planes: Tensor) -> Tensor:
        return torch.cat([backbone.features(planes) for backbone in self.backbones], 1)

    def _features_upper(self, activations: Tensor) -> Tensor:
        pairs = list(zip(self.backbones, self._splits(), strict=True))
        parts = torch.split(activations, [backbone.activation_width(index) for backbone, index in pairs], 1)
        return torch.cat(
            [backbone.forward_upper(part, index) for (backbone, index), part in zip(pairs, parts, strict=True)], 1
        )

    def _apply_head(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            standardised = ((features.float() - self.mean) * self.scale).clamp(-CLIP, CLIP)
            logits: Tensor = standardised @ self.weight + self.bias
        return logits
