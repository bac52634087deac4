"""``kilat.lab``: does it help, on these pictures? ``lab`` calls the stages in order.

A lab never looks at the test set. It keeps back what ``kilat train`` makes the test set by the same recipe; trials
share out the other pictures. So the recipe that wins can be judged on pictures that had no part in choosing it.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kilat.data.catalog import Source
from kilat.data.reading import Reading
from kilat.errors import RecipeError, SourceError
from kilat.lab import questions, search
from kilat.lab.beginning import (
    MOST_WORKERS,
    begin,
    is_begun,
    numbers_of,
    refuse_more_than_any_time,
    refuse_what_is_too_large,
    require_between,
    seconds_of,
)
from kilat.lab.lab_folder import LabFolder
from kilat.lab.lab_run import TrialRunner, run_trials
from kilat.lab.results import Lab, write_results
from kilat.lab.survey import check_networks, estimate
from kilat.lab.variants import Proposal, Values, check, grid
from kilat.learn.frozen import Extracted
from kilat.locale import _
from kilat.recipe import RecipeLike
from kilat.runtime import progress_bars
from kilat.runtime.deadline import Deadline
from kilat.runtime.progress import Progress
from kilat.verbs import interruption, request, run_folder
from kilat.verbs.open_data import Data, Labels, open_data


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
    require_between("--workers", workers, 0, MOST_WORKERS)
    limit = seconds_of(time_limit)
    deadline = None if limit is None else Deadline(time.perf_counter() + limit)
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    with progress_bars.show(progress) as shown:
        if resume is not None:
            return _go_on(Path(resume), data, labels, root, workers, deadline, shown)
        run_folder.require_place(Path(labs), name)
        source = open_data(data, labels, root, shown, reading=reading)
        candidates = check(_proposals(recipe, vary, question, overrides, source), overrides)
        numbers = numbers_of(candidates, seeds, folds, repeats)
        refuse_more_than_any_time(len(candidates) * numbers.seeds)
        with shown.stage(_("Checking the variants")):
            macs = check_networks(candidates, source)
        if limit is None:
            refuse_what_is_too_large(estimate(candidates, macs, len(source.entries), numbers.seeds))
        start = run_folder.Start.of(data, labels, root, "lab", reading)
        named = {"vary": vary} if vary else {"question": question}
        command = command or request.python_call("lab", data, recipe, **named, **overrides)
        with run_folder.new_folder(Path(labs), name or source.name, keep=is_begun) as path:
            given = {"command": command, "question": question, "time_limit": limit}
            notes = [questions.chosen_recipe(candidates[0].recipe)] if question and recipe is None else []
            begun = begin(path, source, start, candidates, numbers, shown, notes, **given)
            from_python = None if start.data is not None else source
            return _run(begun.lab, source, from_python, workers, deadline, shown, begun.extracted)


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
    with run_folder.hold(folder):
        source = begun.open_source(data, labels, root, progress)
        given = None if data is None or isinstance(data, str | Path) else source
        if deadline is None and begun.plan.time_limit is not None:
            deadline = Deadline(time.perf_counter() + begun.plan.time_limit)
        if begun.plan.search is not None:
            return search.go_on(begun, source, given, workers, deadline, progress)
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
    with (
        interruption.explained(keeps_features=False, resume=lambda: lab.resume_command, of_trials=True),
        TrialRunner(lab, source, given, workers, deadline, progress, extracted) as runner,
    ):
        run_trials(lab, runner)
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
    with run_folder.fitting_together(begun.path):
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
