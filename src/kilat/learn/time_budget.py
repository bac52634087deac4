"""A frozen pass within a time limit: an estimate after the first pictures, and what to do where it would take too long.

What was looked at before is in the cache, so giving up early loses little.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from kilat.data.catalog import Source
from kilat.features import lite
from kilat.recipe import Features
from kilat.runtime.progress import Advance

_FIRST_SECONDS = 2.0
_FIRST_PICTURES = 48
_EARLY = 0.25
"""The share of the pictures after which a pass that is only somewhat too slow is let go on."""
_MUCH = 1.5
_LEAST = 40
_MARGIN = 0.8


class TooSlowError(Exception):
    """A pass would not end in time.

    Args:
        rate: pictures a second.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate


def watched(advance: Advance, seconds: float, now: Callable[[], float] = time.perf_counter) -> Advance:
    """A progress that gives up a pass which would take longer than some seconds, as its first pictures tell.

    Args:
        advance: told as well.
        seconds: that the pass may take.
        now: the clock.
    """
    began = now()

    def watching(done: int, total: int, note: str = "") -> None:
        advance(done, total, note)
        gone = now() - began
        if gone < _FIRST_SECONDS or done < _FIRST_PICTURES:
            return
        needed = gone / done * total
        if needed > seconds * (1 if done < _EARLY * total else _MUCH):
            raise TooSlowError(done / gone)

    return watching


def cheaper(wanted: Features) -> Iterator[Features]:
    """What was wanted, and then what is looked at where that takes too long: one backbone, in int8."""
    yield wanted
    quick = wanted.model_copy(update={"backbone": wanted.backbones[0], "flip_average": False})
    if quick.backbone in lite.NAMES and quick.weights is None:
        quick = quick.model_copy(update={"precision": "int8"})
    if quick != wanted:
        yield quick


def left_out(source: Source, rate: float, seconds: float) -> NDArray[np.int64]:
    """The rows that are not looked at so that the others fit: the same share of every class and split, evenly spread.

    Args:
        source: the pictures.
        rate: how many are looked at in a second.
        seconds: that there are.
    """
    share = _MARGIN * rate * seconds / max(1, len(source.entries))
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, entry in enumerate(source.entries):
        if not entry.refused:
            groups[entry.label, entry.split].append(row)
    rows: list[int] = []
    for members in groups.values():
        count = min(len(members), max(_LEAST, round(share * len(members))))
        kept = set(np.linspace(0, len(members) - 1, count).round().astype(int).tolist())
        rows += [row for place, row in enumerate(members) if place not in kept]
    return np.array(sorted(rows), np.int64)
