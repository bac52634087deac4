"""Runs the trials of a lab: all of them, or as many as a time limit leaves room for."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from kilat.data.catalog import Source
from kilat.evaluate.metrics import SMALLEST_PROBABILITY
from kilat.lab.answers import Trial
from kilat.lab.halving import Standing, kept_count, ranked
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

RunTasks = Callable[[Sequence[PlannedTrial], Callable[[PlannedTrial], None]], None]
"""Runs trials, and calls a function after each."""


def run_trials(
    lab: LabFolder,
    source: Source,
    given: Source | None,
    workers: int,
    deadline: Deadline | None,
    progress: Progress,
    extracted: Extracted | None = None,
) -> None:
    """Run the trials that are left of a lab.

    Args:
        lab: the folder.
        source: the pictures.
        given: the same where only Python can give them; None where other processes find them by themselves.
        workers: processes side by side; heads are fitted in threads of this one.
        deadline: when time is over.
        progress: that shows how far it is.
        extracted: the features of the reference, where they were extracted already.
    """
    left = unfinished(lab)
    if not left:
        return
    if lab.plan.kind == "frozen":
        heads = HeadTrials(lab, source, extracted)
        run = functools.partial(_fit_heads, heads, deadline, progress)
        _run_in_rounds(lab, run, deadline, progress, 1)
        return
    numbers = {variant.name: number for number, variant in enumerate(lab.plan.variants)}

    def lost(task: tuple[int, int]) -> None:
        path = lab.trial_path(lab.plan.variants[task[0]], task[1])
        path.mkdir(parents=True, exist_ok=True)
        write_failure(path, _("its process was killed twice, such as for lack of memory"), is_final=False)

    with TrialProcesses(TrainedTrials(lab.path, given), min(workers, len(left)), lost) as processes:

        def run_trained(tasks: Sequence[PlannedTrial], done: Callable[[PlannedTrial], None]) -> None:
            numbered = [(numbers[variant.name], seed) for variant, seed in tasks]
            variants = lab.plan.variants
            processes.run(numbered, lambda task: done((variants[task[0]], task[1])), deadline)

        _run_in_rounds(lab, run_trained, deadline, progress, max(1, workers))


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


def _fit_heads(
    heads: HeadTrials,
    deadline: Deadline | None,
    progress: Progress,
    tasks: Sequence[PlannedTrial],
    done: Callable[[PlannedTrial], None],
) -> None:
    def report(task: PlannedTrial) -> bool:
        done(task)
        return deadline is None or deadline.remaining() > 0

    heads.run(tasks, progress, report)


def _run_in_rounds(lab: LabFolder, run: RunTasks, deadline: Deadline | None, progress: Progress, parallel: int) -> None:
    """Run what is left: at once, or under a time limit seed by seed, dropping variants where it would not suffice."""
    with progress.stage(_("Running trials"), unit="trials") as stage:
        everything = unfinished(lab)
        count = _Count(stage, len(everything))
        stage.advance(0, len(everything))
        if deadline is None:
            run(everything, count.done)
            return
        for seed in lab.plan.trial_seeds:
            run([task for task in unfinished(lab) if task[1] == seed], count.done)
            if deadline.remaining() <= 0:
                return
            _drop_the_worst(lab, seed, deadline, parallel)
            count.total = count.finished + len(unfinished(lab))


class _Count:
    def __init__(self, stage: Stage, total: int) -> None:
        self.stage, self.finished, self.total = stage, 0, total

    def done(self, task: PlannedTrial) -> None:
        """Show that one more trial is done."""
        self.finished += 1
        self.stage.advance(self.finished, self.total, task[0].name)


def _drop_the_worst(lab: LabFolder, seed: int, deadline: Deadline, parallel: int) -> None:
    """Give up the variants that did worst, where the rest of the time does not suffice for all."""
    left = unfinished(lab)
    names = list(dict.fromkeys(variant.name for variant, _seed in left))
    if not names:
        return
    found = [one for variant in lab.plan.variants for one in read(lab, variant, seed) if isinstance(one, Trial)]
    seconds = sum(one.seconds for one in found) / max(1, len({one.variant for one in found}))
    affordable = deadline.remaining() * parallel / max(seconds, 1e-3)
    done = seed - lab.plan.seed
    count = kept_count(len(names), lab.plan.seeds - done, affordable)
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
