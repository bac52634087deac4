"""A finished run: everything in it is read from its folder when it is asked for."""

from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd

from kilat import recipe as recipes
from kilat.bundle.predictor import Classifier, load
from kilat.errors import RunError
from kilat.learn.metrics import Metrics
from kilat.locale import _, ngettext
from kilat.locale.escapes import visible
from kilat.recipe import Recipe
from kilat.report import confusion_matrix, page
from kilat.report.svg_canvas import standalone
from kilat.report.template import percent
from kilat.runtime.files import require_possible, write_file
from kilat.verbs import run_folder, run_tables


class Run:
    """A finished run.

    Args:
        folder: of the run.
        classifier: the model, where it is loaded already.
    """

    def __init__(self, folder: str | Path, classifier: Classifier | None = None) -> None:
        self.folder = Path(folder)
        self._classifier = classifier

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Return the run in a folder.

        Raises:
            RunError: it is not the folder of a finished run.
        """
        run = cls(folder)
        require_possible(run.folder)
        if not (run.folder / run_folder.METRICS).is_file():
            begun = (run.folder / run_folder.START).is_file()
            hint = _("Give a folder such as runs/flowers.")
            if holder := run_folder.holder(run.folder):
                hint = _("It still trains ({holder}); wait until it is done.").format(holder=holder)
            elif begun:
                command = run_folder.Start.read(run.folder).resume_command(run.folder)
                hint = _("Go on with it: {command}").format(command=command)
            raise RunError(
                _("{folder} is not the folder of a finished run: it has no {file}.").format(
                    folder=run.folder, file=run_folder.METRICS
                ),
                hint=hint,
            )
        return run

    @cached_property
    def start(self) -> run_folder.Start:
        """What it was started with."""
        return run_folder.Start.read(self.folder)

    @cached_property
    def metrics(self) -> Metrics:
        """What was measured, the content of ``metrics.json``."""
        return run_folder.read_metrics(self.folder)

    @cached_property
    def classifier(self) -> Classifier:
        """The model, ready to answer."""
        return self._classifier or load(self.folder)

    @cached_property
    def recipe(self) -> Recipe:
        """What was done, every choice resolved."""
        return recipes.load(self.folder / run_folder.RECIPE)

    @cached_property
    def catalog(self) -> pd.DataFrame:
        """A row for every picture that came in: path, label, split, and why it was refused where it was."""
        return run_tables.read_table(self.folder / run_tables.CATALOG)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row for every picture that was answered without having been trained on."""
        return run_tables.read_table(self.folder / run_tables.PREDICTIONS)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for every epoch of a training by gradient; empty for a head on a frozen backbone."""
        path = self.folder / run_tables.HISTORY
        return run_tables.read_table(path) if path.is_file() else pd.DataFrame()

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row for every layer in every epoch of a training with ``fit.watch: layers``; empty for any other."""
        path = self.folder / run_tables.LAYERS
        if not path.is_file():
            return pd.DataFrame()
        table = run_tables.read_table(path)
        numbers = table.columns.difference(["layer", "kind"])
        return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.folder / run_folder.REPORT

    def content(self, metrics: Metrics | None = None) -> page.Report:
        """Return everything in the folder that the report shows.

        Args:
            metrics: of a run that is about to be finished; by default those in the folder.
        """
        return page.Report(
            self.folder.name,
            metrics or self.metrics,
            self.recipe,
            self.catalog,
            self.predictions,
            self.history,
            run_folder.read_illustrations(self.folder),
            self.layers,
        )

    def render_report(self, metrics: Metrics | None = None) -> str:
        """Return the report as HTML, from what is in the folder alone.

        Args:
            metrics: of a run that is about to be finished; by default those in the folder.
        """
        return page.render(self.content(metrics))

    def write_report(self) -> Path:
        """Write the report again, the same bytes as the run wrote, and return its path.

        Raises:
            RunError: a file of the run cannot be read, or they do not fit together.
        """
        with run_folder.fitting_together(self.folder):
            page_of_run = self.render_report()
        write_file(self.report, page_of_run)
        return self.report

    def __repr__(self) -> str:
        test = self.metrics.test
        accuracy = "" if test.accuracy is None else f", accuracy={test.accuracy:.3f}"
        return f"Run({str(self.folder)!r}, {len(self.metrics.data.classes)} classes{accuracy}, n={test.n})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the headline, the confusion matrix, and where report and model are."""
        test, classes = self.metrics.test, self.metrics.data.classes
        headline = _("There were no pictures to test on.")
        if test.accuracy is not None and test.accuracy_interval is not None:
            low, high = test.accuracy_interval
            sentence = ngettext(
                "Accuracy {accuracy} on {count:,} test picture (95% interval {low} to {high})",
                "Accuracy {accuracy} on {count:,} test pictures (95% interval {low} to {high})",
                test.n,
            )
            headline = sentence.format(
                accuracy=percent(test.accuracy), count=test.n, low=percent(low), high=percent(high)
            )
        notes = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.metrics.sentences)
        links = " · ".join(
            f'<a href="{escape(visible(str(path)))}">{escape(visible(path.name))}</a>'
            for path in (self.report, self.folder / run_folder.MODEL)
        )
        confusion = standalone(confusion_matrix.figure(classes, test.confusion)) if test.n else ""
        figure = f'<div style="max-width:36em">{confusion}</div>'
        return f"<h3>{escape(visible(self.folder.name))}: {escape(headline)}</h3><ul>{notes}</ul>{figure}<p>{links}</p>"
