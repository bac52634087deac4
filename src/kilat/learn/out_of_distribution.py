"""How a finished classifier notices pictures of none of its classes: an embedding, and a detector fitted on it.

For a head on a frozen backbone the embedding is the leading principal components that the head works in anyway, and to
choose among methods classes are left out for good, head included. For a network trained by gradient it is what its last
layer is given, in few components; that it was trained on the classes that are left out cannot be undone, so their
logits are dropped.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.ood_graph import OodHead, Projection
from kilat.bundle.penultimate import answering_graph
from kilat.data.split import Part, folds
from kilat.evaluate.out_of_distribution import (
    MAX_INDEX,
    MAX_WIDTH,
    EmbeddingStatistics,
    LeftOutTrial,
    OodDetector,
    choose_methods,
    compare_methods,
    stratified_sample,
)
from kilat.features.pixels import MAX_OOD_REFERENCE, PixelDataset
from kilat.learn.learned import FeatureSample, HeadArtifact, NetworkArtifact, RowValues, SplitLogits
from kilat.learn.time_budget import TimeBudget
from kilat.probe import fit
from kilat.probe.components import leading_eigenvectors
from kilat.recipe import Trust
from kilat.runtime.cores import available_cores, parallel_map
from kilat.runtime.onnx_session import make_session
from kilat.runtime.result_cache import Result, ResultCache

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]

REFERENCE = 1000
"""How many embeddings the file keeps for new pictures to be compared with."""

_ROUNDS = 5
_SAMPLE = 2_000
_TRIAL_COMPONENTS = 384
_PICTURES_PER_COMPONENT = 8
_MOST_FOR_COMPONENTS = 4096
_MOST_NUMBERS = 1 << 27
"""In memory at once: of networks that lay whole maps before their last layer fewer pictures are embedded."""

_MOST_WEIGHTS = 1 << 22
"""Of the projection in the file: of such networks the embedding is narrower."""


@dataclass(frozen=True)
class OodDetection:
    """What a classifier notices beside its classes.

    Args:
        graph: what goes into the model file.
        auroc: how well each combination of methods told classes that were left out.
        rounds: in how many rounds classes were left out.
        skipped: how many more there was no time for.
        test_embeddings: of the test pictures, ``[n, d]``.
        calibration_distances: of the calibration pictures to the nearest other training picture, ``[n]``.
    """

    graph: OodHead
    auroc: dict[str, float]
    rounds: int
    skipped: int
    test_embeddings: Floats
    calibration_distances: Floats

    @property
    def test_distances(self) -> Floats:
        """Of the test pictures to the nearest training picture, ``[n]``."""
        return self.graph.detector.statistics.nearest_distance(self.test_embeddings)


@dataclass(frozen=True)
class NetworkAnswers:
    """What the graph of a network trained by gradient gives for the pictures that are needed once it is trained.

    Args:
        projection: from what its last layer is given to the embedding.
        sample: training pictures that new ones are compared with.
        logits: of the sample, the calibration and test pictures, and those of the parity gate.
        embeddings: of the same.
    """

    projection: Projection
    sample: Part
    logits: RowValues
    embeddings: RowValues


def fit_detector(
    split: SplitLogits,
    artifact: HeadArtifact | NetworkArtifact,
    trust: Trust,
    budget: TimeBudget,
    results: ResultCache,
) -> OodDetection:
    """Fit the detector of pictures of none of the classes.

    Args:
        split: the parts of the split, and their logits.
        artifact: what answers.
        trust: the recipe's section.
        budget: how long leaving classes out may take.
        results: of earlier runs.
    """
    if isinstance(artifact, HeadArtifact):
        return _of_head(split, artifact, trust, budget, results)
    return _of_network(split, artifact, trust)


def embedding_width(pictures: int, most: int) -> int:
    """Return how many components so many pictures allow an embedding to have."""
    return max(1, min(MAX_WIDTH, most, pictures // _PICTURES_PER_COMPONENT))


def sample_of(train: Part) -> Part:
    """Return at most 2,000 of the training pictures, to leave classes out of."""
    return train.take(stratified_sample(train.truth, _SAMPLE))


def answer_pictures(
    graph: bytes, pixels: Callable[[Ints], Iterable[Pixels]], dataset: PixelDataset, gate: Ints
) -> NetworkAnswers:
    """Run the pictures that are needed once a network is trained through its graph, each once.

    Args:
        graph: the network as ONNX, from ``pixels`` to ``logits``.
        pixels: gives the pictures of rows of the catalog, in batches uint8 ``[n, size, size, 3]``.
        dataset: the parts of the split.
        gate: rows of the pictures of the parity gate.
    """
    session = make_session(answering_graph(graph), threads=available_cores())
    names = [output.name for output in session.get_outputs()]

    def answers(rows: Ints) -> Iterator[tuple[Floats, Floats]]:
        for batch in pixels(rows) if len(rows) else ():
            found = session.run(names, {"pixels": batch})  # one array where no layer has weights
            logits, activations = (np.asarray(one, np.float32) for one in (found[0], found[-1]))
            # The softmax of 0 and a logit is the logit's sigmoid.
            yield np.pad(logits, ((0, 0), (logits.shape[1] == 1, 0))), activations

    train = dataset.train
    wide = int(next(answers(train.rows[:1]))[1].shape[1])
    sample = train.take(stratified_sample(train.truth, min(MAX_OOD_REFERENCE, _MOST_NUMBERS // wide)))
    logits, activations = map(np.concatenate, zip(*answers(sample.rows), strict=True))
    width = min(embedding_width(*activations.shape), max(1, _MOST_WEIGHTS // wide))
    projection = _principal_components(activations, width)
    known, embedded = [(sample.rows, logits)], [(sample.rows, projection(activations))]
    for rows in (dataset.calibration.rows, dataset.test.rows, gate):
        batches = [(one, projection(below)) for one, below in answers(rows)]
        known.append((rows, np.concatenate([logits[:0], *(one for one, _ in batches)])))
        embedded.append((rows, np.concatenate([embedded[0][1][:0], *(below for _, below in batches)])))
    return NetworkAnswers(projection, sample, RowValues.concat(known), RowValues.concat(embedded))


def _of_head(
    split: SplitLogits, artifact: HeadArtifact, trust: Trust, budget: TimeBudget, results: ResultCache
) -> OodDetection:
    train, calibration, test = split.train, split.calibration, split.test
    rounds = [] if trust.methods else _rounds(artifact.sample.part.truth)
    auroc, done, skipped = _compare_in_rounds(artifact.sample, rounds, budget, results)
    kept = stratified_sample(train.truth, MAX_INDEX)
    statistics = EmbeddingStatistics.fit(artifact.embeddings(train.rows), train.truth, kept)
    # The calibration pictures are training pictures, each answered by the head of the fold that left it out.
    own_rows = _own_rows(train, kept, artifact.fitted.held_out)
    calibration_embeddings = artifact.embeddings(calibration.rows)
    detector = OodDetector.fit(
        statistics,
        trust.methods or choose_methods(auroc),
        calibration_embeddings,
        split.calibration_logits / np.float32(split.temperature),
        false_positive_rate=trust.false_positive_rate,
        excluded=own_rows,
    )
    # Test pictures alone: the components were fitted on the others, which lie further apart in them than new ones do.
    test_embeddings = artifact.embeddings(test.rows)
    graph = OodHead(artifact.projection, detector, test_embeddings[stratified_sample(test.truth, REFERENCE)])
    distances = statistics.nearest_distance(calibration_embeddings, own_rows)
    return OodDetection(graph, auroc, done, skipped, test_embeddings, distances)


def _of_network(split: SplitLogits, artifact: NetworkArtifact, trust: Trust) -> OodDetection:
    sample, calibration, test = artifact.sample, split.calibration, split.test
    embeddings, known = artifact.embeddings(sample.rows), artifact.embeddings(calibration.rows)
    scaled = split.calibration_logits / np.float32(split.temperature)
    trials = [] if trust.methods else _network_trials(embeddings, sample.truth, known, scaled, calibration.truth)
    auroc = compare_methods(trials)
    statistics = EmbeddingStatistics.fit(embeddings, sample.truth)
    methods = trust.methods or choose_methods(auroc)
    detector = OodDetector.fit(statistics, methods, known, scaled, false_positive_rate=trust.false_positive_rate)
    test_embeddings = artifact.embeddings(test.rows)
    # Where there are few test pictures, others that the network was not trained on stand in.
    more = known[stratified_sample(calibration.truth, max(0, REFERENCE - len(test_embeddings)))]
    reference = np.concatenate([test_embeddings[stratified_sample(test.truth, REFERENCE)], more])
    graph = OodHead(artifact.projection, detector, reference)
    return OodDetection(graph, auroc, len(trials), 0, test_embeddings, statistics.nearest_distance(known))


def _compare_in_rounds(
    sample: FeatureSample, rounds: Sequence[Ints], budget: TimeBudget, results: ResultCache
) -> tuple[dict[str, float], int, int]:
    """Leave classes out.

    Returns:
        How well each combination of methods told them, in how many rounds, and how many more there was no time for.
    """
    fold = folds(sample.part, _ROUNDS, 0)
    settings = {**sample.settings.model_dump(mode="json"), "l2": sample.l2_penalty}
    layout = [(block.name, block.width) for block in sample.blocks]
    pictures = {"features": sample.features, "truth": sample.part.truth, "fold": fold}

    def compare() -> Result:
        trials, skipped = _head_trials(sample, rounds, fold, budget)
        return Result({"auroc": compare_methods(trials), "done": len(trials), "skipped": skipped}, {})

    inputs = {**pictures, "rounds": [classes.tolist() for classes in rounds], "blocks": layout, "settings": settings}
    found = results.recall("left_out", inputs, compare).document
    return found["auroc"], found["done"], found["skipped"]


def _head_trials(
    sample: FeatureSample, rounds: Sequence[Ints], fold: Ints, budget: TimeBudget
) -> tuple[list[LeftOutTrial], int]:
    """Rounds in which neither head nor components are fitted on some classes, nor on a fifth of the other pictures.

    Returns:
        The rounds, and how many more there was no time for.
    """
    truth, count = sample.part.truth, len(sample.part.rows)
    settings = sample.settings.model_copy(update={"l2": (sample.l2_penalty,), "components": _TRIAL_COMPONENTS})

    late: list[int] = []
    took: list[float] = []

    def trial_in_time(number: int) -> LeftOutTrial | None:
        if not budget.has_time(max(took, default=0.0)):
            late.append(number)
            return None
        began = budget.now()
        made = trial(number)
        took.append(budget.now() - began)
        return made

    def trial(number: int) -> LeftOutTrial | None:
        is_new = np.isin(truth, rounds[number])
        train = np.flatnonzero(~is_new & (fold != number))
        rest = np.setdiff1d(np.arange(count), train)
        known, labels = np.unique(truth[train], return_inverse=True)
        if len(known) < 2 or is_new[rest].all():
            return None
        never = np.full(len(train), -1)
        fitted = fit(sample.features, train, labels, never, len(known), sample.blocks, settings)
        width = embedding_width(len(train), fitted.scores.shape[1] - 1)
        points = np.ascontiguousarray(fitted.scores[:, :width])
        return LeftOutTrial(points[train], labels, points[rest], fitted.logits(rest), is_new[rest])

    trials = [one for one in parallel_map(trial_in_time, range(len(rounds))) if one is not None]
    return trials, len(late)


def _network_trials(
    embeddings: Floats, truth: Ints, known: Floats, logits: Floats, known_truth: Ints
) -> list[LeftOutTrial]:
    """Rounds in which the detector knows nothing of some classes, though the network was trained on them."""
    trials = []
    for left_out in _rounds(truth):
        train, is_new = ~np.isin(truth, left_out), np.isin(known_truth, left_out)
        classes = np.setdiff1d(np.unique(truth), left_out)
        if is_new.any() and not is_new.all() and train.any():
            trials.append(LeftOutTrial(embeddings[train], truth[train], known, logits[:, classes], is_new))
    return trials


def _rounds(truth: Ints) -> list[Ints]:
    """Which classes are left out in each round: every class once, several at a time where there are many."""
    classes = np.unique(truth)
    if len(classes) < 3:
        return []
    return [np.sort(group) for group in np.array_split(classes, min(_ROUNDS, len(classes)))]


def _principal_components(activations: Floats, width: int) -> Projection:
    """The leading principal components of some rows, of mean square length one."""
    spread = np.linspace(0, len(activations) - 1, min(len(activations), _MOST_FOR_COMPONENTS)).round()
    some = activations[spread.astype(np.int64)]
    offset = some.mean(0)
    centred = some - offset
    if len(some) < some.shape[1]:
        vectors, squares = leading_eigenvectors(centred @ centred.T, width)
        basis = centred.T @ (vectors / np.sqrt(squares))
    else:
        basis, _ = leading_eigenvectors(centred.T @ centred, width)
    if not basis.shape[1]:  # every unit is dead, so all pictures lie at one place
        basis = np.zeros((some.shape[1], 1), np.float32)
    scores = centred @ basis
    length = max(math.sqrt(float(np.einsum("nd,nd->", scores, scores, dtype=np.float64)) / len(scores)), 1e-12)
    return Projection(offset, (basis / length).astype(np.float32))


def _own_rows(train: Part, kept: Ints, positions: Ints) -> Ints:
    """For each of some training pictures, which kept ones are itself or its near-duplicates, padded with -1."""
    names, group = np.unique(train.groups.astype(str), return_inverse=True)
    members = [[] for _ in names]  # type: list[list[int]]
    for position, at in enumerate(kept):
        members[group[at]].append(position)
    most = max((len(own) for own in members), default=1)
    table = np.full((len(names), max(most, 1)), -1, np.int64)
    for row, own in enumerate(members):
        table[row, : len(own)] = own
    return table[group[positions]]
