"""Knowing the data before it is believed: all checks together, as part of every training and as a verb by itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check import image_quality, label_issues, near_duplicates, shortcuts
from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Source
from kilat.data.split import Part
from kilat.evaluate.calibration import apply_temperature
from kilat.evaluate.metrics import wilson_interval
from kilat.learn.frozen import Learned, Result, fit_head
from kilat.learn.uncertainty import Trusted, trust
from kilat.recipe import Recipe
from kilat.report import check_page
from kilat.report.findings import shown
from kilat.runtime.files import write_file, write_json
from kilat.runtime.progress import Progress, silent
from kilat.runtime.timer import Timer
from kilat.verbs import run_folder

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Checked:
    """What was found in the data.

    Args:
        catalog: every picture that came in.
        findings: worth doing something about.
        suspects: the table of labels to look at, with a column to fill in (``suspects.csv``).
        leaked: rows of test pictures that have a near copy among those learnt from.
    """

    catalog: Catalog
    findings: list[Finding]
    suspects: pd.DataFrame
    leaked: list[int]

    @property
    def serious(self) -> int:
        """How many findings make figures or the classifier wrong."""
        return sum(finding.severity == "serious" for finding in self.findings)

    @property
    def document(self) -> dict[str, Any]:
        """The section ``check`` of ``metrics.json``."""
        return {"serious": self.serious, "findings": [_document(one, self.catalog) for one in self.findings]}


@dataclass(frozen=True)
class Check:
    """The outcome of the verb ``check``: its folder, and what ``check --json`` prints."""

    folder: Path
    document: dict[str, Any]


def look_into(trusted: Trusted) -> Checked:
    """All checks, from what a training knows of its pictures by then."""
    learnt = trusted.result.learnt
    catalog, facts = learnt.catalog, learnt.catalog.image_stats
    judged = _judged(trusted.result)
    suspects = label_issues.suspect(judged.part.truth, judged.answers, judged.relearn)
    findings = [
        *near_duplicates.findings(learnt.twins, catalog.table),
        *shortcuts.find(catalog.table, facts),
        *label_issues.findings(suspects, judged.part.rows, learnt.classes),
        *image_quality.find(catalog.table, facts, _distances(trusted)),
    ]
    table = label_issues.table(suspects, judged.part.rows, learnt.classes, catalog)
    return Checked(catalog, findings, table, near_duplicates.leaked(learnt.twins, catalog.table))


def without(leaked: list[int], asked: Part, answers: Floats) -> dict[str, Any] | None:
    """Accuracy on the test pictures that have no near copy among those learnt from; None where all are such.

    Args:
        leaked: rows that do.
        asked: the test pictures.
        answers: their probabilities, ``[n, classes]``.
    """
    if not leaked:
        return None
    clean = ~np.isin(asked.rows, leaked)
    right, n = int((answers.argmax(1) == asked.truth)[clean].sum()), int(clean.sum())
    share = right / n if n else None
    return {"n": n, "leaked": int((~clean).sum()), "accuracy": share, "accuracy_interval": wilson_interval(right, n)}


def check(source: Source, recipe: Recipe, *, name: str, out: Path, command: str, progress: Progress = silent) -> Check:
    """Looks at every picture once, and writes a folder with what was found: a page and the table of suspected labels.

    Args:
        source: labelled pictures; a ready-made test split stays what it is, and none is drawn.
        recipe: how a frozen backbone looks.
        name: of the folder; where it is taken, the next free number is added.
        out: where the folder is made.
        command: by which this was asked for, to be shown.
        progress: told about long tasks as they begin.

    Raises:
        KilatError: the data cannot be read.
    """
    timer = Timer()
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"test": 0.0})})
    with run_folder.new_folder(out, name) as folder:
        learnt = fit_head(source, recipe, timer, progress)
        with timer.measure("checks_s"):
            checked = look_into(trust(Result.of(learnt), recipe.trust.model_copy(update={"unknown": "knn"})))
        right = _cross_validated(learnt)
        with timer.measure("report_s"):
            summary = {
                "used": int(learnt.catalog.used.sum()),
                "refused": int((~learnt.catalog.used).sum()),
                "classes": learnt.catalog.table.loc[learnt.catalog.used, "label"].value_counts().to_dict(),
                "cross_validated": right,
                "suspects_file": run_folder.SUSPECTS if len(checked.suspects) else None,
                "command": command,
                **check_page.described(learnt.catalog),
            }
            summary["seconds"] = timer.timings()["total_s"]
            found = shown(checked.findings, source, learnt.catalog)
            write_file(folder / run_folder.CHECK, check_page.render(name, found, summary))
        write_suspects(folder, checked)
        write_file(folder / run_folder.CATALOG, learnt.catalog.table.to_csv(index=False))
        document = {
            "schema": 1,
            "data": {key: summary[key] for key in ("used", "refused", "classes")},
            "cross_validated": right,
            **checked.document,
            "timing": timer.timings(),
        }
        write_json(folder / "check.json", document)
    return Check(folder, document)


def write_suspects(folder: Path, checked: Checked) -> None:
    """The table of suspected labels, so that spreadsheets read its letters rightly."""
    write_file(folder / run_folder.SUSPECTS, "\ufeff" + checked.suspects.to_csv(index=False))


@dataclass(frozen=True)
class _Judged:
    """Pictures whose labels are judged, by answers that did not learn from them."""

    part: Part
    answers: Floats
    relearn: label_issues.Refit | None


def _judged(result: Result) -> _Judged:
    """All pictures that something answers to without having learnt from them."""
    learnt = result.learnt
    held, logits, relearn = learnt.held, learnt.held_logits, learnt.relearn
    if learnt.validation is not None and learnt.validation is not learnt.held:
        part, more = learnt.validated
        held, logits = Part.concat([held, part]), np.concatenate([logits, more])

    def again(kept: NDArray[np.bool_]) -> Floats:
        assert relearn is not None
        return np.concatenate([relearn(kept[: len(logits)]), result.logits])

    answers = np.concatenate([logits, result.logits])
    whole = Part.concat([held, learnt.asked])
    return _Judged(whole, apply_temperature(answers, result.temperature), again if relearn else None)


def _distances(trusted: Trusted) -> NDArray[np.float64]:
    """Of every row of the catalog to the nearest other picture; NaN for those that were not compared."""
    learnt = trusted.result.learnt
    distances = np.full(len(learnt.catalog.table), np.nan)
    distances[learnt.held.rows] = trusted.sensed.distances
    distances[learnt.asked.rows] = trusted.sensed.asked_distances
    return distances


def _cross_validated(learnt: Learned) -> dict[str, Any] | None:
    right, n = int((learnt.held_logits.argmax(1) == learnt.held.truth).sum()), len(learnt.held.rows)
    return {"accuracy": right / n, "accuracy_interval": wilson_interval(right, n), "n": n} if n else None


def _document(finding: Finding, catalog: Catalog) -> dict[str, Any]:
    """A finding for programs: pictures by their paths."""
    paths = catalog.table["path"]
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "title": finding.title,
        "advice": finding.advice,
        "pictures": [[str(paths[row]) for row in group] for group in finding.groups],
        "captions": list(finding.captions),
        "facts": finding.facts,
    }
