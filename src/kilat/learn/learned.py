"""What learning gives, whichever way it went: data that pickles, and an artifact that answers and can be bundled.

Nothing in it is a function or is overwritten by whoever reads it, so a lab or a cluster can send it from process to
process, and the same model file comes of it there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.assemble import assemble_frozen, assemble_network
from kilat.bundle.manifest import Manifest
from kilat.bundle.ood_graph import OodHead, Projection
from kilat.bundle.parity import TOLERANCE
from kilat.check.head_refit import HeadRefit
from kilat.check.near_duplicates import NO_NEAR_DUPLICATES, NearDuplicates
from kilat.data.catalog import Catalog
from kilat.data.split import Part
from kilat.evaluate.calibration import apply_temperature, fit_temperature
from kilat.evaluate.comparison import Comparison, compare
from kilat.evaluate.metrics import measure
from kilat.features.backbone import Backbone, Block
from kilat.learn.metadata import NetworkInfo
from kilat.locale.notes import Note
from kilat.probe import FittedHead
from kilat.recipe import Head, Recipe, Resize
from kilat.recipe.network_summary import Summary
from kilat.runtime.result_cache import ResultCache

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Row = dict[str, float]
"""One epoch of a training's history."""
LayerRow = dict[str, Any]
"""One layer in one epoch, where layers are watched."""


@dataclass(frozen=True)
class SplitLogits:
    """The parts of the split, and the logits of those that were not trained on.

    Args:
        classes: their names.
        train: the pictures that were trained on.
        validation: the pictures that decided about the training. For a head on a frozen backbone these, and those for
            calibration, are the training pictures themselves, each answered by the head of the fold that left it out.
        validation_logits: ``[n, classes]``.
        calibration: the pictures that temperature, sets and thresholds are fitted on; where there are too few to keep
            any for that, the very object ``validation``.
        calibration_logits: ``[n, classes]``.
        test: the test pictures.
        test_logits: ``[n, classes]``.
    """

    classes: list[str]
    train: Part
    validation: Part
    validation_logits: Floats
    calibration: Part
    calibration_logits: Floats
    test: Part
    test_logits: Floats

    @cached_property
    def temperature(self) -> float:
        """What logits are divided by, fitted on the calibration pictures."""
        return fit_temperature(self.calibration_logits, self.calibration.truth)

    def calibrated(self, logits: Floats) -> Floats:
        """Return the probabilities ``[n, classes]`` of logits."""
        return apply_temperature(logits, self.temperature)

    @cached_property
    def test_probabilities(self) -> Floats:
        """Calibrated, ``[n, classes]``."""
        return self.calibrated(self.test_logits)

    @cached_property
    def calibration_probabilities(self) -> Floats:
        """Calibrated, ``[n, classes]``."""
        return self.calibrated(self.calibration_logits)

    @property
    def is_calibrated_apart(self) -> bool:
        """Whether the calibration pictures are others than the validation pictures."""
        return self.calibration is not self.validation

    def compare(self, pictures: Part, logits: Floats) -> Comparison:
        """Compare a challenger with this on validation pictures, of which it answers those that this has left out.

        Args:
            pictures: that the challenger was not trained on.
            logits: its answers, ``[n, classes]``.
        """
        _rows, ours, theirs = np.intersect1d(self.validation.rows, pictures.rows, return_indices=True)
        return compare(pictures.truth[theirs], self.validation_logits[ours], logits[theirs])

    def measures(self) -> dict[str, Any]:
        """Return the sections ``test`` and ``validation`` of ``metrics.json``."""
        parts = {"test": (self.test, self.test_logits), "validation": (self.validation, self.validation_logits)}
        return {
            name: measure(
                part.truth,
                self.calibrated(logits),
                self.classes,
                uncalibrated=apply_temperature(logits, 1.0),
                majority=self.train.majority_class,
            )
            for name, (part, logits) in parts.items()
        }


@dataclass(frozen=True)
class FeatureSample:
    """The features of some training pictures, from which classes can be left out, head and all.

    Args:
        features: ``[n, features]``.
        part: the pictures.
        blocks: how the features are laid out.
        settings: of the head.
        l2_penalty: of a head on so many pictures.
    """

    features: Floats
    part: Part
    blocks: Sequence[Block]
    settings: Head
    l2_penalty: float


@dataclass(frozen=True)
class HeadArtifact:
    """A linear head on a frozen backbone.

    Its embedding is the leading principal components that the head works in anyway.

    Args:
        info: what the model file says of the backbone.
        backbone: the network below the head.
        resize: how pictures that are not square are fitted.
        fitted: the head, with all pictures in the components that it was fitted in.
        width: how many of the components are the embedding.
        sample: of the features that it was fitted on.
        tolerance: how far the file's probabilities may lie from its own.
    """

    info: NetworkInfo
    backbone: Backbone
    resize: Resize
    fitted: FittedHead
    width: int
    sample: FeatureSample
    tolerance: float = TOLERANCE

    @property
    def projection(self) -> Projection:
        """From standardised features to the embedding."""
        basis = self.fitted.basis
        return Projection(np.zeros(len(basis), np.float32), np.ascontiguousarray(basis[:, : self.width]))

    def logits(self, rows: Ints) -> Floats:
        """Return the logits ``[n, classes]`` of rows of the catalog."""
        return self.fitted.logits(rows)

    @property
    def embedded_rows(self) -> Ints:
        """The rows of the catalog that have an embedding, rising; of refused pictures it means nothing."""
        return np.arange(len(self.fitted.scores))

    def embeddings(self, rows: Ints) -> Floats:
        """Return the embeddings ``[n, d]`` of rows of the catalog."""
        return np.ascontiguousarray(self.fitted.scores[rows, : self.width])

    def assemble(self, temperature: float, manifest: Manifest, ood: OodHead, digests: Iterable[str]) -> bytes:
        """Return the model file: backbone and head as one graph, with the digests of the training pictures."""
        return assemble_frozen(self.backbone, self.resize, self.fitted.head, temperature, manifest, ood, digests)


@dataclass(frozen=True)
class RowValues:
    """Values of some rows of the catalog.

    Args:
        rows: rising, ``[n]``.
        values: theirs, ``[n, d]``.
    """

    rows: Ints
    values: Floats

    @classmethod
    def concat(cls, parts: Sequence[tuple[Ints, Floats]]) -> "RowValues":
        """Return the rows and values of several parts; of a row that several have, those of the first."""
        rows, first = np.unique(np.concatenate([rows for rows, _ in parts]), return_index=True)
        return cls(rows, np.concatenate([values for _, values in parts])[first])

    def at(self, rows: Ints) -> Floats:
        """Return the values ``[n, d]`` of rows that are among them."""
        positions = np.searchsorted(self.rows, rows)
        assert np.array_equal(self.rows[positions], rows), "only rows that were computed can be asked for"
        return self.values[positions]


@dataclass(frozen=True)
class NetworkArtifact:
    """A network trained by gradient, as its ONNX graph and what it says of the pictures that are needed from here on.

    Args:
        info: what the model file says of it.
        graph: from ``pixels`` to ``logits``.
        size: side of its input in pixels.
        resize: how pictures that are not square are fitted.
        row_logits: of the test pictures and those of the parity gate.
        row_embeddings: of these, the calibration pictures and ``sample``.
        sample: training pictures that new ones are compared with.
        projection: from what the last layer is given to the embedding.
        tolerance: how far the file's probabilities may lie from its own.
    """

    info: NetworkInfo
    graph: bytes
    size: int
    resize: Resize
    row_logits: RowValues
    row_embeddings: RowValues
    sample: Part
    projection: Projection
    tolerance: float = TOLERANCE

    def logits(self, rows: Ints) -> Floats:
        """Return the logits ``[n, classes]`` of test pictures, or of those of the parity gate."""
        return self.row_logits.at(rows)

    @property
    def embedded_rows(self) -> Ints:
        """The rows of the catalog that have an embedding, rising."""
        return self.row_embeddings.rows

    def embeddings(self, rows: Ints) -> Floats:
        """Return the embeddings ``[n, d]`` of these pictures, of calibration pictures or of the sample."""
        return self.row_embeddings.at(rows)

    def assemble(self, temperature: float, manifest: Manifest, ood: OodHead, digests: Iterable[str]) -> bytes:
        """Return the model file: the network with its temperature as one graph, with the digests of its pictures."""
        return assemble_network(
            self.graph,
            size=self.size,
            resize=self.resize,
            temperature=temperature,
            manifest=manifest,
            ood=ood,
            digests=digests,
        )


@dataclass(frozen=True)
class Alternative:
    """What was not kept of a frozen head and a network that was trained to beat it.

    Args:
        trained: which network that was: the backbone itself, ``fine_tuned``, or a small ``network`` of its own.
        split: the parts of the split, and the logits of what was not kept.
        comparison: of the two on the validation pictures.
    """

    trained: Literal["fine_tuned", "network"]
    split: SplitLogits
    comparison: Comparison


@dataclass(frozen=True)
class Learned:
    """A classifier that was learned, before it is measured and bundled.

    Args:
        recipe: what was really done: a time limit may have made it less than was asked for.
        catalog: every picture that came in, with its split.
        split: the parts of the split, and the logits of those that were not trained on.
        artifact: what answers.
        sections: of ``metrics.json`` about the learning, ``head``, ``fit`` or both; the last is about what answers.
        notes: what changes how far to believe it.
        near_duplicates: among the pictures.
        head_refit: how heads on a frozen backbone answer all pictures in turn, fitted without them and without doubtful
            ones; None where there is no such backbone.
        history: a row for every epoch of a training by gradient.
        summary: the layers of a network, where its recipe has any.
        augmented: a sheet of augmented pictures, as PNG; None where nothing is augmented.
        alternative: what was learned besides and not kept.
        results: of earlier runs, and where those of this one are kept; by default nowhere.
    """

    recipe: Recipe
    catalog: Catalog
    split: SplitLogits
    artifact: HeadArtifact | NetworkArtifact
    sections: dict[str, dict[str, Any]]
    notes: list[Note]
    near_duplicates: NearDuplicates = NO_NEAR_DUPLICATES
    head_refit: HeadRefit | None = None
    history: list[Row] = field(default_factory=list)
    summary: Summary | None = None
    augmented: bytes | None = None
    alternative: Alternative | None = None
    results: ResultCache = field(default_factory=ResultCache)

    @property
    def classes(self) -> list[str]:
        """Their names, in the order of the probabilities."""
        return self.split.classes

    def sections_with_temperature(self) -> dict[str, dict[str, Any]]:
        """Return the sections about the learning; the temperature stands in that of what answers."""
        answers = list(self.sections)[-1]
        return {**self.sections, answers: {**self.sections[answers], "temperature": self.split.temperature}}
