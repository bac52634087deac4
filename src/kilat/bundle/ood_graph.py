"""The part of a model file that notices what was never learnt, as ONNX: ``embedding`` and ``unknown``.

The same arithmetic as ``kilat.evaluate.out_of_distribution.OodDetector``, step by step, so that bare ONNX Runtime gives
the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kilat.evaluate.out_of_distribution import LEAST_SQUARE, OodDetector

Floats = NDArray[np.float32]
Part = tuple[Sequence[onnx.NodeProto], Sequence[onnx.TensorProto]]


@dataclass(frozen=True)
class Projection:
    """How what a network saw becomes an embedding: ``(seen - offset) @ basis``.

    Args:
        offset: ``[seen]``.
        basis: ``[seen, d]``.
    """

    offset: Floats
    basis: Floats

    def __call__(self, seen: Floats) -> Floats:
        """Embeddings ``[n, d]`` of ``[n, seen]``."""
        embeddings: Floats = np.matmul(seen - self.offset, self.basis, dtype=np.float32)
        return embeddings


@dataclass(frozen=True)
class OodGraph:
    """What goes into the file.

    Args:
        projection: to the embedding.
        detector: of what is none of the classes.
        reference: embeddings of pictures that new ones can be compared with, ``[n, d]``.
    """

    projection: Projection
    detector: OodDetector
    reference: Floats


def sensing(senses: OodGraph, seen: str, logits: str) -> Part:
    """Nodes and constants from two tensors of the graph to ``embedding`` and ``unknown``.

    Args:
        senses: what to write.
        seen: name of what the projection takes, ``[batch, seen]``.
        logits: name of the calibrated logits, ``[batch, classes]``.
    """
    writer = _Writer(senses.detector)
    offset = writer.constant("embedding.offset", senses.projection.offset)
    basis = writer.constant("embedding.basis", senses.projection.basis)
    writer.node("MatMul", [writer.node("Sub", [seen, offset], "embedding.centred"), basis], "embedding")
    each = [writer.standard(method, logits) for method in senses.detector.methods]
    total = writer.node("Sum", each, "unknown.total")
    writer.node("Sub", [total, writer.constant("unknown.threshold", senses.detector.threshold)], "unknown")
    return writer.nodes, writer.constants


class _Writer:
    def __init__(self, detector: OodDetector) -> None:
        self.detector, self.statistics = detector, detector.statistics
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def standard(self, method: str, logits: str) -> str:
        """How strange a picture is by one method, in units of the spread among known ones."""
        write = {"knn": self._nearest, "mahalanobis": self._mahalanobis}.get(method)
        raw = write() if write else self._surprise(method, logits)
        at = self.detector.methods.index(method)
        centre = self.constant(f"unknown.{method}.centre", self.detector.medians[at])
        spread = self.constant(f"unknown.{method}.spread", self.detector.spreads[at])
        centred = self.node("Sub", [raw, centre], f"unknown.{method}.centred")
        return self.node("Div", [centred, spread], f"unknown.{method}.standard")

    def _nearest(self) -> str:
        # As half-precision numbers the index takes half the room; they were rounded so before anything was measured.
        stored = numpy_helper.from_array(
            np.ascontiguousarray(self.statistics.index.T.astype(np.float16)), "unknown.index"
        )
        self.constants.append(stored)
        index = self.node("Cast", ["unknown.index"], "unknown.index.full", to=TensorProto.FLOAT)
        lengths = np.einsum("md,md->m", self.statistics.index, self.statistics.index)
        own = self._square("unknown.knn.own", "embedding", keep=True)
        beyond = self._distances("unknown.knn", "embedding", index, lengths)
        squares = self.node("Add", [own, beyond], "unknown.knn.squares")
        nearest = self.node("ReduceMin", [squares, self._axis()], "unknown.knn.nearest", keepdims=0)
        least = self.constant("unknown.knn.least", LEAST_SQUARE)
        return self.node("Sqrt", [self.node("Max", [nearest, least], "unknown.knn.kept")], "unknown.knn.distance")

    def _mahalanobis(self) -> str:
        within = self.constant("unknown.within", self.statistics.within_whitening)
        place = self.node("MatMul", ["embedding", within], "unknown.mahalanobis.place")
        means = self.constant("unknown.means", self.statistics.class_means)
        turned = self.node("Transpose", [means], "unknown.means.turned", perm=[1, 0])
        lengths = np.einsum("kd,kd->k", self.statistics.class_means, self.statistics.class_means)
        distances = self._distances("unknown.mahalanobis", place, turned, lengths)
        which = self.node("ArgMin", [distances], "unknown.mahalanobis.which", axis=1, keepdims=0)
        nearest = self.node("Gather", [means, which], "unknown.mahalanobis.nearest", axis=0)
        apart = self.node("Sub", [place, nearest], "unknown.mahalanobis.apart")
        inside = self._square("unknown.apart.square", apart, keep=False)
        overall = self.constant("unknown.overall", self.statistics.total_whitening)
        whole = self.node("MatMul", ["embedding", overall], "unknown.mahalanobis.whole")
        away = self.node("Sub", [whole, self.constant("unknown.centre", self.statistics.total_mean)], "unknown.away")
        square = self._square("unknown.away.square", away, keep=False)
        return self.node("Sub", [inside, square], "unknown.mahalanobis.relative")

    def _surprise(self, method: str, logits: str) -> str:
        if method == "energy":
            total = self.node("ReduceLogSumExp", [logits, self._axis()], "unknown.energy.total", keepdims=0)
            return self.node("Neg", [total], "unknown.energy.free")
        best = self.node("ReduceMax", ["probabilities", self._axis()], "unknown.max_softmax.best", keepdims=0)
        return self.node("Neg", [best], "unknown.max_softmax.negated")

    def _distances(self, name: str, points: str, others: str, lengths: Floats) -> str:
        """Squares of the distances of points ``[n, d]`` to others ``[d, m]``, less the points' own, ``[n, m]``."""
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
