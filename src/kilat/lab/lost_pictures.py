"""The pictures that other variants lose against the best one, and how many they win."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from kilat.lab.contrasts import FinishedTrials, TrialKey
from kilat.report.lab_results import LostPicture, LostPictures
from kilat.runtime.array_types import Doubles, Ints

SHOWN, SHOWN_IN_ALL = 6, 48
"""How many pictures are shown of one variant, and of all of them."""


@dataclass(frozen=True, eq=False)
class _Balance:
    """How the best variant and another answer every picture, over the trials that both have finished.

    Args:
        keys: of these trials.
        lost: in how many the best one alone is right, ``[n]``.
        won: in how many the other alone is, ``[n]``.
        trials: in how many the picture was held out, ``[n]``.
        gap: how much more probability the best one gives the true class, the sum over trials, ``[n]``.
    """

    keys: list[TrialKey]
    lost: Ints
    won: Ints
    trials: Ints
    gap: Doubles


def lost_pictures(best: str, finished: FinishedTrials) -> list[LostPictures]:
    """Return for every other variant the pictures that the best one answers rightly more often.

    Args:
        best: the name of the best variant.
        finished: the trials.
    """
    others = [name for name in finished.by_variant if name != best and finished.common_keys([best, name])]
    shown = min(SHOWN, SHOWN_IN_ALL // max(len(others), 1))
    return [_lost(name, _balance(best, name, finished), finished, shown) for name in others]


def _balance(best: str, other: str, finished: FinishedTrials) -> _Balance:
    """Return how the two answer every picture."""
    keys, n = finished.common_keys([best, other]), len(finished.answers.pictures.truth)
    found = _Balance(keys, np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n))
    for key in keys:
        one, two = finished.measured[best][key], finished.measured[other][key]
        found.lost[one.pictures] += one.right & ~two.right
        found.won[one.pictures] += two.right & ~one.right
        found.trials[one.pictures] += 1
        found.gap[one.pictures] += np.exp(-one.log_losses) - np.exp(-two.log_losses)
    return found


def _lost(name: str, balance: _Balance, finished: FinishedTrials, shown: int) -> LostPictures:
    lost = np.flatnonzero(balance.lost > balance.won)
    trials = balance.trials[lost]
    # Those first that are lost in the largest share of trials, then by the largest gap.
    order = np.lexsort([lost, -balance.gap[lost] / trials, -(balance.lost - balance.won)[lost] / trials])
    return LostPictures(
        variant=name,
        count=len(lost),
        won=int((balance.won > balance.lost).sum()),
        shown=[_picture(picture, name, balance, finished) for picture in lost[order[:shown]].tolist()],
    )


def _picture(picture: int, name: str, balance: _Balance, finished: FinishedTrials) -> LostPicture:
    pictures, given = finished.answers.pictures, list[tuple[int, float]]()
    for key in balance.keys:
        trial = finished.by_variant[name][key]
        for place in np.flatnonzero(trial.pictures == picture):
            given.append((int(trial.predicted[place]), float(trial.probability[place])))
    wrong = [(predicted, probability) for predicted, probability in given if predicted != pictures.truth[picture]]
    commonest = Counter(predicted for predicted, _probability in wrong).most_common(1)[0][0]
    return LostPicture(
        row=int(pictures.rows[picture]),
        path=pictures.paths[picture],
        label=pictures.classes[pictures.truth[picture]],
        predicted=pictures.classes[commonest],
        probability=float(np.mean([probability for predicted, probability in wrong if predicted == commonest])),
        wrong=int(balance.lost[picture]),
        trials=int(balance.trials[picture]),
    )
