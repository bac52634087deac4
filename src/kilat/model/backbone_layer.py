"""A pretrained timm network as the first layer of a network: without its pooling, frozen or unfrozen from the top."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.model.modules import LayerModule, Shape

Weights = Path | Literal["hub", "none"]
Stages = Mapping[str, Sequence[nn.Module]]
"""All modules of a network by stage, from pixels up."""


class BackboneModule(LayerModule):
    """Normalised planes ``[n, 3, size, size]`` to the last map of a timm network.

    Frozen stages stay in inference mode, batch norms and all, also while the rest is trained. Batch norms of unfrozen
    stages learn their scales and shifts; they update their running statistics only where ``train_batch_norms`` was set
    before ``train``.

    Args:
        network: a timm network without classifier.
        name: as recipes have it.
        size: side of its input in pixels.
    """

    train_batch_norms = False

    def __init__(self, network: nn.Module, name: str, size: int) -> None:
        super().__init__()
        self.name = name
        self.network = network.eval().requires_grad_(True)
        self.output_shape = self._remove_unused(size)
        self._stages = modules_by_stage(network)
        self._unfrozen: list[str] = []
        self.unfreeze(0)
        self.to(memory_format=torch.channels_last)

    @property
    def stages(self) -> list[str]:
        """The names of its stages, from pixels up."""
        return list(self._stages)

    def forward(self, planes: Tensor) -> Tensor:
        """Return the network's last map."""
        network: Any = self.network
        with contextlib.nullcontext() if self._unfrozen else torch.no_grad():
            last_map: Tensor = network.forward_features(planes)
        return last_map

    def train(self, mode: bool = True) -> "BackboneModule":
        """Set the mode of unfrozen stages; frozen ones stay in inference mode."""
        super().train(mode)
        set_training_modes(self._stages, self._unfrozen, mode, self.train_batch_norms)
        return self

    def depth(self, parameter_name: str) -> int:
        """Return how many stages down a parameter is: 1 in the top stage, 2 in the one below it."""
        return stage_depth(self, self._stages, parameter_name)

    def unfreeze(self, stages: int | Literal["all"]) -> list[str]:
        """Let training change the top stages, and nothing else of the backbone.

        Args:
            stages: how many; 0 for none.

        Raises:
            RecipeError: it has fewer.

        Returns:
            The names of the unfrozen stages.
        """
        count = len(self._stages) if stages == "all" else stages
        if count > len(self._stages):
            raise RecipeError(
                _("fit: unfreeze {count}: the backbone '{name}' has {number} stages: {stages}.").format(
                    count=count, name=self.name, number=len(self._stages), stages=", ".join(self._stages)
                ),
                hint=_("Unfreeze at most {count}, or all.").format(count=len(self._stages)),
            )
        self._unfrozen = self.stages[len(self._stages) - count :]
        for name, modules in self._stages.items():
            for module in modules:
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(name in self._unfrozen)
        self.train(self.training)
        return list(self._unfrozen)

    def _remove_unused(self, size: int) -> Shape:
        """Return the shape of the last map; parts that have parameters and no influence on it are removed."""
        from kilat.model import timm_networks  # brings timm, which takes seconds

        network: Any = self.network
        try:
            with torch.enable_grad():
                last_map = network.forward_features(torch.zeros(1, 3, size, size))
        except timm_networks.SIZE_ERRORS as error:
            raise timm_networks.size_error(self.name, size, error) from error
        if not isinstance(last_map, Tensor) or last_map.ndim != 4 or last_map.shape[1] != network.num_features:
            raise RecipeError(
                _(
                    "model.layers.0 (backbone): '{name}' gives tokens instead of a map (height, width, channels)."
                ).format(name=self.name),
                hint=_("Take a convolutional one, such as resnet50, efficientnet_b0 or convnext_tiny."),
            )
        parts = {name: list(part.parameters()) for name, part in network.named_children()}
        everything = [parameter for parameters in parts.values() for parameter in parameters]
        # None where no path leads from the parameter to the map
        gradients: Sequence[Tensor | None] = torch.autograd.grad(last_map.sum(), everything, allow_unused=True)
        used = {
            id(parameter) for parameter, gradient in zip(everything, gradients, strict=True) if gradient is not None
        }
        for name, parameters in parts.items():
            if parameters and not any(id(parameter) in used for parameter in parameters):
                setattr(network, name, nn.Identity())
        return (*last_map.shape[2:], last_map.shape[1])


def set_training_modes(stages: Stages, unfrozen: Collection[str], mode: bool, train_batch_norms: bool) -> None:
    """Set the mode of every module of a network that is unfrozen in part.

    Args:
        stages: all modules by stage.
        unfrozen: the names of the stages that are trained; the others stay in inference mode.
        mode: True for training.
        train_batch_norms: whether batch norms of unfrozen stages train too; else they use their running statistics.
    """
    for name, modules in stages.items():
        for module in modules:
            is_frozen_norm = isinstance(module, _BatchNorm) and not train_batch_norms
            module.training = mode and name in unfrozen and not is_frozen_norm


def stage_depth(network: nn.Module, stages: Stages, parameter_name: str) -> int:
    """Return how many stages down a parameter is.

    Args:
        network: whose parameter it is.
        stages: modules of it by stage.
        parameter_name: in the network.

    Returns:
        1 in the top stage, 2 in the one below it; 0 for what is in no stage, such as a head.
    """
    owner = network.get_submodule(parameter_name.rpartition(".")[0])
    downwards = enumerate(reversed(list(stages.values())), 1)
    return next((depth for depth, modules in downwards if any(module is owner for module in modules)), 0)


def create(name: str, weights: Weights, size: int, seed: int) -> BackboneModule:
    """Return a backbone with its weights; ``none`` draws them from the seed, and leaves the global generator alone.

    Raises:
        BackboneError: there is no such network, it cannot take pictures of this size, or its weights are missing,
            unreachable or do not fit.
        RecipeError: it gives no map.
    """
    from kilat.model import timm_networks

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = timm_networks.load(name, size, weights)
    return BackboneModule(network, name, size)


def modules_by_stage(network: nn.Module) -> dict[str, list[nn.Module]]:
    """Return all modules by stage, in order.

    timm names the modules that end stages; what lies between two ends belongs to the next. The modules of a stage
    without parameters (VGG's last pooling) belong to the stage before.
    """
    information: Any = getattr(network, "feature_info", ())
    ends = [stage["module"] for stage in getattr(information, "info", information)] or ["network"]
    stages: dict[str, list[nn.Module]] = {end: [] for end in ends}
    last = -1
    for path, module in network.named_modules():
        within = [index for index, end in enumerate(ends) if path == end or path.startswith(f"{end}.")]
        last = within[-1] if within else last
        stages[ends[last if within else min(last + 1, len(ends) - 1)]].append(module)
    trainable: dict[str, list[nn.Module]] = {}
    for name, modules in stages.items():
        if not trainable or any(True for module in modules for _ in module.parameters(recurse=False)):
            trainable[name] = modules
        else:
            trainable[next(reversed(trainable))] += modules
    return trainable
