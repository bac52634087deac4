"""Trials of networks that are trained by gradient: each is a whole run, on the pictures that the lab shares out.

What chance decides is decided anew by every seed, and alike for all variants of it: which pictures are held out, which
of the others validate and calibrate, the order of the pictures, first weights, dropout and augmentation.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from kilat.data.catalog import Entry, Picture, Source
from kilat.errors import KilatError, RunError
from kilat.lab.answers import Failure, Trial
from kilat.lab.lab_folder import LabFolder, PlannedTrial, PlannedVariant
from kilat.lab.trial_files import FailedTrial, TrainedTrial, read_file, require_pictures
from kilat.learn.metrics import Metrics
from kilat.learn.network import TrainingOptions
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.runtime.array_types import Ints
from kilat.runtime.cores import at_most_cores
from kilat.runtime.file_lock import file_lock
from kilat.runtime.files import UnwritableError, write_json
from kilat.runtime.peak_memory import PeakMemory
from kilat.runtime.signals import Stopped
from kilat.runtime.timer import Timer
from kilat.verbs import run_folder, run_tables, train

TRIAL, FAILURE = "trial.json", "failure.json"

_OF_TRAINING = {
    "loss_not_finite", "batch_norm_unsettled", "micro_batches", "micro_batches_batch_norm", "stopped_before_averaging",
    "finetuning_few_mistakes", "finetuning_like_pretraining", "finetuning_given_up",
    "schedule_warmup_unfinished", "schedule_cannot_fall", "schedule_boundary_unreached",
}  # fmt: skip
"""Notes of a run that are about its training; the others are about the data, which is that of all trials."""

_log = logging.getLogger(__name__)


class TrialSource:
    """The pictures that trials may use, those that one of them holds out as its test set.

    Args:
        source: all pictures.
        lab: that shares them out.
        held_out: positions among the pictures that trials may use.
    """

    def __init__(self, source: Source, lab: LabFolder, held_out: Ints) -> None:
        self.name = source.name
        self.skipped: dict[str, int] = {}
        self.notes: list[Note] = []
        self._source, self._rows = source, lab.pictures.rows
        is_test = np.zeros(len(self._rows), bool)
        is_test[held_out] = True
        table = lab.catalog.table
        paths, labels = (table[name].to_numpy(object)[self._rows] for name in ("path", "label"))
        self.entries = [
            Entry(path, label, "test" if test else "train")
            for path, label, test in zip(paths, labels, is_test.tolist(), strict=True)
        ]

    def read(self, index: int) -> Picture:
        """Return the picture of ``entries[index]``."""
        return self._source.read(int(self._rows[index]))

    def link(self, index: int) -> str | None:
        """Return the absolute path of the picture's own file, or None where it has none."""
        return self._source.link(int(self._rows[index]))


class TrainedTrials:
    """Runs trials, in this process or in another one: what it is pickled with is enough.

    Args:
        path: of the lab's folder.
        source: the pictures, where they came from Python; None where the lab says where they are.
    """

    def __init__(self, path: Path, source: Source | None = None) -> None:
        self.path, self._given = path, source

    @cached_property
    def lab(self) -> LabFolder:
        """The folder of the lab."""
        return LabFolder(self.path)

    @cached_property
    def source(self) -> Source:
        """All pictures, as the lab knows them."""
        return self._given or self.lab.open_source()

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs."""
        return {"path": self.path, "_given": self._given}

    def __call__(self, trial: PlannedTrial) -> None:
        """Run a trial; one that cannot be finished leaves its reason.

        Args:
            trial: a variant, and a seed.

        Raises:
            Stopped: the process was told to end.
            UnwritableError: the disk is full.
        """
        from kilat.fit.cpu_threads import cpu_threads

        variant, seed = trial
        path = self.lab.trial_path(variant, seed)
        path.mkdir(parents=True, exist_ok=True)
        threads = self.lab.plan.threads
        # A process whose parent was killed goes on for a moment, perhaps with this very trial.
        with file_lock(path / run_folder.LOCK), at_most_cores(threads), cpu_threads(threads):
            if is_finished(path):
                return
            try:
                self._run(path, self.lab.recipe(variant), variant, seed)
            except (Stopped, UnwritableError):  # the trials after it could not be written either
                raise
            except KilatError as error:
                write_failure(path, error.message, is_final=True)
            except Exception as error:  # noqa: BLE001 - what a network, a driver or a library raises is this trial's result
                _log.debug("trial %s, seed %d", variant.name, seed, exc_info=error)
                write_failure(path, f"{type(error).__name__}: {error}", is_final=False)

    def _run(self, path: Path, recipe: Recipe, variant: PlannedVariant, seed: int) -> None:
        lab, timer, peak = self.lab, Timer(), PeakMemory()
        runtime = recipe.runtime.model_copy(update={"seed": seed})
        recipe = recipe.model_copy(update={"runtime": runtime})
        source = TrialSource(self.source, lab, lab.held_out(seed, recipe.data.test))
        start = replace(lab.start, network=variant.name, lab=str(lab.path.resolve()))
        run_folder.begin(path, recipe, start)
        history = run_folder.History(path, [])
        options = TrainingOptions(path / run_folder.CHECKPOINTS, variant.slug, None, history.append)
        outcome = train.fit(source, recipe, timer, options=options)
        self._require_same_content(outcome.learned.catalog.table["digest"])
        write_json(path / TRIAL, {"schema": 1, "peak_bytes": peak.read()})
        train.write(path, source, outcome, timer, command=lab.plan.command, begun=lab.plan.begun)

    def _require_same_content(self, digests: "pd.Series[str]") -> None:
        known = self.lab.catalog.table["digest"].to_numpy(object)[self.lab.pictures.rows]
        if changed := int((digests.to_numpy(object) != known).sum()):
            raise RunError(
                _("{count:,} pictures have changed since the lab was begun.").format(count=changed),
                hint=_("Begin a new lab."),
            )


def write_failure(path: Path, reason: str, *, is_final: bool) -> None:
    """Write why a trial has no answers; without ``is_final``, going on with the lab tries it again."""
    write_json(path / FAILURE, {"schema": 1, "reason": reason, "is_final": is_final})


def is_finished(path: Path) -> bool:
    """Return whether a trial is finished, or failed in a way that it would fail again."""
    failure = _read_failure(path)
    return (path / run_folder.METRICS).is_file() or (failure is not None and failure.is_final)


def read_trials(lab: LabFolder, variant: PlannedVariant, seed: int) -> Iterator[Trial | Failure]:
    """Yield the answers of a finished trial, or why there are none; nothing where it was not run."""
    path = lab.trial_path(variant, seed)
    if not (path / run_folder.METRICS).is_file():
        if failure := _read_failure(path):
            yield Failure(variant.name, seed, 0, failure.reason)
        return
    metrics = run_folder.read_metrics(path)
    table = run_tables.read_table(path / run_tables.PREDICTIONS)
    held_out = table[table["split"] == "test"]
    history = path / run_tables.HISTORY
    epochs = run_tables.read_table(history).to_dict("records") if history.is_file() else []
    yield Trial(
        variant=variant.name,
        seed=seed,
        fold=0,
        train_pictures=metrics.data.train,
        pictures=require_pictures(path, held_out["row"].to_numpy(np.int64), len(lab.pictures.rows)),
        predicted=pd.Index(lab.classes).get_indexer(pd.Index(held_out["predicted"])).astype(np.int64),
        probability=held_out["probability"].to_numpy(np.float64),
        label_probability=held_out["label_probability"].to_numpy(np.float64),
        seconds=metrics.timing.get("total_s", 0.0),
        peak_bytes=read_file(TrainedTrial, path / TRIAL).peak_bytes,
        epochs=[{str(name): value for name, value in row.items()} for row in epochs],
        folder=path.relative_to(lab.path).as_posix(),
        notes=_notes(metrics),
    )


def _notes(metrics: Metrics) -> list[Note]:
    """Return notes on a training, and on what was kept of it."""
    notes = [Note(note.code, note.values) for note in metrics.notes if note.code in _OF_TRAINING]
    if metrics.comparison is not None and metrics.comparison.kept == "frozen":
        notes.append(Note("lab_frozen_kept"))
    return notes


def _read_failure(path: Path) -> FailedTrial | None:
    return read_file(FailedTrial, path / FAILURE) if (path / FAILURE).is_file() else None
