"""Runs compared on the test pictures that they have in common, as data that terminal, JSON and page show."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from kilat.errors import KilatError
from kilat.evaluate.metrics import SMALLEST_PROBABILITY, wilson_interval
from kilat.evaluate.paired_tests import Difference, PairedTest, compare_answers, holm
from kilat.locale import _, localized
from kilat.locale.lists import listed
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.report.page import Report
from kilat.report.template import percent
from kilat.runtime.array_types import Doubles, Flags

SIGNIFICANT = 0.05
"""Up to this p-value a difference counts as more than chance."""

FEW_RUNS = 3
"""Of more runs, only the pairs with the best one are named first."""

FEW = 50
"""With fewer common test pictures a note says that only large differences can show."""


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run, and its answers to the common test pictures.

    Args:
        name: by which it is called here.
        report: what its folder holds.
        answers: a row for each common test picture: ``path, label, predicted, probability, label_probability``.
    """

    name: str
    report: Report
    answers: pd.DataFrame

    @property
    def correct(self) -> Flags:
        """Which of them it answers correctly."""
        return np.asarray(self.answers["label"] == self.answers["predicted"])

    @property
    def label_probabilities(self) -> Doubles:
        """What it gives their true classes."""
        return self.answers["label_probability"].to_numpy(np.float64)

    @property
    def accuracy(self) -> float:
        """The share of them that it answers correctly."""
        return float(self.correct.mean())

    @property
    def log_loss(self) -> float:
        """The mean over them."""
        return float(-np.log(np.maximum(self.label_probabilities, SMALLEST_PROBABILITY)).mean())

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        metrics, correct = self.report.metrics, self.correct
        return {
            "name": self.name,
            "accuracy": self.accuracy,
            "accuracy_interval": wilson_interval(int(correct.sum()), len(correct)),
            "log_loss": self.log_loss,
            "test_pictures": metrics.test.n,
            "train_pictures": metrics.data.train,
            "seconds": metrics.timing.get("total_s", 0.0),
            "model_bytes": metrics.model.bytes,
        }


@dataclass(frozen=True)
class ComparedPair:
    """Two runs; differences are the second one's value minus the first one's.

    Args:
        first: the one.
        second: the other.
        test: what chance says.
        p_value: of McNemar's test, adjusted for the number of pairs.
    """

    first: ComparedRun
    second: ComparedRun
    test: PairedTest
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether chance hardly explains the difference in accuracy."""
        return self.p_value <= SIGNIFICANT

    @property
    def p_text(self) -> str:
        """The p-value as text, such as ``p = 0.031``."""
        return _("p < {p}").format(p=0.001) if self.p_value < 0.0005 else _("p = {p:.3f}").format(p=self.p_value)

    def verdict(self) -> list[str]:
        """Return whether one of the two is better by more than chance, in sentences."""
        worse, better = sorted((self.first, self.second), key=lambda run: run.accuracy)
        low, high = self.test.accuracy.interval
        if better is self.first:
            low, high = -high, -low
        sentence = _(
            "{better} answers {more} rightly, {worse} {less}: a difference of {points} points (95% interval {low} to "
            "{high}), which chance may explain."
        )
        if self.is_significant:
            sentence = _(
                "{better} answers {more} rightly, {worse} {less}: a difference of {points} points (95% interval {low} "
                "to {high}), more than chance explains."
            )
        sentences = [
            sentence.format(
                better=better.name,
                worse=worse.name,
                more=percent(better.accuracy),
                less=percent(worse.accuracy),
                points=localized(abs(self.test.accuracy.value) * 100, ".1f"),
                low=localized(low * 100, ".1f"),
                high=localized(high * 100, ".1f"),
            )
        ]
        return sentences + ([] if self.is_significant else self._by_probabilities())

    def _by_probabilities(self) -> list[str]:
        """Return what the log loss tells where the accuracy does not."""
        low, high = self.test.log_loss.interval
        if low <= 0 <= high:
            return []
        worse, better = sorted((self.first, self.second), key=lambda run: -run.log_loss)
        sentence = _(
            "The probabilities of {better} are the better ones: its log loss is {less}, that of {worse} {more}, more "
            "than chance explains."
        )
        losses = {"less": localized(better.log_loss, ".3f"), "more": localized(worse.log_loss, ".3f")}
        return [sentence.format(better=better.name, worse=worse.name, **losses)]

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "first": self.first.name,
            "second": self.second.name,
            "only_first": self.test.only_first,
            "only_second": self.test.only_second,
            "accuracy": _difference(self.test.accuracy),
            "log_loss": _difference(self.test.log_loss),
            "mcnemar_p": self.test.p_value,
            "adjusted_p": self.p_value,
        }


@dataclass(frozen=True)
class RunComparison:
    """Runs compared on the same test pictures.

    Args:
        runs: in the order given, each with its answers to the common test pictures, in the same order.
        pairs: every two of them.
        options: where their recipes differ: the path of an option, and its value in each run as YAML, None where that
            recipe has no such section.
        notes: what changes how far to believe it.
    """

    runs: list[ComparedRun]
    pairs: list[ComparedPair]
    options: list[tuple[str, list[str | None]]]
    notes: list[Note]

    @property
    def n(self) -> int:
        """How many test pictures are compared."""
        return len(self.runs[0].answers)

    @property
    def best(self) -> ComparedRun:
        """The run that answers most of them correctly; of equal ones the one with the lowest log loss."""
        return max(self.runs, key=lambda run: (run.accuracy, -run.log_loss))

    @property
    def main_pairs(self) -> list[ComparedPair]:
        """All pairs of few runs; of many those with the best one."""
        few = len(self.runs) <= FEW_RUNS
        return [pair for pair in self.pairs if few or self.best in (pair.first, pair.second)]

    def verdict(self) -> list[str]:
        """Return which run is best, and whether by more than chance, in sentences."""
        if len(self.pairs) == 1:
            return self.pairs[0].verdict()
        best = self.best
        rivals = [(pair, pair.second if pair.first is best else pair.first) for pair in self.pairs
                  if best in (pair.first, pair.second)]  # fmt: skip
        beaten = [run.name for pair, run in rivals if pair.is_significant]
        others = [run.name for pair, run in rivals if not pair.is_significant]
        sentences = [_("{run} answers {share} rightly, the most.").format(run=best.name, share=percent(best.accuracy))]
        if beaten:
            sentences.append(_("That is more than chance explains against {runs}.").format(runs=listed(beaten)))
        if others:
            sentences.append(_("Chance may explain its lead over {runs}.").format(runs=listed(others)))
        return sentences

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "schema": 1,
            "n": self.n,
            "runs": [run.document() for run in self.runs],
            "pairs": [pair.document() for pair in self.pairs],
            "options": {path: dict(zip([run.name for run in self.runs], values, strict=True))
                        for path, values in self.options},
            "notes": [note.document() for note in self.notes],
        }  # fmt: skip


def compare_runs(reports: Mapping[str, Report]) -> RunComparison:
    """Compare finished runs on the test pictures that all of them have.

    A picture is the same where its content is, whatever it is called.

    Args:
        reports: two or more, by the names that the runs are called here.

    Raises:
        KilatError: a run has no test pictures, or there are none that all of them have.
    """
    tests = {name: _test_answers(name, report) for name, report in reports.items()}
    key, common, notes = _common(list(tests.values()))
    runs = [ComparedRun(name, report, tests[name].set_index(key).loc[common]) for name, report in reports.items()]
    notes += _apart(runs, tests, key) + _unknown_classes(reports)
    if len(common) < FEW:
        notes.append(Note("compared_few", {"count": len(common)}))
    two_by_two = list(itertools.combinations(runs, 2))
    found = [
        compare_answers((one.correct, other.correct), (one.label_probabilities, other.label_probabilities))
        for one, other in two_by_two
    ]
    if len(found) > 1:
        notes.append(Note("compared_holm", {"pairs": len(found)}))
    adjusted = holm([test.p_value for test in found])
    pairs = [
        ComparedPair(one, other, test, p_value)
        for (one, other), test, p_value in zip(two_by_two, found, adjusted, strict=True)
    ]
    return RunComparison(runs, pairs, differing_options([report.recipe for report in reports.values()]), notes)


def differing_options(recipes: Sequence[Recipe]) -> list[tuple[str, list[str | None]]]:
    """Return where recipes differ: the path of an option, and its value in each as YAML; None for those without it.

    A section that not all of them have is one line: where only one has it, with what differs from the defaults.
    """
    documents = [recipe.model_dump(mode="json") for recipe in recipes]
    chosen = [recipe.model_dump(mode="json", exclude_defaults=True) for recipe in recipes]
    rows: list[tuple[str, list[str | None]]] = []
    for section in dict.fromkeys(itertools.chain(*documents)):
        having = [section in document for document in documents]
        if sum(having) == 1:
            own = chosen[having.index(True)].get(section)
            said = _yaml(own) if own else _("defaults")
            rows.append((section, [said if has else None for has in having]))
            continue
        if not all(having):
            rows.append((section, [_("yes") if has else None for has in having]))
        options = [_options(document[section], section) if section in document else {} for document in documents]
        for path in dict.fromkeys(itertools.chain(*options)):
            values = [option.get(path) for option in options]
            compared = [value for value, has in zip(values, having, strict=True) if has]
            if any(value != compared[0] for value in compared):
                rows.append((path, [None if value is None else _yaml(value[0]) for value in values]))
    return rows


def _options(value: Any, path: str) -> dict[str, tuple[Any]]:
    """Return the options below a path, lists as they are; each in a tuple, since None is a value as well."""
    if not isinstance(value, dict) or not value:
        return {path: (value,)}
    return {key: found for name, inner in value.items() for key, found in _options(inner, f"{path}.{name}").items()}


def _yaml(value: Any) -> str:
    """Return a value as YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.strip().removesuffix("...").strip()


def _test_answers(name: str, report: Report) -> pd.DataFrame:
    """Return a run's answers to its test pictures, with the digests of their contents."""
    predictions = report.predictions[report.predictions["split"] == "test"]
    if not len(predictions):
        raise KilatError(
            _("{run} has no test pictures, so that there is nothing to compare it on.").format(run=name),
            hint=_("Train it with a test set: kilat train … --set data.test=0.2"),
        )
    if "label_probability" not in predictions:
        raise KilatError(
            _("{run} was written by an earlier version of kilat: its predictions lack {column}.").format(
                run=name, column="label_probability"
            ),
            hint=_("Train it again."),
        )
    return predictions.assign(digest=report.catalog["digest"].to_numpy(object)[predictions["row"].to_numpy(int)])


def _common(tests: Sequence[pd.DataFrame]) -> tuple[str, list[str], list[Note]]:
    """Return the column that tells pictures apart, its values for those that are compared, and notes."""
    key, notes = "digest", []
    shared = _shared(tests, key)
    if not shared and (same_path := _shared(tests, "path")):
        key, shared, notes = "path", same_path, [Note("compared_by_path")]
    labels = [dict(zip(test[key], test["label"], strict=True)) for test in tests]
    common = [picture for picture in shared if len({of[picture] for of in labels}) == 1]
    if not common:
        raise KilatError(
            _("The runs have no test picture in common, so that there is nothing to compare them on."),
            hint=_("Compare runs on the same data; with the same seed they have the same test pictures."),
        )
    if len(common) < len(shared):
        notes.append(Note("compared_relabelled", {"count": len(shared) - len(common)}))
    return key, common, notes


def _shared(tests: Sequence[pd.DataFrame], key: str) -> list[str]:
    """Return the pictures that are in all of these tables, in the order of the first."""
    first, *others = (dict.fromkeys(test[key]) for test in tests)
    return [picture for picture in first if all(picture in other for other in others)]


def _apart(runs: Sequence[ComparedRun], tests: Mapping[str, pd.DataFrame], key: str) -> list[Note]:
    """Return notes on the test pictures that are not compared: those that another run was trained on, and the rest."""
    trained_on = {}
    for run in runs:
        catalog = run.report.catalog
        is_training = (catalog["status"] == "used") & (catalog["split"] != "test")
        trained_on[run.name] = set(catalog.loc[is_training, key])
    known, notes = {}, []
    for run in runs:
        test = set(tests[run.name][key])
        left = test - set(run.answers.index)
        elsewhere = left & set().union(*(trained_on[other.name] for other in runs))
        if elsewhere:
            known[run.name] = len(elsewhere)
        if rest := len(left - elsewhere):
            notes.append(Note("compared_apart", {"run": run.name, "count": rest, "n": len(test)}))
    return [*([Note("compared_trained_on", {"runs": known})] if known else []), *notes]


def _unknown_classes(reports: Mapping[str, Report]) -> list[Note]:
    every = dict.fromkeys(itertools.chain(*(report.metrics.data.classes for report in reports.values())))
    missing = {name: [one for one in every if one not in report.metrics.data.classes]
               for name, report in reports.items()}  # fmt: skip
    return [Note("compared_classes", {"run": name, "classes": some}) for name, some in missing.items() if some]


def _difference(difference: Difference) -> dict[str, Any]:
    return {"difference": difference.value, "interval": difference.interval}
