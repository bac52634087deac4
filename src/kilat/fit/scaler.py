"""Gradient scaling for fp16, whose smallest numbers are larger than many gradients (arXiv 1710.03740)."""

from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from kilat.fit.optimizers import Optimizer


class Scaler:
    """Multiplies losses and divides gradients by a factor that grows until gradients overflow; else it does nothing.

    Args:
        device: ``cpu`` or ``cuda``.
        dtype: in which training computes; only float16 needs scaling.
    """

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._scaler = GradScaler(device, enabled=dtype == torch.float16)

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss to differentiate."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the factor, once all of them are there and before anything reads them."""
        duck: Any = optimizer  # it has what torch's scaler needs of an optimizer
        self._scaler.unscale_(duck)

    def step(self, optimizer: Optimizer, rate: float) -> None:
        """Make one update, unless a gradient is not finite: then the factor falls, and nothing else happens."""
        duck: Any = optimizer
        self._scaler.step(duck, rate)
        self._scaler.update()

    def state(self) -> dict[str, Tensor]:
        """Return what is needed to resume exactly; nothing where nothing is scaled."""
        state = self._scaler.state_dict()
        names = {"scale": torch.float32, "_growth_tracker": torch.int64}
        return {name: torch.tensor(state[name], dtype=dtype) for name, dtype in names.items() if state}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from what ``state`` gave."""
        if state:
            self._scaler.load_state_dict(self._scaler.state_dict() | {name: t.item() for name, t in state.items()})
