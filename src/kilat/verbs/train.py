"""The file to read first: ``train`` calls the stages in order, from labelled pictures to a finished classifier."""

import contextlib
import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kilat import recipe as recipes
from kilat.bundle import parity
from kilat.bundle.predictor import Classifier
from kilat.data.catalog import Source
from kilat.data.label_corrections import CorrectedSource
from kilat.data.reading import Reading
from kilat.errors import RecipeError
from kilat.learn import metadata, small_network
from kilat.learn.finetune import finetune
from kilat.learn.frozen import extract, head_on
from kilat.learn.learned import Learned, Row
from kilat.learn.metrics import Metrics
from kilat.learn.network import TrainingOptions, learn_network
from kilat.learn.time_budget import TimeBudget
from kilat.learn.uncertainty import fit_uncertainty
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.report.illustrations import Illustrations, augmented_sheet, illustrate
from kilat.report.nearest_pictures import nearest_pictures
from kilat.report.picture_map import map_pictures
from kilat.runtime import progress_bars
from kilat.runtime.csv_tables import to_csv
from kilat.runtime.files import write_file, write_json
from kilat.runtime.progress import Progress, silent
from kilat.runtime.timer import Timer
from kilat.verbs import interruption, request, run_folder, run_tables
from kilat.verbs.check import Checked, look_into, measure_without
from kilat.verbs.open_data import Data, Labels, open_data
from kilat.verbs.run import Run

if TYPE_CHECKING:
    from kilat.fit.tracking import Tracker

Given = str | Path | dict[str, Any] | Recipe


def train(  # noqa: PLR0913 - a choice each
    data: Data | None = None,
    recipe: Given = "transfer",
    *,
    labels: Labels | None = None,
    preset: str | None = None,
    network: Any = None,
    name: str | None = None,
    runs: str | Path = "runs",
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
    class_from: str | None = None,
    resume: str | Path | None = None,
    track: bool = False,
    on_epoch: Callable[[Row], None] = lambda row: None,
    progress: Progress | None = None,
    started: float | None = None,
    command: str = "",
    **overrides: Any,
) -> Run:
    """Train a classifier and write its run folder.

    Args:
        data: a folder of class folders, a table, an archive, the name of a known set, or a source; or pictures: paths,
            or uint8 arrays ``[n, height, width(, 3)]``. A run that is resumed knows its own.
        recipe: a built-in name, a YAML file, a dictionary or a recipe.
        labels: with pictures, the label of each, ``[n]``; with other data, a table of corrected labels, such as the
            ``suspects.csv`` of an earlier run with its last column filled in.
        preset: ``fast``, ``good`` or ``best``, instead of a recipe: backbones, resolution, training and its length
            follow from it.
        network: a ``torch.nn.Module`` to train instead of a recipe's layers: normalised float planes
            ``[n, channels, size, size]`` to logits ``[n, classes]`` (or ``[n, 1]``, for two classes).
        name: of the run; the data's own name by default.
        runs: the folder in which the run's folder is made.
        root: a folder that already holds copies of a known set.
        path_column: of a table, where kilat does not find the column with the pictures by itself.
        label_column: of a table, the column with their labels.
        split_column: of a table, the column that says train, validation or test.
        images: the folder with the pictures that a table names.
        class_from: what names the class: ``first-folder``, ``last-folder``, all ``folders``, or the ``file-name``.
        resume: the folder of a run that was stopped, to go on with it, by its own recipe.
        track: whether the run is logged to MLflow.
        on_epoch: called with the row of every epoch of a training by gradient.
        progress: that shows its stages (``kilat.runtime.progress``); by default a terminal or a notebook does.
        started: on ``time.perf_counter``, when a time limit began to count, such as before imports; by default now.
        command: that asked for this, to be shown in the report; by default the call.
        overrides: single choices of the recipe, such as ``seed=1`` or ``**{"fit.optimizer.name": "nadam"}``.

    Raises:
        KilatError: what was given, why it is refused, and how to fix it.
    """
    timer, begun = Timer(started=started), request.now()
    recipe = recipes.of_preset(preset, recipe)
    command = command or request.python_call("train", data, None if recipe == "transfer" else recipe, **overrides)
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    with progress_bars.show(progress) as shown, contextlib.ExitStack() as stack:
        if resume is None:
            run_folder.require_place(Path(runs), name)
            chosen, network_name = _choose(recipe, network, overrides)
            source = open_data(data, labels, root, shown, reading=reading)
            is_module = network is not None
            start = run_folder.Start.of(data, labels, root, network_name, reading, is_module=is_module, track=track)
            folder = stack.enter_context(run_folder.new_folder(Path(runs), name or source.name))
        else:
            folder, start = Path(resume), run_folder.Start.read_unfinished(Path(resume))
            stack.enter_context(run_folder.hold(folder))
            start = run_folder.Start.read_unfinished(folder)  # another process may have finished it meanwhile
            track = track or start.track
            chosen = _recipe_of(folder, overrides if recipe == "transfer" else {"recipe": recipe, **overrides})
            reading = reading if reading.options else start.reading
            source = open_data(
                start.data if data is None else data,
                start.labels if labels is None else labels,
                root or start.root,
                shown,
                reading=reading,
            )
        stack.enter_context(
            interruption.explained(
                keeps_features=chosen.model is None,
                resume=lambda: start.resume_command(folder) if resume or run_folder.is_worth_keeping(folder) else "",
            )
        )
        run_folder.begin(folder, chosen, start)
        tracker = stack.enter_context(_mlflow(source.name, folder.name, chosen)) if track else None
        history = run_folder.History(folder, [tracker.epoch, on_epoch] if tracker else [on_epoch])
        keep_layers = functools.partial(run_folder.write_layers, folder)
        checkpoints = folder / run_folder.CHECKPOINTS
        options = TrainingOptions(checkpoints, start.network, network, history.append, keep_layers)
        outcome = fit(source, chosen, timer, shown, options)
        return write(folder, source, outcome, timer, shown, tracker, command=command, begun=begun)


def write(
    folder: Path,
    source: Source,
    outcome: "Outcome",
    timer: Timer,
    progress: Progress = silent,
    tracker: "Tracker | None" = None,
    *,
    command: str = "",
    begun: str = "",
) -> Run:
    """Write everything that a run leaves in its folder; the metrics last, since with them it counts as finished."""
    if tracker and tracker.failure:
        outcome.notes.append(Note("tracking_stopped", {"reason": tracker.failure}))
    learned = outcome.learned
    predictions = outcome.predictions()
    with timer.measure("report_s"), progress.stage(_("Writing the report")):
        findings = outcome.checked.findings
        known = Illustrations(
            command=command,
            begun=begun,
            nearest=nearest_pictures(learned, predictions),
            augmented=augmented_sheet(learned.augmented),
            network=learned.summary,
            picture_map=map_pictures(learned, predictions, findings),
        )
        illustrations = illustrate(source, learned.catalog, predictions, findings, known)
    metrics = outcome.metrics(timer.timings())
    write_file(folder / run_folder.MODEL, outcome.model)
    write_file(folder / run_folder.RECIPE, learned.recipe.to_yaml())
    write_file(folder / run_tables.CATALOG, to_csv(learned.catalog.table))
    write_file(folder / run_tables.PREDICTIONS, to_csv(predictions))
    run_folder.write_suspects(folder, outcome.checked.suspects)
    write_json(folder / run_folder.ILLUSTRATIONS, illustrations.to_document())
    run = Run(folder, outcome.classifier)
    write_file(folder / run_folder.REPORT, run.render_report(metrics))
    write_json(folder / run_folder.METRICS, metrics.document())
    if tracker:
        tracker.finish(metrics.document(), run_folder.finished_files(folder))
    return run


def fit(
    source: Source,
    recipe: Recipe,
    timer: Timer,
    progress: Progress = silent,
    options: TrainingOptions | None = None,
) -> "Outcome":
    """Call the stages in order: features or pixels, splits, learning, uncertainty, checks, model file, parity gate."""
    budget = TimeBudget(recipe.runtime.time_limit, timer.started, timer.now)
    with contextlib.ExitStack() as stack:
        if options is None:
            options = TrainingOptions(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        learned = learn(source, recipe, timer, budget, progress, options)
    split = learned.split
    with timer.measure("evaluation_s"):
        measures = split.measures()
        comparison = None
        if rival := learned.alternative:
            comparison = metadata.comparison(rival.trained, measures, rival.split.measures(), rival.comparison)
    with timer.measure("uncertainty_s"), progress.stage(_("Estimating uncertainty")):
        uncertainty = fit_uncertainty(learned, recipe.trust, budget)
        unknown = uncertainty.unknown_section()
        measures["test"] |= {"sets": uncertainty.set_measures(), "unknown": unknown["test"]}
    with timer.measure("check_s"), progress.stage(_("Checking the data")):
        checked = look_into(uncertainty, budget, timer.seconds.get("head_s", 0.0))
        if fewer := measure_without(checked.leaked, split):
            measures["test"]["without_leaked"] = fewer
    data = metadata.data(learned.catalog, learned.classes, learned.recipe)
    with timer.measure("bundle_s"), progress.stage(_("Exporting the model")):
        info = learned.artifact.info
        manifest = metadata.manifest(info, learned.recipe, data, measures, uncertainty.thresholds())
        model = learned.artifact.assemble(
            split.temperature, manifest, uncertainty.ood.graph, learned.catalog.training_digests
        )
        classifier = Classifier(model)
    with timer.measure("parity_s"), progress.stage(_("Comparing the model file")):
        rows = parity.sample_rows(np.flatnonzero(learned.catalog.used))
        probabilities, scores = split.calibrated(learned.artifact.logits(rows)), uncertainty.scores(rows)
        gate = parity.check_parity(classifier, source, rows, probabilities, scores, learned.artifact.tolerance)
    sections = {
        "data": data,
        **({"corrected": source.counts} if isinstance(source, CorrectedSource) else {}),
        **measures,
        **learned.sections_with_temperature(),
        **({"comparison": comparison} if comparison else {}),
        "unknown": unknown,
        "check": checked.section(),
        "parity": vars(gate),
        "model": metadata.model(info, model, learned.recipe),
        "versions": manifest.versions,
    }
    notes = [*learned.notes, *uncertainty.notes, *checked.notes]
    notes += [*metadata.imbalance(split.train.truth, learned.classes, recipe), *gate.notes()]
    notes += learned.results.notes()
    return Outcome(learned, model, classifier, sections, notes, checked)


def learn(
    source: Source, recipe: Recipe, timer: Timer, budget: TimeBudget, progress: Progress, options: TrainingOptions
) -> Learned:
    """Fit a head on a frozen backbone, fine-tune it, or train a whole network, as the recipe and the pictures say."""
    if recipe.model is not None:
        return learn_network(source, recipe, timer, budget, progress, options)
    if recipe.is_finetuning:
        return finetune(source, recipe, timer, budget, progress, options)
    extracted = extract(source, recipe, timer, budget, progress)
    frozen = head_on(extracted, timer, budget, progress, overwrite_features=True)
    return small_network.challenge(frozen, extracted, source, timer, budget, progress, options)


@dataclass(frozen=True)
class Outcome:
    """What a run comes to before it is written down.

    Args:
        learned: the classifier as it was learned.
        model: the model file.
        classifier: that file, loaded.
        sections: of ``metrics.json``.
        notes: what changes how far to believe it.
        checked: what was found in the data.
    """

    learned: Learned
    model: bytes
    classifier: Classifier
    sections: dict[str, Any]
    notes: list[Note]
    checked: Checked

    def metrics(self, timing: dict[str, float]) -> Metrics:
        """Return what was measured, with the seconds of every part."""
        notes = [note.document() for note in self.notes]
        return Metrics.model_validate({"schema": 1, "notes": notes, **self.sections, "timing": timing})

    def predictions(self) -> pd.DataFrame:
        """Return a row per picture that was answered without having been trained on."""
        split = self.learned.split
        parts = [(split.test, split.test_probabilities), (split.calibration, split.calibration_probabilities)]
        if split.is_calibrated_apart:
            parts.append((split.validation, split.calibrated(split.validation_logits)))
        return metadata.predictions(self.learned.catalog, split.classes, parts)


def _mlflow(experiment: str, name: str, recipe: Recipe) -> "Tracker":
    from kilat.fit.tracking import Tracker

    return Tracker(experiment, name, recipe.model_dump(mode="json"))


def _choose(recipe: Given, network: Any, overrides: dict[str, Any]) -> tuple[Recipe, str]:
    """Return the recipe with single choices overridden, and the name of its network.

    A network from Python takes the place of the recipe's layers.
    """
    if network is None:
        return recipes.load(recipe, overrides), Path(recipe).stem if isinstance(recipe, str | Path) else "network"
    kind = type(network)
    base = {} if recipe == "transfer" else recipe
    module = f"{kind.__module__}.{kind.__qualname__}"
    return recipes.load(base, {"model.module": module, "model.layers": (), **overrides}), kind.__qualname__


def _recipe_of(folder: Path, overrides: dict[str, Any]) -> Recipe:
    """Return the recipe of a run that is resumed, which nothing may change."""
    if overrides:
        raise RecipeError(
            _("A run that is resumed keeps its own recipe; these were given: {names}.").format(
                names=", ".join(overrides)
            ),
            hint=_("Leave them out."),
        )
    return recipes.load(folder / run_folder.RECIPE)
