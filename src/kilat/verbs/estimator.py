"""kilat as a scikit-learn estimator, for pipelines, cross-validation and grid search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from kilat import recipe as recipes
from kilat.bundle.predictor import Given
from kilat.data.arrays import ArraySource, PathsSource
from kilat.data.catalog import Source
from kilat.errors import SourceError
from kilat.locale import _
from kilat.runtime.timer import Timer
from kilat.verbs.train import fit

Pictures = Sequence[str | Path] | Sequence[NDArray[np.uint8]] | NDArray[Any]


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of pictures: paths, or uint8 arrays ``[n, height, width(, 3)]`` (or a list of such arrays).

    All pictures given to ``fit`` are learnt from; scikit-learn's own tools hold some back. Byte-identical pictures
    count once. Pictures that cannot be decoded are left out of ``fit`` (see ``catalog_``) and refused by ``predict``.

    Args:
        recipe: a built-in name, a YAML file, a dictionary or a recipe.
        backbone: the network; like all that follow, None leaves the choice to the recipe.
        size: side in pixels at which to look, or ``auto``.
        resize: how pictures that are not square are fitted: ``crop``, ``squash`` or ``pad``.
        class_weight: ``balanced`` where rare classes matter as much.
        random_state: the seed; it decides the folds of the inner cross-validation.

    Attributes:
        classes_: the labels, sorted, ``[classes]``.
        classifier_: the finished classifier, as ``kilat.load`` gives it.
        metrics_: what inner cross-validation measured, under ``validation``.
        catalog_: one row per picture given to ``fit``: used, or refused and why.
    """

    def __init__(
        self,
        recipe: str | Path | dict[str, Any] | recipes.Recipe = "transfer",
        *,
        backbone: str | None = None,
        size: int | str | None = None,
        resize: str | None = None,
        class_weight: str | None = None,
        random_state: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.backbone = backbone
        self.size = size
        self.resize = resize
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Pictures, y: ArrayLike) -> Self:
        """Learns from pictures and their labels.

        Raises:
            KilatError: the pictures or the parameters cannot be used, with the reason.
        """
        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(X):
            raise SourceError(
                _("There are {pictures} pictures, but labels of shape {shape}.").format(
                    pictures=len(X), shape=labels.shape
                )
            )
        choices = {
            "backbone": self.backbone,
            "size": self.size,
            "resize": self.resize,
            "class_weight": self.class_weight,
            "seed": self.random_state,
            "test": 0.0,
        }
        settings = recipes.load(self.recipe, {name: value for name, value in choices.items() if value is not None})
        self.classes_, codes = np.unique(labels, return_inverse=True)
        made = fit(_source(X, [str(self.classes_[code]) for code in codes]), settings, Timer())
        self.classifier_, self.metrics_, self.catalog_ = made.classifier, made.metrics, made.catalog.table
        return self

    def predict_proba(self, X: Pictures) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 ``[n, classes]``, in the order of ``classes_``.

        Raises:
            PictureError: a picture cannot be read.
        """
        check_is_fitted(self)
        known = {name: column for column, name in enumerate(self.classifier_.classes)}
        answers = self.classifier_.predict_proba(_pictures(X))
        probabilities = np.zeros((len(answers), len(self.classes_)), np.float32)
        for column, label in enumerate(self.classes_):
            if str(label) in known:
                probabilities[:, column] = answers[:, known[str(label)]]
        return probabilities

    def predict(self, X: Pictures) -> NDArray[Any]:
        """The likeliest label of each picture, ``[n]``."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])


def _pictures(X: Pictures) -> list[Given]:
    """A picture per element.

    Raises:
        SourceError: these are neither paths nor uint8 pixels.
    """
    pictures = list(X)
    for picture in pictures:
        if isinstance(picture, str | Path):
            continue
        if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim in (2, 3)):
            what = (
                f"{picture.dtype} of shape {picture.shape}" if isinstance(picture, np.ndarray) else repr(picture)[:60]
            )
            raise SourceError(
                _(
                    "A picture was given as {what}; pictures are paths or uint8 arrays [height, width] or "
                    "[height, width, 3]."
                ).format(what=what),
                hint=_("Scale pixels to 0..255 and convert them with .astype('uint8')."),
            )
    return pictures


def _source(X: Pictures, labels: list[str]) -> Source:
    pictures = _pictures(X)
    if not pictures:
        raise SourceError(_("There are no pictures to learn from."))
    if all(isinstance(picture, str | Path) for picture in pictures):
        return PathsSource([str(picture) for picture in pictures], labels)
    if any(isinstance(picture, str | Path) for picture in pictures):
        raise SourceError(_("Paths and arrays are mixed; give one kind."))
    return ArraySource(pictures, labels, "X")  # type: ignore[arg-type]
