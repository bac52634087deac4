"""Prediction sets, unknown pictures, and calibration class by class, in sentences and figures."""

import numpy as np
from markupsafe import Markup

from kilat.learn.measures import Measures, SetMeasures
from kilat.learn.metrics import UnknownSection
from kilat.locale import _, ngettext
from kilat.report import uncertainty_figures
from kilat.report.lead import ENOUGH
from kilat.report.svg_canvas import percent_label
from kilat.report.template import count, number, percent, points


def set_sentences(sets: SetMeasures | None) -> list[str]:
    """Return what prediction sets came to on the test pictures; empty where there were none."""
    if sets is None or not sets.n:
        return []
    low, high = sets.coverage_interval or (0.0, 1.0)
    coverage = ngettext(
        "kilat also gives a set of classes with every prediction, made to contain the true class for {target} of all "
        "pictures. On the test set it did for {coverage} of {n} picture (95% interval {low} to {high})",
        "kilat also gives a set of classes with every prediction, made to contain the true class for {target} of all "
        "pictures. On the test set it did for {coverage} of {n} pictures (95% interval {low} to {high})",
        sets.n,
    )
    if high < sets.target_coverage:
        coverage += _(", which is less than the target.")
    elif low > sets.target_coverage:
        coverage += _(", which is more than the target.")
    else:
        coverage += _(", which agrees with the target.")
    coverage = coverage.format(
        target=percent_label(sets.target_coverage),
        coverage=percent(sets.coverage),
        n=count(sets.n),
        low=points(low),
        high=points(high),
    )
    if sets.single == 1:
        size = _("Every set has one class, the answer: that suffices for the target.")
        if sets.coverage is not None and high < sets.target_coverage:
            size = _("Every set has one class, the answer.")
        return [coverage, size]
    size = _(
        "A set has {size} classes on average. With one class in it ({single} of the sets) the prediction can stand as "
        "it is; with several ({several}) the picture is hard, and a person should look at it."
    )
    if sets.empty:
        size += " " + _("In an empty set ({empty}) no class was likely enough.")
    size = size.format(
        size=number(sets.size, 2),
        single=percent(sets.single),
        several=percent(sets.several),
        empty=percent(sets.empty),
    )
    worst = sets.worst_class
    if worst is None or len(sets.by_class) < 2:
        return [coverage, size]
    by_class = _("The target holds for all classes together, not for each.")
    if sets.per_class:
        by_class = _("The target holds for each class by itself.")
    by_class += " " + _("Coverage is lowest for “{label}”: {coverage} of {n}.")
    by_class = by_class.format(label=worst.label, coverage=percent(worst.coverage), n=count(worst.n))
    return [coverage, size, by_class]


def unknown_sentences(unknown: UnknownSection) -> list[str]:
    """Return how unknown pictures are noticed, and how often a known one was called unknown; empty where none are."""
    if not unknown.methods:
        return []
    key = "+".join(unknown.methods)
    methods, auroc = _method_name(key), unknown.auroc.get(key)
    chosen = _("The score is {methods}.")
    if unknown.left_out and auroc is not None:
        chosen = _(
            "The score was chosen by leaving out classes in turn, as if they were unknown: with {methods}, a picture "
            "of a class left out scores higher than an ordinary one in {auroc} of all cases (by chance: 50%)."
        )
    first = _("A picture unlike all training pictures is reported as unknown: as none of the classes.") + " " + chosen
    sentences = [first.format(methods=methods, auroc=percent(auroc))]
    if unknown.test.n:
        low, high = unknown.test.interval or (0.0, 1.0)
        sentence = ngettext(
            "The threshold is made for a false-positive rate of {rate}; of {n} test picture, {share} was reported as "
            "unknown (95% interval {low} to {high}).",
            "The threshold is made for a false-positive rate of {rate}; of {n} test pictures, {share} were reported "
            "as unknown (95% interval {low} to {high}).",
            unknown.test.n,
        )
        rate, share = percent_label(unknown.rate), percent(unknown.test.share)
        sentences.append(
            sentence.format(rate=rate, n=count(unknown.test.n), share=share, low=points(low), high=points(high))
        )
    return sentences


def auroc_table(unknown: UnknownSection) -> list[tuple[str, float, bool]]:
    """Return the scores that were tried, the best first: name, AUROC, and whether it is the one in use."""
    tried = sorted(unknown.auroc.items(), key=lambda item: -item[1]) if unknown.methods else []
    return [(_method_name(key), auroc, key == "+".join(unknown.methods)) for key, auroc in tried]


def _method_name(key: str) -> str:
    """Return what a score is called, or several joined by a plus."""
    names = {
        "knn": _("the distance to the nearest training picture"),
        "mahalanobis": _("the distance to the nearest class"),
        "energy": _("the energy of the logits"),
        "max_softmax": _("the highest probability"),
    }
    return _(" and ").join(names.get(part, part) for part in key.split("+"))


def figures(measured: Measures) -> dict[str, Markup]:
    """Draw ``set_sizes``, ``class_coverage`` and ``class_reliability``, those that say something.

    Sizes are drawn where there are several, coverage by class where that of a class is below the target by more than
    chance, calibration by class where there are enough pictures.
    """
    drawn, sets = {}, measured.sets
    if sets is not None and sets.n:
        if np.count_nonzero(sets.sizes) > 1:
            drawn["set_sizes"] = uncertainty_figures.sizes(sets.sizes)
        intervals = [one.coverage_interval for one in sets.by_class.values() if one.coverage_interval]
        if any(high < sets.target_coverage for _low, high in intervals):
            drawn["class_coverage"] = uncertainty_figures.class_coverage(sets.by_class, sets.target_coverage)
    if measured.n >= ENOUGH and any(one.reliability for one in measured.per_class.values()):
        worst_first = dict(sorted(measured.per_class.items(), key=lambda item: -(item[1].ece or 0)))
        before = measured.uncalibrated.per_class if measured.uncalibrated else None
        drawn["class_reliability"] = uncertainty_figures.class_reliability(worst_first, before)
    return drawn
