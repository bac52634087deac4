"""From the answers of a lab's trials to its results: what helped, by how much, and how sure that is."""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from kilat.lab.answers import LabAnswers, Trial, Variant
from kilat.lab.contrasts import FinishedTrials
from kilat.lab.doubts import doubts
from kilat.lab.effects import Effects, measure_effects
from kilat.lab.lost_pictures import lost_pictures
from kilat.lab.option_grids import option_effects, option_grids
from kilat.learn.metrics import NoteSection
from kilat.report.lab_results import (
    MIN_SEEDS,
    Cost,
    CurveBand,
    Finding,
    LabResults,
    TrialNote,
    VariantComparison,
    VariantResult,
)

MOST_PAIRED = 8
"""Of more variants only the pairs with the best one are compared besides those with the reference."""


def analyse(answers: LabAnswers) -> LabResults:
    """Return the results of a lab; equal answers give equal results, in whatever order the trials come.

    Args:
        answers: of all trials that were finished so far. The reference is the first variant that has any.
    """
    finished = FinishedTrials(answers)
    variants = [_variant_result(variant, answers, finished) for variant in answers.variants]
    measured = [variant.name for variant in variants if variant.accuracy is not None]
    reference = measured[0] if measured else answers.variants[0].name
    effects = _compare([(reference, other) for other in measured if other != reference], answers, finished)
    best = _best(effects, reference) if measured else None
    others = itertools.combinations([name for name in measured if name != reference], 2)
    chosen = [pair for pair in others if len(measured) <= MOST_PAIRED or best in pair]
    pairs = _compare(chosen, answers, finished)
    trials = [trial for variant in answers.variants for trial in finished.fullest(variant.name)]
    return LabResults(
        kind=answers.kind,
        is_search=answers.is_search,
        data=answers.data,
        command=answers.command,
        planned_seeds=answers.planned_seeds,
        folds=len({trial.fold for trial in trials}) or 1,
        pictures=len(answers.pictures.truth),
        groups=len(np.unique(answers.pictures.groups)),
        train_pictures=_mean([trial.train_pictures for trial in trials]),
        held_out=_mean([len(trial.pictures) for trial in trials]),
        reference=reference,
        best=best,
        variants=variants,
        effects=effects,
        pairs=pairs,
        options=option_effects(answers, finished),
        grids=option_grids(answers, finished),
        lost=lost_pictures(best, finished) if best else [],
        notes=[NoteSection(**note.document()) for note in doubts(answers, reference, effects)],
        machine=dict(answers.machine),
        timing={name: _cost(list(finished.by_variant[name].values())) for name in measured},
    )


def _compare(
    pairs: Sequence[tuple[str, str]], answers: LabAnswers, finished: FinishedTrials
) -> list[VariantComparison]:
    """Compare variants two by two, those that have trials in common."""
    contrasts = {pair: finished.contrast({pair[0]: -1.0, pair[1]: 1.0}) for pair in pairs}
    common = {pair: contrast for pair, contrast in contrasts.items() if contrast is not None}
    comparisons = []
    for (pair, contrast), effects in zip(common.items(), measure_effects(list(common.values())), strict=True):
        is_enough = answers.kind == "frozen" or contrast.seeds >= MIN_SEEDS
        comparisons.append(
            VariantComparison(
                first=pair[0],
                second=pair[1],
                finding=_finding(effects) if is_enough and len(contrast.keys) > 1 else "too_few_seeds",
                seeds=contrast.seeds,
                trials=len(contrast.keys),
                pictures=contrast.pictures,
                effort=contrast.keys[0].effort,
                identical=contrast.is_identical,
                accuracy=effects.accuracy,
                log_loss=effects.log_loss,
            )
        )
    return comparisons


def _finding(effects: Effects) -> Finding:
    """Return what became of the second of two variants, as far as chance does not explain it."""
    signs = {
        effect.difference > 0 if effect is effects.accuracy else effect.difference < 0
        for effect in effects
        if effect.is_significant
    }
    if len(signs) == 2:
        return "mixed"
    return "undecided" if not signs else "better" if signs.pop() else "worse"


def _best(effects: Sequence[VariantComparison], reference: str) -> str:
    """Return the most accurate of the variants that are better than the reference; the reference if there is none."""
    better = [effect for effect in effects if effect.finding == "better"]
    if not better:
        return reference
    return max(better, key=lambda effect: (effect.accuracy.difference, -effect.log_loss.difference)).second


def _variant_result(variant: Variant, answers: LabAnswers, finished: FinishedTrials) -> VariantResult:
    trials = finished.fullest(variant.name)
    failures = [failure for failure in answers.failures if failure.variant == variant.name]
    seeds = dict.fromkeys(trial.seed for trial in trials)
    by_seed = [[trial for trial in trials if trial.seed == seed] for seed in seeds]
    accuracies = [finished.accuracy(some) for some in by_seed]
    log_losses = [finished.log_loss(some) for some in by_seed]
    curves = {name: _curve(trials, f"validation_{name}") for name in ("loss", "accuracy")}
    return VariantResult(
        name=variant.name,
        options=dict(variant.options),
        recipe=variant.recipe,
        command=variant.command,
        seeds=len(seeds),
        trials=len(trials),
        effort=trials[0].effort if trials else 1.0,
        accuracy=finished.accuracy(trials) if trials else None,
        accuracy_range=(min(accuracies), max(accuracies)) if trials else None,
        log_loss=finished.log_loss(trials) if trials else None,
        log_loss_range=(min(log_losses), max(log_losses)) if trials else None,
        failed=len(failures),
        reasons=list(dict.fromkeys(failure.reason for failure in failures)),
        dropped=any(dropped.variant == variant.name for dropped in answers.dropped),
        folders=[trial.folder for trial in trials if trial.folder],
        notes=_trial_notes(trials),
        curves={name: curve for name, curve in curves.items() if curve},
    )


def _trial_notes(trials: Sequence[Trial]) -> list[TrialNote]:
    """Return each note that trials have, once, with how many of them have it."""
    first = {note.code: note for trial in reversed(trials) for note in reversed(trial.notes)}
    return [
        TrialNote(**first[code].document(), trials=sum(code in {note.code for note in trial.notes} for trial in trials))
        for code in dict.fromkeys(note.code for trial in trials for note in trial.notes)
    ]


def _curve(trials: Sequence[Trial], key: str) -> CurveBand | None:
    """Return a value by epoch over the trials; as far as half of them came."""
    values: dict[float, list[float]] = defaultdict(list)
    for trial in trials:
        for row in trial.epochs:
            if np.isfinite(row.get(key, np.nan)):
                values[float(row["epoch"])].append(float(row[key]))
    reached = {epoch: some for epoch, some in sorted(values.items()) if 2 * len(some) >= len(trials)}
    if not reached:
        return None
    return CurveBand(
        epochs=list(reached),
        mean=[_mean(some) for some in reached.values()],
        low=[min(some) for some in reached.values()],
        high=[max(some) for some in reached.values()],
    )


def _cost(trials: Sequence[Trial]) -> Cost:
    """Return what a trial with the full effort takes, from the trials that had the most."""
    full = [trial for trial in trials if trial.effort == trials[0].effort]
    peaks = [trial.peak_bytes for trial in full if trial.peak_bytes is not None]
    return Cost(seconds=_mean([trial.seconds for trial in full]), peak_bytes=max(peaks, default=None))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
