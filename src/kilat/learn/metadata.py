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
from kilat.data.catalog import SPLITS, Catalog
from kilat.data.split import Part
from kilat.evaluate.comparison import Comparison
from kilat.features.backbone import Backbone
from kilat.locale.notes import Note
from kilat.probe import FittedHead
from kilat.recipe import Recipe, Resize

_STRONG_IMBALANCE = 5
_COMPARED = ("n", "accuracy", "accuracy_interval", "log_loss", "brier", "ece")
_PACKAGES = ("kilat", "numpy", "onnx", "onnxruntime", "pillow")


@dataclass(frozen=True)
class NetworkInfo:
    """What is said of a network, whichever way it was trained.

    Args:
        name: of the backbone, or of the recipe.
        size: side of its input in pixels.
        precision: in which the model file computes.
        digest: SHA-256 of its graph.
        opset: of its operators.
        packages: that had a hand in it, beside kilat's own.
        section: more for the section ``model`` of ``metrics.json``.
    """

    name: str
    size: int
    precision: str
    digest: str
    opset: int
    packages: tuple[str, ...] = ()
    section: dict[str, Any] = field(default_factory=dict)


def backbone_info(backbone: Backbone) -> NetworkInfo:
    """Return what is said of a frozen backbone."""
    section = {"backbone": backbone.name, "features": backbone.width}
    opset = _opset(backbone.model)
    return NetworkInfo(backbone.name, backbone.size, backbone.precision, backbone.digest, opset, section=section)


def network_info(name: str, graph: bytes, size: int, fit: dict[str, Any]) -> NetworkInfo:
    """Return what is said of a network trained by gradient, ``fit`` being its section of ``metrics.json``."""
    section = {"network": name, "parameters": fit["parameters"], "macs": fit["macs"]}
    digest = hashlib.sha256(graph).hexdigest()
    return NetworkInfo(name, size, "fp32", digest, _opset(graph), packages=("torch", "timm"), section=section)


def cropped_share(width: int, height: int, resize: Resize) -> float:
    """Return the share of a picture's area that fitting it into a square drops, 0 to 1."""
    return 1 - min(width, height) / max(width, height) if resize == "crop" else 0.0


def data(catalog: Catalog, classes: list[str], recipe: Recipe) -> dict[str, Any]:
    """Return the section ``data``: how many pictures took part and in what."""
    used = catalog.table[catalog.used]
    sizes = used[["width", "height"]].to_numpy()
    cut = [cropped_share(int(w), int(h), recipe.resize) for w, h in sizes]
    return {
        "used": len(used),
        "refused": len(catalog.table) - len(used),
        "reasons": catalog.refusal_counts,
        "classes": classes,
        **{split: int((used["split"] == split).sum()) for split in SPLITS},
        "duplicates": int((catalog.table["digest"].ne("") & catalog.table.duplicated("digest")).sum()),
        "near_duplicates": int((used["group"].ge(0) & used.duplicated("group", keep=False)).sum()),
        "cropped_share": round(float(np.mean(cut)), 4),
        "digest": hashlib.sha256("".join(sorted(used["digest"])).encode()).hexdigest(),
    }


def head(fitted: FittedHead, recipe: Recipe) -> dict[str, Any]:
    """Return the section ``head``: what was tried, what was chosen."""
    return {
        "l2_penalty": fitted.l2_penalty,
        "l2_penalties": [vars(one) for one in fitted.cross_validation],
        "class_weight": recipe.head.class_weight,
        "curve": [{"pictures": n, "correct": right, "n": of} for n, right, of in fitted.learning_curve],
    }


def comparison(trained: str, kept: dict[str, Any], alternative: dict[str, Any], found: Comparison) -> dict[str, Any]:
    """Return the section ``comparison``: a trained network beside the frozen backbone, on the same split.

    Args:
        trained: ``fine_tuned`` or ``network``.
        kept: the sections ``test`` and ``validation`` of what was kept.
        alternative: those of the other one.
        found: on the validation pictures.
    """
    rivals = {trained: kept, "frozen": alternative} if found.is_better else {trained: alternative, "frozen": kept}
    return {
        "kept": trained if found.is_better else "frozen",
        **{
            name: {part: {key: measures[part][key] for key in _COMPARED} for part in ("test", "validation")}
            for name, measures in rivals.items()
        },
        "validation": {**vars(found), "needed": found.needed},
    }


def model(network: NetworkInfo, file: bytes, recipe: Recipe) -> dict[str, Any]:
    """Return the section ``model``: which network, and how large the file is."""
    return {
        **network.section,
        "size": network.size,
        "precision": network.precision,
        "resize": recipe.resize,
        "bytes": len(file),
        "digest": hashlib.sha256(file).hexdigest(),
    }


def manifest(
    network: NetworkInfo,
    recipe: Recipe,
    data: dict[str, Any],
    measures: dict[str, dict[str, Any]],
    thresholds: dict[str, Any],
) -> Manifest:
    """Return the document inside the model file.

    Args:
        network: what is said of it.
        recipe: what was really done.
        data: the section of ``metrics.json``.
        measures: its sections ``test`` and ``validation``.
        thresholds: of prediction sets and unknown pictures.
    """
    kept = ("n", "accuracy", "accuracy_interval", "balanced_accuracy", "log_loss", "ece")
    return Manifest(
        classes=tuple(data["classes"]),
        size=network.size,
        backbone={"name": network.name, "precision": network.precision, "digest": network.digest},
        recipe=recipe.model_dump(mode="json"),
        thresholds=thresholds,
        measures={part: {key: measures[part][key] for key in kept} for part in ("test", "validation")},
        digests={"data": data["digest"]},
        versions=versions(network),
    )


def versions(network: NetworkInfo) -> dict[str, Any]:
    """Return the versions of Python, of the packages that had a hand in it, and of the graph's operators."""
    packages = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *network.packages)}
    return {"python": platform.python_version(), **packages, "opset": network.opset}


def _opset(graph: bytes) -> int:
    return int(onnx.load_from_string(graph).opset_import[0].version)


def predictions(catalog: Catalog, classes: list[str], parts: list[tuple[Part, NDArray[np.float32]]]) -> pd.DataFrame:
    """Return a row per picture that was answered without having been trained on: its label and what was predicted.

    ``probability`` is that of the prediction, ``label_probability`` that of the label.
    The answers to validation pictures of a head on a frozen backbone are those of cross-validation.

    Args:
        catalog: every picture that came in.
        classes: their names.
        parts: pictures with their probabilities, ``[n, classes]``.
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
            "label_probability": probabilities[np.arange(len(best)), part.truth],
        }
        frames.append(rows.assign(**answers))
    return pd.concat(frames).sort_values("row").reset_index(drop=True)


def imbalance(labels: NDArray[np.int64], classes: list[str], recipe: Recipe) -> list[Note]:
    """Return a note where some class has far more training pictures than another, and nothing weighs them."""
    counts = np.bincount(labels, minlength=len(classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    section, weight = ("head", recipe.head.class_weight) if recipe.model is None else ("fit", recipe.fit.class_weight)
    if counts[most] < _STRONG_IMBALANCE * counts[least] or weight:
        return []
    values = {"largest": classes[most], "most": int(counts[most]), "smallest": classes[least]}
    return [Note("class_imbalance", {**values, "count": int(counts[least]), "section": section})]
