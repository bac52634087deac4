"""What a run says of itself: the sections of ``metrics.json``, the predictions, the document inside the model file."""

import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from kilat.bundle.manifest import Manifest
from kilat.data.catalog import SPLITS, Catalog, Source
from kilat.data.split import Part
from kilat.evaluate.comparison import Comparison
from kilat.features.backbone import Backbone
from kilat.locale import _
from kilat.probe import FittedHead
from kilat.recipe import Recipe, Resize

_STRONG_IMBALANCE = 5
_COMPARED = ("n", "accuracy", "accuracy_interval", "log_loss", "brier", "ece")
_PACKAGES = ("kilat", "numpy", "onnx", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Described:
    """What is said of a network, whichever way it learnt.

    Args:
        name: of the backbone, or of the recipe.
        size: side of its input in pixels.
        precision: in which the model file computes.
        digest: SHA-256 of its graph.
        opset: of its operators.
        packages: that had a hand in it, beside kilat's own.
        facts: more for the section ``model``.
    """

    name: str
    size: int
    precision: str
    digest: str
    opset: int
    packages: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def described(backbone: Backbone) -> Described:
    """What is said of a frozen backbone."""
    facts = {"backbone": backbone.name, "features": backbone.width}
    return Described(
        backbone.name, backbone.size, backbone.precision, backbone.digest, _opset(backbone.model), facts=facts
    )


def trained(name: str, graph: bytes, size: int, fit: dict[str, Any]) -> Described:
    """What is said of a network trained by gradient."""
    facts = {"network": name, "parameters": fit["parameters"], "macs": fit["macs"]}
    digest = hashlib.sha256(graph).hexdigest()
    return Described(name, size, "fp32", digest, _opset(graph), packages=("torch", "timm"), facts=facts)


def cropped_share(width: int, height: int, resize: Resize) -> float:
    """The share of a picture's area that fitting it into a square drops, 0 to 1."""
    return 1 - min(width, height) / max(width, height) if resize == "crop" else 0.0


def data(catalog: Catalog, classes: list[str], recipe: Recipe) -> dict[str, Any]:
    """The section ``data``: how many pictures took part and in what."""
    used = catalog.table[catalog.used]
    sizes = used[["width", "height"]].to_numpy()
    cut = [cropped_share(int(w), int(h), recipe.resize) for w, h in sizes]
    return {
        "used": len(used),
        "refused": len(catalog.table) - len(used),
        "classes": classes,
        **{split: int((used["split"] == split).sum()) for split in SPLITS},
        "duplicates": int((catalog.table["digest"].ne("") & catalog.table.duplicated("digest")).sum()),
        "near_duplicates": int((used["group"].ge(0) & used.duplicated("group", keep=False)).sum()),
        "cropped_share": round(float(np.mean(cut)), 4),
        "digest": hashlib.sha256("".join(sorted(used["digest"])).encode()).hexdigest(),
    }


def head(fitted: FittedHead, recipe: Recipe) -> dict[str, Any]:
    """The section ``head``: what was tried, what was chosen."""
    return {
        "l2_penalty": fitted.l2_penalty,
        "l2_penalties": [vars(one) for one in fitted.cross_validation],
        "class_weight": recipe.head.class_weight,
        "curve": [{"pictures": n, "correct": right, "n": of} for n, right, of in fitted.learning_curve],
    }


def comparison(kept: dict[str, Any], rival: dict[str, Any], found: Comparison) -> dict[str, Any]:
    """The section ``comparison``: fine-tuning beside the frozen result that it began with, on the same split."""
    sides = (kept, rival) if found.is_better else (rival, kept)
    names = ("fine_tuned", "frozen")
    return {
        "kept": names[0] if found.is_better else names[1],
        **{
            name: {part: {key: side[part][key] for key in _COMPARED} for part in ("test", "validation")}
            for name, side in zip(names, sides, strict=True)
        },
        "validation": {**vars(found), "needed": found.needed},
    }


def model(network: Described, file: bytes, recipe: Recipe) -> dict[str, Any]:
    """The section ``model``: which network, and how large the file is."""
    return {
        **network.facts,
        "size": network.size,
        "precision": network.precision,
        "resize": recipe.resize,
        "bytes": len(file),
        "digest": hashlib.sha256(file).hexdigest(),
    }


def manifest(network: Described, recipe: Recipe, metrics: dict[str, Any], thresholds: dict[str, Any]) -> Manifest:
    """The document inside the model file."""
    kept = ("n", "accuracy", "accuracy_interval", "balanced_accuracy", "log_loss", "ece")
    return Manifest(
        classes=tuple(metrics["data"]["classes"]),
        size=network.size,
        backbone={"name": network.name, "precision": network.precision, "digest": network.digest},
        recipe=recipe.model_dump(mode="json"),
        thresholds=thresholds,
        measures={part: {key: metrics[part][key] for key in kept} for part in ("test", "validation")},
        digests={"data": metrics["data"]["digest"]},
        versions=versions(network),
    )


def versions(network: Described) -> dict[str, Any]:
    """Of Python, of the packages that had a hand in it, and of the graph's operators."""
    packages = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *network.packages)}
    return {"python": platform.python_version(), **packages, "opset": network.opset}


def _opset(graph: bytes) -> int:
    return int(onnx.load_from_string(graph).opset_import[0].version)


def predictions(catalog: Catalog, classes: list[str], parts: list[tuple[Part, NDArray[np.float32]]]) -> pd.DataFrame:
    """One row per picture that was asked without having been learnt from: truth, answer, probability.

    Validation answers are those of cross-validation.
    """
    frames = []
    for part, probabilities in parts:
        rows = catalog.table.loc[part.rows, ["path", "split", "label"]]
        best = probabilities.argmax(1)
        answers = {
            "row": part.rows,
            "split": rows["split"].where(rows["split"].isin(("test", "calibration")), "validation"),
            "predicted": [classes[i] for i in best],
            "probability": probabilities[np.arange(len(best)), best],
        }
        frames.append(rows.assign(**answers))
    return pd.concat(frames).sort_values("row").reset_index(drop=True)


def skipped(source: Source) -> list[str]:
    """A sentence on the files that were no pictures, where there were any."""
    if not source.skipped:
        return []
    counts = ", ".join(f"{reason}: {count:,}" for reason, count in source.skipped.items())
    return [_("Passed over, because they are no pictures: {counts}.").format(counts=counts)]


def imbalance(truth: NDArray[np.int64], classes: list[str], recipe: Recipe) -> list[str]:
    """A sentence where some class has far more pictures to learn from than another."""
    counts = np.bincount(truth, minlength=len(classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    section, weight = ("head", recipe.head.class_weight) if recipe.model is None else ("fit", recipe.fit.class_weight)
    if counts[most] < _STRONG_IMBALANCE * counts[least] or weight:
        return []
    sentence = _(
        "Class “{most}” has {many} pictures to learn from, “{least}” has {few}. Where rare classes matter as much, "
        "train with --set {section}.class_weight=balanced."
    )
    return [
        sentence.format(most=classes[most], many=counts[most], least=classes[least], few=counts[least], section=section)
    ]
