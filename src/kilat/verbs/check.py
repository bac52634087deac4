"""``kilat.check``: what is wrong with labelled pictures; every training does the same checks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kilat import recipe as recipes
from kilat.check import counts, image_quality, label_issues, near_duplicates, shortcuts
from kilat.check.finding import Finding
from kilat.check.head_refit import HeadRefit
from kilat.check.label_issues import LabelIssues, find_label_issues
from kilat.check.noise_model import OneWay
from kilat.data.catalog import Catalog
from kilat.data.reading import Reading
from kilat.data.split import Part
from kilat.evaluate.calibration import apply_temperature
from kilat.evaluate.metrics import wilson_interval
from kilat.learn.frozen import learn_head
from kilat.learn.learned import Learned, SplitLogits
from kilat.learn.time_budget import UNLIMITED, TimeBudget
from kilat.learn.uncertainty import Uncertainty, fit_uncertainty
from kilat.locale import _
from kilat.locale.escapes import shell_word
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.report import check_page
from kilat.report.findings import read_and_show
from kilat.runtime import progress_bars
from kilat.runtime.array_types import Ints
from kilat.runtime.cores import single_threaded_blas
from kilat.runtime.csv_tables import to_csv
from kilat.runtime.files import write_file, write_json
from kilat.runtime.progress import Progress
from kilat.runtime.result_cache import Result
from kilat.runtime.timer import Timer
from kilat.verbs import interruption, request, run_folder, run_tables
from kilat.verbs.open_data import Data, Labels, open_data

_SAID_ELSEWHERE = {"similar_labels", "test_drawn_from_train", "class_without_test_pictures"}
"""Notes about what a finding says, or about the test set, which is of no use here."""


@dataclass(frozen=True)
class Checked:
    """What was found in the data.

    Args:
        catalog: every picture that came in.
        findings: worth doing something about.
        suspects: the table of labels to look at, with a column to fill in (``suspects.csv``).
        leaked: rows of test pictures that have a near-duplicate among the training pictures.
        cross_validated: how often answers to pictures that were not trained on agree with their labels: ``accuracy``,
            ``accuracy_interval`` and ``n``; None where there are none.
        notes: what was left undone.
    """

    catalog: Catalog
    findings: list[Finding]
    suspects: pd.DataFrame
    leaked: list[int]
    cross_validated: dict[str, Any] | None = None
    notes: tuple[Note, ...] = ()

    def section(self) -> dict[str, Any]:
        """Return the section ``check`` of ``metrics.json``."""
        paths = self.catalog.table["path"].tolist()
        return {
            "serious": sum(finding.severity == "serious" for finding in self.findings),
            "findings": [finding.document(paths) for finding in self.findings],
        }


@dataclass(frozen=True)
class Check:
    """The outcome of ``kilat.check``.

    Args:
        folder: with the page ``check.html`` and the table ``suspects.csv``.
        document: what ``kilat check --json`` prints.
        findings: what was found, the most serious first.
    """

    folder: Path
    document: dict[str, Any]
    findings: list[Finding]

    def __repr__(self) -> str:
        return f"Check({str(self.folder)!r}, findings={len(self.findings)}, serious={self.document['serious']})"


def check(  # noqa: PLR0913 - a choice each
    data: Data,
    recipe: str | Path | dict[str, Any] | Recipe = "transfer",
    *,
    labels: Labels | None = None,
    name: str | None = None,
    out: str | Path = "checks",
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
    class_from: str | None = None,
    command: str = "",
    progress: Progress | None = None,
    **overrides: Any,
) -> Check:
    """Look for what is wrong with labelled pictures, and write a folder with a page and the table of suspected labels.

    Args:
        data: labelled pictures, as for ``kilat.train``, which are split as it would split them: the same labels are
            suspected.
        recipe: of which the sections about frozen backbones count.
        labels: with pictures, the label of each; with other data, a table of corrected labels.
        name: of the folder that is made in ``out``; the data's own name by default, and numbered where it is taken.
        out: where the folder is made.
        root: a folder that already holds copies of a known set.
        path_column: of a table, where kilat does not find the column with the pictures by itself.
        label_column: of a table, the column with their labels.
        split_column: of a table, the column that says train, validation or test.
        images: the folder with the pictures that a table names.
        class_from: what names the class: ``first-folder``, ``last-folder``, all ``folders``, or the ``file-name``.
        command: that asked for this, to be shown on the page.
        progress: that shows its stages (``kilat.runtime.progress``); by default a terminal or a notebook does.
        overrides: single choices of the recipe.

    Raises:
        KilatError: the data cannot be read.
    """
    timer, begun = Timer(), request.now()
    recipe = recipes.load(recipe, overrides)
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    run_folder.require_place(Path(out), name)
    with progress_bars.show(progress) as shown, interruption.explained(keeps_features=True):
        source = open_data(data, labels, root, shown, reading=reading)
        with run_folder.new_folder(Path(out), name or source.name) as folder:
            budget = TimeBudget(recipe.runtime.time_limit, timer.started, timer.now)
            learned = learn_head(source, recipe, timer, budget, shown)
            catalog, used = learned.catalog, learned.catalog.table[learned.catalog.used]
            with timer.measure("checks_s"), shown.stage(_("Checking the data")):
                trust = recipe.trust.model_copy(update={"unknown": "knn"})
                checked = look_into(fit_uncertainty(learned, trust, budget), budget, timer.seconds["head_s"])
            notes = [*learned.notes, *checked.notes, *learned.results.notes()]
            notes = [note for note in notes if note.code not in _SAID_ELSEWHERE]
            classes = used["label"].value_counts().to_dict()
            counts = {"used": len(used), "refused": len(catalog.refused), "classes": classes}
            summary = {
                **counts,
                "cross_validated": checked.cross_validated,
                "suspects_file": run_folder.SUSPECTS if len(checked.suspects) else None,
                "command": f"kilat check {shell_word(str(data) if isinstance(data, str | Path) else source.name)}",
                "request": command or request.python_call("check", data, **overrides),
                "begun": begun,
                "seconds": timer.timings()["total_s"],
                **check_page.sizes_and_formats(catalog),
            }
            with timer.measure("report_s"), shown.stage(_("Writing the report")):
                found = read_and_show(checked.findings, source, catalog)
                write_file(folder / run_folder.CHECK, check_page.render(folder.name, found, summary, notes))
            run_folder.write_suspects(folder, checked.suspects)
            write_file(folder / run_tables.CATALOG, to_csv(catalog.table))
            document = {
                "schema": 1,
                "data": counts,
                "notes": [note.document() for note in notes],
                "cross_validated": checked.cross_validated,
            }
            document |= {**checked.section(), "timing": timer.timings()}
            write_json(folder / run_folder.FINDINGS, document)
    return Check(folder, document, checked.findings)


def look_into(uncertainty: Uncertainty, budget: TimeBudget = UNLIMITED, head_seconds: float = 0.0) -> Checked:
    """Do all checks, with what a training knows of its pictures by then.

    Args:
        uncertainty: of the classifier.
        budget: how long they may take.
        head_seconds: how long the head took: fitting it again without doubtful labels takes less.
    """
    learned = uncertainty.learned
    catalog, split = learned.catalog, learned.split
    with single_threaded_blas():
        judged = _judge_labels(learned, budget, head_seconds)
        issues = judged.issues
        distances = np.full(len(catalog.table), np.nan)  # of every row to the nearest other picture
        distances[split.calibration.rows] = uncertainty.ood.calibration_distances
        distances[split.test.rows] = uncertainty.ood.test_distances
        findings = [
            *near_duplicates.findings(learned.near_duplicates, catalog.table),
            *shortcuts.find(catalog.table, catalog.image_stats),
            *label_issues.findings(issues, judged.rows, learned.classes, catalog),
            *counts.find(catalog.table),
            *image_quality.find(catalog.table, catalog.image_stats, distances),
        ]
    table = label_issues.table(issues, judged.rows, learned.classes, catalog)
    leaked = near_duplicates.leaked(learned.near_duplicates, catalog.table)
    return Checked(catalog, findings, table, leaked, judged.agreement(), judged.notes)


def measure_without(leaked: list[int], split: SplitLogits) -> dict[str, Any] | None:
    """Return the accuracy on the test pictures that have no near-duplicate among the training pictures, if some have.

    Args:
        leaked: rows of those that have one.
        split: the test pictures and their logits.
    """
    if not leaked:
        return None
    clean = ~np.isin(split.test.rows, leaked)
    correct, n = int((split.test_probabilities.argmax(1) == split.test.truth)[clean].sum()), int(clean.sum())
    accuracy = correct / n if n else None
    return {
        "n": n,
        "leaked": int((~clean).sum()),
        "accuracy": accuracy,
        "accuracy_interval": wilson_interval(correct, n),
    }


class _Judged(NamedTuple):
    """The labels of pictures that were answered without having been trained on.

    Args:
        rows: theirs in the catalog, ``[n]``.
        issues: with their labels.
        correct: how many of the answers agree with the labels.
        notes: what was left undone.
    """

    rows: Ints
    issues: LabelIssues
    correct: int
    notes: tuple[Note, ...] = ()

    def agreement(self) -> dict[str, Any] | None:
        """Return how often the answers agree with the labels."""
        correct, n = self.correct, len(self.rows)
        return {"accuracy": correct / n, "accuracy_interval": wilson_interval(correct, n), "n": n} if n else None


def _judge_labels(learned: Learned, budget: TimeBudget, head_seconds: float) -> _Judged:
    """Judge labels by answers to all pictures from heads on the frozen backbone, whatever the classifier is.

    So ``kilat.check`` and every training with that backbone suspect the same labels. Without a backbone, or the time,
    the answers are those of the classifier to the pictures that it was not trained on.
    """
    refit, split = learned.head_refit, learned.split
    if refit and budget.has_time(head_seconds):
        found = learned.results.recall(
            "label_issues", vars(refit), lambda: _refit_and_judge(refit, lambda: budget.has_time(head_seconds))
        )
        document, positions = found.document, refit.held_out
        one_way = tuple(OneWay(*pair) for pair in document["one_way"])
        issues = LabelIssues(
            refit.labels[positions], noise_rate=document["noise_rate"], one_way=one_way, **found.arrays
        )
        return _Judged(refit.rows[positions], issues, document["correct"])
    parts = [(split.calibration, split.calibration_logits), (split.test, split.test_logits)]
    if split.is_calibrated_apart:
        parts.insert(1, (split.validation, split.validation_logits))
    pictures = Part.concat([part for part, _ in parts])
    probabilities = split.calibrated(np.concatenate([logits for _, logits in parts]))
    counted = {"count": len(pictures.rows), "total": int(learned.catalog.used.sum())}
    note = Note("time_limit_label_refit") if refit else Note("labels_checked_in_part", counted)
    issues = find_label_issues(pictures.truth, probabilities)
    return _Judged(pictures.rows, issues, int((probabilities.argmax(1) == pictures.truth).sum()), (note,))


def _refit_and_judge(refit: HeadRefit, has_time: Callable[[], bool]) -> Result:
    heads = refit.fit()
    labels, probabilities = refit.labels[refit.held_out], apply_temperature(refit.logits(heads), 1.0)
    found = find_label_issues(labels, probabilities, replace(refit, starts=tuple(heads)), has_time)
    document = {
        "noise_rate": found.noise_rate,
        "one_way": [list(vars(pair).values()) for pair in found.one_way],
        "correct": int((probabilities.argmax(1) == labels).sum()),
    }
    names = ("label_probability", "suggested", "suggested_probability", "predicted")
    return Result(document, {name: getattr(found, name) for name in names})
