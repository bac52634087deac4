"""``kilat.compare``: finished runs compared on the test pictures that they have in common."""

from pathlib import Path

from kilat.errors import KilatError
from kilat.locale import _
from kilat.report.run_comparison import RunComparison, compare_runs
from kilat.verbs import run_folder
from kilat.verbs.run import Run


def compare(*runs: str | Path | Run) -> RunComparison:
    """Compare finished runs picture by picture, on the test pictures that all of them have.

    Nothing is classified again: the run folders hold all answers. ``kilat.report.compare_page.render`` makes a page of
    the result.

    Args:
        runs: two or more, or their folders.

    Returns:
        Accuracy and log loss of each, the differences of every two with their intervals, McNemar's exact test, and what
        differs in their recipes; ``document()`` gives it as JSON holds it.

    Raises:
        KilatError: a folder is not that of a finished run, or the runs have no test picture in common.
    """
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    folders = [run.folder.resolve() for run in opened]
    if len(opened) < 2 or len(set(folders)) < len(folders):
        raise KilatError(
            _("One run cannot be compared with itself.") if opened else _("There are no runs to compare."),
            hint=_("Give two or more: kilat compare runs/flowers runs/flowers-2"),
        )
    with run_folder.fitting_together(", ".join(str(run.folder) for run in opened)):
        return compare_runs({name: run.content() for name, run in zip(_names(folders), opened, strict=True)})


def _names(folders: list[Path]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart."""
    parts = 1
    while len({folder.parts[-parts:] for folder in folders}) < len(folders):
        parts += 1
    return ["/".join(folder.parts[-parts:]) for folder in folders]
