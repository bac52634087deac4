"""How a finished classifier comes to notice what it never learnt: an embedding, and a detector of the unknown on it.

For a head on a frozen backbone the embedding is the leading principal components that the head works in anyway, and
classes are left out for good, head included. For a network trained by gradient it is what its last layer is given,
in few components; that the network saw the classes that are left out cannot be undone, so their logits are dropped.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.ood_graph import OodGraph, Projection
from kilat.bundle.penultimate import tapped
from kilat.data.split import Part, folds
from kilat.evaluate.out_of_distribution import MOST_KEPT, WIDTH, Detector, Space, Trial, choose, compare, spaced
from kilat.features.backbone import Block
from kilat.features.pixels import MAX_OOD_REFERENCE
from kilat.probe import Fitted, fit
from kilat.probe.components import leading
from kilat.recipe import Head, Trust
from kilat.runtime.cores import parallel_map, threads
from kilat.runtime.onnx_session import make_session

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]

REFERENCE = 1000
"""How many embeddings the file keeps for new pictures to be compared with."""

_ROUNDS = 5
_MOST_TRIED = 2_000
_COMPONENTS_TRIED = 384
_PICTURES_A_COMPONENT = 8
_MOST_FOR_COMPONENTS = 4096
_MOST_NUMBERS = 1 << 27
"""Held at once: of networks that lay whole maps before their last layer fewer pictures are looked at."""

_MOST_WEIGHTS = 1 << 22
"""Of the projection in the file: of such networks the embedding is narrower."""


@dataclass(frozen=True)
class OodDetection:
    """What a classifier notices beside its classes.

    Args:
        senses: what goes into the model file.
        auroc: how well each way tells classes that were left out (``kilat.evaluate.out_of_distribution.compare``).
        rounds: in how many rounds classes were left out.
        embed: the embeddings ``[n, d]`` of rows of the catalog.
        asked: those of the test pictures, ``[n, d]``.
        distances: of the held-out pictures to the nearest other one that was learnt from, ``[n]``.
    """

    senses: OodGraph
    auroc: dict[str, float]
    rounds: int
    embed: Callable[[Ints], Floats]
    asked: Floats
    distances: Floats

    @property
    def asked_distances(self) -> Floats:
        """Of the test pictures to the nearest one that was learnt from, ``[n]``."""
        return self.senses.detector.space.nearest(self.asked)


@dataclass(frozen=True)
class Spare:
    """A part of the pictures as the backbone saw them, to leave classes out of; a head writes over the features.

    Args:
        features: ``[n, features]``.
        part: the pictures.
        blocks: how the features are laid out.
        settings: of the head.
    """

    features: Floats
    part: Part
    blocks: Sequence[Block]
    settings: Head

    @classmethod
    def of(cls, features: Floats, learnt: Part, blocks: Sequence[Block], settings: Head) -> "Spare":
        """At most 2,000 of the pictures to learn from."""
        part = learnt.take(spaced(learnt.truth, _MOST_TRIED))
        return cls(features[part.rows], part, blocks, settings)


def of_head(fitted: Fitted, learnt: Part, spare: Spare, asked: Part, trust: Trust, temperature: float) -> OodDetection:
    """Of a head on a frozen backbone.

    Args:
        fitted: the head.
        learnt: the pictures that it was fitted on.
        spare: some of them, to find out by what left-out classes are noticed.
        asked: the test pictures.
        trust: the recipe's section.
        temperature: what logits are divided by.
    """
    held = fitted.held_out
    width = _width(len(learnt.rows), fitted.points.shape[1] - 1)

    def embed(rows: Ints) -> Floats:
        return np.ascontiguousarray(fitted.points[rows, :width])

    tried = [] if trust.methods else _head_trials(spare, fitted.l2_penalty * len(learnt.rows) / len(spare.part.rows))
    aurocs = compare(tried)
    kept = spaced(learnt.truth, MOST_KEPT)
    space = Space.of(embed(learnt.rows), learnt.truth, kept)
    methods = trust.methods or choose(aurocs)
    mates = _mates(learnt, kept, held)
    known = embed(learnt.rows[held])
    soft = fitted.logits / np.float32(temperature)
    detector = Detector.fit(space, methods, known, soft, rate=trust.false_positive_rate, mates=mates)
    projection = Projection(np.zeros(len(fitted.basis), np.float32), np.ascontiguousarray(fitted.basis[:, :width]))
    # Test pictures alone: the components were fitted on the others, which lie further apart in them than new ones do.
    tested = embed(asked.rows)
    senses = OodGraph(projection, detector, tested[spaced(asked.truth, REFERENCE)])
    return OodDetection(senses, aurocs, len(tried), embed, tested, space.nearest(known, mates))


def of_network(
    graph: bytes,
    pixels: Callable[[Ints], Iterable[Pixels]],
    learnt: Part,
    held: Part,
    logits: Floats,
    asked: Part,
    trust: Trust,
    temperature: float,
) -> OodDetection:
    """Of a network trained by gradient.

    Args:
        graph: the network as ONNX, from ``pixels`` to ``logits``.
        pixels: gives the pictures of rows of the catalog, in batches uint8 ``[n, size, size, 3]``.
        learnt: the pictures that it was trained on.
        held: pictures that it never saw.
        logits: its answers to them, ``[n, classes]``.
        asked: the test pictures.
        trust: the recipe's section.
        temperature: what logits are divided by.
    """
    see = _Eye(graph, pixels)
    wide = see.width(learnt.rows[:1])
    learnt = learnt.take(spaced(learnt.truth, min(MAX_OOD_REFERENCE, _MOST_NUMBERS // wide)))
    some = np.concatenate(list(see(learnt.rows)))
    projection = _projection(some, min(_width(*some.shape), max(1, _MOST_WEIGHTS // wide)))

    def embed(rows: Ints) -> Floats:
        nobody = np.zeros((0, projection.basis.shape[1]), np.float32)
        return np.concatenate([nobody, *map(projection, see(rows))])

    embeddings, known = projection(some), embed(held.rows)
    soft = logits / np.float32(temperature)
    tried = [] if trust.methods else _network_trials(embeddings, learnt.truth, known, soft, held.truth)
    aurocs = compare(tried)
    space = Space.of(embeddings, learnt.truth)
    detector = Detector.fit(space, trust.methods or choose(aurocs), known, soft, rate=trust.false_positive_rate)
    tested = embed(asked.rows)
    # Where the test is small, other pictures that the network never saw stand in.
    more = known[spaced(held.truth, max(0, REFERENCE - len(tested)))]
    senses = OodGraph(projection, detector, np.concatenate([tested[spaced(asked.truth, REFERENCE)], more]))
    return OodDetection(senses, aurocs, len(tried), embed, tested, space.nearest(known))


class _Eye:
    """What a network's last layer is given, for rows of the catalog, batch by batch ``[n, seen]``."""

    def __init__(self, graph: bytes, pixels: Callable[[Ints], Iterable[Pixels]]) -> None:
        self.session = make_session(tapped(graph), threads=threads())
        self.pixels = pixels

    def __call__(self, rows: Ints) -> Iterator[Floats]:
        name = self.session.get_outputs()[0].name
        for some in self.pixels(rows) if len(rows) else ():
            yield np.asarray(self.session.run([name], {"pixels": some})[0], np.float32)

    def width(self, rows: Ints) -> int:
        """How many numbers it is given of a picture."""
        return int(next(iter(self(rows))).shape[1])


def _head_trials(spare: Spare, l2_penalty: float) -> list[Trial]:
    """Rounds in which some classes are learnt by neither head nor components, and a fifth of the others is held out."""
    truth, count = spare.part.truth, len(spare.part.rows)
    fold = folds(spare.part, _ROUNDS, 0)
    rounds = _rounds(truth)
    settings = spare.settings.model_copy(update={"l2": (l2_penalty,), "components": _COMPONENTS_TRIED})

    def trial(at: int) -> Trial | None:
        is_new = np.isin(truth, rounds[at])
        taken = np.flatnonzero(~is_new & (fold != at))
        asked = np.setdiff1d(np.arange(count), taken)
        known, labels = np.unique(truth[taken], return_inverse=True)
        if len(known) < 2 or is_new[asked].all():
            return None
        never = np.full(len(taken), -1)
        fitted = fit(spare.features.copy(), taken, labels, never, len(known), spare.blocks, settings)
        width = _width(len(taken), fitted.points.shape[1] - 1)
        points = np.ascontiguousarray(fitted.points[:, :width])
        return Trial(points[taken], labels, points[asked], fitted.answer(asked), is_new[asked])

    return [one for one in parallel_map(trial, range(len(rounds))) if one is not None]


def _network_trials(embeddings: Floats, truth: Ints, held: Floats, logits: Floats, held_truth: Ints) -> list[Trial]:
    """Rounds in which the detector knows nothing of some classes, though the network learnt them."""
    trials = []
    for group in _rounds(truth):
        taken, is_new = ~np.isin(truth, group), np.isin(held_truth, group)
        known = np.setdiff1d(np.unique(truth), group)
        if is_new.any() and not is_new.all() and taken.any():
            trials.append(Trial(embeddings[taken], truth[taken], held, logits[:, known], is_new))
    return trials


def _rounds(truth: Ints) -> list[Ints]:
    """Which classes are left out in each round: every class once, several at a time where there are many."""
    classes = np.unique(truth)
    if len(classes) < 3:
        return []
    return [np.sort(group) for group in np.array_split(classes, min(_ROUNDS, len(classes)))]


def _width(pictures: int, most: int) -> int:
    """How many components so many pictures allow an embedding to have."""
    return max(1, min(WIDTH, most, pictures // _PICTURES_A_COMPONENT))


def _projection(seen: Floats, width: int) -> Projection:
    """The leading principal components of some rows, of mean square length one."""
    some = seen[np.linspace(0, len(seen) - 1, min(len(seen), _MOST_FOR_COMPONENTS)).round().astype(np.int64)]
    offset = some.mean(0)
    centred = some - offset
    if len(some) < some.shape[1]:
        mixtures, squares = leading(centred @ centred.T, width)
        basis = centred.T @ (mixtures / np.sqrt(squares))
    else:
        basis, _ = leading(centred.T @ centred, width)
    placed = centred @ basis
    length = max(math.sqrt(float(np.einsum("nd,nd->", placed, placed, dtype=np.float64)) / len(placed)), 1e-12)
    return Projection(offset, (basis / length).astype(np.float32))


def _mates(learnt: Part, kept: Ints, held: Ints) -> Ints:
    """For each held-out picture the rows of the index that are itself or its near-duplicates, -1 for none."""
    names, keys = np.unique(learnt.groups.astype(str), return_inverse=True)
    own = [[] for _ in names]  # type: list[list[int]]
    for place, at in enumerate(kept):
        own[keys[at]].append(place)
    most = max((len(places) for places in own), default=1)
    table = np.full((len(names), max(most, 1)), -1, np.int64)
    for key, places in enumerate(own):
        table[key, : len(places)] = places
    return table[keys[held]]
