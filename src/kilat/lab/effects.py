"""Effects of several contrasts, with p-values adjusted for how many there are, and what it would take to tell them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from kilat.evaluate.paired_trials import Effect, adjust, need
from kilat.lab.contrasts import Contrast
from kilat.report.lab_results import MOST_MORE, SIGNIFICANT, MeasuredEffect


class Effects(NamedTuple):
    """The effects of one contrast on both measures."""

    accuracy: MeasuredEffect
    log_loss: MeasuredEffect


def measure_effects(contrasts: Sequence[Contrast]) -> list[Effects]:
    """Return the effects of contrasts; they are one family of tests, both measures together."""
    found = [contrast.effects() for contrast in contrasts]
    adjusted = adjust([one.p_value for both in found for one in both])
    return [
        Effects(
            _measured(accuracy, adjusted[2 * i], contrast, better_above=True),
            _measured(log_loss, adjusted[2 * i + 1], contrast, better_above=False),
        )
        for i, (contrast, (accuracy, log_loss)) in enumerate(zip(contrasts, found, strict=True))
    ]


def _measured(found: Effect, adjusted: float | None, contrast: Contrast, *, better_above: bool) -> MeasuredEffect:
    better = found.positive if better_above or found.positive is None else 1 - found.positive
    effect = MeasuredEffect(
        difference=found.value,
        interval=found.interval,
        p_value=found.p_value,
        adjusted_p=adjusted,
        better=better,
    )
    if found.p_value is None or adjusted is None or effect.is_significant:
        return effect
    # What is adjusted for many tests must pass a level that is as much lower.
    needed = need(found, level=SIGNIFICANT * found.p_value / adjusted)
    seeds, pictures = _more(contrast.seeds, needed.trials), _more(contrast.pictures, needed.pictures)
    takes_both = seeds is None and pictures is None
    if takes_both:
        seeds, pictures = _more(contrast.seeds, needed.both), _more(contrast.pictures, needed.both)
    more = {"more_seeds": seeds, "more_pictures": pictures, "takes_both": takes_both and seeds is not None}
    return effect.model_copy(update=more)


def _more(count: int, times: float | None) -> int | None:
    """Return how many more are needed where ``times`` as many are, to two digits; None for more than anybody has."""
    if times is None or times > MOST_MORE:
        return None
    more = max(1, math.ceil(count * (times - 1)))
    unit: int = 10 ** max(0, len(str(more)) - 2)
    return math.ceil(more / unit) * unit
