"""kilat turns a folder of labelled pictures into a tested, explained, portable image classifier."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilat.bundle.predictor import Classifier, Prediction, load
    from kilat.errors import KilatError
    from kilat.verbs.estimator import ImageClassifier
    from kilat.verbs.train import Run, train

_HOMES = {
    "Classifier": "kilat.bundle.predictor",
    "ImageClassifier": "kilat.verbs.estimator",
    "KilatError": "kilat.errors",
    "Prediction": "kilat.bundle.predictor",
    "Run": "kilat.verbs.train",
    "load": "kilat.bundle.predictor",
    "train": "kilat.verbs.train",
}

__all__ = ["Classifier", "ImageClassifier", "KilatError", "Prediction", "Run", "load", "train"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for, so that `import kilat` costs nothing."""
    if name == "__version__":
        return import_module("importlib.metadata").version("kilat")
    if name not in _HOMES:
        raise AttributeError(f"module 'kilat' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
