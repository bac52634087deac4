"""The pictures that other variants lose against the best one, and how many they win."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kilat.lab.contrasts import FinishedTrials
from kilat.report.lab_results import LostPicture, LostPictures

SHOWN, SHOWN_IN_ALL = 6, 48
"""How many pictures are shown of one variant, and of all of them."""


@dataclass
class _Balance:
    """How two variants answer one picture over the trials that held it out."""

    lost: int = 0
    won: int = 0
    trials: int = 0
    gap: float = 0.0
    answers: list[int] = field(default_factory=list)
    probabilities: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


def lost_pictures(best: str, finished: FinishedTrials) -> list[LostPictures]:
    """Return for every other variant the pictures that the best one answers rightly more often.

    Args:
        best: the name of the best variant.
        finished: the trials.
    """
    others = [name for name, trials in finished.by_variant.items() if name != best and trials]
    balances = {name: _balances(best, name, finished) for name in others}
    compared = {name: balance for name, balance in balances.items() if balance}
    shown = min(SHOWN, SHOWN_IN_ALL // max(len(compared), 1))
    return [_lost(name, balance, finished, shown) for name, balance in compared.items()]


def _balances(best: str, other: str, finished: FinishedTrials) -> dict[int, _Balance]:
    """Return how the two answer each picture."""
    found: dict[int, _Balance] = defaultdict(_Balance)
    for key in finished.common_keys([best, other]):
        one, two = finished.by_variant[best][key], finished.by_variant[other][key]
        order, pictures = np.argsort(two.pictures), np.sort(two.pictures)
        gaps = one.label_probability[np.argsort(one.pictures)] - two.label_probability[order]
        rows = zip(
            pictures.tolist(),
            finished.right(one).tolist(),
            finished.right(two).tolist(),
            gaps.tolist(),
            two.predicted[order].tolist(),
            two.probability[order].tolist(),
            strict=True,
        )
        for picture, is_right, is_other_right, gap, predicted, probability in rows:
            balance = found[picture]
            balance.trials += 1
            balance.gap += gap
            balance.lost += is_right and not is_other_right
            balance.won += is_other_right and not is_right
            if not is_other_right:
                balance.answers.append(predicted)
                balance.probabilities[predicted].append(probability)
    return dict(found)


def _lost(name: str, balances: dict[int, _Balance], finished: FinishedTrials, shown: int) -> LostPictures:
    lost = {picture: balance for picture, balance in balances.items() if balance.lost > balance.won}
    clearest = sorted(lost, key=lambda picture: _clearness(picture, lost[picture]))[:shown]
    return LostPictures(
        variant=name,
        count=len(lost),
        won=sum(balance.won > balance.lost for balance in balances.values()),
        shown=[_picture(picture, lost[picture], finished) for picture in clearest],
    )


def _clearness(picture: int, balance: _Balance) -> Sequence[float]:
    """Return what sorts pictures: those first that are lost in the largest share of trials and by the largest gap."""
    return -(balance.lost - balance.won) / balance.trials, -balance.gap / balance.trials, picture


def _picture(picture: int, balance: _Balance, finished: FinishedTrials) -> LostPicture:
    pictures = finished.answers.pictures
    predicted = Counter(balance.answers).most_common(1)[0][0]
    return LostPicture(
        row=int(pictures.rows[picture]),
        path=pictures.paths[picture],
        label=pictures.classes[pictures.truth[picture]],
        predicted=pictures.classes[predicted],
        probability=float(np.mean(balance.probabilities[predicted])),
        wrong=balance.lost,
        trials=balance.trials,
    )
