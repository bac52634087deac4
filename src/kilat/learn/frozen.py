"""Two ways to learn, which come to the same: a head on a frozen backbone, and a network trained by gradient."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat import probe
from kilat.bundle.assemble import export, export_network
from kilat.bundle.manifest import Manifest
from kilat.bundle.ood_graph import OodGraph
from kilat.bundle.parity import HALF_PRECISION_TOLERANCE, TOLERANCE
from kilat.check.label_issues import HeadRefit
from kilat.check.near_duplicates import NO_NEAR_DUPLICATES, NearDuplicates
from kilat.check.near_duplicates import find as find_near_duplicates
from kilat.data.catalog import Catalog, Source
from kilat.data.label_corrections import CorrectedSource
from kilat.data.split import Part, assign_splits, folds, hold_out, merge_groups, resolve_duplicates, train_and_test
from kilat.errors import RecipeError, SourceError
from kilat.evaluate.calibration import apply_temperature, fit_temperature
from kilat.evaluate.comparison import Comparison
from kilat.evaluate.metrics import measure
from kilat.features.backbone import Backbone
from kilat.features.cache import FeatureCache
from kilat.features.extract import Floats, cache_namespace, extract_features
from kilat.features.pixels import PixelDataset, fits_in_memory, natural_size, read_pixels
from kilat.learn import backbone as choice
from kilat.learn import metadata, out_of_distribution, time_budget
from kilat.learn.device import inference_device, training_device
from kilat.learn.metadata import Described
from kilat.learn.out_of_distribution import OodDetection, Spare
from kilat.locale import _
from kilat.recipe import Features, Recipe, Trust, label_safety
from kilat.runtime.extras import require_torch
from kilat.runtime.progress import Advance, Progress
from kilat.runtime.timer import Timer

_PREVIEWED = 5
_FROZEN_SHARE, _TUNED_SHARE = 0.6, 0.35
"""Of a time limit, until when all pictures must have been looked at: the head, or the training, needs the rest."""


Row = dict[str, float]
"""One epoch of a training's history."""


@dataclass(frozen=True)
class TrainingOptions:
    """What only a training by gradient needs to be told.

    Args:
        folder: of its checkpoints.
        name: of the network.
        network: a ``torch.nn.Module`` instead of the recipe's layers.
        on_epoch: called with the row of every epoch.
    """

    folder: Path
    name: str = "network"
    network: Any = None
    on_epoch: Callable[[Row], None] = lambda row: None


@dataclass(frozen=True)
class Learned:
    """What learning comes to.

    Args:
        catalog: every picture that came in, with its split.
        classes: their names.
        fitted_on: the pictures that were learnt from.
        held: pictures that decided nothing (or, cross-validated, were not learnt from by the heads that answer), to
            calibrate on.
        held_logits: the answers to them, ``[n, classes]``.
        asked: the test pictures.
        answer: gives the logits of any rows of the catalog.
        sense: gives what notices pictures unlike all that were learnt, for a temperature and the recipe's section.
        bundle: gives the model file for a temperature, a manifest and what was sensed.
        network: what the model file says of it.
        facts: sections of ``metrics.json`` about the learning; the last one is about what answers.
        notes: sentences worth saying.
        tolerance: how far the file's probabilities may lie from ``answer``'s.
        shown: what the report shows of a training: ``history``, ``network``, ``augmented``.
        rival: the other way to learn that was tried on the same split and not kept, where one was.
        comparison: of fine-tuning with the frozen result that it started from, where there was any.
        validation: the pictures that a training was measured on between epochs; None where ``held`` serves for that.
        validation_logits: the answers to them.
        twins: the near-duplicates among the pictures.
        relearn: how the heads that answer to ``held`` learn again without some of these pictures, where that is quick.
    """

    catalog: Catalog
    classes: list[str]
    fitted_on: Part
    held: Part
    held_logits: Floats
    asked: Part
    answer: Callable[[NDArray[np.int64]], Floats]
    sense: Callable[[float, Trust], OodDetection]
    bundle: Callable[[float, Manifest, OodGraph], bytes]
    network: Described
    facts: dict[str, Any]
    notes: list[str]
    tolerance: float = TOLERANCE
    shown: dict[str, Any] = field(default_factory=dict)
    rival: "Learned | None" = None
    comparison: Comparison | None = None
    validation: Part | None = None
    validation_logits: Floats | None = None
    twins: NearDuplicates = NO_NEAR_DUPLICATES
    relearn: HeadRefit | None = None

    @property
    def validated(self) -> tuple[Part, Floats]:
        """The validation pictures (or those that serve for them), and their logits."""
        if self.validation is None or self.validation_logits is None:
            return self.held, self.held_logits
        return self.validation, self.validation_logits


@dataclass(frozen=True)
class Result:
    """What was learnt, calibrated, with its answers.

    Args:
        learnt: what answers.
        temperature: fitted on its held-out pictures.
        logits: of the test pictures, ``[n, classes]``.
    """

    learnt: Learned
    temperature: float
    logits: Floats

    @classmethod
    def of(cls, learnt: Learned) -> "Result":
        """Fits the temperature and asks about the test pictures."""
        return cls(learnt, fit_temperature(learnt.held_logits, learnt.held.truth), learnt.answer(learnt.asked.rows))

    @cached_property
    def answers(self) -> Floats:
        """Probabilities of the test pictures, ``[n, classes]``."""
        return apply_temperature(self.logits, self.temperature)

    @cached_property
    def held_answers(self) -> Floats:
        """Probabilities of the held-out pictures, ``[n, classes]``."""
        return apply_temperature(self.learnt.held_logits, self.temperature)

    def measures(self) -> dict[str, Any]:
        """The sections ``test`` and ``validation`` of ``metrics.json``."""
        learnt, majority = self.learnt, self.learnt.fitted_on.majority_class
        parts = {"test": (learnt.asked, self.logits), "validation": learnt.validated}
        return {
            name: measure(
                part.truth,
                apply_temperature(logits, self.temperature),
                learnt.classes,
                uncalibrated=apply_temperature(logits, 1.0),
                majority=majority,
            )
            for name, (part, logits) in parts.items()
        }


@dataclass(frozen=True)
class Extracted:
    """What a frozen backbone saw, and who is asked what.

    Args:
        catalog: every picture that came in, with its split.
        wanted: how it looked.
        backbone: that looked.
        device: where it did.
        features: of every row of the catalog, ``[rows, width]``.
        classes: their names.
        learnt: the pictures to learn from.
        asked: the test pictures.
        notes: sentences worth saying.
        twins: the near-duplicates among the pictures.
    """

    catalog: Catalog
    wanted: Features
    backbone: Backbone
    device: str
    features: Floats
    classes: list[str]
    learnt: Part
    asked: Part
    notes: list[str]
    twins: NearDuplicates = NO_NEAR_DUPLICATES


def fit_head(source: Source, recipe: Recipe, timer: Timer, progress: Progress) -> Learned:
    """A frozen backbone looks at every picture once, and a linear head is fitted on what it saw."""
    return head_on(look_at(source, recipe, timer, progress), recipe, timer)


def look_at(source: Source, recipe: Recipe, timer: Timer, progress: Progress) -> Extracted:
    """A frozen backbone looks at every picture once, within its share of the time limit, and splits are drawn."""
    device = inference_device(recipe.runtime.device)
    limit = recipe.runtime.time_limit
    share = _TUNED_SHARE if recipe.is_opened else _FROZEN_SHARE
    until = math.inf if limit is None else timer.started + share * limit
    with timer.measure("features_s"):
        looked = _in_time(source, recipe.features, device, until, progress)
    with timer.measure("twins_s"):
        notes, twins = _settle(source, looked.catalog, recipe)
    classes, learnt, asked = train_and_test(looked.catalog)
    return replace(looked, classes=classes, learnt=learnt, asked=asked, notes=[*looked.notes, *notes], twins=twins)


def _in_time(source: Source, wanted: Features, device: str, until: float, progress: Progress) -> Extracted:
    """What was wanted, or if the first pictures tell that it would last too long, what can be had until then."""
    rate = 0.0
    for features in time_budget.cheaper(wanted):
        advance = time_budget.watched(progress("Looking at pictures"), until - time.perf_counter())
        try:
            return _looked(source, Catalog.from_entries(source.entries), features, device, advance)
        except time_budget.TooSlowError as slow:
            rate, wanted = slow.rate, features
    catalog = Catalog.from_entries(source.entries)
    for row in time_budget.left_out(source, rate, until - time.perf_counter()):
        catalog.refuse(int(row), "left out, so that the time limit is kept")
    return _looked(source, catalog, wanted, device, progress("Looking at some of the pictures"))


def head_on(looked: Extracted, recipe: Recipe, timer: Timer) -> Learned:
    """A linear head is fitted on what a backbone saw, whose features are written over."""
    spare = Spare.of(looked.features, looked.learnt, looked.backbone.blocks, recipe.head)
    with timer.measure("head_s"):
        fitted = fitted_head(looked, looked.learnt, recipe)
    fold = folds(looked.learnt, recipe.head.folds, recipe.runtime.seed)
    return Learned(
        looked.catalog, looked.classes, looked.learnt, looked.learnt.take(fitted.held_out), fitted.logits, looked.asked,
        fitted.answer,
        sense=lambda temperature, trust: out_of_distribution.of_head(
            fitted, looked.learnt, spare, looked.asked, trust, temperature
        ),
        bundle=lambda temperature, manifest, senses: export(
            looked.backbone, recipe.features.resize, fitted.head, temperature, manifest, senses
        ),
        network=metadata.described(looked.backbone),
        facts={"head": metadata.head(fitted, recipe)},
        notes=looked.notes,
        tolerance=TOLERANCE if looked.device == "cpu" else HALF_PRECISION_TOLERANCE,
        twins=looked.twins,
        relearn=HeadRefit.of(fitted, looked.learnt.rows, looked.learnt.truth, fold, len(looked.classes)),
    )  # fmt: skip


def fitted_head(looked: Extracted, learnt: Part, recipe: Recipe) -> probe.Fitted:
    """A head fitted on some pictures, its l2_penalty chosen by cross-validation among them."""
    fold = folds(learnt, recipe.head.folds, recipe.runtime.seed)
    return probe.fit(
        looked.features, learnt.rows, learnt.truth, fold, len(looked.classes), looked.backbone.blocks, recipe.head
    )


def see(source: Source, recipe: Recipe, progress: Progress) -> PixelDataset:
    """Reads every picture once, and splits them.

    Raises:
        SourceError: there are too few to hold any out.
    """
    return _see(source, recipe, progress)[0]


def _see(source: Source, recipe: Recipe, progress: Progress) -> tuple[PixelDataset, NearDuplicates]:
    catalog = Catalog.from_entries(source.entries)
    size = input_size(recipe, source)
    fits = fits_in_memory(len(source.entries) * recipe.runtime.devices, size)
    keep = {"memory": True, "stream": False, "auto": fits}[recipe.input.cache]
    advance = progress("Reading pictures")
    pixels = read_pixels(source, catalog, size=size, resize=recipe.input.resize, keep=keep, advance=advance)
    notes, twins = _settle(source, catalog, recipe)
    classes, learnt, asked = train_and_test(catalog)
    training, validation, calibration = held_out(learnt, classes, recipe)
    for part, split in ((calibration, "calibration"), (validation, "validation")):
        catalog.table.loc[part.rows, "split"] = split
    notes += serving_twice(validation, calibration)
    return PixelDataset(catalog, size, pixels, classes, training, validation, calibration, asked, notes), twins


def serving_twice(validation: Part, calibration: Part) -> list[str]:
    """A sentence where there were too few pictures for both."""
    if calibration is not validation:
        return []
    return [_("Too few pictures to keep any aside for calibration: those of the validation serve for it.")]


def held_out(learnt: Part, classes: list[str], recipe: Recipe) -> tuple[Part, Part, Part]:
    """The pictures to train on, those to be measured on between epochs, and those that nothing sees before the end.

    Where there are too few for the last, they are those of the validation.

    Raises:
        SourceError: there are too few to hold any out.
    """
    seed = recipe.runtime.seed
    rest, validation = (learnt.take(at) for at in hold_out(learnt, recipe.data.validation, seed))
    training, calibration = (rest.take(at) for at in hold_out(rest, recipe.data.calibration, seed, "calibration"))
    if not len(validation.rows):
        raise SourceError(
            _("There are too few pictures to hold any out for validation: {rows} of {classes} classes.").format(
                rows=len(learnt.rows), classes=len(classes)
            ),
            hint=_("Bring more, raise data.validation, or take the recipe 'transfer', which cross-validates."),
        )
    return training, validation, calibration if len(calibration.rows) else validation


def train_network(source: Source, recipe: Recipe, timer: Timer, progress: Progress, told: TrainingOptions) -> Learned:
    """The network of a recipe learns by gradient, measured on pictures that are held out for that."""
    require_torch("Training a network by gradient")
    from kilat.fit import training_run
    from kilat.fit.distributed import group

    device = training_device(recipe.runtime.device)
    group.require(recipe.runtime.devices, device)
    with timer.measure("pictures_s"):
        seen, twins = _see(source, recipe, progress)
    limit, advance = recipe.runtime.time_limit, progress("Training")
    deadline = None if limit is None else timer.started + limit
    with timer.measure("fit_s"):
        begun = training_run.begin(source, seen, recipe, device=device, network=told.network, name=told.name)
        trained = begun.train(told.folder, deadline=deadline, on_epoch=told.on_epoch, advance=advance)
    graph = trained.graph()
    answers = trained.answer(seen.calibration.rows)
    return Learned(
        seen.catalog, seen.classes, seen.train, seen.calibration, answers, seen.test,
        trained.answer,
        sense=lambda temperature, trust: out_of_distribution.of_network(
            graph, trained.pixels, seen.train, seen.calibration, answers, seen.test, trust, temperature
        ),
        bundle=lambda temperature, manifest, senses: export_network(
            graph, size=seen.size, resize=recipe.input.resize, temperature=temperature, manifest=manifest, senses=senses
        ),
        validation=seen.validation,
        validation_logits=trained.answer(seen.validation.rows),
        twins=twins,
        network=metadata.trained(told.name, graph, seen.size, trained.facts),
        facts={"fit": trained.facts},
        notes=[*seen.notes, *trained.notes, *label_safety.altered_meanings(recipe.augment, seen.classes)],
        shown={
            "history": trained.history,
            "network": begun.summary,
            "augmented": begun.preview(spread(seen.train)),
        },
    )  # fmt: skip


def _settle(source: Source, catalog: Catalog, recipe: Recipe) -> tuple[list[str], NearDuplicates]:
    """Duplicates settled, near-duplicates found, and splits drawn; what the user should know of it."""
    resolve_duplicates(catalog, source.changed if isinstance(source, CorrectedSource) else ())
    twins = find_near_duplicates(catalog.image_stats, np.flatnonzero(catalog.used))
    if recipe.data.near_duplicates == "together":
        merge_groups(catalog, twins.groups)
    return [*assign_splits(catalog, recipe.data.test, recipe.runtime.seed), *metadata.skipped(source)], twins


def _looked(source: Source, catalog: Catalog, wanted: Features, device: str, advance: Advance) -> Extracted:
    """One pass over the pictures, with what was seen before from the cache."""
    backbone = choice.choose(wanted, source, device)
    cache = FeatureCache(cache_namespace(backbone, wanted.resize, device))
    try:
        runner = choice.runner(backbone, wanted, device)
        features = extract_features(
            source, catalog, backbone, resize=wanted.resize, cache=cache, runner=runner, advance=advance
        )
    finally:
        cache.close()
    nobody = Part(*(np.zeros(0, kind) for kind in (np.int64, np.int64, object, bool, object)))
    notes = [cache.trouble] if cache.trouble else []
    return Extracted(catalog, wanted, backbone, device, features, [], nobody, nobody, notes)


def input_size(recipe: Recipe, source: Source | None) -> int:
    """The side in pixels at which a network looks: as said, the backbone's own, or the pictures' own.

    Raises:
        RecipeError: it follows from the pictures, and there are none.
    """
    if recipe.input.size != "auto":
        return recipe.input.size
    if recipe.model is not None and recipe.model.backbone is not None:
        from kilat.model.feature_extractor import usual_side

        return usual_side(recipe.model.backbone.name)
    if source is None:
        raise RecipeError(_("The size of the input follows from the pictures."), hint=_("Say it: --set input.size=32."))
    return natural_size(source)


def spread(training: Part) -> NDArray[np.int64]:
    """Rows of a few pictures of different classes."""
    firsts = np.unique(training.truth, return_index=True)[1]
    chosen = firsts[np.unique(np.linspace(0, len(firsts) - 1, _PREVIEWED).round().astype(int))]
    rows: NDArray[np.int64] = training.rows[chosen]
    return rows
