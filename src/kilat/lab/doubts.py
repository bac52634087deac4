"""What makes the results of a lab doubtful, as notes."""

from collections.abc import Sequence

import numpy as np

from kilat.lab.answers import LabAnswers
from kilat.locale.notes import Note
from kilat.report.lab_results import MIN_SEEDS, VariantComparison

FEW_GROUPS = 50
"""With fewer different pictures only large effects can show."""


def doubts(answers: LabAnswers, reference: str, effects: Sequence[VariantComparison]) -> list[Note]:
    """Return notes on what was compared otherwise than it was planned, or with too little.

    Args:
        answers: of the trials.
        reference: the variant that others are compared with.
        effects: of these.
    """
    notes = [*answers.notes, *_missing(answers, reference, effects)]
    dropped = {one.variant: one.seeds for one in answers.dropped}
    few = {one.second: one.seeds for one in effects if one.finding == "too_few_seeds" and one.second not in dropped}
    if few and len(few) == len(effects):
        notes.append(Note("lab_few_seeds", {"count": min(few.values()), "needed": MIN_SEEDS}))
    elif few:
        notes.append(Note("lab_few_seeds_of_some", {"variants": few, "needed": MIN_SEEDS}))
    groups = len(np.unique(answers.pictures.groups))
    if groups < FEW_GROUPS:
        notes.append(Note("lab_few_pictures", {"count": groups}))
    if dropped:
        notes.append(Note("lab_dropped", {"variants": dropped}))
    if shorter := {effect.second: f"{effect.effort:.0%}" for effect in effects if effect.effort < 1}:
        notes.append(Note("lab_effort", {"variants": shorter}))
    if identical := [effect.second for effect in effects if effect.identical]:
        notes.append(Note("lab_identical", {"variants": identical, "reference": reference}))
    return notes


def _missing(answers: LabAnswers, reference: str, effects: Sequence[VariantComparison]) -> list[Note]:
    """Return notes on variants without trials, on trials that failed, and on seeds that are not common."""
    notes = []
    first = answers.variants[0].name
    if reference != first:
        notes.append(Note("lab_other_reference", {"variant": first, "reference": reference}))
    failed: dict[str, int] = {}
    for failure in answers.failures:
        failed[failure.variant] = failed.get(failure.variant, 0) + 1
    if failed:
        notes.append(Note("lab_failed", {"count": sum(failed.values()), "variants": failed}))
    compared = {reference, *(effect.second for effect in effects)}
    left = [variant.name for variant in answers.variants if variant.name not in compared]
    if left:
        notes.append(Note("lab_not_compared", {"variants": left}))
    dropped = {one.variant for one in answers.dropped}
    fewer = {
        effect.second: effect.seeds
        for effect in effects
        if effect.seeds < answers.planned_seeds and effect.second not in dropped and effect.finding != "too_few_seeds"
    }
    if fewer:
        notes.append(Note("lab_fewer_seeds", {"planned": answers.planned_seeds, "variants": fewer}))
    return notes
