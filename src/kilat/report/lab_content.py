"""What a lab came to, in sentences."""

import math
from collections.abc import Sequence

from kilat.locale import _, localized, ngettext
from kilat.locale.lists import listed
from kilat.recipe import short_paths
from kilat.report.lab_results import MIN_SEEDS, MOST_MORE, LabResults, MeasuredEffect, VariantComparison, VariantResult

TOLD = ("better", "worse", "mixed")
"""The findings that are more than chance explains."""


def verdict(results: LabResults) -> list[str]:
    """Return the answer in sentences, the first of them alone enough."""
    if results.best is None:
        return [_("No trial was finished, so that there is nothing to compare.")]
    if not results.effects:
        return [_("“{variant}” alone has finished trials, so that there is nothing to compare.").format(
            variant=results.best)]  # fmt: skip
    if len(results.effects) == 1:
        return [*_one_against_another(results, results.effects[0]), _what_next(results)]
    return [*_several(results), _what_next(results)]


def needed(results: LabResults, effect: VariantComparison) -> str:
    """Return what it would take to tell an undecided effect, in a sentence; empty where it is told."""
    if effect.finding == "too_few_seeds":
        count = max(MIN_SEEDS - effect.seeds, 1)
        return ngettext(
            "It takes at least {count:,} more seed to tell anything.",
            "It takes at least {count:,} more seeds to tell anything.",
            count,
        ).format(count=count)
    if effect.finding in TOLD or effect.identical:
        return ""
    easier = easier_to_tell(effect)
    if easier is None:
        return _(
            "A difference as small as the measured one would take more than {times} times as many pictures and seeds "
            "to tell."
        ).format(times=MOST_MORE)
    seeds, pictures = easier.more_seeds, easier.more_pictures
    if easier.takes_both:
        sentence = _("To tell such a difference takes about {seeds} and {pictures}: neither alone suffices.")
    elif seeds is None:
        sentence = _("To tell such a difference takes about {pictures}; more seeds alone do not suffice.")
    elif pictures is None:
        sentence = _("To tell such a difference takes about {seeds}.")
    else:
        sentence = _("To tell such a difference takes about {seeds}, or {pictures}.")
    return sentence.format(seeds=_more_seeds(results, seeds or 0), pictures=_more_pictures(pictures or 0))


def _more_seeds(results: LabResults, count: int) -> str:
    if results.kind == "frozen":
        repeats = ngettext("{count:,} more repeat of the folds", "{count:,} more repeats of the folds", count)
        return repeats.format(count=count)
    return ngettext("{count:,} more seed", "{count:,} more seeds", count).format(count=count)


def _more_pictures(count: int) -> str:
    return ngettext("{count:,} more picture", "{count:,} more pictures", count).format(count=count)


def needs_briefly(results: LabResults, effect: VariantComparison) -> str:
    """Return what it would take to tell an undecided effect, in a few words; a dash where it is told."""
    if effect.finding == "too_few_seeds":
        return _seeds(results, max(MIN_SEEDS - effect.seeds, 1))
    if effect.finding in TOLD or effect.identical:
        return "–"
    easier = easier_to_tell(effect)
    if easier is None:
        return _("> {times} times").format(times=MOST_MORE)
    seeds = "" if easier.more_seeds is None else _seeds(results, easier.more_seeds)
    count = easier.more_pictures or 0
    pictures = ngettext("{count:,} picture", "{count:,} pictures", count).format(count=count) if count else ""
    if easier.takes_both:
        return _("{seeds} and {pictures}").format(seeds=seeds, pictures=pictures)
    return seeds or pictures


def _seeds(results: LabResults, count: int) -> str:
    if results.kind == "frozen":
        return ngettext("{count:,} repeat", "{count:,} repeats", count).format(count=count)
    return ngettext("{count:,} seed", "{count:,} seeds", count).format(count=count)


def easier_to_tell(effect: VariantComparison) -> MeasuredEffect | None:
    """Return the effect, on accuracy or log loss, that takes less to tell; None where nobody could collect that."""
    reachable = [
        one for one in (effect.accuracy, effect.log_loss) if (one.more_seeds, one.more_pictures) != (None, None)
    ]
    return min(reachable, key=lambda one: one.more_pictures or math.inf, default=None)


def option_names(variants: Sequence[VariantResult]) -> list[str]:
    """Return the options of a grid, by the last parts of their paths; nothing where variants have others."""
    options = list(variants[0].options)
    if not options or any(list(variant.options) != options for variant in variants):
        return []
    return short_paths(options)


def short_labels(variants: Sequence[VariantResult]) -> dict[str, str]:
    """Return what figures call the variants, by their names: in a grid their values alone."""
    values = {one.name: ", ".join(one.options.values()) for one in variants}
    is_named = bool(option_names(variants)) and len(set(values.values())) == len(values)
    return values if is_named else {name: name for name in values}


def points(effect: MeasuredEffect) -> str:
    """Return an effect on accuracy in percentage points with its interval: +2.1 (+0.8 to +3.6)."""
    if effect.interval is None:
        return localized(effect.difference * 100, "+z.1f")
    low, high = effect.interval
    return _("{value:+z.1f} ({low:+z.1f} to {high:+z.1f})").format(
        value=effect.difference * 100, low=low * 100, high=high * 100
    )


def loss(effect: MeasuredEffect) -> str:
    """Return an effect on log loss with its interval: -0.031 (-0.052 to -0.010)."""
    if effect.interval is None:
        return localized(effect.difference, "+z.3f")
    low, high = effect.interval
    return _("{value:+z.3f} ({low:+z.3f} to {high:+z.3f})").format(value=effect.difference, low=low, high=high)


def p_value(value: float | None) -> str:
    """Return a p-value as text; a dash where there is none."""
    if value is None:
        return "–"
    return localized(value, ".3f") if value >= 0.001 else f"< {localized(0.001)}"


def _one_against_another(results: LabResults, effect: VariantComparison) -> list[str]:
    """Return what became of one variant against the reference."""
    first, second = results.variant(effect.first), results.variant(effect.second)
    return [sentence for sentence in (_found(effect, first, second), needed(results, effect)) if sentence]


def _found(effect: VariantComparison, first: VariantResult, second: VariantResult) -> str:
    """Return the finding about two variants in a sentence that names the effects with their intervals."""
    if effect.identical:
        sentence = _("“{variant}” and “{reference}” give the very same answers: there is no difference to measure.")
    elif effect.finding == "too_few_seeds":
        sentence = ngettext(
            "{count:,} seed is too little to tell “{variant}” and “{reference}” apart: accuracy {points} points, "
            "log loss {loss}.",
            "{count:,} seeds are too few to tell “{variant}” and “{reference}” apart: accuracy {points} points, "
            "log loss {loss}.",
            effect.seeds,
        )
    elif effect.finding == "undecided":
        sentence = _(
            "Whether “{variant}” is better than “{reference}” remains open: accuracy {points} points, log loss {loss}, "
            "which chance may explain."
        )
    elif effect.finding == "mixed":
        sentence = _(
            "“{variant}” is more accurate than “{reference}”, but its probabilities are worse: accuracy {points} "
            "points, log loss {loss}."
        )
        if effect.accuracy.difference < 0:
            sentence = _(
                "“{variant}” gives better probabilities than “{reference}”, but is less accurate: accuracy {points} "
                "points, log loss {loss}."
            )
    else:
        sentence = _told_sentence(effect)
    return sentence.format(
        variant=second.name,
        reference=first.name,
        points=points(effect.accuracy),
        loss=loss(effect.log_loss),
        before=first.accuracy,
        after=second.accuracy,
        count=effect.seeds,
    )


def _told_sentence(effect: VariantComparison) -> str:
    """Return the sentence for a variant that is better or worse by more than chance explains, to be filled in."""
    if effect.accuracy.is_significant:
        if effect.finding == "better":
            return _(
                "“{variant}” is better than “{reference}”: accuracy rises from {before:.1%} to {after:.1%}, {points} "
                "points, more than chance explains."
            )
        return _(
            "“{variant}” is worse than “{reference}”: accuracy falls from {before:.1%} to {after:.1%}, {points} "
            "points, more than chance explains."
        )
    if effect.finding == "better":
        return _(
            "“{variant}” gives better probabilities than “{reference}”: log loss {loss}, more than chance explains. "
            "Whether its accuracy differs remains open: {points} points."
        )
    return _(
        "“{variant}” gives worse probabilities than “{reference}”: log loss {loss}, more than chance explains. Whether "
        "its accuracy differs remains open: {points} points."
    )


def _several(results: LabResults) -> list[str]:
    """Return which of several variants is best, and what became of the others."""
    reference, sentences = results.variant(results.reference), []
    by_finding = {
        finding: [effect.second for effect in results.effects if effect.finding == finding]
        for finding in ("better", "mixed", "worse", "undecided", "too_few_seeds")
    }
    best = results.against_reference(results.best or "")
    if best is not None:
        sentences.append(_found(best, reference, results.variant(best.second)))
        if also := [name for name in by_finding["better"] if name != best.second]:
            sentences.append(_("Better than “{reference}” as well: {variants}.").format(
                reference=reference.name, variants=_names(also)))  # fmt: skip
        if rivals := _not_told_from(results, best.second):
            sentences.append(_("Chance may explain its lead over {variants}.").format(variants=_names(rivals)))
    elif len(by_finding["worse"]) == len(results.effects):
        sentences.append(
            _("“{reference}” is the best: each of the {n} others is worse by more than chance explains.").format(
                reference=reference.name, n=len(results.effects)
            )
        )
    else:
        sentences += _nobody_better(results, reference)
    if best is not None or len(by_finding["worse"]) < len(results.effects):
        if by_finding["worse"]:
            sentences.append(_("Worse than “{reference}” by more than chance explains: {variants}.").format(
                reference=reference.name, variants=_names(by_finding["worse"])))  # fmt: skip
        if by_finding["mixed"]:
            sentences.append(
                _("Better than “{reference}” in accuracy or log loss, and worse in the other: {variants}.").format(
                    reference=reference.name, variants=_names(by_finding["mixed"])
                )
            )
    return sentences


def _nobody_better(results: LabResults, reference: VariantResult) -> list[str]:
    """Return that no variant beats the reference, and how near the most accurate one comes to it."""
    sentence = _("None of the {n} others is better than “{reference}” by more than chance explains.")
    sentences = [sentence.format(n=len(results.effects), reference=reference.name)]
    leader = max(results.effects, key=lambda effect: effect.accuracy.difference)
    if leader.accuracy.difference > 0 and leader.finding in ("undecided", "too_few_seeds"):
        sentences.append(
            _("The most accurate of them is “{variant}”: {points} points, log loss {loss}.").format(
                variant=leader.second, points=points(leader.accuracy), loss=loss(leader.log_loss)
            )
        )
        sentences.append(needed(results, leader))
    return [sentence for sentence in sentences if sentence]


def _not_told_from(results: LabResults, best: str) -> list[str]:
    """Return the variants that the best one is not better than by more than chance explains."""
    rivals: Sequence[VariantComparison] = [pair for pair in results.pairs if best in (pair.first, pair.second)]
    wanted = {True: "better", False: "worse"}
    return [
        pair.first if pair.second == best else pair.second
        for pair in rivals
        if pair.finding != wanted[pair.second == best]
    ]


def _names(variants: Sequence[str]) -> str:
    return listed([f"“{name}”" for name in variants], most=3)


def _what_next(results: LabResults) -> str:
    """Return that the test set is still to be asked, for the variant that was chosen."""
    return _("No trial has seen the test set: training with the recipe of “{variant}” measures it there.").format(
        variant=results.best
    )
