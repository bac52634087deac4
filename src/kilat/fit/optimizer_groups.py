"""An optimizer for each part of a network, with a rate and a decay of its own: Muon for hidden kernels, SGD elsewhere.

Parts are what differs in how it is best trained: the first kernel, the last one, the hidden ones between them, and
everything that is no kernel (biases, scales and shifts of normalisation, slopes of activations).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kilat.fit import optimizers
from kilat.fit.optimizers import Number, Optimizer, hidden_kernels, kernels
from kilat.recipe.fit import Fit
from kilat.recipe.optimizer import Optimizer as Choices


class Groups(Optimizer):
    """Several optimizers of different parameters as one, under one schedule.

    Args:
        choices: the settings of the optimizer whose rate the schedule gives; the others keep their ratio to it.
        members: the optimizers; each parameter belongs to one of them.
    """

    def __init__(self, choices: Choices, members: Sequence[Optimizer]) -> None:
        parameters = {name: value for member in members for name, value in member.parameters.items()}
        super().__init__(choices, parameters)
        self.members = members

    def prepare(self, rate: float) -> list[float]:
        """Count an update, and return the numbers of all members, one after the other."""
        self._count()
        ratios = [member.choices.rate / self.choices.rate for member in self.members]
        prepared = [member.prepare(rate * ratio) for member, ratio in zip(self.members, ratios, strict=True)]
        self._widths = [len(numbers) for numbers in prepared]
        return [number for numbers in prepared for number in numbers]

    def apply(self, numbers: Sequence[Number]) -> None:
        """Update every parameter that has a gradient, by the numbers that ``prepare`` gave."""
        start = 0
        for member, width in zip(self.members, self._widths, strict=True):
            member.apply(numbers[start : start + width])
            start += width

    def state(self) -> dict[str, Tensor]:
        """Return a copy of what is needed to resume exactly; all members have made as many steps."""
        states = [member.state() for member in self.members]
        return {key: value for state in states for key, value in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Resume from what ``state`` gave, of the same optimizers on the same network."""
        self.steps = int(state["steps"])
        for member in self.members:
            own = {key: value for key, value in state.items() if key.partition("/")[2] in member.parameters}
            member.restore({**own, "steps": state["steps"]})


def create(
    fit: Fit,
    parameters: Mapping[str, nn.Parameter],
    factors: Mapping[str, float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Optimizer:
    """Return the optimizer of a recipe, or those of the parts of a network, before the first step.

    Args:
        fit: the section, whose optimizers are chosen.
        parameters: all parameters of a network by their names, in its order and frozen ones too, for the first and the
            last kernel are found by it.
        factors: of the rate, for every parameter by its name; None for 1. Weight decay goes by the same rate.
        dtype: that Muon makes gradients orthogonal in.
    """
    parts, hidden = parts_of(parameters), hidden_kernels(parameters)
    own = {part: choices for part, choices in fit.optimizer_groups if choices is not None}
    if not own:
        return optimizers.create(fit.optimizer, parameters, factors, hidden, dtype)
    members = []
    for part, choices in {"": fit.optimizer, **own}.items():
        names = [name for name in parameters if parts[name] == part or (not part and parts[name] not in own)]
        chosen = {name: parameters[name] for name in names}
        if chosen:
            # Who chooses Muon for a part means all of it, wherever it is.
            members.append(optimizers.create(choices, chosen, factors, names if part else hidden, dtype))
    return Groups(fit.optimizer, members)


def parts_of(parameters: Mapping[str, nn.Parameter]) -> dict[str, str]:
    """Return the part of the network that each parameter belongs to, as ``fit.optimizer_groups`` calls it.

    Args:
        parameters: all parameters of a network by their names, in its order.
    """
    every = kernels(parameters)
    parts = dict.fromkeys(parameters, "biases") | dict.fromkeys(every, "hidden_kernels")
    return parts | dict.fromkeys(every[:1], "first_kernel") | dict.fromkeys(every[-1:], "last_kernel")
