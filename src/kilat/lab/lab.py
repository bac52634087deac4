"""``kilat.lab``: does it help, on these pictures? ``lab`` calls the stages in order.

A lab never looks at the test set. It keeps back what ``kilat train`` makes the test set by the same recipe; trials
share out the other pictures. So the recipe that wins can be judged on pictures that had no part in choosing it.
"""

import contextlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kilat import recipe as recipes
from kilat.data.catalog import Source
from kilat.data.reading import Reading
from kilat.errors import RecipeError, SourceError
from kilat.lab import questions
from kilat.lab.lab_folder import PLAN, VARIANTS, LabFolder, Plan, PlannedVariant
from kilat.lab.lab_run import default_workers, run_trials
from kilat.lab.results import Lab, write_results
from kilat.lab.survey import Effort, check_networks, estimate, survey
from kilat.lab.variants import Candidate, Proposal, Values, check, grid
from kilat.learn.frozen import Extracted
from kilat.locale import _
from kilat.recipe import RecipeLike
from kilat.runtime import progress_bars
from kilat.runtime.cores import available_cores
from kilat.runtime.deadline import Deadline
from kilat.runtime.progress import Progress
from kilat.runtime.progress_figures import duration
from kilat.verbs import interruption, request, run_folder
from kilat.verbs.open_data import Data, Labels, open_data

SEEDS, FOLDS, REPEATS = 5, 5, 3
MOST_TRIALS, MOST_SECONDS = 500, 24 * 3600.0
"""Of more, or of what takes longer, a lab is refused unless there is a time limit."""


def lab(  # noqa: PLR0913 - a choice each
    data: Data | None = None,
    recipe: RecipeLike | None = None,
    *,
    vary: Values | None = None,
    question: str | None = None,
    seeds: int | None = None,
    folds: int | None = None,
    repeats: int | None = None,
    time_limit: float | str | None = None,
    workers: int | None = None,
    resume: str | Path | None = None,
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
    """Try variants of a recipe side by side, and say what helped, by how much and how sure that is.

    Args:
        data: labelled pictures, as for ``kilat.train``; its test set is kept back. A lab that is resumed knows its own.
        recipe: that is varied: a built-in name, a YAML file, a dictionary or a recipe; by default ``transfer``, or what
            the question is about.
        vary: the values to compare, by option: ``{"fit.optimizer": ["sgd", "adam"]}``. Of several options every
            combination is a variant; the first values are the reference.
        question: the name of a technique instead: a ready-made comparison (``kilat lab --questions`` lists them).
        seeds: trials of every variant that is trained by gradient, 5 by default. Each seed draws other held-out
            pictures, order, first weights and augmentation, the same for all variants.
        folds: of the cross-validation that compares heads on frozen backbones, 5 by default.
        repeats: how often these folds are drawn, 3 by default.
        time_limit: seconds, or ``20m``, for all trials: variants that do worse are dropped so that the others finish.
        workers: processes side by side, by default one a core; 0 for this process itself. They change no result.
        resume: the folder of a lab that was stopped, to go on with it.
        labels: with pictures, the label of each; with other data, a table of corrected labels.
        name: of the lab; the data's own name by default.
        labs: the folder in which the lab's folder is made.
        root: a folder that already holds copies of a known set.
        path_column: of a table, where kilat does not find the column with the pictures by itself.
        label_column: of a table, the column with their labels.
        split_column: of a table, the column that says train, validation or test.
        images: the folder with the pictures that a table names.
        class_from: what names the class: ``first-folder``, ``last-folder``, all ``folders``, or the ``file-name``.
        progress: that shows its stages (``kilat.runtime.progress``); by default a terminal or a notebook does.
        command: that asked for this, to be shown on the page; by default the call.
        overrides: single choices of the recipe that hold for all variants, such as ``epochs=3``.

    Returns:
        The lab: its folder, its results and its page.

    Raises:
        KilatError: what was given, why it is refused, and how to fix it; all variants are checked before any runs.
    """
    limit = _limit(time_limit)
    deadline = None if limit is None else Deadline(time.perf_counter() + limit)
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    with progress_bars.show(progress) as shown:
        if resume is not None:
            return _go_on(Path(resume), data, labels, root, workers, deadline, shown)
        source = open_data(data, labels, root, shown, reading=reading)
        candidates = check(_proposals(recipe, vary, question, overrides, source), overrides)
        plan = _plan(candidates, seeds, folds, repeats)
        with shown.stage(_("Checking the variants")):
            macs = check_networks(candidates, source)
        if limit is None:
            _refuse_what_is_too_large(estimate(candidates, macs, len(source.entries), plan["seeds"]))
        start = run_folder.Start.of(data, labels, root, "lab", reading)
        command = command or request.python_call("lab", data, recipe, vary=vary, question=question, **overrides)
        with run_folder.new_folder(Path(labs), name or source.name, keep=_is_begun) as path:
            surveyed = survey(source, candidates[0].recipe, shown)
            arguments = start.arguments()
            written = Plan(
                start=asdict(start),
                variants=[_planned(one, arguments, path) for one in candidates],
                seed=candidates[0].recipe.runtime.seed,
                threads=_threads(candidates, plan),
                time_limit=limit,
                question=question,
                command=command,
                begun=request.now(),
                notes=[note.document() for note in surveyed.notes],
                **plan,
            )
            begun = LabFolder.begin(path, written, candidates, surveyed.catalog)
            given = None if start.data is not None else source
            return _run(begun, source, given, workers, deadline, shown, surveyed.extracted)


def _go_on(
    folder: Path,
    data: Data | None,
    labels: Labels | None,
    root: str | Path | None,
    workers: int | None,
    deadline: Deadline | None,
    progress: Progress,
) -> Lab:
    begun = LabFolder.open(folder)
    source = begun.open_source(data, labels, root, progress)
    given = None if data is None or isinstance(data, str | Path) else source
    if deadline is None and begun.plan.time_limit is not None:
        deadline = Deadline(time.perf_counter() + begun.plan.time_limit)
    return _run(begun, source, given, workers, deadline, progress)


def _run(
    lab: LabFolder,
    source: Source,
    given: Source | None,
    workers: int | None,
    deadline: Deadline | None,
    progress: Progress,
    extracted: Extracted | None = None,
) -> Lab:
    with interruption.explained(keeps_features=False, resume=lambda: lab.resume_command):
        count = default_workers(lab, source) if workers is None else workers
        run_trials(lab, source, given, count, deadline, progress, extracted)
    with progress.stage(_("Comparing the variants")):
        return write_results(lab, source)


def report(folder: str | Path) -> Lab:
    """Write the results and the page of a lab again, from the trials that are finished.

    Raises:
        KilatError: it is not the folder of a lab, or there is nothing to compare.
    """
    begun = LabFolder.open(Path(folder))
    source = None
    with contextlib.suppress(SourceError):  # without its pictures it shows everything else
        source = begun.open_source()
    return write_results(begun, source)


def _proposals(
    recipe: RecipeLike | None,
    vary: Values | None,
    question: str | None,
    overrides: Mapping[str, Any],
    source: Source,
) -> Sequence[Proposal]:
    """Return the variants that were asked for.

    Raises:
        RecipeError: neither options nor a question were given, or both.
    """
    if vary and question:
        raise RecipeError(
            _("Both options to vary and a question were given."),
            hint=_("Leave one of the two out: a question is both."),
        )
    if question:
        return questions.proposals(question, recipe, overrides, source)
    if not vary:
        raise RecipeError(
            _("Nothing was given to compare."),
            hint=_(
                "Name options with their values (--vary fit.optimizer=sgd,adam), or a question (--question dropout)."
            ),
        )
    return grid("transfer" if recipe is None else recipe, vary)


def _plan(candidates: Sequence[Candidate], seeds: int | None, folds: int | None, repeats: int | None) -> dict[str, Any]:
    """Return the kind of a lab, and how many trials its variants get.

    Raises:
        RecipeError: a number is too small, or is one for the other kind of lab.
    """
    is_trained = any(one.is_trained or "features.small_network" in one.options for one in candidates)
    given = {"--seeds": seeds, "--folds": folds, "--repeats": repeats}
    foreign = ("--folds", "--repeats") if is_trained else ("--seeds",)
    if wrong := [name for name in foreign if given[name] is not None]:
        sentence = _("{options}: only for heads on frozen backbones; networks that are trained have --seeds.")
        if not is_trained:
            sentence = _("{options}: only for networks that are trained; heads have --folds and --repeats.")
        raise RecipeError(sentence.format(options=_(" and ").join(wrong)))
    least = {"--seeds": 1, "--folds": 2, "--repeats": 1}
    for name, number in given.items():
        if number is not None and number < least[name]:
            raise RecipeError(_("{option}: must be at least {least} (given: {number})").format(
                option=name, least=least[name], number=number
            ))  # fmt: skip
    if is_trained:
        return {"kind": "trained", "seeds": seeds or SEEDS, "folds": 1}
    return {"kind": "frozen", "seeds": repeats or REPEATS, "folds": folds or FOLDS}


def _planned(one: Candidate, data: str, folder: Path) -> PlannedVariant:
    """Return a variant with the command that trains with it, such as ``kilat train flowers --set fit.ema=0.99``."""
    own = folder / VARIANTS / f"{one.slug}.yaml"
    arguments = shlex.join(one.arguments or ("--recipe", str(own)))
    return PlannedVariant(
        name=one.name, slug=one.slug, options=dict(one.options), command=f"kilat train {data} {arguments}"
    )


def _threads(candidates: Sequence[Candidate], plan: Mapping[str, Any]) -> int:
    """Return with how many threads a trial computes, so that as many trials as there are cores have one each.

    It follows from the machine and the number of trials, not from the number of processes, which changes no result.
    """
    cores = available_cores()
    return max(1, cores // min(cores, len(candidates) * plan["seeds"]))


def _refuse_what_is_too_large(effort: Effort) -> None:
    """Refuse a lab that would run for a day or more by mistake.

    Raises:
        RecipeError: it says how many trials there are, and about how long they take.
    """
    seconds = effort.seconds / available_cores()
    if effort.trials <= MOST_TRIALS and seconds <= MOST_SECONDS:
        return
    raise RecipeError(
        _("That are {trials:,} trials, which take roughly {time} here.").format(
            trials=effort.trials, time=duration(seconds)
        ),
        hint=_(
            "Vary less, or give a time limit (--time-limit 2h): then variants that do worse are dropped on the way."
        ),
    )


def _limit(given: float | str | None) -> float | None:
    """Return a time limit in seconds.

    Raises:
        RecipeError: it is none.
    """
    return None if given is None else recipes.load("transfer", {"runtime.time_limit": given}).runtime.time_limit


def _is_begun(folder: Path) -> bool:
    return (folder / PLAN).is_file()
