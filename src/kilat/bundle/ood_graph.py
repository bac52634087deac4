"""The part of a model file that detects pictures out of distribution, as ONNX: ``embedding`` and ``unknown``.

The same arithmetic as ``kilat.evaluate.out_of_distribution.OodDetector``, step by step, so that bare ONNX Runtime gives
the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kilat.evaluate.out_of_distribution import LEAST_SQUARE, OodDetector
from kilat.runtime.array_types import Floats

Subgraph = tuple[Sequence[onnx.NodeProto], Sequence[onnx.TensorProto]]
"""Nodes and constants, to be put into a graph."""


@dataclass(frozen=True)
class Projection:
    """How features become an embedding: ``(features - offset) @ basis``.

    Args:
        offset: ``[features]``.
        basis: ``[features, d]``.
    """

    offset: Floats
    basis: Floats

    def __call__(self, features: Floats) -> Floats:
        """Return embeddings ``[n, d]`` of features ``[n, features]``."""
        embeddings: Floats = np.matmul(features - self.offset, self.basis, dtype=np.float32)
        return embeddings


@dataclass(frozen=True)
class OodHead:
    """An embedding with a detector of pictures out of distribution on it, as they go into a model file.

    Args:
        projection: from features to the embedding.
        detector: of pictures that are none of the classes.
        reference: embeddings of pictures that new ones can be compared with, ``[n, d]``.
    """

    projection: Projection
    detector: OodDetector
    reference: Floats


def ood_nodes(ood: OodHead, features: str, logits: str) -> Subgraph:
    """Return nodes and constants from two tensors of the graph to ``embedding`` and ``unknown``.

    Args:
        ood: what to write.
        features: name of what the projection takes, ``[batch, features]``.
        logits: name of the calibrated logits, ``[batch, classes]``.
    """
    writer = _Writer(ood.detector)
    offset = writer.constant("embedding.offset", ood.projection.offset)
    basis = writer.constant("embedding.basis", ood.projection.basis)
    writer.node("MatMul", [writer.node("Sub", [features, offset], "embedding.centred"), basis], "embedding")
    scores = [writer.standardised(method, logits) for method in ood.detector.methods]
    total = writer.node("Sum", scores, "unknown.total")
    writer.node("Sub", [total, writer.constant("unknown.threshold", ood.detector.threshold)], "unknown")
    return writer.nodes, writer.constants


class _Writer:
    def __init__(self, detector: OodDetector) -> None:
        self.detector, self.statistics = detector, detector.statistics
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def standardised(self, method: str, logits: str) -> str:
        """Write the score of a picture by one method, in units of the spread among in-distribution pictures."""
        if method == "knn":
            raw = self._nearest()
        elif method == "mahalanobis":
            raw = self._mahalanobis()
        elif method == "energy":
            total = self.node("ReduceLogSumExp", [logits, self._axis()], "unknown.energy.total", keepdims=0)
            raw = self.node("Neg", [total], "unknown.energy.free")
        else:
            best = self.node("ReduceMax", ["probabilities", self._axis()], "unknown.max_softmax.best", keepdims=0)
            raw = self.node("Neg", [best], "unknown.max_softmax.negated")
        at = self.detector.methods.index(method)
        centre = self.constant(f"unknown.{method}.centre", self.detector.medians[at])
        spread = self.constant(f"unknown.{method}.spread", self.detector.spreads[at])
        centred = self.node("Sub", [raw, centre], f"unknown.{method}.centred")
        return self.node("Div", [centred, spread], f"unknown.{method}.standard")

    def _nearest(self) -> str:
        # In half precision the index takes half the space; it was rounded so before anything was measured.
        stored = numpy_helper.from_array(
            np.ascontiguousarray(self.statistics.index.T.astype(np.float16)), "unknown.index"
        )
        self.constants.append(stored)
        index = self.node("Cast", ["unknown.index"], "unknown.index.full", to=TensorProto.FLOAT)
        lengths = np.einsum("md,md->m", self.statistics.index, self.statistics.index)
        own = self._square("unknown.knn.own", "embedding", keep=True)
        rest = self._distances("unknown.knn", "embedding", index, lengths)
        squares = self.node("Add", [own, rest], "unknown.knn.squares")
        nearest = self.node("ReduceMin", [squares, self._axis()], "unknown.knn.nearest", keepdims=0)
        least = self.constant("unknown.knn.least", LEAST_SQUARE)
        return self.node("Sqrt", [self.node("Max", [nearest, least], "unknown.knn.kept")], "unknown.knn.distance")

    def _mahalanobis(self) -> str:
        within = self.constant("unknown.within", self.statistics.within_whitening)
        whitened = self.node("MatMul", ["embedding", within], "unknown.mahalanobis.place")
        means = self.constant("unknown.means", self.statistics.class_means)
        transposed = self.node("Transpose", [means], "unknown.means.turned", perm=[1, 0])
        lengths = np.einsum("kd,kd->k", self.statistics.class_means, self.statistics.class_means)
        distances = self._distances("unknown.mahalanobis", whitened, transposed, lengths)
        which = self.node("ArgMin", [distances], "unknown.mahalanobis.which", axis=1, keepdims=0)
        nearest = self.node("Gather", [means, which], "unknown.mahalanobis.nearest", axis=0)
        from_class = self.node("Sub", [whitened, nearest], "unknown.mahalanobis.apart")
        within_square = self._square("unknown.apart.square", from_class, keep=False)
        overall = self.constant("unknown.overall", self.statistics.total_whitening)
        whole = self.node("MatMul", ["embedding", overall], "unknown.mahalanobis.whole")
        mean = self.constant("unknown.centre", self.statistics.total_mean)
        from_all = self.node("Sub", [whole, mean], "unknown.away")
        total_square = self._square("unknown.away.square", from_all, keep=False)
        return self.node("Sub", [within_square, total_square], "unknown.mahalanobis.relative")

    def _distances(self, name: str, points: str, others: str, lengths: Floats) -> str:
        """Write squared distances ``[n, m]`` from points ``[n, d]`` to others ``[d, m]``, less squares of points."""
        products = self.node("MatMul", [points, others], f"{name}.products")
        twice = self.node("Mul", [products, self.constant(f"{name}.two", 2.0)], f"{name}.twice")
        return self.node("Sub", [self.constant(f"{name}.lengths", lengths), twice], f"{name}.beyond")

    def _square(self, name: str, points: str, *, keep: bool) -> str:
        return self.node("ReduceSumSquare", [points, self._axis()], name, keepdims=int(keep))

    def _axis(self) -> str:
        if not any(one.name == "unknown.axis" for one in self.constants):
            self.constants.append(numpy_helper.from_array(np.array([1], np.int64), "unknown.axis"))
        return "unknown.axis"

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: object) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name
