"""Which epoch was best and when to stop: the decisions of Keras's ``EarlyStopping``, as pure functions."""

import math
from collections.abc import Sequence

import numpy as np

from kilat.recipe.fit import EarlyStopping


def improvements(values: Sequence[float], *, monitor: str, min_delta: float = 0.0) -> list[bool]:
    """Return whether each epoch was better than the best before it by more than ``min_delta``; the first always is.

    Args:
        values: one of every epoch: losses, or accuracies.
        monitor: ``loss`` where lower is better, or ``accuracy`` where higher is.
        min_delta: the least difference that counts.
    """
    lower = np.asarray(values, np.float64) * (1 if monitor == "loss" else -1)
    # Keras compares in float32, so a difference that float32 cannot hold does not count here either.
    candidates = (lower + min_delta).astype(np.float32).tolist()
    found: list[bool] = []
    best = math.inf
    for candidate, value in zip(candidates, lower.astype(np.float32).tolist(), strict=True):
        found.append(not found or candidate < best)
        best = value if found[-1] else best
    return found


def best_epoch(values: Sequence[float], *, monitor: str, min_delta: float = 0.0) -> int:
    """Return the epoch, from 0, whose weights Keras's ``restore_best_weights`` would choose: the last improvement."""
    assert len(values), "no epoch has been finished"
    return max(
        epoch for epoch, better in enumerate(improvements(values, monitor=monitor, min_delta=min_delta)) if better
    )


def should_stop(values: Sequence[float], rule: EarlyStopping) -> bool:
    """Return whether training ends here: after ``patience`` epochs, at least one, without an improvement."""
    if not values:
        return False
    waited = len(values) - 1 - best_epoch(values, monitor=rule.monitor, min_delta=rule.min_delta)
    return waited >= max(1, rule.patience)
