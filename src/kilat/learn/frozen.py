"""A linear head on a frozen backbone: every picture goes through the network once, and the head is fitted on that."""

import contextlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilat import probe
from kilat.bundle.parity import HALF_PRECISION_TOLERANCE, TOLERANCE
from kilat.check.head_refit import HeadRefit
from kilat.check.near_duplicates import NearDuplicates
from kilat.data.catalog import Catalog, Source
from kilat.data.split import Part, folds, train_and_test
from kilat.features.backbone import Backbone
from kilat.features.cache import FeatureCache, limit_of_results
from kilat.features.extract import cache_namespace, extract_features
from kilat.learn import backbone as backbones
from kilat.learn import metadata
from kilat.learn.device import inference_device
from kilat.learn.learned import FeatureSample, HeadArtifact, Learned, SplitLogits
from kilat.learn.out_of_distribution import embedding_width, sample_of
from kilat.learn.splits import left_out_notes, split_catalog
from kilat.learn.time_budget import TimeBudget, cheaper_features
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Features, Recipe
from kilat.runtime.deadline import TooSlowError, stop_if_too_slow
from kilat.runtime.progress import Progress, silent
from kilat.runtime.result_cache import ResultCache
from kilat.runtime.result_cache import folder as results_folder
from kilat.runtime.timer import Timer

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Extracted:
    """The features of all pictures, and their splits.

    Args:
        recipe: what was really done: a time limit may have made it less than was asked for.
        catalog: every picture that came in, with its split.
        backbone: that the features are of.
        device: on which it ran.
        features: of every row of the catalog, ``[rows, width]``.
        classes: their names.
        train: all pictures but the test pictures.
        test: the test pictures.
        notes: what changes how far to believe the result.
        near_duplicates: among the pictures.
        results: of earlier runs.
    """

    recipe: Recipe
    catalog: Catalog
    backbone: Backbone
    device: str
    features: Floats
    classes: list[str]
    train: Part
    test: Part
    notes: list[Note]
    near_duplicates: NearDuplicates
    results: ResultCache


def learn_head(source: Source, recipe: Recipe, timer: Timer, budget: TimeBudget, progress: Progress) -> Learned:
    """Extract the features of every picture, and fit a linear head on them."""
    extracted = extract(source, recipe, timer, budget, progress)
    return head_on(extracted, timer, budget, progress, overwrite_features=True)


def extract(source: Source, recipe: Recipe, timer: Timer, budget: TimeBudget, progress: Progress) -> Extracted:
    """Extract the features of every picture, within their share of the time budget, and draw the splits."""
    device = inference_device(recipe.runtime.device)
    with timer.measure("features_s"):
        catalog, features, backbone, used, notes = _extract_in_time(source, recipe, device, budget, progress)
    notes += left_out_notes(catalog)
    # What a time limit may cut short is not kept, but what was kept saves time.
    is_limited = budget.limit is not None
    results = ResultCache(results_folder(), limit_of_results(), is_read_only=is_limited)
    with timer.measure("near_duplicates_s"), progress.stage(_("Finding near-duplicates")):
        more, near_duplicates = split_catalog(source, catalog, recipe, results)
    classes, train, test = train_and_test(catalog)
    recipe = recipe.model_copy(update={"features": used})
    return Extracted(
        recipe, catalog, backbone, device, features, classes, train, test, [*notes, *more], near_duplicates, results
    )


def head_on(
    extracted: Extracted, timer: Timer, budget: TimeBudget, progress: Progress = silent, *, overwrite_features: bool
) -> Learned:
    """Fit a linear head on extracted features.

    Args:
        extracted: features and splits.
        timer: that measures it.
        budget: how long it may take.
        progress: that shows it.
        overwrite_features: whether the features are handed over, which saves a copy: nobody may read them later.
    """
    recipe, train, test, backbone = extracted.recipe, extracted.train, extracted.test, extracted.backbone
    part = sample_of(train)
    sample = extracted.features[part.rows]  # before they are overwritten
    with timer.measure("head_s"), progress.stage(_("Fitting the head")):
        fitted = fit_head(extracted, train, budget, overwrite_features=overwrite_features)
    held_out = train.take(fitted.held_out)
    l2_penalty = fitted.l2_penalty * len(train.rows) / max(1, len(part.rows))
    artifact = HeadArtifact(
        metadata.backbone_info(backbone),
        backbone,
        recipe.features.resize,
        fitted,
        embedding_width(len(train.rows), fitted.scores.shape[1] - 1),
        FeatureSample(sample, part, backbone.blocks, recipe.head, l2_penalty),
        TOLERANCE if extracted.device == "cpu" else HALF_PRECISION_TOLERANCE,
    )
    return Learned(
        recipe,
        extracted.catalog,
        SplitLogits(
            extracted.classes,
            train,
            held_out,
            fitted.held_out_logits,
            held_out,
            fitted.held_out_logits,
            test,
            fitted.logits(test.rows),
        ),
        artifact,
        sections={"head": metadata.head(fitted, recipe)},
        notes=[*extracted.notes, *fitted.notes],
        near_duplicates=extracted.near_duplicates,
        head_refit=_head_refit(extracted, fitted),
        results=extracted.results,
    )


def first_backbone(extracted: Extracted) -> Extracted:
    """Return the features of the first of several backbones side by side, as if it had been extracted by itself."""
    recipe, backbone = extracted.recipe, extracted.backbone
    name, *others = recipe.features.backbones
    if not others:
        return extracted
    # Every backbone's blocks end with its last features; names alone may be the beginning of each other.
    count = 1 + next(index for index, block in enumerate(backbone.blocks) if block.name.endswith(".last"))
    blocks = tuple(replace(block, name=block.name.removeprefix(f"{name}.")) for block in backbone.blocks[:count])
    width = sum(block.width for block in blocks)
    return replace(
        extracted,
        recipe=recipe.model_copy(update={"features": recipe.features.model_copy(update={"backbone": name})}),
        backbone=replace(backbone, name=name, blocks=blocks),
        features=np.ascontiguousarray(extracted.features[:, :width]),
    )


def _head_refit(extracted: Extracted, fitted: probe.FittedHead) -> HeadRefit:
    """Return how all pictures are answered in turn, whatever their split is: labels of test pictures may be wrong, too.

    Ready-made validation pictures are no fold of their own here, so that training pictures are held out as well.
    """
    pictures = Part.concat([extracted.train, extracted.test])
    pictures = replace(pictures, validation=np.zeros(len(pictures.rows), bool))
    fold = folds(pictures, extracted.recipe.head.folds, extracted.recipe.runtime.seed)
    return HeadRefit.of(fitted, pictures.rows, pictures.truth, fold, len(extracted.classes))


def fit_head(extracted: Extracted, train: Part, budget: TimeBudget, *, overwrite_features: bool) -> probe.FittedHead:
    """Fit a head on some pictures, its L2 penalty chosen by cross-validation among them."""
    recipe = extracted.recipe
    return probe.fit(
        extracted.features,
        train.rows,
        train.truth,
        folds(train, recipe.head.folds, recipe.runtime.seed),
        len(extracted.classes),
        extracted.backbone.blocks,
        recipe.head,
        overwrite_features=overwrite_features,
        times=budget.for_head,
        results=extracted.results,
    )


class _Pass(NamedTuple):
    """The catalog after a pass, the features of its rows, whose they are, and what is worth saying."""

    catalog: Catalog
    features: Floats
    backbone: Backbone
    used: Features
    notes: list[Note]


def _extract_in_time(source: Source, recipe: Recipe, device: str, budget: TimeBudget, progress: Progress) -> _Pass:
    """Extract what the recipe asks for; if the first pictures show that it would take too long, what can be done."""
    *dearer, cheapest = cheaper_features(recipe.features) if budget.limit else [recipe.features]
    for used in dearer:
        # Fine-tuning is given up before a backbone is: it begins only where there is time for it when these are there.
        with contextlib.suppress(TooSlowError):
            return _extract_all(source, used, device, budget, progress, may_stop=True)
    extracted = _extract_all(source, cheapest, device, budget, progress, may_stop=False)
    if dearer:
        names = {"backbone": cheapest.backbone, "precision": cheapest.precision, "wanted": recipe.features.backbone}
        extracted.notes.append(Note("time_limit_backbone", names))
    return extracted


def _extract_all(
    source: Source, wanted: Features, device: str, budget: TimeBudget, progress: Progress, *, may_stop: bool
) -> _Pass:
    """Go over the pictures once; features that were extracted before come from the cache.

    Raises:
        TooSlowError: the first pictures show that it would take too long, and it may stop then.
    """
    catalog = Catalog.from_entries(source.entries)
    with progress.stage(_("Loading the backbone")):
        choice = backbones.choose(wanted, source, device)
        backbone, runner = choice.backbone, backbones.runner(choice.backbone, wanted, device)
    cache = FeatureCache(cache_namespace(backbone, wanted.resize, device))
    try:
        with progress.stage(_("Extracting features")) as stage:
            seconds = budget.for_features(before_training=False)
            extraction = extract_features(
                source,
                catalog.used,
                backbone,
                resize=wanted.resize,
                cache=cache,
                runner=runner,
                advance=stop_if_too_slow(stage.advance, seconds, budget.now) if may_stop else stage.advance,
                limit=budget.pass_limit(source, before_training=False),
            )
    finally:
        cache.close()
    catalog.record_pictures(extraction)
    notes = [*choice.notes, *cache.notes, *extraction.notes]
    return _Pass(catalog, extraction.features, backbone, wanted, notes)
