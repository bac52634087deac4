"""The weights of a network in training: those trained now, their moving average, the best, and the mean of epochs."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


class Weights:
    """What training changes in a network, and what is kept of it.

    ``trainable`` are the parameters that are trained now, ``ema`` their exponential moving average, ``best`` the
    weights of the best epoch, and ``swa`` the mean of the last epochs' weights, of which there are ``swa_epochs`` so
    far.

    Args:
        network: to be trained.
        ema_decay: how much of the moving average stays at each update; None for no moving average.
    """

    def __init__(self, network: nn.Module, ema_decay: float | None) -> None:
        self.network, self.ema_decay = network, ema_decay
        self.trainable: dict[str, nn.Parameter] = {}
        self.ema: Tensors = {}
        self.best: Tensors = {}
        self.swa: Tensors = {}
        self.swa_epochs = 0
        self._ever_trained: set[str] = set()

    def start_phase(self) -> None:
        """Find the parameters that are trained from now on, which require gradients, and start new averages."""
        self.network.zero_grad()  # or what is frozen from now on would be moved by its last gradient
        self.trainable = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self._ever_trained |= set(self.trainable)
        if self.best:  # what was frozen until now is what it was when the best weights were kept
            self.best = _copies(self.current()) | self.best
        self.ema = _copies(self.trainable) if self.ema_decay else {}
        self.reset_swa()

    def current(self) -> Tensors:
        """Return weights and running statistics as they are, without those that were never trained. Not a copy."""
        frozen = {name for name, _value in self.network.named_parameters()} - self._ever_trained
        return {name: value.detach() for name, value in self.network.state_dict().items() if name not in frozen}

    def evaluated(self) -> Tensors:
        """Return the same with the moving average, if there is one: what is measured, and kept in the end."""
        return self.current() | self.ema

    def copy_all(self) -> Tensors:
        """Return a copy of all weights and running statistics, also those that are not trained."""
        return _copies(self.network.state_dict())

    def load(self, weights: Tensors) -> None:
        """Set some of the network's weights; the others stay."""
        self.network.load_state_dict(weights, strict=False)

    def keep_as_best(self) -> None:
        """Keep a copy of the evaluated weights as the best."""
        self.best = _copies(self.evaluated())

    def update_ema(self, *, first: bool) -> None:
        """Update the moving average; after the first update it is the weights themselves, as in Keras."""
        if self.ema_decay:
            values = [self.trainable[name].detach() for name in self.ema]
            torch._foreach_lerp_(list(self.ema.values()), values, 1.0 if first else 1 - self.ema_decay)

    @contextlib.contextmanager
    def with_ema(self) -> Iterator[None]:
        """Give the network the moving average of its weights inside the block, if there is one."""
        trained = _copies({name: self.trainable[name] for name in self.ema})
        self.load(self.ema)
        try:
            yield
        finally:
            self.load(trained)

    def update_swa(self) -> None:
        """Add weights and running statistics to the mean of epochs (arXiv 1803.05407); of counters, keep the last."""
        self.swa_epochs += 1
        for name, value in self.current().items():
            if name in self.swa and value.is_floating_point():
                self.swa[name].lerp_(value, 1 / self.swa_epochs)
            else:
                self.swa[name] = value.clone()

    def reset_swa(self) -> None:
        """Start a new mean of epochs."""
        self.swa, self.swa_epochs = {}, 0

    def tensors(self) -> Tensors:
        """Return everything here as it is saved in a checkpoint. Not a copy."""
        parts = {"weights": self.current(), "ema": self.ema, "best": self.best, "swa": self.swa}
        found = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        return found | ({"swa_epochs": torch.tensor(self.swa_epochs)} if self.swa_epochs else {})

    def restore(self, tensors: Tensors) -> None:
        """Resume from what ``tensors`` gave, once the same phases were started."""
        self.load(with_prefix("weights", tensors))
        self.best = with_prefix("best", tensors)
        self.swa_epochs = int(tensors.get("swa_epochs", 0))
        # Laid out in memory like the weights, so that the arithmetic is the same to the last bit.
        current = self.current()
        self.ema, self.swa = (
            {name: torch.empty_like(current[name]).copy_(value) for name, value in with_prefix(part, tensors).items()}
            for part in ("ema", "swa")
        )


def interpolate(first: Tensors, last: Tensors, share: float) -> Tensors:
    """Return weights between the first and the last ones, of which the last ones have a share."""
    return {
        name: torch.lerp(first[name], value, share) if value.is_floating_point() else value
        for name, value in last.items()
    }


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Return those whose names begin with ``prefix/``, without it."""
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def _copies(tensors: Tensors | dict[str, nn.Parameter]) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}
