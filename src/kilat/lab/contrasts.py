"""Variants against each other: their answers to the same pictures in the same trials, and what follows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from kilat.evaluate.metrics import SMALLEST_PROBABILITY
from kilat.evaluate.paired_trials import Effect, TrialDifferences, effect
from kilat.lab.answers import LabAnswers, Trial
from kilat.runtime.array_types import Doubles, Flags


class TrialKey(NamedTuple):
    """What trials of several variants have in common that are compared: effort, and which pictures are held out."""

    effort: float
    seed: int
    fold: int


@dataclass(frozen=True, eq=False)
class Contrast:
    """A weighted sum of variants, over the trials that all of them have finished with the same effort.

    Args:
        keys: of these trials.
        pictures: how many pictures that is about.
        accuracy: the sum of right and wrong, answer by answer.
        log_loss: the sum of log losses.
    """

    keys: Sequence[TrialKey]
    pictures: int
    accuracy: TrialDifferences
    log_loss: TrialDifferences

    @property
    def seeds(self) -> int:
        """How many seeds, or repeats of the folds."""
        return len({key.seed for key in self.keys})

    @property
    def is_identical(self) -> bool:
        """Whether every answer and every probability is the same."""
        return not self.accuracy.values.any() and not self.log_loss.values.any()

    def effects(self) -> tuple[Effect, Effect]:
        """Return the effects on accuracy and log loss."""
        return effect(self.accuracy), effect(self.log_loss)


@dataclass(frozen=True, eq=False)
class FinishedTrials:
    """The trials that have answers, by variant.

    Args:
        answers: of the lab.
    """

    answers: LabAnswers

    @cached_property
    def by_variant(self) -> Mapping[str, Mapping[TrialKey, Trial]]:
        """The trials of each variant, those with the most effort first, in the order of seeds and folds."""
        found: dict[str, dict[TrialKey, Trial]] = {variant.name: {} for variant in self.answers.variants}
        for trial in self.answers.trials:
            found[trial.variant][TrialKey(trial.effort, trial.seed, trial.fold)] = trial
        return {name: dict(sorted(trials.items(), key=_most_effort_first)) for name, trials in found.items()}

    def fullest(self, name: str) -> list[Trial]:
        """Return the trials of a variant that it was given the most effort for."""
        trials = list(self.by_variant[name].values())
        return [trial for trial in trials if trial.effort == trials[0].effort]

    def common_keys(self, names: Iterable[str]) -> list[TrialKey]:
        """Return the trials that all of these variants have finished, with the most effort that all were given."""
        first, *others = (self.by_variant[name] for name in names)
        common = [key for key in first if all(key in other for other in others)]
        return [key for key in common if key.effort == common[0].effort]

    def contrast(self, weights: Mapping[str, float]) -> Contrast | None:
        """Return a weighted sum of variants; None where they have no trial in common.

        Args:
            weights: of the variants, such as -1 and 1 for a difference.
        """
        keys = self.common_keys(weights)
        if not keys:
            return None
        rights, losses = [], []
        for key in keys:
            trials = [self.by_variant[name][key] for name in weights]
            rights.append(_weighted([self.right(trial) for trial in trials], list(weights.values())))
            losses.append(_weighted([self.losses(trial) for trial in trials], list(weights.values())))
        first = [self.by_variant[next(iter(weights))][key] for key in keys]
        pictures = np.concatenate([np.sort(trial.pictures) for trial in first])
        trials_of = np.repeat(np.arange(len(keys)), [len(trial.pictures) for trial in first])
        ratio = float(np.mean([len(trial.pictures) / max(trial.train_pictures, 1) for trial in first]))
        groups = self.answers.pictures.groups[pictures]
        return Contrast(
            keys,
            len(np.unique(pictures)),
            TrialDifferences(np.concatenate(rights), trials_of, groups, ratio, is_share=True),
            TrialDifferences(np.concatenate(losses), trials_of, groups, ratio),
        )

    def right(self, trial: Trial) -> Flags:
        """Return which held-out pictures a trial answers rightly, in the order of the pictures."""
        order = np.argsort(trial.pictures)
        right: Flags = trial.predicted[order] == self.answers.pictures.truth[trial.pictures[order]]
        return right

    def losses(self, trial: Trial) -> Doubles:
        """Return the log losses of a trial's held-out pictures, in the order of the pictures."""
        probabilities = trial.label_probability[np.argsort(trial.pictures)].astype(np.float64)
        losses: Doubles = -np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
        return losses


def mean_accuracy(trials: Sequence[Trial], finished: FinishedTrials) -> float:
    """Return the share of held-out pictures that some trials answer rightly, each trial's pictures counted."""
    return float(np.concatenate([finished.right(trial) for trial in trials]).mean())


def mean_log_loss(trials: Sequence[Trial], finished: FinishedTrials) -> float:
    """Return the mean log loss of the held-out pictures of some trials."""
    return float(np.concatenate([finished.losses(trial) for trial in trials]).mean())


def _most_effort_first(item: tuple[TrialKey, Trial]) -> tuple[float, int, int]:
    key = item[0]
    return -key.effort, key.seed, key.fold


def _weighted(values: Sequence[Flags] | Sequence[Doubles], weights: Sequence[float]) -> Doubles:
    """Return the weighted sum of what variants have picture by picture, which are the same for all of them."""
    assert len({len(one) for one in values}) == 1, "trials of one seed and fold hold out the same pictures"
    total: Doubles = np.einsum("v,vm->m", np.asarray(weights, np.float64), np.asarray(values, np.float64))
    return total
