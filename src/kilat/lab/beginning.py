"""How a lab begins: how many trials there are, with how many threads, and what its folder holds before the first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kilat import recipe as recipes
from kilat.data.catalog import Catalog, Source
from kilat.errors import RecipeError
from kilat.lab.lab_folder import MOST_PLANNED, MOST_SEEDS, PLAN, VARIANTS, LabFolder, Plan, PlannedVariant
from kilat.lab.survey import Effort, survey
from kilat.lab.variants import Candidate
from kilat.learn.device import training_device
from kilat.learn.frozen import Extracted
from kilat.learn.small_network import is_small
from kilat.locale import _
from kilat.locale.escapes import shell_command
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.runtime.cores import available_cores
from kilat.runtime.progress import Progress
from kilat.runtime.progress_figures import duration
from kilat.verbs import request, run_folder

SEEDS, FOLDS, REPEATS = 5, 5, 3
MOST_WORKERS = 256
MOST_TRIALS, MOST_SECONDS = 500, 24 * 3600.0
"""Of more, or of what takes longer, a lab is refused unless there is a time limit."""


@dataclass(frozen=True)
class Numbers:
    """How often every variant is tried.

    Args:
        kind: ``frozen`` for heads on cached features, ``trained`` for networks trained by gradient.
        seeds: trials of each variant; of a head, how often the folds are drawn.
        folds: of a head's cross-validation.
    """

    kind: Literal["frozen", "trained"]
    seeds: int
    folds: int = 1


class Begun(NamedTuple):
    """A lab before its first trial, and the features of its reference where they were extracted on the way."""

    lab: LabFolder
    extracted: Extracted | None


def begin(
    path: Path,
    source: Source,
    start: run_folder.Start,
    candidates: Sequence[Candidate],
    numbers: Numbers,
    progress: Progress,
    notes: Sequence[Note] = (),
    **given: Any,
) -> Begun:
    """Read the pictures, keep the test set back, and write what trials follow from.

    Args:
        path: of the lab's folder.
        source: the pictures.
        start: where they are.
        candidates: the variants, the reference first.
        numbers: how often each is tried.
        progress: that shows it.
        notes: on what was decided before.
        given: more of the plan: ``command``, ``time_limit``, ``question`` and others.
    """
    reference = candidates[0].recipe
    surveyed = survey(source, reference, progress)
    found = [*notes, *surveyed.notes, *_left_out(numbers, reference, surveyed.catalog)]
    plan = Plan(
        **vars(numbers),
        **given,
        start=asdict(start),
        variants=[planned(one, start.arguments(), path) for one in candidates],
        seed=reference.runtime.seed,
        threads=_threads(reference, numbers, len(candidates)),
        begun=request.now(),
        notes=[note.document() for note in found],
    )
    return Begun(LabFolder.begin(path, plan, candidates, surveyed.catalog), surveyed.extracted)


def _left_out(numbers: Numbers, reference: Recipe, catalog: Catalog) -> list[Note]:
    """Return notes on what ``kilat train`` would do, and trials do not."""
    notes = []
    if numbers.kind == "frozen" and reference.features.small_network != "none" and is_small(catalog):
        notes.append(Note("lab_small_network", {"recipe": reference.features.small_network}))
    validation = catalog.used & (catalog.table["split"] == "validation").to_numpy()
    if validation.any():
        notes.append(Note("lab_validation_shared", {"count": int(validation.sum())}))
    return notes


def is_begun(path: Path) -> bool:
    """Return whether there is something to go on with."""
    return (path / PLAN).is_file()


def numbers_of(candidates: Sequence[Candidate], seeds: int | None, folds: int | None, repeats: int | None) -> Numbers:
    """Return how often the variants are tried, by what was asked for and what they are.

    Raises:
        RecipeError: a number is too small, or is one for the other kind of lab.
    """
    is_trained = any(one.is_trained or "features.small_network" in one.options for one in candidates)
    given = {"--seeds": seeds, "--folds": folds, "--repeats": repeats}
    foreign = ("--folds", "--repeats") if is_trained else ("--seeds",)
    if wrong := [name for name in foreign if given[name] is not None]:
        sentence = _("{options}: only for heads on frozen backbones; networks that are trained have --seeds.")
        if not is_trained:
            sentence = _("{options}: only for networks that are trained; heads have --folds and --repeats.")
        raise RecipeError(sentence.format(options=_(" and ").join(wrong)))
    for name, number, least in (("--seeds", seeds, 1), ("--folds", folds, 2), ("--repeats", repeats, 1)):
        require_between(name, number, least, MOST_SEEDS)
    if is_trained:
        return Numbers("trained", seeds or SEEDS)
    return Numbers("frozen", repeats or REPEATS, folds or FOLDS)


def require_between(option: str, number: int | None, least: int, most: int) -> None:
    """Refuse a number that is too small, or one that no machine has the time or the memory for.

    Raises:
        RecipeError: it is.
    """
    if number is None or least <= number <= most:
        return
    message = _("{option}: must be at least {least} (given: {number})")
    if number > most:
        message = _("{option}: must be at most {most} (given: {number})")
    raise RecipeError(message.format(option=option, least=least, most=most, number=number))


def planned(one: Candidate, data: str, folder: Path) -> PlannedVariant:
    """Return a variant with the command that trains with it, such as ``kilat train flowers --set fit.ema=0.99``."""
    own = folder / VARIANTS / f"{one.slug}.yaml"
    arguments = shell_command(*one.arguments or ("--recipe", str(own)))
    return PlannedVariant(
        name=one.name, slug=one.slug, options=dict(one.options), command=f"kilat train {data} {arguments}"
    )


def _threads(reference: Recipe, numbers: Numbers, variants: int) -> int:
    """Return with how many threads a trial computes, so that as many trials as there are cores have one each.

    It follows from the machine and the number of trials, not from the number of processes, which changes no result.
    """
    cores = available_cores()
    if numbers.kind == "trained" and training_device(reference.runtime.device) != "cpu":
        return cores
    return max(1, cores // min(cores, variants * numbers.seeds))


def refuse_what_is_too_large(effort: Effort) -> None:
    """Refuse a lab that would run for a day or more by mistake.

    Raises:
        RecipeError: it says how many trials there are, and about how long they take.
    """
    seconds = effort.seconds / available_cores()
    if effort.trials <= MOST_TRIALS and seconds <= MOST_SECONDS:
        return
    raise RecipeError(
        _("That makes {trials:,} trials, which take roughly {time} here.").format(
            trials=effort.trials, time=duration(seconds)
        ),
        hint=_(
            "Vary less, or give a time limit (--time-limit 2h): then variants that do worse are dropped on the way."
        ),
    )


def refuse_more_than_any_time(trials: int) -> None:
    """Refuse more trials than any time limit has room for.

    Raises:
        RecipeError: it says how many there are.
    """
    if trials > MOST_PLANNED:
        sentence = _("That makes {trials:,} trials; a lab has at most {most:,}, whatever its time limit.")
        raise RecipeError(sentence.format(trials=trials, most=MOST_PLANNED), hint=_("Vary less, or take fewer seeds."))


def seconds_of(given: float | str | None) -> float | None:
    """Return a time limit in seconds.

    Raises:
        RecipeError: it is none.
    """
    return None if given is None else recipes.load("transfer", {"runtime.time_limit": given}).runtime.time_limit
