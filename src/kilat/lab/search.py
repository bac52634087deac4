"""``kilat.search``: variants chosen one after another from ranges, where those before them did well.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) chooses them by their log loss, the mean over all of
their trials: every variant has all seeds, so that efforts are equal. What it chooses follows from the seed and from the
results so far; a search that was stopped makes the same choices again, and finds their trials finished.
"""

import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kilat import recipe as recipes
from kilat.data.catalog import Source
from kilat.data.reading import Reading
from kilat.errors import KilatError, MissingExtra, RecipeError
from kilat.evaluate.metrics import SMALLEST_PROBABILITY
from kilat.lab.answers import Trial
from kilat.lab.beginning import (
    MOST_WORKERS,
    begin,
    is_begun,
    numbers_of,
    planned,
    refuse_what_is_too_large,
    require_between,
    seconds_of,
)
from kilat.lab.lab_folder import MOST_TRIED, LabFolder, PlannedVariant, SearchPlan
from kilat.lab.lab_run import Count, TrialRunner
from kilat.lab.ranges import Choice, Range, parse_range
from kilat.lab.results import Lab, read, unfinished, write_results
from kilat.lab.survey import check_networks, estimate
from kilat.lab.variants import Candidate, Proposal, validated
from kilat.learn.frozen import Extracted
from kilat.locale import _
from kilat.recipe import RecipeLike
from kilat.recipe.words.instead import as_yaml
from kilat.runtime import progress_bars
from kilat.runtime.deadline import Deadline
from kilat.runtime.progress import Progress
from kilat.verbs import interruption, request, run_folder
from kilat.verbs.open_data import Data, Labels, open_data

if TYPE_CHECKING:
    from optuna import Study

TRIED = 20
"""Variants, the reference not among them."""

_FIRST = 5
"""So many are drawn at random, before results say where to look."""
_ASKED_FOR_EACH = 5
"""How often another variant is asked for, where one is no valid recipe or was tried before."""


def search(  # noqa: PLR0913 - a choice each
    data: Data,
    recipe: RecipeLike = "transfer",
    *,
    ranges: Mapping[str, str],
    count: int = TRIED,
    seeds: int | None = None,
    folds: int | None = None,
    repeats: int | None = None,
    time_limit: float | str | None = None,
    workers: int | None = None,
    labels: Labels | None = None,
    name: str | None = None,
    labs: str | Path = "labs",
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
    class_from: str | None = None,
    progress: Progress | None = None,
    command: str = "",
    **overrides: Any,
) -> Lab:
    """Search in ranges of values for a variant of a recipe that is better than the recipe itself.

    ``kilat.lab(resume=folder)`` goes on with a search that was stopped.

    Args:
        data: labelled pictures, as for ``kilat.lab``; the test set is kept back.
        recipe: that is varied, and the reference.
        ranges: by option, as text: ``1e-4..1e-1(log)`` for numbers, whole where both ends are; ``sgd,adam`` for values.
        count: how many variants are tried.
        seeds: trials of every variant that is trained by gradient, 5 by default.
        folds: of the cross-validation of heads on frozen backbones, 5 by default.
        repeats: how often these folds are drawn, 3 by default.
        time_limit: seconds, or ``20m``, after which no more are tried.
        workers: as for ``kilat.lab``.
        labels: as for ``kilat.lab``.
        name: of the lab; the data's own name by default.
        labs: the folder in which the lab's folder is made.
        root: as for ``kilat.lab``.
        path_column: as for ``kilat.lab``.
        label_column: as for ``kilat.lab``.
        split_column: as for ``kilat.lab``.
        images: as for ``kilat.lab``.
        class_from: as for ``kilat.lab``.
        progress: that shows its stages.
        command: that asked for this, to be shown on the page; by default the call.
        overrides: single choices of the recipe that hold for all variants.

    Raises:
        KilatError: what was given, why it is refused, and how to fix it.
    """
    _require_optuna()
    require_between("--workers", workers, 0, MOST_WORKERS)
    require_between("--count", count, 1, MOST_TRIED)
    limit = seconds_of(time_limit)
    deadline = None if limit is None else Deadline(time.perf_counter() + limit)
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    run_folder.require_place(Path(labs), name)
    with progress_bars.show(progress) as shown:
        source = open_data(data, labels, root, shown, reading=reading)
        ends = list(_ends(recipe, ranges))
        reference, *others = validated([Proposal(_name(recipe), {}, recipe), *ends], overrides)
        numbers = numbers_of([reference, *others], seeds, folds, repeats)
        with shown.stage(_("Checking the variants")):
            macs = check_networks([reference, *others], source)
        if limit is None:
            tried = [reference] * (count + 1)
            refuse_what_is_too_large(estimate(tried, macs, len(source.entries), numbers.seeds))
        start = run_folder.Start.of(data, labels, root, "search", reading)
        command = command or request.python_call("search", data, recipe, ranges=ranges, count=count, **overrides)
        with run_folder.new_folder(Path(labs), name or source.name, keep=is_begun) as path:
            plan = SearchPlan(ranges=dict(ranges), count=count, arguments=reference.arguments)
            given = {"command": command, "time_limit": limit, "search": plan}
            begun = begin(path, source, start, [reference], numbers, shown, [], **given)
            from_python = None if start.data is not None else source
            return go_on(begun.lab, source, from_python, workers, deadline, shown, begun.extracted)


def go_on(
    lab: LabFolder,
    source: Source,
    given: Source | None,
    workers: int | None,
    deadline: Deadline | None,
    progress: Progress,
    extracted: Extracted | None = None,
) -> Lab:
    """Try what is left of a search, from its beginning or from where it was stopped.

    Args:
        lab: the folder.
        source: the pictures.
        given: the same where only Python can give them.
        workers: processes side by side.
        deadline: when time is over.
        progress: that shows how far it is.
        extracted: the features of the reference, where they were extracted already.
    """
    _require_optuna()
    with (
        interruption.explained(keeps_features=False, resume=lambda: lab.resume_command, of_trials=True),
        TrialRunner(lab, source, given, workers, deadline, progress, extracted) as runner,
        progress.stage(_("Searching"), unit="trials") as stage,
    ):
        plan = lab.plan.search
        assert plan is not None
        searching = _Searching(lab, source, runner, Count(stage, (plan.count + 1) * lab.plan.seeds))
        searching.run()
    with progress.stage(_("Comparing the variants")):
        return write_results(LabFolder(lab.path), source)


class _Searching:
    """A search that goes on.

    Args:
        lab: the folder.
        source: the pictures.
        runner: of its trials.
        count: of trials that are done.
    """

    def __init__(self, lab: LabFolder, source: Source, runner: TrialRunner, count: Count) -> None:
        plan = lab.plan.search
        assert plan is not None
        self.lab, self.source, self.runner, self.count, self.plan = lab, source, runner, count, plan
        self.ranges = dict(parse_range(f"{path}={text}") for path, text in plan.ranges.items())
        self.tried = {lab.recipe(variant).model_dump_json(): variant for variant in lab.plan.variants[:1]}

    def run(self) -> None:
        """Try one variant after another, until there are as many as were wanted, or time is over."""
        self._try(self.lab.plan.variants[0])
        optuna_study, wanted = _new_study(self.lab.plan.seed), self.plan.count + 1
        for _attempt in range(_ASKED_FOR_EACH * self.plan.count):
            if len(self.tried) >= wanted or self.runner.is_over:
                return
            self._ask(optuna_study)

    def _ask(self, optuna_study: "Study") -> None:
        """Let the optuna_study choose a variant, and tell it how that did."""
        from optuna.trial import TrialState

        suggestion = optuna_study.ask()
        options = {path: one.suggest(path, suggestion) for path, one in self.ranges.items()}
        try:
            candidate = self._candidate(options)
        except KilatError:
            optuna_study.tell(suggestion, state=TrialState.FAIL)
            return
        key = candidate.recipe.model_dump_json()
        if key not in self.tried:
            self.tried[key] = self._planned(candidate)
        loss = self._try(self.tried[key])
        if loss is None:
            optuna_study.tell(suggestion, state=TrialState.FAIL)
        else:
            optuna_study.tell(suggestion, loss)

    def _candidate(self, options: Mapping[str, Any]) -> Candidate:
        """Return a variant with some options.

        Raises:
            KilatError: they do not go together, or give no network.
        """
        reference = self.lab.plan.variants[0]
        (name,) = (one.name for one in _named([options]))
        (candidate,) = validated([Proposal(name, options, self.lab.recipe_path(reference))], {})
        choices = [part for path, value in candidate.options.items() for part in ("--set", f"{path}={value}")]
        arguments = (*self.plan.arguments, *choices) if self.plan.arguments else ()
        check_networks([candidate], self.source)
        return replace(candidate, slug=f"{len(self.tried):03}", arguments=arguments)

    def _planned(self, candidate: Candidate) -> PlannedVariant:
        """Return the variant in the lab's plan, where it is added unless it stood there before."""
        number, variants = len(self.tried), self.lab.plan.variants
        if number < len(variants):
            return variants[number]
        variant = planned(candidate, self.lab.start.arguments(), self.lab.path)
        self.lab = self.lab.add(candidate, variant)
        return variant

    def _try(self, variant: PlannedVariant) -> float | None:
        """Return the log loss of a variant, its mean over all trials; None where it has none."""
        left = [trial for trial in unfinished(self.lab) if trial[0].name == variant.name]
        for _finished in range(self.lab.plan.seeds - len(left)):
            self.count.done((variant, 0))
        self.runner.run(left, self.count.done)
        found = [one for seed in self.lab.plan.trial_seeds for one in read(self.lab, variant, seed)]
        if not found or not all(isinstance(one, Trial) for one in found):
            return None
        probabilities = np.concatenate([one.label_probability for one in found if isinstance(one, Trial)])
        return float(-np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)).mean())


def _new_study(seed: int) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=_FIRST, seed=seed))


def _ends(recipe: RecipeLike, ranges: Mapping[str, str]) -> Iterator[Proposal]:
    """Yield a variant for both ends of every range and for every value: what they are refused for is said at once."""
    if not ranges:
        raise RecipeError(
            _("Nothing was given to search in."),
            hint=_("Give ranges: --vary fit.optimizer.learning_rate=1e-4..1e-1(log)"),
        )
    for path, text in ranges.items():
        _path, values = parse_range(f"{path}={text}")
        ends = values.values if isinstance(values, Choice) else _ends_of(values)
        yield from (replace(one, recipe=recipe) for one in _named([{path: value} for value in ends]))


def _ends_of(values: Range) -> tuple[Any, ...]:
    return (int(values.low), int(values.high)) if values.is_whole else (values.low, values.high)


def _named(choices: Sequence[Mapping[str, Any]]) -> Iterator[Proposal]:
    for options in choices:
        labels = recipes.short_paths(list(options))
        name = ", ".join(f"{label}={as_yaml(value)}" for label, value in zip(labels, options.values(), strict=True))
        yield Proposal(name, options, {})


def _name(recipe: RecipeLike) -> str:
    return Path(recipe).stem if isinstance(recipe, str | Path) else "recipe"


def _require_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra(_("Searching in ranges"), "search")
