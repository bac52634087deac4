"""The page about a lab: what helped, by how much, how sure that is, and the recipe to go on with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kilat.locale import _, ngettext
from kilat.locale.notes import Note
from kilat.report import lab_figures
from kilat.report.lab_content import loss, needs_briefly, option_names, p_value, points, short_labels, verdict
from kilat.report.lab_results import LabResults, LostPicture, TrialNote, VariantComparison, VariantResult
from kilat.report.lead import Request, by_weight
from kilat.report.pictures import ShownPicture, Thumbnail
from kilat.report.template import count, fill

SHOWN_EFFECTS, SHOWN_CURVES = 24, 6
"""How many variants a forest plot and the curves show, at most: the reference, and those that differ most from it."""


@dataclass(frozen=True)
class ShownLoss:
    """A picture that a variant answers wrongly and the best one rightly.

    Args:
        picture: the picture.
        predicted: what the variant answers.
        wrong: how often, in words.
    """

    picture: ShownPicture
    predicted: str
    wrong: str


@dataclass(frozen=True)
class ShownLosses:
    """The pictures that a variant loses.

    Args:
        variant: its name.
        sentence: how many it loses, and how many it wins.
        pictures: the clearest, those whose thumbnails there are.
    """

    variant: str
    sentence: str
    pictures: list[ShownLoss]


def render(results: LabResults, thumbnails: Mapping[str, Thumbnail] | None = None) -> str:
    """Return the page as HTML; equal results give equal text.

    Args:
        results: of the lab.
        thumbnails: of the pictures in ``results.lost``, by their paths.
    """
    effects = _most_telling(results.effects)
    notes, minor = by_weight(results.notes)
    return fill(
        "lab.html.j2",
        title=_("Search on {data}").format(data=results.data)
        if results.is_search
        else _("Lab on {data}").format(data=results.data),
        request=Request(results.command, _facts(results)),
        verdict=verdict(results),
        notes=notes,
        minor=minor,
        results=results,
        rows=_ranked(results),
        tested_rows=_ranked_effects(results),
        named_by=", ".join(option_names(results.variants)) if _are_named_by_values(results) else "",
        chosen=results.variant(results.best or results.reference),
        figure=_figures(results, effects),
        unshown=len(results.effects) - len(effects),
        option_figures=_option_figures(results),
        lost=_shown_losses(results, thumbnails or {}),
        left_out=[one for one in results.variants if one.dropped or one.failed or one.notes],
        trial_note=_trial_note,
        method=_method(results),
        points=points,
        loss=loss,
        p_value=p_value,
        needs=lambda effect: needs_briefly(results, effect),
    )


def _most_telling(effects: Sequence[VariantComparison]) -> list[VariantComparison]:
    """Return the effects that a figure shows: of many the most accurate variants, in the order in which they came."""
    kept = sorted(effects, key=lambda effect: -effect.accuracy.difference)[:SHOWN_EFFECTS]
    return [effect for effect in effects if effect in kept]


def _ranked(results: LabResults) -> list[VariantResult]:
    """Return the variants of a search by accuracy, those of a lab in their order."""
    if not results.is_search:
        return results.variants
    return sorted(results.variants, key=lambda one: -1.0 if one.accuracy is None else one.accuracy, reverse=True)


def _are_named_by_values(results: LabResults) -> bool:
    return any(label != name for name, label in short_labels(results.variants).items())


def _ranked_effects(results: LabResults) -> list[VariantComparison]:
    found = (results.against_reference(variant.name) for variant in _ranked(results))
    return [effect for effect in found if effect is not None]


def _facts(results: LabResults) -> list[str]:
    variants = len(results.variants)
    facts = [ngettext("{n} variant", "{n} variants", variants).format(n=count(variants)), _seeds(results)]
    return [*facts, ngettext("{n} picture", "{n} pictures", results.pictures).format(n=count(results.pictures))]


def _seeds(results: LabResults) -> str:
    seeds = results.planned_seeds
    if results.kind == "trained":
        return ngettext("{n} seed", "{n} seeds", seeds).format(n=count(seeds))
    repeats = ngettext("{folds} folds, {n} repeat", "{folds} folds, {n} repeats", seeds)
    return repeats.format(folds=count(results.folds), n=count(seeds))


def _figures(results: LabResults, effects: Sequence[VariantComparison]) -> dict[str, Markup | None]:
    """Draw the figures, those that there are numbers for."""
    drawn = _most_different(results)
    labels = short_labels(results.variants)
    return {
        "accuracy": lab_figures.forest(effects, "accuracy", labels),
        "log_loss": lab_figures.forest(effects, "log_loss", labels),
        "loss_course": lab_figures.courses(drawn, "loss", labels),
        "accuracy_course": lab_figures.courses(drawn, "accuracy", labels),
        "search": lab_figures.best_so_far(results.variants) if results.is_search else None,
    }


def _most_different(results: LabResults) -> list[VariantResult]:
    """Return the variants whose curves are drawn: reference, best, and of many those that differ most from it."""
    by_size = sorted(results.effects, key=lambda effect: -abs(effect.accuracy.difference))
    names = dict.fromkeys([results.reference, results.best, *(effect.second for effect in by_size)])
    kept = [name for name in names if name][:SHOWN_CURVES]
    return [variant for variant in results.variants if variant.name in kept]


def _option_figures(results: LabResults) -> list[Markup]:
    """Draw the accuracy by the value of every option of a search."""
    if not results.is_search:
        return []
    options = dict.fromkeys(option for variant in results.variants for option in variant.options)
    drawn = (lab_figures.by_value(results.variants, option) for option in options)
    return [figure for figure in drawn if figure is not None]


def _shown_losses(results: LabResults, thumbnails: Mapping[str, Thumbnail]) -> list[ShownLosses]:
    """Return what variants lose against the best one, with the pictures that there are small copies of."""
    found = []
    for lost in results.lost:
        pictures = [_shown(one, thumbnails[one.path]) for one in lost.shown if one.path in thumbnails]
        sentence = ngettext(
            "{n} picture is answered rightly by “{best}” and wrongly by this variant, {won} the other way round.",
            "{n} pictures are answered rightly by “{best}” and wrongly by this variant, {won} the other way round.",
            lost.count,
        ).format(n=count(lost.count), best=results.best, won=count(lost.won))
        found.append(ShownLosses(lost.variant, sentence, pictures))
    return found


def _shown(lost: LostPicture, thumbnail: Thumbnail) -> ShownLoss:
    counts = {"wrong": count(lost.wrong), "trials": count(lost.trials)}
    wrong = _("{wrong} of {trials} times").format(**counts) if lost.trials > 1 else ""
    return ShownLoss(ShownPicture(lost.path, lost.label, thumbnail), lost.predicted, wrong)


def _trial_note(note: TrialNote, variant: VariantResult) -> str:
    sentence = Note(note.code, note.values).sentence()
    said = _("in {count} of {trials} trials: {sentence}")
    return said.format(count=count(note.trials), trials=count(variant.trials), sentence=sentence)


def _method(results: LabResults) -> list[str]:
    """Return how it was measured, in sentences."""
    trained, held_out = (count(round(number)) for number in (results.train_pictures, results.held_out))
    if results.kind == "trained":
        trials = _(
            "Each variant is trained once a seed. A seed draws which {held_out} of the {pictures} pictures are held "
            "out and measured on, the order of the others and the first weights: for all variants the same, so that "
            "they are compared picture by picture."
        )
    else:
        trials = _(
            "Every variant is a head on the same features of a frozen backbone. The {pictures} pictures are divided "
            "into {folds} folds, {seeds} times over; each fold is answered by a head that was fitted on the others. "
            "The folds are the same for all variants, so that they are compared picture by picture."
        )
    interval = _(
        "The 95% interval is of the expected difference on new pictures of the same source and with new seeds, at "
        "{trained} training pictures. It counts the chance in which pictures there are (a bootstrap over groups of "
        "near-duplicates, BCa) and the chance from trial to trial, corrected for training pictures that trials share "
        "(Nadeau and Bengio 2003)."
    )
    tests = _(
        "A difference is more than chance explains where its p-value, adjusted for all differences of its table "
        "(Benjamini and Hochberg 1995), is at most 0.05."
    )
    kept_back = _("The test set was kept back: no trial has seen it, and nothing here was chosen by it.")
    values = {
        "held_out": held_out,
        "trained": trained,
        "pictures": count(results.pictures),
        "folds": count(results.folds),
        "seeds": count(results.planned_seeds),
    }
    return [trials.format(**values), interval.format(**values), tests, kept_back]
