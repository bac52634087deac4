"""The weights of a network in training: those that learn, their running mean, and the best there were."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


class Weights:
    """What training changes in a network, and what is kept of it.

    ``averaged_epochs`` is how many ends of epochs ``average`` is the mean of.

    Args:
        network: to be trained.
        ema: how much of the running mean stays at each update; None for no such mean.
    """

    def __init__(self, network: nn.Module, ema: float | None) -> None:
        self.network, self.ema = network, ema
        self.learning: dict[str, nn.Parameter] = {}
        self.mean: Tensors = {}
        self.best: Tensors = {}
        self.average: Tensors = {}
        self.averaged_epochs = 0
        self._learnt: set[str] = set()

    def choose(self) -> None:
        """Looks which parameters learn from now on: those that require gradients."""
        self.network.zero_grad()  # or what is frozen from now on would be moved by its last gradient
        self.learning = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self._learnt |= set(self.learning)
        if self.best:  # what was frozen until now is what it was when the best ones were kept
            self.best = _copied(self.now()) | self.best

    def now(self) -> Tensors:
        """Weights and running statistics as they are; what was never trained is left out. Not a copy."""
        frozen = {name for name, _value in self.network.named_parameters()} - self._learnt
        return {name: value.detach() for name, value in self.network.state_dict().items() if name not in frozen}

    def kept(self) -> Tensors:
        """The same with the mean, where there is one: what is measured, and kept in the end."""
        return self.now() | self.mean

    def copied(self) -> Tensors:
        """All weights and running statistics as they are, also those that do not learn."""
        return _copied(self.network.state_dict())

    def put(self, weights: Tensors) -> None:
        """Gives the network some weights; others stay."""
        self.network.load_state_dict(weights, strict=False)

    def keep_as_best(self) -> None:
        """None were better than these."""
        self.best = _copied(self.kept())

    def begin_mean(self) -> None:
        """The mean begins with what is there, and the average of epochs with none."""
        self.mean = _copied(self.learning) if self.ema else {}
        self.forget_average()

    def take_into_mean(self, *, first: bool) -> None:
        """Takes the weights into their mean; after the first update they are the mean, as in Keras."""
        if self.ema:
            values = [self.learning[name].detach() for name in self.mean]
            torch._foreach_lerp_(list(self.mean.values()), values, 1.0 if first else 1 - self.ema)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the mean of its weights, where there is one."""
        trained = _copied({name: self.learning[name] for name in self.mean})
        self.put(self.mean)
        try:
            yield
        finally:
            self.put(trained)

    def take_into_average(self) -> None:
        """Takes weights and running statistics into the average of epochs (arXiv 1803.05407); of counters the last."""
        self.averaged_epochs += 1
        for name, value in self.now().items():
            if name in self.average and value.is_floating_point():
                self.average[name].lerp_(value, 1 / self.averaged_epochs)
            else:
                self.average[name] = value.clone()

    def forget_average(self) -> None:
        """The average of epochs is of none."""
        self.average, self.averaged_epochs = {}, 0

    def tensors(self) -> Tensors:
        """Everything here as it goes into a checkpoint. Not a copy."""
        parts = {"weights": self.now(), "mean": self.mean, "best": self.best, "average": self.average}
        found = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        return found | ({"averaged_epochs": torch.tensor(self.averaged_epochs)} if self.averaged_epochs else {})

    def restore(self, tensors: Tensors) -> None:
        """Goes on from what ``tensors`` gave, once the same parameters are chosen."""
        self.put(under("weights", tensors))
        self.best = under("best", tensors)
        self.averaged_epochs = int(tensors.get("averaged_epochs", 0))
        # Laid out in memory like the weights, so that the arithmetic is the same to the last bit.
        now = self.now()
        self.mean, self.average = (
            {name: torch.empty_like(now[name]).copy_(value) for name, value in under(part, tensors).items()}
            for part in ("mean", "average")
        )


def blended(first: Tensors, then: Tensors, share: float) -> Tensors:
    """Weights between those that there were first and those that there were then, of which they have a share."""
    return {
        name: torch.lerp(first[name], value, share) if value.is_floating_point() else value
        for name, value in then.items()
    }


def under(part: str, tensors: Tensors) -> Tensors:
    """Those whose names begin with ``part/``, without it."""
    return {name.removeprefix(f"{part}/"): value for name, value in tensors.items() if name.startswith(f"{part}/")}


def _copied(tensors: Tensors | dict[str, nn.Parameter]) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}
