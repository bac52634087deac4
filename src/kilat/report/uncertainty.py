"""How far answers can be trusted, in sentences and figures: prediction sets, the unknown, and each class by itself."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kilat.locale import _
from kilat.report import uncertainty_figures
from kilat.report.template import count, defined, number, percent, points

Measures = Mapping[str, Any]


def content(measured: Measures, metrics: Measures) -> dict[str, Any]:
    """What the page says of trust beside calibration; parts that were not measured are empty.

    Args:
        measured: of the test, or of validation where there was none.
        metrics: the content of ``metrics.json``.
    """
    sets, unknown = measured.get("sets") or {}, metrics.get("unknown") or {}
    return {
        "sets": _sets(sets) if sets.get("n") else [],
        "unknown": _unknown(unknown) if unknown.get("methods") else [],
        "auroc": _areas(unknown) if unknown.get("methods") else [],
    }


def figures(measured: Measures) -> dict[str, Markup]:
    """The figures that the numbers allow: ``set_sizes``, ``class_coverage`` and ``class_reliability``."""
    made, sets = {}, measured.get("sets") or {}
    if sets.get("n"):
        made["set_sizes"] = uncertainty_figures.sizes(sets["sizes"])
        if any(of.get("n") for of in (sets.get("per_class") or {}).values()):
            made["class_coverage"] = uncertainty_figures.per_class_coverage(sets["per_class"], sets["target_coverage"])
    per_class = measured.get("per_class") or {}
    if measured.get("n") and any(of.get("reliability") for of in per_class.values()):
        worst = dict(sorted(per_class.items(), key=lambda item: -(item[1].get("ece") or 0)))
        before = (measured.get("uncalibrated") or {}).get("per_class") or {}
        made["class_reliability"] = uncertainty_figures.reliability_small_multiples(worst, before)
    return made


def without_leaked(test: Measures) -> str:
    """How good answers are without the test pictures that have a copy among those learnt from; empty if none has."""
    rest = test.get("without_leaked") or {}
    if not rest.get("leaked"):
        return ""
    sentence = _("{leaked} of these pictures have a near copy among those that were learnt from.")
    if rest["leaked"] == 1:
        sentence = _("One of these pictures has a near copy among those that were learnt from.")
    if not rest.get("n"):
        return sentence.format(leaked=count(rest["leaked"]))
    low, high = rest["accuracy_interval"]
    sentence += " " + _("Without them {accuracy} of {n} are right (95% interval {low} to {high}): go by that figure.")
    return sentence.format(
        leaked=count(rest["leaked"]),
        accuracy=percent(rest["accuracy"]),
        n=count(rest["n"]),
        low=points(low),
        high=points(high),
    )


def _sets(sets: Measures) -> list[str]:
    return [_promise(sets), _how_large(sets), *_of_classes(sets)]


def _promise(sets: Measures) -> str:
    """What was asked of the sets, and how often they kept to it."""
    low, high = sets["coverage_interval"]
    sentence = _(
        "kilat also gives a set of classes with every answer. Asked to hold the right class for {asked} of all "
        "pictures, the sets held it for {coverage} of {n} test pictures (95% interval {low} to {high})"
    )
    if high < sets["target_coverage"]:
        sentence += _("; that is less often than was asked.")
    elif low > sets["target_coverage"]:
        sentence += _("; that is more often than was asked.")
    else:
        sentence += _(", as was asked.")
    return sentence.format(
        asked=_round(sets["target_coverage"]),
        coverage=percent(sets["coverage"]),
        n=count(sets["n"]),
        low=points(low),
        high=points(high),
    )


def _how_large(sets: Measures) -> str:
    """How many classes are in a set, and how to read that."""
    sentence = _(
        "A set has {size} classes on average. With one class in it ({single} of the sets) the answer can stand as it "
        "is; with several ({several}) the picture is hard, and a person should look."
    )
    if sets.get("empty"):
        sentence += " " + _("A set without any class ({empty}) says that none was likely enough.")
    return sentence.format(
        size=number(sets["size"], 2),
        single=percent(sets["single"]),
        several=percent(sets["several"]),
        empty=percent(sets.get("empty")),
    )


def _of_classes(sets: Measures) -> list[str]:
    """Whether the promise holds for each class, and which one fares worst."""
    worst = sets.get("worst_class")
    if not worst or len(sets["per_class"]) < 2:
        return []
    sentence = _("This is promised for all classes together, not for each.")
    if sets.get("per_class"):
        sentence = _("This is promised for each class by itself.")
    sentence += " " + _("The right class is missed most often for “{label}”: its sets held it for {coverage} of {n}.")
    return [sentence.format(label=worst["label"], coverage=percent(worst["coverage"]), n=count(worst["n"]))]


def _unknown(unknown: Measures) -> list[str]:
    sentences = [
        _("Of a picture that is unlike all it was trained on, the classifier says that it is none of these classes.")
        + " "
        + _how_chosen(unknown)
    ]
    test = unknown.get("test") or {}
    if test.get("n"):
        low, high = test["interval"]
        sentence = _(
            "It may be wrong about {rate} of ordinary pictures; of the {n} test pictures it called {share} unknown "
            "(95% interval {low} to {high})."
        )
        sentences.append(
            sentence.format(
                rate=_round(unknown["rate"]),
                n=count(test["n"]),
                share=percent(test["share"]),
                low=points(low),
                high=points(high),
            )
        )
    return sentences


def _how_chosen(unknown: Measures) -> str:
    taken, area = _called("+".join(unknown["methods"])), (unknown.get("auroc") or {}).get("+".join(unknown["methods"]))
    if not unknown.get("left_out") or not defined(area):
        return _("It tells by: {taken}.").format(taken=taken)
    return _(
        "How it tells was chosen by leaving classes out in turn, as if they were unknown: by {taken} it finds a "
        "picture of a class left out stranger than an ordinary one in {area} of all cases (guessing: 50%)."
    ).format(taken=taken, area=percent(area))


def _areas(unknown: Measures) -> list[tuple[str, float, bool]]:
    """What was tried, the best first: its name, the area under its curve, and whether it was taken."""
    tried = sorted((unknown.get("auroc") or {}).items(), key=lambda item: -item[1])
    return [(_called(name), area, name == "+".join(unknown["methods"])) for name, area in tried]


def _round(share: float) -> str:
    """A share that somebody chose, such as 90% and 97.5%."""
    return f"{share:.1%}".replace(".0%", "%")


def _called(name: str) -> str:
    """A way to tell the unknown, or several joined by a plus, as a reader calls it."""
    words = {
        "knn": _("the distance to the nearest training picture"),
        "mahalanobis": _("the distance to the nearest class"),
        "energy": _("the energy of the answer"),
        "max_softmax": _("the highest probability"),
    }
    return _(" and ").join(words.get(part, part) for part in name.split("+"))
