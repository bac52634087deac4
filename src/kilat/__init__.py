"""kilat turns a folder of labelled pictures into a tested, explained, portable image classifier."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilat.bundle.prediction import Prediction
    from kilat.bundle.predictor import Classifier, load
    from kilat.errors import KilatError
    from kilat.lab.lab import lab
    from kilat.lab.results import Lab
    from kilat.lab.search import search
    from kilat.verbs.activations import activations
    from kilat.verbs.check import Check, check
    from kilat.verbs.compare import compare
    from kilat.verbs.drift import drift
    from kilat.verbs.estimator import ImageClassifier, ImageEmbedder
    from kilat.verbs.evaluate import evaluate
    from kilat.verbs.run import Run
    from kilat.verbs.show import Batch, show
    from kilat.verbs.train import train

_HOMES = {
    "Batch": "kilat.verbs.show",
    "Check": "kilat.verbs.check",
    "Classifier": "kilat.bundle.predictor",
    "ImageClassifier": "kilat.verbs.estimator",
    "ImageEmbedder": "kilat.verbs.estimator",
    "Lab": "kilat.lab.results",
    "KilatError": "kilat.errors",
    "Prediction": "kilat.bundle.prediction",
    "Run": "kilat.verbs.run",
    "activations": "kilat.verbs.activations",
    "check": "kilat.verbs.check",
    "compare": "kilat.verbs.compare",
    "drift": "kilat.verbs.drift",
    "evaluate": "kilat.verbs.evaluate",
    "lab": "kilat.lab.lab",
    "load": "kilat.bundle.predictor",
    "search": "kilat.lab.search",
    "show": "kilat.verbs.show",
    "train": "kilat.verbs.train",
}

__all__ = [
    "Batch", "Check", "Classifier", "ImageClassifier", "ImageEmbedder", "KilatError", "Lab", "Prediction", "Run",
    "activations", "check", "compare", "drift", "evaluate", "lab", "load", "search", "show", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import kilat` costs nothing."""
    if name == "__version__":
        return import_module("importlib.metadata").version("kilat")
    if name not in _HOMES:
        raise AttributeError(f"module 'kilat' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


class _Kilat(ModuleType):
    """This package, in which a room never takes the place of a verb with its name (``check``, ``evaluate``)."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Kilat
