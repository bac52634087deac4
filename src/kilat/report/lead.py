"""The lead of a report: how good the classifier is, what makes that doubtful, what to look at, and all notes."""

from collections.abc import Sequence

from kilat.learn.measures import Measures, WithoutLeaked
from kilat.learn.metrics import Metrics
from kilat.locale import _, ngettext
from kilat.report.findings import ShownFinding
from kilat.report.tables import ConfusedPair
from kilat.report.template import count, number, percent, points

ENOUGH = 100
"""With fewer pictures than this, a calibration error says more about chance than about the classifier."""

DOUBTS = 2
"""So many serious findings stand in the lead, all of them further down."""


def verdict(metrics: Metrics, pairs: Sequence[ConfusedPair], findings: Sequence[ShownFinding]) -> list[str]:
    """Return the outcome in sentences, the most important one first.

    Args:
        metrics: of the run.
        pairs: what is mistaken for what, the most frequent mistake first.
        findings: what was found in the data.
    """
    measured = metrics.measured
    if not measured.n:
        return [_("Nothing could be measured: no picture was left to test the classifier on.")]
    return [
        _accuracy(metrics),
        *_doubts(metrics.test.without_leaked, findings),
        _calibration(measured),
        *_what_next(metrics, pairs),
    ]


def _accuracy(metrics: Metrics) -> str:
    measured = metrics.measured
    if metrics.test.n:
        sentence = ngettext(
            "{accuracy} of {n} test picture is classified correctly",
            "{accuracy} of {n} test pictures are classified correctly",
            measured.n,
        )
    elif metrics.is_trained:
        sentence = _(
            "There is no test set; {accuracy} of {n} validation pictures, which also chose the epoch, are classified "
            "correctly"
        )
    else:
        sentence = _("There is no test set; in cross-validation {accuracy} of {n} pictures are classified correctly")
    low, high = measured.accuracy_interval or (None, None)
    if measured.accuracy_interval:
        sentence += _(" (95% interval {low} to {high})")
    sentence += _("; always predicting “{label}” would be right for {share}.") if measured.majority.label else "."
    return sentence.format(
        accuracy=percent(measured.accuracy),
        n=count(measured.n),
        low=points(low),
        high=points(high),
        label=measured.majority.label,
        share=percent(measured.majority.accuracy),
    )


def _doubts(leaked: WithoutLeaked | None, findings: Sequence[ShownFinding]) -> list[str]:
    """Return what was found in the data that makes the measures or the classifier wrong."""
    serious = [found for found in findings if found.severity == "serious"]
    if leaked is None or not leaked.leaked:
        doubts = [found.title for found in serious]
    else:
        doubts = [without_leaked(leaked), *(found.title for found in serious if found.kind != "leak")]
    if len(doubts) > DOUBTS:
        doubts[DOUBTS - 1] += " " + _("More serious findings are listed under “The data”.")
    return doubts[:DOUBTS]


def without_leaked(measured: WithoutLeaked) -> str:
    """Return the accuracy without the test pictures that have a near-duplicate in training, as a sentence or two."""
    sentence = ngettext(
        "{leaked} of these pictures has a near-duplicate among the training pictures.",
        "{leaked} of these pictures have a near-duplicate among the training pictures.",
        measured.leaked,
    )
    low, high = measured.accuracy_interval or (None, None)
    if measured.n:
        sentence += " " + _(
            "Without them, {accuracy} of {n} are classified correctly (95% interval {low} to {high}). Go by that."
        )
    return sentence.format(
        leaked=count(measured.leaked),
        accuracy=percent(measured.accuracy),
        n=count(measured.n),
        low=points(low),
        high=points(high),
    )


def _calibration(measured: Measures) -> str:
    if measured.n < ENOUGH or measured.ece is None:
        return _("There are too few pictures to say how well its probabilities are calibrated.")
    surplus = sum(b.n * (b.confidence - (b.accuracy or 0.0)) for b in measured.reliability)
    if measured.ece <= 0.02:
        sentence = _("Its probabilities are well calibrated: on average they are off by {points} points.")
    elif measured.ece <= 0.05:
        sentence = _("Its probabilities are about right: on average they are off by {points} points.")
    elif surplus > 0:
        sentence = _("Its probabilities are too high: on average they are off by {points} points.")
    else:
        sentence = _("Its probabilities are too low: on average they are off by {points} points.")
    return sentence.format(points=number(measured.ece * 100, 1))


def _what_next(metrics: Metrics, pairs: Sequence[ConfusedPair]) -> list[str]:
    """Return what matters most for whoever wants a better classifier."""
    measured, validation, majority = metrics.measured, metrics.validation, metrics.measured.majority.accuracy
    if majority is not None and measured.accuracy_interval and measured.accuracy_interval[0] <= majority:
        return [_("That is not clearly better than always predicting the same class: it needs more pictures.")]
    if metrics.test.n and metrics.test.n < ENOUGH and validation.n:
        sentence = _("A test set this small says little; in cross-validation {accuracy} of {n} pictures are correct.")
        if metrics.is_trained:
            sentence = _("A test set this small says little; {accuracy} of {n} validation pictures are correct.")
        return [sentence.format(accuracy=percent(validation.accuracy), n=count(validation.n))]
    if pairs and pairs[0].count > 1:
        sentence = _("The most frequent mistake: “{truth}” is classified as “{predicted}”, {count} of {support} times.")
        return [sentence.format(**vars(pairs[0]))]
    return [_("Look at the most confident mistakes first.")] if pairs else []
