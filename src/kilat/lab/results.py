"""What a lab came to: its answers gathered from the folder, analysed, and written with their page."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from kilat.data.catalog import Source
from kilat.errors import RunError
from kilat.lab import head_trials, trained_trials
from kilat.lab.analysis import analyse
from kilat.lab.answers import Dropped, Failure, LabAnswers, Trial
from kilat.lab.lab_folder import PAGE, RESULTS, WINNER, LabFolder, PlannedVariant
from kilat.lab.machine import describe_machine
from kilat.lab.trial_files import DroppedVariant, DroppedVariants, read_file
from kilat.locale import _
from kilat.locale.escapes import Shown
from kilat.report import lab_page
from kilat.report.lab_results import LabResults
from kilat.report.pictures import SMALL, make_thumbnails
from kilat.runtime.files import write_file, write_json
from kilat.runtime.json_document import MAX_BYTES_OF_RESULTS, DocumentError, read_typed
from kilat.verbs import run_folder

DROPPED = "dropped.json"


class Lab:
    """A lab and what it came to.

    Args:
        folder: of the lab.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "Lab":
        """Return the lab in a folder.

        Raises:
            KilatError: it is not the folder of a lab, or no trial of it is finished.
        """
        LabFolder.open(Path(folder))
        lab = cls(folder)
        if not (lab.folder / RESULTS).is_file():
            raise RunError(
                _("No trials of the lab {folder} are finished that could be compared.").format(folder=folder),
                hint=_("Go on with it: {command}").format(command=LabFolder(lab.folder).resume_command),
            )
        return lab

    @cached_property
    def results(self) -> LabResults:
        """What helped, by how much, and how sure that is: the content of ``lab.json``."""
        try:
            return read_typed(LabResults, self.folder / RESULTS, MAX_BYTES_OF_RESULTS)
        except DocumentError as error:
            raise RunError(str(error)) from None

    @property
    def page(self) -> Path:
        """The page that shows the results."""
        return self.folder / PAGE

    @property
    def winner(self) -> Path:
        """The recipe to use, for ``kilat train``: the variant that won, or the reference where none did."""
        return self.folder / WINNER

    @property
    def unfinished(self) -> list[tuple[str, int]]:
        """Trials that were planned and not run: the names of variants, and seeds."""
        lab = LabFolder(self.folder)
        return [(variant.name, seed) for variant, seed in unfinished(lab)]

    @property
    def resume_command(self) -> str:
        """What goes on with it."""
        return LabFolder(self.folder).resume_command

    def __repr__(self) -> str:
        return f"Lab({str(self.folder)!r}, {len(self.results.variants)} variants, best={self.results.best!r})"


def write_results(lab: LabFolder, source: Source | None) -> Lab:
    """Write results, page and the recipe that won, from the trials that are finished.

    Args:
        lab: the folder.
        source: the pictures, of which the page shows some; None where they cannot be read any more.

    Raises:
        RunError: there are not two variants that could be compared.
    """
    with run_folder.fitting_together(lab.path):
        answers = gather(lab)
    if len({trial.variant for trial in answers.trials}) < 2:
        reasons = dict.fromkeys(failure.reason for failure in answers.failures)
        raise RunError(
            Shown("\n  ").join(
                [_("No two variants of the lab {folder} have answers.").format(folder=lab.path), *reasons]
            ),
            hint="" if not unfinished(lab) else _("Go on with it: {command}").format(command=lab.resume_command),
        )
    results = analyse(answers)
    sides = dict.fromkeys(results.shown_rows, SMALL)
    thumbnails = {} if source is None else make_thumbnails(source, lab.catalog, sides)
    write_file(lab.path / PAGE, lab_page.render(results, thumbnails))
    won = next(one for one in lab.plan.variants if one.name == results.best)
    write_file(lab.path / WINNER, lab.recipe_path(won).read_bytes())
    write_json(lab.path / RESULTS, results.document())
    return Lab(lab.path)


def gather(lab: LabFolder) -> LabAnswers:
    """Return the answers of all trials that are finished."""
    plan = lab.plan
    found = [one for variant in plan.variants for seed in plan.trial_seeds for one in read(lab, variant, seed)]
    return LabAnswers(
        kind=plan.kind,
        data=lab.start.data or lab.path.name,
        variants=lab.variants(),
        pictures=lab.lab_pictures(),
        trials=[one for one in found if isinstance(one, Trial)],
        planned_seeds=plan.seeds,
        failures=[one for one in found if isinstance(one, Failure)],
        dropped=[Dropped(one.variant, one.seeds) for one in read_dropped(lab)],
        is_search=plan.search is not None,
        command=plan.command,
        notes=lab.notes,
        machine=describe_machine(),
    )


def read(lab: LabFolder, variant: PlannedVariant, seed: int) -> Iterator[Trial | Failure]:
    """Yield the fits of a trial, or why there are none; nothing where it is not finished."""
    if lab.plan.kind == "trained":
        yield from trained_trials.read_trials(lab, variant, seed)
    elif head_trials.is_finished(lab.trial_path(variant, seed)):
        yield from head_trials.read_trials(lab, variant, seed)


def unfinished(lab: LabFolder) -> list[tuple[PlannedVariant, int]]:
    """Return the trials that are left to run, those of one seed together; dropped variants have none."""
    plan = lab.plan
    is_finished = (trained_trials if plan.kind == "trained" else head_trials).is_finished
    dropped = {one.variant for one in read_dropped(lab)}
    return [
        (variant, seed)
        for seed in plan.trial_seeds
        for variant in plan.variants
        if variant.name not in dropped and not is_finished(lab.trial_path(variant, seed))
    ]


def read_dropped(lab: LabFolder) -> list[DroppedVariant]:
    """Return the variants that a time limit gave up, with how many seeds they had."""
    path = lab.path / DROPPED
    return read_file(DroppedVariants, path).dropped if path.is_file() else []


def drop(lab: LabFolder, variants: Sequence[PlannedVariant], seeds: int) -> None:
    """Write that variants are given up after so many seeds."""
    dropped = [*read_dropped(lab), *(DroppedVariant(variant=one.name, seeds=seeds) for one in variants)]
    write_json(lab.path / DROPPED, DroppedVariants(dropped=dropped).model_dump(by_alias=True))
