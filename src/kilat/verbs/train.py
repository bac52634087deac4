"""The file to read first: ``train`` calls the stages in order, from labelled pictures to a finished classifier."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from kilat import recipe as recipes
from kilat.bundle.parity import check, sample
from kilat.bundle.predictor import Classifier, load
from kilat.data.catalog import Catalog, Source
from kilat.data.label_corrections import CorrectedSource, apply_corrections
from kilat.data.source import find_source, open_source, require_pictures
from kilat.data.split import all_used, resolve_duplicates
from kilat.errors import RecipeError, SourceError
from kilat.evaluate.calibration import apply_temperature
from kilat.learn import metadata
from kilat.learn.finetune import fine_tune
from kilat.learn.frozen import Learned, Result, Row, TrainingOptions, fit_head, train_network
from kilat.learn.uncertainty import measured, trust
from kilat.locale import _
from kilat.recipe import Recipe
from kilat.report import content, page
from kilat.runtime.files import write_file, write_json
from kilat.runtime.progress import Progress, silent
from kilat.runtime.timer import Timer
from kilat.verbs import run_folder
from kilat.verbs.answers import examine, keep_askable
from kilat.verbs.check import Checked, look_into, without, write_suspects
from kilat.verbs.robustness import LIMIT, measure_robustness


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, what was measured, and the classifier."""

    folder: Path
    metrics: dict[str, Any]
    classifier: Classifier


@dataclass(frozen=True)
class Outcome:
    """What a run comes to before it is written down."""

    model: bytes
    classifier: Classifier
    metrics: dict[str, Any]
    catalog: Catalog
    predictions: pd.DataFrame
    notes: list[str]
    shown: dict[str, Any]
    checked: Checked


def train(  # noqa: PLR0913 - a choice each
    data: str | Path | Source | None = None,
    recipe: str | Path | dict[str, Any] | Recipe = "transfer",
    *,
    preset: str | None = None,
    network: Any = None,
    name: str | None = None,
    runs: str | Path = "runs",
    root: str | Path | None = None,
    resume: str | Path | None = None,
    labels: str | Path | None = None,
    track: bool = False,
    progress: Progress = silent,
    **overrides: Any,
) -> Run:
    """Trains a classifier and writes its run folder.

    Args:
        data: a folder of class folders, a table, an archive, the name of a known set, or a source; a run that goes on
            knows its own.
        recipe: a built-in name, a YAML file, a dictionary or a recipe.
        preset: ``fast``, ``good`` or ``best``, in the place of a recipe: one dial from which backbones, resolution,
            training and its length follow.
        network: a ``torch.nn.Module`` to train instead of a recipe's layers: normalised float planes
            ``[n, channels, size, size]`` to logits ``[n, classes]`` (or ``[n, 1]``, for two classes).
        name: of the run; the data's own name by default.
        runs: the folder in which the run's folder is made.
        root: where copies of a known set lie already.
        resume: the folder of a run that was stopped, to go on with it, by its own recipe.
        labels: a table of corrected labels, such as the ``suspects.csv`` of an earlier run with its last column filled
            in.
        track: whether MLflow is told.
        progress: told about long tasks as they begin.
        overrides: single choices of the recipe, such as ``seed=1`` or ``**{"fit.optimizer.name": "nadam"}``.

    Raises:
        KilatError: what was given, why it is refused, how to mend it.
    """
    timer = Timer()
    recipe = recipes.of_preset(preset, recipe)
    if resume is not None:
        folder, start = Path(resume), run_folder.Start.read(Path(resume))
        settings = _own_recipe(folder, overrides if recipe == "transfer" else {"recipe": recipe, **overrides})
        labels = labels or start.labels
        source = _source(data or start.data, root or start.root, progress, open_source)
        opened: contextlib.AbstractContextManager[Path] = contextlib.nullcontext(folder)
    else:
        settings = _recipe(recipe, network, overrides)
        source = _source(data, root, progress, open_source)
        where, table = (None if one is None else str(Path(one).resolve()) for one in (root, labels))
        start = run_folder.Start(_place(data), where, _named(recipe, network), table)
        opened = run_folder.new_folder(Path(runs), name or source.name)
    if labels is not None:
        source = apply_corrections(source, labels)
    with opened as folder, _tracker(track, source.name, folder.name, settings) as tracker:
        write_file(folder / run_folder.RECIPE, settings.to_yaml())
        start.write(folder)  # with this file, and so with the recipe, it is a run that can go on
        history: list[Row] = []

        def on_epoch(row: Row) -> None:
            history.append(row)
            write_file(folder / run_folder.HISTORY, pd.DataFrame(history).to_csv(index=False))
            tracker.epoch(row)

        told = TrainingOptions(folder / run_folder.CHECKPOINTS, start.network, network, on_epoch)
        made = make(source, settings, timer, progress, told)
        if tracker.trouble:
            made.notes.append(tracker.trouble)
        _write(folder, source, settings, made, timer)
        tracker.finish(
            made.metrics, [folder / file for file in (run_folder.MODEL, run_folder.REPORT, run_folder.METRICS)]
        )
    return Run(folder, made.metrics, made.classifier)


def make(
    source: Source, recipe: Recipe, timer: Timer, progress: Progress = silent, told: TrainingOptions | None = None
) -> Outcome:
    """The stages in order: look, split, learn, calibrate, evaluate, bundle, parity gate."""
    with tempfile.TemporaryDirectory() as nowhere:
        learnt = _learn(source, recipe, timer, progress, told or TrainingOptions(Path(nowhere)))
    with timer.measure("evaluation_s"):
        result = Result.of(learnt)
        metrics = {
            "schema": 1,
            "data": metadata.data(learnt.catalog, learnt.classes, recipe) | _corrected(source),
            **result.measures(),
            **_told(result),
            **_comparison(result),
        }
        notes = [*learnt.notes, *metadata.imbalance(learnt.fitted_on.truth, learnt.classes, recipe)]
    with timer.measure("trust_s"):
        trusted = trust(result, recipe.trust)
        metrics["unknown"] = trusted.unknown
        metrics["test"] |= {"sets": trusted.measured_sets, "unknown": trusted.unknown["test"]}
        predictions = trusted.predictions()
    with timer.measure("check_s"):
        checked = look_into(trusted)
        metrics["check"] = checked.document
        if fewer := without(checked.leaked, learnt.asked, result.answers):
            metrics["test"]["without_leaked"] = fewer
    with timer.measure("bundle_s"):
        manifest = metadata.manifest(learnt.network, recipe, metrics, trusted.thresholds)
        model = learnt.bundle(result.temperature, manifest, trusted.sensed.senses)
        classifier = Classifier(model)
    with timer.measure("parity_s"):
        rows = sample(np.flatnonzero(learnt.catalog.used))
        expected = apply_temperature(learnt.answer(rows), result.temperature), trusted.strangeness(rows)
        parity = check(classifier, source, rows, *expected, learnt.tolerance)
    metrics |= {
        "parity": vars(parity),
        "model": metadata.model(learnt.network, model, recipe),
        "versions": manifest.versions,
    }
    shown = {**learnt.shown, "findings": checked.findings}
    return Outcome(model, classifier, metrics, learnt.catalog, predictions, notes, shown, checked)


def _learn(source: Source, recipe: Recipe, timer: Timer, progress: Progress, told: TrainingOptions) -> Learned:
    """A head on a frozen backbone, that and fine-tuning, or a whole network, as the recipe says."""
    if recipe.model is not None:
        return train_network(source, recipe, timer, progress, told)
    return (
        fine_tune(source, recipe, timer, progress, told)
        if recipe.is_opened
        else fit_head(source, recipe, timer, progress)
    )


def _told(result: Result) -> dict[str, Any]:
    """The sections about the learning; the temperature stands in that of what answers."""
    sections = {name: dict(facts) for name, facts in result.learnt.facts.items()}
    sections[list(sections)[-1]]["temperature"] = result.temperature
    return sections


def _corrected(source: Source) -> dict[str, Any]:
    """What a table of corrected labels changed, where there is one."""
    return {"corrected": source.facts} if isinstance(source, CorrectedSource) else {}


def _comparison(result: Result) -> dict[str, Any]:
    """The section ``comparison``, where fine-tuning and the frozen result it began with stand side by side."""
    rival, found = result.learnt.rival, result.learnt.comparison
    if rival is None or found is None:
        return {}
    return {"comparison": metadata.comparison(result.measures(), Result.of(rival).measures(), found)}


def evaluate(
    model: str | Path,
    data: str | Path | Source,
    *,
    root: str | Path | None = None,
    progress: Progress = silent,
    corruptions: bool = False,
    limit: int = LIMIT,
) -> dict[str, Any]:
    """The same measures on other labelled pictures, in the shape of ``metrics.json``.

    Where the data brings its own test split, only that is asked about.

    Args:
        model: a ``model.onnx``, or the run folder that holds it.
        data: labelled pictures, as for ``train``; one class is enough.
        root: where copies of a known set lie already.
        progress: told about long tasks as they begin.
        corruptions: whether to measure ``robustness`` as well, on corrupted copies of the pictures.
        limit: of how many pictures at most.

    Raises:
        KilatError: the model or the data cannot be read, or no picture of a class that the model knows is left.
    """
    timer = Timer()
    classifier = load(model)
    source = _source(data, root, progress, find_source)
    require_pictures(source, source.name)
    catalog = Catalog.from_entries(source.entries)
    strangers = keep_askable(catalog, classifier.classes)
    with timer.measure("answers_s"):
        answers = examine(classifier, source, catalog, progress("Asking the model"), strangers)
    resolve_duplicates(catalog)
    asked = all_used(catalog, classifier.classes)
    robustness = {}
    if corruptions:
        with timer.measure("robustness_s"):
            advance = progress("Asking about corrupted pictures")
            found = measure_robustness(classifier, source, asked.rows, asked.truth, limit=limit, advance=advance)
            robustness = {"robustness": found}
    return {
        "schema": 1,
        "data": {
            "used": len(asked.rows),
            "refused": len(catalog.table) - len(asked.rows),
            "reasons": catalog.refused["reason"].value_counts().to_dict(),
            "classes": list(classifier.classes),
        },
        "test": measured(classifier, asked, answers, strangers),
        **robustness,
        "timing": timer.timings(),
    }


def _write(folder: Path, source: Source, recipe: Recipe, made: Outcome, timer: Timer) -> None:
    """Everything that a run leaves in its folder; the measures last, since with them it counts as finished."""
    with timer.measure("report_s"):
        text = recipe.to_yaml()
        told = content.gather(
            folder.name, source, made.catalog, made.predictions, made.metrics, text, made.notes, made.shown
        )
        made.metrics["timing"] = timer.timings()
        html = page.render(told)
    made.metrics["timing"] = timer.timings()
    write_file(folder / run_folder.MODEL, made.model)
    write_file(folder / run_folder.REPORT, html)
    write_file(folder / run_folder.CATALOG, made.catalog.table.to_csv(index=False))
    write_suspects(folder, made.checked)
    write_file(folder / run_folder.PREDICTIONS, made.predictions.drop(columns="row").to_csv(index=False))
    write_json(folder / run_folder.METRICS, made.metrics)


def _tracker(wanted: bool, experiment: str, name: str, recipe: Recipe) -> Any:
    """MLflow, or nobody."""
    if not wanted:
        return _Untracked()
    from kilat.fit.tracking import Tracker

    return Tracker(experiment, name, recipe.model_dump(mode="json"))


class _Untracked:
    """Keeps nothing anywhere."""

    trouble = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def epoch(self, row: Row) -> None:
        """Nothing."""

    def finish(self, metrics: dict[str, Any], files: list[Path]) -> None:
        """Nothing."""


def _recipe(recipe: str | Path | dict[str, Any] | Recipe, network: Any, overrides: dict[str, Any]) -> Recipe:
    """The recipe with single choices overridden; a network from Python takes the place of its layers."""
    if network is None:
        return recipes.load(recipe, overrides)
    kind = f"{type(network).__module__}.{type(network).__qualname__}"
    base = {} if recipe == "transfer" else recipe
    return recipes.load(base, {"model.module": kind, "model.layers": (), **overrides})


def _own_recipe(folder: Path, overrides: dict[str, Any]) -> Recipe:
    if overrides:
        given = ", ".join(overrides)
        raise RecipeError(
            _("A run that goes on keeps its own recipe; these were given: {given}.").format(given=given),
            hint=_("Leave them out."),
        )
    return recipes.load(folder / run_folder.RECIPE)


def _named(recipe: str | Path | dict[str, Any] | Recipe, network: Any) -> str:
    if network is not None:
        return type(network).__qualname__
    return Path(recipe).stem if isinstance(recipe, str | Path) else "network"


def _place(data: str | Path | Source | None) -> str | None:
    """Where the data is, for a run that goes on later, perhaps from another folder."""
    if not isinstance(data, str | Path):
        return None
    return str(Path(data).resolve() if Path(data).exists() else data)


def open_data(data: str, root: Path | None, progress: Progress = silent, labels: Path | None = None) -> Source:
    """Labelled pictures as ``train`` gets them."""
    source = _source(data, root, progress, open_source)
    return source if labels is None else apply_corrections(source, labels)


def _source(
    data: str | Path | Source | None, root: str | Path | None, progress: Progress, find: Callable[..., Source]
) -> Source:
    if data is None:
        raise SourceError(
            _("No data was given to learn from."), hint=_("Give a folder with a folder of pictures per class.")
        )
    if not isinstance(data, str | Path):
        return data
    return find(data, root=Path(root) if root else None, advance=progress("Downloading (bytes)"))
