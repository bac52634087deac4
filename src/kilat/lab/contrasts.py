"""Variants against each other: their answers to the same pictures in the same trials, and what follows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from kilat.evaluate.metrics import SMALLEST_PROBABILITY
from kilat.evaluate.paired_trials import Effect, TrialDifferences, effect
from kilat.lab.answers import LabAnswers, Trial
from kilat.runtime.array_types import Doubles, Flags, Ints


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


class Measured(NamedTuple):
    """The answers of a trial, in the order of the pictures.

    Args:
        pictures: the held-out ones, rising, ``[m]``.
        right: which of them are answered rightly, ``[m]``.
        log_losses: of each, ``[m]``.
    """

    pictures: Ints
    right: Flags
    log_losses: Doubles


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
            found[trial.variant][_key(trial)] = trial
        return {name: dict(sorted(trials.items(), key=_most_effort_first)) for name, trials in found.items()}

    @cached_property
    def measured(self) -> Mapping[str, Mapping[TrialKey, Measured]]:
        """What the trials of each variant answered."""
        return {
            name: {key: self._measure(trial) for key, trial in trials.items()}
            for name, trials in self.by_variant.items()
        }

    def _measure(self, trial: Trial) -> Measured:
        order = np.argsort(trial.pictures)
        pictures = trial.pictures[order]
        probabilities = np.maximum(trial.label_probability[order].astype(np.float64), SMALLEST_PROBABILITY)
        return Measured(
            pictures, trial.predicted[order] == self.answers.pictures.truth[pictures], -np.log(probabilities)
        )

    @cached_property
    def groups(self) -> Ints:
        """The group of near-duplicates of every picture, from 0."""
        return np.unique(self.answers.pictures.groups, return_inverse=True)[1].astype(np.int64)

    def fullest(self, name: str) -> list[Trial]:
        """Return the trials of a variant that it was given the most effort for."""
        trials = list(self.by_variant[name].values())
        return [trial for trial in trials if trial.effort == trials[0].effort]

    def accuracy(self, trials: Sequence[Trial]) -> float:
        """Return the share of held-out pictures that trials answer rightly, all of their pictures together."""
        return float(np.concatenate([self.measured[trial.variant][_key(trial)].right for trial in trials]).mean())

    def log_loss(self, trials: Sequence[Trial]) -> float:
        """Return the mean log loss of the held-out pictures of trials."""
        return float(np.concatenate([self.measured[trial.variant][_key(trial)].log_losses for trial in trials]).mean())

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
        factors = np.array(list(weights.values()))
        rights, losses = [], []
        for key in keys:
            found = [self.measured[name][key] for name in weights]
            assert len({len(one.pictures) for one in found}) == 1, "trials of one seed hold out the same pictures"
            # Not a product of matrices, whose last bits depend on the number of threads.
            rights.append(np.einsum("v,vm->m", factors, np.array([one.right for one in found], np.float64)))
            losses.append(np.einsum("v,vm->m", factors, np.array([one.log_losses for one in found])))
        name = next(iter(weights))
        held_out = [self.measured[name][key].pictures for key in keys]
        pictures, trials = np.concatenate(held_out), np.repeat(np.arange(len(keys)), list(map(len, held_out)))
        ratio = np.mean([len(some) / max(self.by_variant[name][key].train_pictures, 1)
                         for key, some in zip(keys, held_out, strict=True)])  # fmt: skip
        where = trials, self.groups[pictures], float(ratio)
        return Contrast(
            keys,
            len(np.unique(pictures)),
            TrialDifferences(np.concatenate(rights), *where, is_share=True),
            TrialDifferences(np.concatenate(losses), *where),
        )


def _key(trial: Trial) -> TrialKey:
    return TrialKey(trial.effort, trial.seed, trial.fold)


def _most_effort_first(item: tuple[TrialKey, Trial]) -> tuple[float, int, int]:
    key = item[0]
    return -key.effort, key.seed, key.fold
