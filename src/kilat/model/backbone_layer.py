"""A pretrained timm network as the first step of a network: cut before its pooling, frozen, or opened from the top."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.model.modules import Shape, Step

Weights = Path | Literal["hub", "none"]
Stages = Mapping[str, Sequence[nn.Module]]
"""All modules of a network by stage, from pixels up."""


class BackboneStep(Step):
    """Normalised planes ``[n, 3, size, size]`` to the last map of a timm network.

    What is frozen stays in inference mode, batch norms and all, also while the rest is trained. Batch norms of what is
    open learn their scales and shifts; their running statistics only where ``norms`` was set before ``train``.

    Args:
        network: a timm network without classifier.
        name: as recipes have it.
        size: side of its input in pixels.
    """

    norms = False

    def __init__(self, network: nn.Module, name: str, size: int) -> None:
        super().__init__()
        self.name = name
        self.network = network.eval().requires_grad_(True)
        self.output_shape = self._look(size)
        self._stages = stages_of(network)
        self._open: list[str] = []
        self.unfreeze(0)
        self.to(memory_format=torch.channels_last)

    @property
    def stages(self) -> list[str]:
        """The names of its stages, from pixels up."""
        return list(self._stages)

    def forward(self, planes: Tensor) -> Tensor:
        """Planes of the network's last map."""
        network: Any = self.network
        with contextlib.nullcontext() if self._open else torch.no_grad():
            answer: Tensor = network.forward_features(planes)
        return answer

    def train(self, mode: bool = True) -> "BackboneStep":
        """Sets the mode of what is trained; what is frozen stays in inference mode."""
        super().train(mode)
        modes(self._stages, self._open, mode, self.norms)
        return self

    def depth(self, parameter_name: str) -> int:
        """How many stages down a parameter is: 1 in the top stage, 2 in the one below it."""
        return depth(self, self._stages, parameter_name)

    def unfreeze(self, stages: int | Literal["all"]) -> list[str]:
        """Lets training change the top stages, and nothing else of the backbone.

        Args:
            stages: how many; 0 for none.

        Raises:
            RecipeError: it has fewer.

        Returns:
            The names of the stages that training changes now.
        """
        count = len(self._stages) if stages == "all" else stages
        if count > len(self._stages):
            raise RecipeError(
                _("fit: unfreeze {count}: the backbone '{name}' has {number} stages: {stages}.").format(
                    count=count, name=self.name, number=len(self._stages), stages=", ".join(self._stages)
                ),
                hint=_("Unfreeze at most {count}, or all.").format(count=len(self._stages)),
            )
        self._open = self.stages[len(self._stages) - count :]
        for name, modules in self._stages.items():
            for module in modules:
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(name in self._open)
        self.train(self.training)
        return list(self._open)

    def _look(self, size: int) -> Shape:
        """The shape of the last map; what only a classifier would have used is taken away."""
        from kilat.model import (
            feature_extractor,  # brings timm, which takes seconds that networks without it need not wait for
        )

        network: Any = self.network
        try:
            with torch.enable_grad():
                seen = network.forward_features(torch.zeros(1, 3, size, size))
        except feature_extractor.UNFIT as error:
            raise feature_extractor.too_small(self.name, size, error) from error
        if not isinstance(seen, Tensor) or seen.ndim != 4 or seen.shape[1] != network.num_features:
            raise RecipeError(
                _(
                    "model.layers.0 (backbone): '{name}' gives tokens instead of a map (height, width, channels)."
                ).format(name=self.name),
                hint=_("Take a convolutional one, such as resnet50, efficientnet_b0 or convnext_tiny."),
            )
        _drop_unused(self.network, seen)
        return (*seen.shape[2:], seen.shape[1])


def modes(stages: Stages, opened: Collection[str], mode: bool, norms: bool) -> None:
    """Sets the mode of every module of a network that is open in part.

    Args:
        stages: all modules by stage.
        opened: the names of the stages that are trained; the others stay in inference mode.
        mode: True for training.
        norms: whether batch norms of open stages train too; else they go by the running statistics that they have.
    """
    for name, modules in stages.items():
        for module in modules:
            module.training = mode and name in opened and (norms or not isinstance(module, _BatchNorm))


def depth(network: nn.Module, stages: Stages, parameter_name: str) -> int:
    """How many stages down a parameter is.

    Args:
        network: whose parameter it is.
        stages: modules of it by stage.
        parameter_name: in the network.

    Returns:
        1 in the top stage, 2 in the one below it; 0 for what is in no stage, such as a head.
    """
    owner = network.get_submodule(parameter_name.rpartition(".")[0])
    downwards = enumerate(reversed(list(stages.values())), 1)
    return next((place for place, modules in downwards if any(module is owner for module in modules)), 0)


def create(name: str, weights: Weights, size: int, seed: int) -> BackboneStep:
    """A backbone with its weights; ``none`` draws them from the seed.

    Raises:
        BackboneError: there is no such network, it cannot look at pictures of this size, or its weights are missing,
            unreachable or do not fit.
        RecipeError: it gives no map.
    """
    from kilat.model import feature_extractor

    with _seeded(seed):
        network = feature_extractor.load(name, size, weights)
    return BackboneStep(network, name, size)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Lets timm draw first weights from the global generator, which is then put back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _drop_unused(network: nn.Module, seen: Tensor) -> None:
    """Takes away the parts that have parameters and no influence on the last map."""
    parts = {name: list(part.parameters()) for name, part in network.named_children()}
    everything = [parameter for parameters in parts.values() for parameter in parameters]
    gradients = torch.autograd.grad(seen.sum(), everything, allow_unused=True)
    found: list[Tensor | None] = list(gradients)  # None where there is no way from the parameter to the map
    used = {id(parameter) for parameter, gradient in zip(everything, found, strict=True) if gradient is not None}
    for name, parameters in parts.items():
        if parameters and not any(id(parameter) in used for parameter in parameters):
            setattr(network, name, nn.Identity())


def stages_of(network: nn.Module) -> dict[str, list[nn.Module]]:
    """All modules by stage, in order. timm names where stages end; what lies between two belongs to the next."""
    information: Any = getattr(network, "feature_info", ())
    ends = [stage["module"] for stage in getattr(information, "info", information)] or ["network"]
    modules: list[list[nn.Module]] = [[] for _ in ends]
    passed = -1
    for path, module in network.named_modules():
        inside = [place for place, end in enumerate(ends) if path == end or path.startswith(f"{end}.")]
        passed = inside[-1] if inside else passed
        modules[passed if inside else min(passed + 1, len(ends) - 1)].append(module)
    return _with_parameters(dict(zip(ends, modules, strict=True)))


def _with_parameters(stages: dict[str, list[nn.Module]]) -> dict[str, list[nn.Module]]:
    """The same modules, those of stages with nothing to train (VGG's last pooling) counted to the stage before."""
    kept: dict[str, list[nn.Module]] = {}
    for name, modules in stages.items():
        has_any = any(True for module in modules for _ in module.parameters(recurse=False))
        if has_any or not kept:
            kept[name] = list(modules)
        else:
            kept[next(reversed(kept))] += modules
    return kept
