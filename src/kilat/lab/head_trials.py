"""Trials of heads on frozen backbones: one pass over the pictures, then all variants on the same folds, repeated.

A trial is a repeat of the folds. It leaves a table of answers, not a run folder: 36 trials would hold the same backbone
36 times, and take three minutes instead of some seconds. ``kilat train`` with a variant's recipe gives the run.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kilat import probe
from kilat.data.catalog import Source
from kilat.data.split import Part, folds
from kilat.errors import SourceError
from kilat.lab.answers import Trial
from kilat.lab.lab_folder import LabFolder, PlannedTrial, PlannedVariant
from kilat.lab.trial_files import HeadTrial, read_file, require_pictures
from kilat.learn.frozen import Extracted, extract
from kilat.learn.time_budget import UNLIMITED
from kilat.locale import _
from kilat.recipe import Head, Recipe
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import available_cores, single_threaded_blas
from kilat.runtime.csv_tables import to_csv
from kilat.runtime.files import write_file, write_json
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer
from kilat.verbs import run_tables

ANSWERS, TRIAL = "answers.csv", "trial.json"


def is_finished(path: Path) -> bool:
    """Return whether a trial is finished: the last file that it writes is there."""
    return (path / TRIAL).is_file()


class HeadTrials:
    """The trials of a lab whose variants are heads on frozen backbones.

    Args:
        lab: the folder.
        source: the pictures.
        first: the features of the reference, where they were extracted already.
    """

    def __init__(self, lab: LabFolder, source: Source, first: Extracted | None = None) -> None:
        self.lab, self.source = lab, source
        self._extracted = {} if first is None else {_features_key(first.recipe): first}
        self._scored: dict[tuple[str, int], _Pictures] = {}

    def run(self, tasks: Sequence[PlannedTrial], progress: Progress, done: Callable[[PlannedTrial], bool]) -> None:
        """Run trials; those on the same features together.

        Args:
            tasks: what is to be run.
            progress: that shows the extraction of features.
            done: called after each; returns whether to go on.
        """
        recipes = {variant.slug: self.lab.recipe(variant) for variant, _seed in tasks}
        for features, of_features in _grouped(tasks, lambda task: _features_key(recipes[task[0].slug])).items():
            by_components = _grouped(of_features, lambda task: str(recipes[task[0].slug].head.components))
            for same in by_components.values():
                recipe = recipes[same[0][0].slug]
                pictures = self._pictures(features, recipe, progress)
                heads = {variant.slug: recipes[variant.slug].head for variant, _seed in same}
                if not self._run(same, heads, pictures, done):
                    return

    def _pictures(self, features: str, recipe: Recipe, progress: Progress) -> "_Pictures":
        """Return the pictures with their scores, which are kept: each seed of a time limit asks for them again."""
        key = features, recipe.head.components
        if key not in self._scored:
            if features not in self._extracted:
                self._extracted = {}  # the features of one backbone at a time
                self._extracted[features] = extract(self.source, recipe, Timer(), UNLIMITED, progress)
            self._scored[key] = self._score(self._extracted[features], recipe.head)
        return self._scored[key]

    def _score(self, extracted: Extracted, head: Head) -> "_Pictures":
        part = self.lab.pictures
        features = np.ascontiguousarray(extracted.features[part.rows])
        everything = np.arange(len(features))
        with single_threaded_blas():
            components = probe.components_of(
                features, everything, extracted.backbone.blocks, head.components, extracted.results
            )
        return _Pictures(part, components.scores, len(self.lab.classes))

    def _run(
        self,
        tasks: Sequence[PlannedTrial],
        heads: Mapping[str, Head],
        pictures: "_Pictures",
        done: Callable[[PlannedTrial], bool],
    ) -> bool:
        """Run trials on the same scores, in a thread per core; return whether to go on."""

        def one(task: PlannedTrial) -> PlannedTrial:
            variant, seed = task
            self._trial(variant, seed, heads[variant.slug], pictures)
            return task

        with single_threaded_blas(), ThreadPoolExecutor(available_cores(), thread_name_prefix="kilat-lab") as pool:
            try:
                return all(done(task) for task in pool.map(one, tasks))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _trial(self, variant: PlannedVariant, seed: int, head: Head, pictures: "_Pictures") -> None:
        began = time.perf_counter()
        fold = common_folds(pictures.part, self.lab.plan.folds, seed)
        found = probe.cross_validate(pictures.scores, pictures.part.truth, fold, pictures.classes, head)
        best = found.probabilities.argmax(1)
        own = np.arange(len(best))
        table = pd.DataFrame(
            {
                "picture": own,
                "fold": fold,
                "predicted": [self.lab.classes[number] for number in best],
                "probability": found.probabilities[own, best].astype(np.float64),
                "label_probability": found.probabilities[own, pictures.part.truth].astype(np.float64),
            }
        )
        path = self.lab.trial_path(variant, seed)
        path.mkdir(parents=True, exist_ok=True)
        write_file(path / ANSWERS, to_csv(table[fold >= 0]))
        seconds = round(time.perf_counter() - began, 3)
        write_json(path / TRIAL, {"schema": 1, "l2_penalties": list(found.l2_penalties), "timing": {"head_s": seconds}})


class _Pictures(NamedTuple):
    """Pictures with their scores on principal components."""

    part: Part
    scores: Floats
    classes: int


def common_folds(pictures: Part, count: int, seed: int) -> Ints:
    """Return in which fold each picture is held out; whatever splits came with the data, all of them take part.

    Raises:
        SourceError: there are too few pictures for two folds.
    """
    fold = folds(replace(pictures, validation=np.zeros(len(pictures.rows), bool)), count, seed)
    if len(np.unique(fold[fold >= 0])) < 2:
        raise SourceError(
            _("There are too few pictures for cross-validation: {count:,} beside the test set.").format(
                count=len(pictures.rows)
            ),
            hint=_("Bring more of each class."),
        )
    return fold


def read_trials(lab: LabFolder, variant: PlannedVariant, seed: int) -> Iterator[Trial]:
    """Yield the fits of a finished trial, one for every fold."""
    path = lab.trial_path(variant, seed)
    table = run_tables.read_table(path / ANSWERS)
    seconds = read_file(HeadTrial, path / TRIAL).timing.head_s
    numbers = sorted(table["fold"].unique())
    for number in numbers:
        held_out = table[table["fold"] == number]
        yield Trial(
            variant=variant.name,
            seed=seed,
            fold=int(number),
            train_pictures=len(lab.pictures.rows) - len(held_out),
            pictures=require_pictures(path, held_out["picture"].to_numpy(np.int64), len(lab.pictures.rows)),
            predicted=pd.Index(lab.classes).get_indexer(pd.Index(held_out["predicted"])).astype(np.int64),
            probability=held_out["probability"].to_numpy(np.float64),
            label_probability=held_out["label_probability"].to_numpy(np.float64),
            seconds=seconds / len(numbers),
        )


def _features_key(recipe: Recipe) -> str:
    return recipe.features.model_dump_json()


def _grouped(tasks: Sequence[PlannedTrial], key: Callable[[PlannedTrial], str]) -> dict[str, list[PlannedTrial]]:
    groups: dict[str, list[PlannedTrial]] = {}
    for task in tasks:
        groups.setdefault(key(task), []).append(task)
    return groups
