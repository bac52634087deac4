"""Successive halving (Jamieson and Talwalkar, arXiv 1502.07943): a time limit goes to the variants that do best so far.

A round gives every variant that is left one more seed. Efforts are never mixed: whoever is dropped keeps the seeds that
it had, and is compared on these alone.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

FEWEST = 2
"""Variants that are kept to the end: the reference and one other."""
ENOUGH = 5
"""Seeds that few variants are to have before fewer still have more."""


class Standing(NamedTuple):
    """How a variant did in one trial."""

    seed: int
    accuracy: float
    log_loss: float


def kept_count(variants: int, rounds: int, affordable: float) -> int:
    """Return how many variants go on, so that halving them after each round fits into what can be afforded.

    Args:
        variants: that are left.
        rounds: that are to come.
        affordable: trials for which there is time.
    """
    if variants * rounds <= affordable:
        return variants
    counts = range(variants, FEWEST, -1)
    return next((count for count in counts if _trials(count, rounds) <= affordable), min(FEWEST, variants))


def rounds_ahead(done: int, planned: int) -> int:
    """Return for how many rounds time is shared out: first up to five seeds, which tell something; then to the end.

    Args:
        done: rounds.
        planned: rounds in all.
    """
    return min(planned, ENOUGH) - done if done < ENOUGH else planned - done


def _trials(variants: int, rounds: int) -> int:
    return sum(max(FEWEST, math.ceil(variants / 2**number)) for number in range(rounds))


def ranked(names: Sequence[str], trials: Mapping[str, Sequence[Standing]]) -> list[str]:
    """Return variants by their accuracy on the seeds that all of them have, then by their log loss, the best first.

    Those without a trial come last; the reference stays where it is.

    Args:
        names: of the variants, the reference first.
        trials: theirs.
    """
    seeds = [{trial.seed for trial in trials[name]} for name in names if trials.get(name)]
    common = set.intersection(*seeds) if seeds else set()

    def key(name: str) -> tuple[float, float]:
        own = [trial for trial in trials.get(name, ()) if trial.seed in common]
        if not own:
            return math.inf, math.inf
        return -fmean(trial.accuracy for trial in own), fmean(trial.log_loss for trial in own)

    reference, *others = names
    return [reference, *sorted(others, key=key)]
