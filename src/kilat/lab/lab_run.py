"""Runs the trials of a lab: all of them, or as many as a time limit leaves room for."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from kilat.data.catalog import Source
from kilat.evaluate.metrics import SMALLEST_PROBABILITY
from kilat.lab.answers import Trial
from kilat.lab.halving import Standing, kept_count, ranked, rounds_ahead
from kilat.lab.head_trials import HeadTrials
from kilat.lab.lab_folder import LabFolder, PlannedTrial, PlannedVariant
from kilat.lab.results import drop, read, unfinished
from kilat.lab.trained_trials import TrainedTrials, write_failure
from kilat.lab.trial_processes import TrialProcesses
from kilat.learn.device import training_device
from kilat.learn.frozen import Extracted
from kilat.learn.network import input_size
from kilat.locale import _
from kilat.runtime.cores import available_cores
from kilat.runtime.deadline import Deadline
from kilat.runtime.memory import available_memory
from kilat.runtime.progress import Progress, Stage
from kilat.runtime.worker_processes import MEMORY

_COPIES = 2
"""Of the decoded pictures that a training may hold at once."""


class TrialRunner:
    """Runs trials of a lab, in processes that it keeps while the block lasts.

    Args:
        lab: the folder.
        source: the pictures.
        given: the same where only Python can give them; None where other processes find them by themselves.
        workers: processes side by side; None for as many as the machine has room for. Heads are fitted in threads.
        deadline: when time is over.
        progress: that shows features being extracted.
        extracted: the features of the reference, where they were extracted already.
    """

    def __init__(
        self,
        lab: LabFolder,
        source: Source,
        given: Source | None,
        workers: int | None,
        deadline: Deadline | None,
        progress: Progress,
        extracted: Extracted | None = None,
    ) -> None:
        self.lab, self.deadline, self.progress = lab, deadline, progress
        self.workers = default_workers(lab, source) if workers is None else workers
        self._heads = HeadTrials(lab, source, extracted) if lab.plan.kind == "frozen" else None
        self._processes = TrialProcesses(TrainedTrials(lab.path, given), self.workers, self._lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def run(self, trials: Sequence[PlannedTrial], done: Callable[[PlannedTrial], None]) -> None:
        """Run trials until all are finished, or time is over.

        Args:
            trials: what is to be run.
            done: called after each.
        """
        if self._heads is None:
            self._processes.run(trials, done, self.deadline)
            return

        def report(trial: PlannedTrial) -> bool:
            done(trial)
            return not self.is_over

        self._heads.run(trials, self.progress, report)

    @property
    def parallel(self) -> int:
        """How many trials run at once."""
        return max(1, self.workers) if self._heads is None else available_cores()

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and self.deadline.remaining() <= 0

    def _lost(self, trial: PlannedTrial) -> None:
        path = self.lab.trial_path(*trial)
        path.mkdir(parents=True, exist_ok=True)
        write_failure(path, _("its process was killed twice, such as for lack of memory"), is_final=False)


def run_trials(lab: LabFolder, runner: TrialRunner) -> None:
    """Run what is left of a lab: at once, or under a time limit seed by seed, dropping variants where it would not do.

    Args:
        lab: the folder.
        runner: of its trials.
    """
    left = unfinished(lab)
    if not left:
        return
    with runner.progress.stage(_("Running trials"), unit="trials") as stage:
        count = Count(stage, len(left))
        if runner.deadline is None:
            runner.run(left, count.done)
            return
        for seed in lab.plan.trial_seeds:
            runner.run([trial for trial in unfinished(lab) if trial[1] == seed], count.done)
            if runner.is_over:
                return
            _drop_the_worst(lab, seed, runner)
            count.total = count.finished + len(unfinished(lab))


def default_workers(lab: LabFolder, source: Source) -> int:
    """Return how many trials run side by side: one a core, or as many as there is memory for; on a GPU one.

    Args:
        lab: the folder.
        source: the pictures.
    """
    if lab.plan.kind == "frozen":
        return 1
    recipe = lab.recipe(lab.plan.variants[0])
    if training_device(recipe.runtime.device) != "cpu":
        return 1
    size = 224 if recipe.model is None else input_size(recipe, source)
    needed = MEMORY + _COPIES * len(source.entries) * size * size * 3
    return max(1, min(available_cores() // lab.plan.threads, available_memory() // (2 * needed)))


class Count:
    """How many trials are done, shown by a stage.

    Args:
        stage: that shows it.
        total: how many there are.
    """

    def __init__(self, stage: Stage, total: int) -> None:
        self.stage, self.finished, self.total = stage, 0, total
        stage.advance(0, total)

    def done(self, trial: PlannedTrial) -> None:
        """Show that one more trial is done."""
        self.finished += 1
        self.stage.advance(self.finished, self.total, trial[0].name)


def _drop_the_worst(lab: LabFolder, seed: int, runner: TrialRunner) -> None:
    """Give up the variants that did worst, where the rest of the time does not suffice for all."""
    left = unfinished(lab)
    names = list(dict.fromkeys(variant.name for variant, _seed in left))
    if not names or runner.deadline is None:
        return
    found = [one for variant in lab.plan.variants for one in read(lab, variant, seed) if isinstance(one, Trial)]
    seconds = sum(one.seconds for one in found) / max(1, len({one.variant for one in found}))
    affordable = runner.deadline.remaining() * runner.parallel / max(seconds, 1e-3)
    done = seed - lab.plan.seed
    count = kept_count(len(names), rounds_ahead(done, lab.plan.seeds), affordable)
    if count == len(names):
        return
    by_name = {variant.name: variant for variant in lab.plan.variants}
    standings = {name: _standings(lab, by_name[name]) for name in names}
    drop(lab, [by_name[name] for name in ranked(names, standings)[count:]], done)


def _standings(lab: LabFolder, variant: PlannedVariant) -> list[Standing]:
    """Return how a variant did in each of its trials."""
    truth = lab.pictures.truth
    standings = []
    for seed in lab.plan.trial_seeds:
        trials = [one for one in read(lab, variant, seed) if isinstance(one, Trial)]
        if not trials:
            continue
        correct = np.concatenate([one.predicted == truth[one.pictures] for one in trials])
        probability = np.concatenate([one.label_probability for one in trials])
        loss = -np.log(np.maximum(probability, SMALLEST_PROBABILITY))
        standings.append(Standing(seed, float(correct.mean()), float(loss.mean())))
    return standings
