"""The file to read first: ``train`` calls the stages in order, from labelled pictures to a finished classifier."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kilat import probe, record, run, runtime
from kilat import recipe as recipes
from kilat.bundle.exam import examine, keep_askable
from kilat.bundle.export import export
from kilat.bundle.parity import HALF_PRECISION_TOLERANCE, TOLERANCE, check, sample
from kilat.bundle.predictor import Classifier, load
from kilat.clock import Clock
from kilat.data.catalog import Catalog, Source
from kilat.data.source import find_source, open_source, require_pictures
from kilat.data.split import Part, assign, folds, parts, settle_duplicates, whole
from kilat.evaluate.calibration import fit_temperature, soften
from kilat.evaluate.metrics import measure
from kilat.evaluate.sets import lac_set
from kilat.features import choice
from kilat.features.backbone import Backbone
from kilat.features.cache import FeatureCache
from kilat.features.extract import Floats, Progress, cache_space, look
from kilat.recipe import Features, Recipe
from kilat.report import page, story

Stage = Callable[[str], Progress]
"""Called with the name of a long stage that begins; gives back what is called as it goes on."""


def _silent(_name: str) -> Progress:
    return lambda done, total: None


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


def train(
    data: str | Path | Source,
    recipe: str | Path | dict[str, Any] | Recipe = "transfer",
    *,
    name: str | None = None,
    runs: str | Path = "runs",
    root: str | Path | None = None,
    stage: Stage = _silent,
    **overrides: Any,
) -> Run:
    """Trains a classifier and writes its run folder.

    Args:
        data: a folder of class folders, a table, an archive, the name of a known set, or a source.
        recipe: a built-in name, a YAML file, a dictionary or a recipe.
        name: of the run; the data's own name by default.
        runs: the folder in which the run's folder is made.
        root: where copies of a known set lie already.
        stage: told about long stages as they begin.
        overrides: single choices of the recipe, such as ``seed=1`` or ``**{"features.size": 192}``.

    Raises:
        KilatError: what was given, why it is refused, how to mend it.
    """
    clock = Clock()
    settings = recipes.load(recipe, overrides)
    source = _source(data, root, stage, open_source)
    with run.new_folder(Path(runs), name or source.name) as folder:
        made = make(source, settings, clock, stage)
        with clock.measure("report_s"):
            told = story.gather(
                folder.name, source, made.catalog, made.predictions, made.metrics, settings.to_yaml(), made.notes
            )
            made.metrics["timing"] = clock.timings()
            html = page.render(told)
        made.metrics["timing"] = clock.timings()
        run.write(folder / run.MODEL, made.model)
        run.write(folder / run.REPORT, html)
        run.write(folder / run.RECIPE, settings.to_yaml())
        run.write(folder / run.CATALOG, made.catalog.table.to_csv(index=False))
        run.write(folder / run.PREDICTIONS, made.predictions.drop(columns="row").to_csv(index=False))
        run.write_json(folder / run.METRICS, made.metrics)
    return Run(folder, made.metrics, made.classifier)


def evaluate(
    model: str | Path, data: str | Path | Source, *, root: str | Path | None = None, stage: Stage = _silent
) -> dict[str, Any]:
    """The same measures on other labelled pictures, in the shape of ``metrics.json``.

    Where the data brings its own test split, only that is asked about.

    Args:
        model: a ``model.onnx``, or the run folder that holds it.
        data: labelled pictures, as for ``train``; one class is enough.
        root: where copies of a known set lie already.
        stage: told about long stages as they begin.

    Raises:
        KilatError: the model or the data cannot be read, or no picture of a class that the model knows is left.
    """
    clock = Clock()
    classifier = load(model)
    source = _source(data, root, stage, find_source)
    require_pictures(source, source.name)
    catalog = Catalog.of(source.entries)
    keep_askable(catalog, classifier.classes)
    with clock.measure("answers_s"):
        probabilities = examine(classifier, source, catalog, stage("Asking the model"))
    settle_duplicates(catalog)
    asked = whole(catalog, classifier.classes)
    return {
        "schema": 1,
        "data": {
            "used": len(asked.rows),
            "refused": len(catalog.table) - len(asked.rows),
            "reasons": catalog.refused["reason"].value_counts().to_dict(),
            "classes": list(classifier.classes),
        },
        "test": measure(asked.truth, probabilities[asked.rows], classifier.classes),
        "timing": clock.timings(),
    }


def make(source: Source, recipe: Recipe, clock: Clock, stage: Stage = _silent) -> Outcome:
    """The stages in order: look, split, fit a head, calibrate, evaluate, bundle, parity gate."""
    catalog = Catalog.of(source.entries)
    device = runtime.device(recipe.runtime.device)
    backbone = choice.choose(recipe.features, source, device)
    with clock.measure("features_s"):
        features, notes = _look(source, catalog, backbone, recipe.features, device, stage("Looking at pictures"))
    settle_duplicates(catalog)
    notes += [*assign(catalog, recipe.data.test, recipe.runtime.seed), *record.skipped(source)]
    classes, learnt, asked = parts(catalog)
    with clock.measure("head_s"):
        fitted = _fit(features, learnt, len(classes), backbone, recipe)
        held = learnt.at(fitted.held_out)
        temperature = fit_temperature(fitted.logits, held.truth)
    with clock.measure("evaluation_s"):
        logits = fitted.answer(asked.rows)
        answers, held_answers = soften(logits, temperature), soften(fitted.logits, temperature)
        majority = learnt.commonest
        metrics = {
            "schema": 1,
            "data": record.data(catalog, classes, recipe),
            "test": measure(asked.truth, answers, classes, uncalibrated=soften(logits, 1.0), majority=majority),
            "validation": measure(
                held.truth, held_answers, classes, uncalibrated=soften(fitted.logits, 1.0), majority=majority
            ),
            "head": record.head(fitted, temperature, recipe),
        }
        notes += record.imbalance(learnt.truth, classes, recipe)
        predictions = record.predictions(catalog, classes, [(asked, answers), (held, held_answers)])
    with clock.measure("bundle_s"):
        manifest = record.manifest(backbone, recipe, metrics, {"set": lac_set(held_answers, held.truth)})
        model = export(backbone, recipe.features.resize, fitted.head, temperature, manifest)
        classifier = Classifier(model)
    with clock.measure("parity_s"):
        rows = sample(np.flatnonzero(catalog.used))
        tolerance = TOLERANCE if device == "cpu" else HALF_PRECISION_TOLERANCE
        parity = check(classifier, source, rows, soften(fitted.answer(rows), temperature), tolerance)
    metrics |= {
        "parity": vars(parity),
        "model": record.model(backbone, model, recipe),
        "versions": manifest.versions,
    }
    return Outcome(model, classifier, metrics, catalog, predictions, notes)


def _source(data: str | Path | Source, root: str | Path | None, stage: Stage, find: Callable[..., Source]) -> Source:
    if not isinstance(data, str | Path):
        return data
    return find(data, root=Path(root) if root else None, progress=stage("Downloading (bytes)"))


def _look(
    source: Source, catalog: Catalog, backbone: Backbone, wanted: Features, device: str, progress: Progress
) -> tuple[Floats, list[str]]:
    """One pass over the pictures, with what was seen before from the cache; also what the user should know of that."""
    cache = FeatureCache(cache_space(backbone, wanted.resize, device))
    try:
        runner = choice.runner(backbone, wanted, device)
        features = look(source, catalog, backbone, resize=wanted.resize, cache=cache, runner=runner, progress=progress)
    finally:
        cache.close()
    return features, [cache.trouble] if cache.trouble else []


def _fit(features: Floats, learnt: Part, classes: int, backbone: Backbone, recipe: Recipe) -> probe.Fitted:
    """A head on the pictures to learn from, its folds drawn by content unless the data brings its own validation."""
    fold = folds(learnt, recipe.head.folds, recipe.runtime.seed)
    return probe.fit(features, learnt.rows, learnt.truth, fold, classes, backbone.blocks, recipe.head)
