"""One self-contained HTML page about a trained classifier: all one needs to judge it, offline, without scripts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from markupsafe import Markup

from kilat.data.catalog import SPLITS, Catalog
from kilat.locale import _
from kilat.report import comparison, curves, figures, network_diagram, uncertainty
from kilat.report.findings import ShownFinding
from kilat.report.pictures import Shown
from kilat.report.template import count, defined, fill, number, percent, points

LISTED = 200
"""Refused pictures that the page names; catalog.csv holds them all."""

ENOUGH = 100
"""With fewer pictures than this, a calibration error says more about chance than about the classifier."""

DOUBTS = 2
"""So many serious findings are told at the top of the page, all of them further down."""

OPEN = 3
"""So many findings are shown openly where no more are serious."""


@dataclass(frozen=True)
class Mistake:
    """A picture that was answered wrongly; ``probability`` is what the wrong answer was given."""

    picture: Shown
    predicted: str
    probability: float


@dataclass(frozen=True)
class CurvePoint:
    """How well a head does that learned from ``pictures`` pictures, with the interval."""

    pictures: int
    accuracy: float
    low: float
    high: float


class Layer(network_diagram.Layer, Protocol):
    """A row of the layer table; see ``kilat.model.summary.Row``."""

    @property
    def trainable(self) -> int:
        """Parameters that training changes."""

    @property
    def frozen(self) -> int:
        """The other parameters."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture."""

    @property
    def receptive_field(self) -> int | None:
        """Side of what one place sees, in pixels; None is everything."""


class Network(Protocol):
    """A network as ``kilat.model.summary.Summary`` describes it, which this room, without torch, cannot import."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""

    @property
    def rows(self) -> Sequence[Layer]:
        """Its layers in order."""

    @property
    def total(self) -> int:
        """All parameters."""

    @property
    def trainable(self) -> int:
        """Parameters that training changes."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture."""


@dataclass(frozen=True)
class Report:
    """Everything the page says.

    Args:
        metrics: the content of ``metrics.json``.
        recipe: the fully resolved recipe, as YAML.
        catalog: ``Catalog.table``.
        notes: sentences worth saying, such as one about strong imbalance.
        history: of training by gradient, one row an epoch (see ``kilat.report.curves.history``), with ``seconds`` and
            ``pictures_per_second``.
        network: what the layers are, where they were trained.
        augmented: a sheet of augmented pictures, as PNG bytes.
        findings: what was found in the data, in the order of what to do first.
    """

    name: str
    metrics: dict[str, Any]
    recipe: str
    catalog: pd.DataFrame
    samples: list[Shown]
    curve: list[CurvePoint]
    mistakes: list[Mistake]
    notes: list[str]
    history: Sequence[Mapping[str, Any]] = ()
    network: Network | None = None
    augmented: bytes | None = None
    findings: Sequence[ShownFinding] = ()


def render(report: Report) -> str:
    """The page as HTML; equal reports give equal text."""
    return fill("page.html.j2", **_content(report))


def _content(report: Report) -> dict[str, Any]:
    metrics = report.metrics
    test, validation = metrics.get("test") or {}, metrics.get("validation") or {}
    # Without test pictures the measures of validation are the best there are, and the page says so.
    measured = test if test.get("n") else validation
    classes = [str(name) for name in metrics["data"]["classes"]]
    pairs = _confused(classes, measured.get("confusion"))
    splits = _splits(report.catalog, classes)
    trained = bool(metrics.get("fit")) and (metrics.get("comparison") or {}).get("kept") != "frozen"
    return {
        "report": report,
        "metrics": metrics,
        "test": test,
        "validation": validation,
        "measured": measured,
        "on_test": measured is test,
        "classes": classes,
        "named": figures.NAMED,
        "fit": metrics.get("fit") or {},
        "compared": comparison.sentences(metrics["comparison"]) if metrics.get("comparison") else [],
        "is_trained": trained,
        "temperature": (metrics.get("fit" if trained else "head") or {}).get("temperature"),
        "made_with": _made_with(metrics),
        "pace": _pace(report.history),
        "findings": _folded(report.findings),
        "trust": uncertainty.content(measured, metrics),
        "verdict": _verdict(test, validation, pairs, report.findings, trained=trained),
        "pairs": pairs[: 6 if len(classes) <= figures.NAMED else 20],
        "per_class": _worst_first(measured.get("per_class") or {}),
        "splits": {name: sum(numbers) for name, numbers in splits.items()},
        "refused": _refused(report.catalog),
        "figure": _figures(report, measured, classes, splits),
        "curve_note": _curve_note(report.curve),
        "timings": [(k, v) for k, v in (metrics.get("timing") or {}).items() if k != "total_s"],
    }


def _figures(
    report: Report, measured: dict[str, Any], classes: list[str], splits: dict[str, list[int]]
) -> dict[str, Markup]:
    """The figures that the numbers allow."""
    order = sorted(range(len(classes)), key=lambda i: -sum(numbers[i] for numbers in splits.values()))
    counts = {name: [numbers[i] for i in order] for name, numbers in splits.items()}
    made = {"balance": figures.balance([classes[i] for i in order], counts)} if splits else {}
    if len(report.curve) > 1:
        columns = zip(*((p.pictures, p.accuracy, p.low, p.high) for p in report.curve), strict=True)
        made["curve"] = figures.curve(*map(list, columns))
    if measured.get("n") and measured.get("confusion"):
        made["confusion"] = figures.confusion(classes, measured["confusion"])
    if bins := [b for b in measured.get("reliability") or [] if b.get("n")]:
        made["reliability"] = figures.reliability(bins, (measured.get("uncalibrated") or {}).get("reliability") or ())
    made |= uncertainty.figures(measured)
    if report.history:
        courses = curves.history(report.history, (report.metrics.get("fit") or {}).get("best_epoch"))
        made |= {f"course_{name}": figure for name, figure in courses.items()}
    if report.network is not None:
        made["network"] = network_diagram.volumes(report.network.rows, report.network.input_shape)
    return made


def _pace(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Pictures a second in the middle one of all epochs."""
    paces = [row["pictures_per_second"] for row in history if defined(row.get("pictures_per_second"))]
    return float(np.median(paces)) if paces else None


def _made_with(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Single values about the model, how it was fitted, and with which versions."""
    groups = [metrics.get(name) or {} for name in ("model", "fit", "head", "versions")]
    return [(key, value) for group in groups for key, value in group.items() if not isinstance(value, list | dict)]


def _verdict(
    test: dict[str, Any],
    validation: dict[str, Any],
    pairs: list[dict[str, Any]],
    findings: Sequence[ShownFinding],
    *,
    trained: bool,
) -> list[str]:
    """The outcome in sentences: how good, what makes that doubtful, how honest its probabilities, what to look at."""
    measured = test if test.get("n") else validation
    if not measured.get("n"):
        return [_("Nothing could be measured: no picture was left to test the classifier with.")]
    sentences = [_how_good(measured, measured is test, trained), *_doubts(test, findings), _calibration(measured)]
    majority = (measured.get("majority") or {}).get("accuracy")
    low = (measured.get("accuracy_interval") or [None])[0]
    if defined(majority) and defined(low) and low <= majority:
        sentences.append(_("This is not clearly better than always giving the same answer: it needs more pictures."))
    elif measured is test and measured["n"] < ENOUGH and validation.get("n"):
        sentence = _("So few test pictures say little; in cross-validation {accuracy} of {n} pictures are right.")
        if trained:
            sentence = _("So few test pictures say little; {accuracy} of {n} validation pictures are right.")
        sentences.append(sentence.format(accuracy=percent(validation.get("accuracy")), n=count(validation["n"])))
    elif pairs and pairs[0]["count"] > 1:
        sentence = _("Look first at “{truth}”, which is taken for “{predicted}” in {count} of its {support} pictures.")
        sentences.append(sentence.format(**pairs[0]))
    elif pairs:
        sentences.append(_("Look first at the most confident mistakes."))
    return sentences


def _how_good(measured: dict[str, Any], on_test: bool, trained: bool) -> str:
    sentence = _("{accuracy} of {n} test pictures are right")
    if not on_test and trained:
        sentence = _(
            "No test pictures were kept; of {n} validation pictures, which also chose the epoch, {accuracy} are right"
        )
    elif not on_test:
        sentence = _("No pictures were kept for a test; in cross-validation {accuracy} of {n} pictures are right")
    low, high = measured.get("accuracy_interval") or (None, None)
    sentence += _(" (95% interval {low} to {high})") if defined(low) and defined(high) else ""
    majority = measured.get("majority") or {}
    sentence += _("; always answering “{label}” would be right in {share}.") if majority.get("label") else "."
    return sentence.format(
        accuracy=percent(measured.get("accuracy")),
        n=count(measured["n"]),
        low=points(low),
        high=points(high),
        label=majority.get("label"),
        share=percent(majority.get("accuracy")),
    )


def _doubts(test: dict[str, Any], findings: Sequence[ShownFinding]) -> list[str]:
    """What was found in the data that makes the measures or the classifier wrong."""
    leaked = uncertainty.without_leaked(test)
    serious = [
        found.title for found in findings if found.severity == "serious" and not (leaked and found.kind == "leak")
    ]
    told = [leaked, *serious] if leaked else serious
    if len(told) > DOUBTS:
        told[DOUBTS - 1] += " " + _("More like this is listed under “The data”.")
    return told[:DOUBTS]


def _folded(findings: Sequence[ShownFinding]) -> tuple[Sequence[ShownFinding], Sequence[ShownFinding]]:
    """What is shown of the findings, and what is folded away: the page is about the classifier."""
    first = max(OPEN, sum(found.severity == "serious" for found in findings))
    return findings[:first], findings[first:]


def _calibration(measured: dict[str, Any]) -> str:
    error = measured.get("ece")
    if measured["n"] < ENOUGH or not defined(error):
        return _("There are too few pictures to say how far its stated probabilities can be trusted.")
    filled = [b for b in measured.get("reliability") or [] if b.get("n")]
    surplus = sum(b["n"] * (b["confidence"] - b["accuracy"]) for b in filled)
    if error <= 0.02:
        sentence = _("Its stated probabilities can be taken at face value: on average they are off by {points} points.")
    elif error <= 0.05:
        sentence = _("Its stated probabilities are about right: on average they are off by {points} points.")
    elif surplus > 0:
        sentence = _("Its stated probabilities promise too much: on average they are off by {points} points.")
    else:
        sentence = _("Its stated probabilities are too modest: on average they are off by {points} points.")
    return sentence.format(points=number(error * 100, 1))


def _curve_note(curve: list[CurvePoint]) -> str:
    """What the last doubling of the pictures brought, where the curve has one."""
    last = curve[-1] if curve else None
    earlier = [p for p in curve if last and 0.4 <= p.pictures / last.pictures <= 0.62]
    if last is None or not earlier:
        return ""
    half = min(earlier, key=lambda p: abs(p.pictures / last.pictures - 0.5))
    gain = last.accuracy - half.accuracy
    sentence = _("From {half} to {all} pictures it went from {low} to {high}: more pictures are likely to help.")
    if gain < 0.01:
        sentence = _("From {half} to {all} pictures it went from {low} to {high}: more of the same would help little.")
    low, high = percent(half.accuracy), percent(last.accuracy)
    return sentence.format(half=count(half.pictures), all=count(last.pictures), low=low, high=high)


def _confused(classes: list[str], confusion: Sequence[Sequence[int]] | None) -> list[dict[str, Any]]:
    """Pairs of truth and wrong answer, the most frequent first."""
    if not confusion:
        return []
    matrix = np.asarray(confusion)
    support = matrix.sum(axis=1)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns], kind="stable")
    return [
        {"truth": classes[r], "predicted": classes[c], "count": int(wrong[r, c]), "support": int(support[r])}
        for r, c in zip(rows[order], columns[order], strict=True)
    ]


def _worst_first(per_class: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Classes by their F1; those without a picture to measure them on stand last."""

    def rank(item: tuple[str, dict[str, Any]]) -> tuple[bool, float]:
        f1 = item[1].get("f1")
        return not item[1].get("support"), f1 if defined(f1) else 0.0

    return sorted(per_class.items(), key=rank)


def _splits(catalog: pd.DataFrame, classes: list[str]) -> dict[str, list[int]]:
    """For every split that has pictures, how many of each class."""
    used = catalog[catalog["status"] == "used"]
    sizes = Counter(zip(used["split"], used["label"], strict=True))
    counts = {split: [sizes[split, name] for name in classes] for split in SPLITS}
    return {_(split): numbers for split, numbers in counts.items() if any(numbers)}


def _refused(catalog: pd.DataFrame) -> dict[str, Any]:
    """Refused pictures by reason, the commonest first; a long list is cut so that every reason keeps examples."""
    refused = Catalog(catalog).refused
    totals: Counter[str] = Counter()
    turns = []
    for path, label, reason in zip(refused["path"], refused["label"], refused["reason"], strict=True):
        turns.append((totals[reason], str(path), str(label), str(reason)))
        totals[reason] += 1
    listed = sorted(turns, key=lambda turn: turn[0])[:LISTED]
    rows: dict[str, list[tuple[str, str]]] = {}
    for _turn, path, label, reason in listed:
        rows.setdefault(reason, []).append((path, label))
    reasons = sorted(rows, key=lambda reason: (-totals[reason], reason))
    groups = [{"reason": r, "count": totals[r], "rows": rows[r]} for r in reasons]
    return {"groups": groups, "count": len(turns), "unlisted": len(turns) - len(listed)}
