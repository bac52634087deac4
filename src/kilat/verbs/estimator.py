"""kilat among scikit-learn's tools: ``kilat.ImageClassifier`` and ``kilat.ImageEmbedder``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kilat import recipe as recipes
from kilat.data.from_program import class_values, list_of_pictures, require_files, source_of_pictures
from kilat.data.labels import label_name
from kilat.errors import PictureError, RecipeError, nearest
from kilat.features.cache import FeatureCache
from kilat.features.extract import cache_namespace, extract_features
from kilat.learn import backbone as backbones
from kilat.learn.device import inference_device
from kilat.locale import _
from kilat.runtime.array_types import Floats
from kilat.runtime.timer import Timer
from kilat.verbs.train import fit

Pictures = Sequence[str | Path] | Sequence[NDArray[np.uint8]] | NDArray[Any]


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of pictures: paths, or uint8 arrays ``[n, height, width(, 3)]`` (or a list of such arrays).

    ``fit`` trains on all pictures that it is given; scikit-learn's own tools hold some out. Byte-identical pictures
    count once. Pictures that cannot be decoded are left out of ``fit`` (see ``catalog_``) and refused by ``predict``.

    Args:
        recipe: a built-in name, a YAML file, a dictionary or a recipe.
        backbone: the pretrained network; like all that follow, None leaves the choice to the recipe.
        size: side of the network's input in pixels, or ``auto``.
        resize: how pictures that are not square are resized: ``crop``, ``squash`` or ``pad``.
        class_weight: ``balanced`` where rare classes count as much as common ones.
        random_state: the seed; it decides the folds of the inner cross-validation.

    Attributes:
        classes_: the labels, sorted, ``[classes]``.
        classifier_: the finished classifier, as ``kilat.load`` returns it.
        metrics_: what inner cross-validation measured, under ``validation``; typed, as ``kilat.Run.metrics``.
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
        """Train on pictures and their labels.

        Raises:
            KilatError: the pictures or the parameters are invalid; the message says why.
        """
        self.classes_, codes = np.unique(class_values(y, "y"), return_inverse=True)
        names = [label_name(label) for label in self.classes_]
        source = source_of_pictures(X, [names[code] for code in codes], "X")
        require_files(X, "X")
        overrides = {
            "backbone": self.backbone,
            "size": self.size,
            "resize": self.resize,
            "class_weight": self.class_weight,
            "seed": self.random_state,
        }
        given = {name: value for name, value in overrides.items() if value is not None}
        timer = Timer()
        outcome = fit(source, recipes.load(self.recipe, {**given, "test": 0.0}), timer)
        self.classifier_, self.catalog_ = outcome.classifier, outcome.learned.catalog.table
        self.metrics_ = outcome.metrics(timer.timings())
        return self

    def predict_proba(self, X: Pictures) -> Floats:
        """Return calibrated probabilities, float32 ``[n, classes]``, in the order of ``classes_``.

        Raises:
            PictureError: a picture cannot be read.
        """
        check_is_fitted(self)
        trained = {name: column for column, name in enumerate(self.classifier_.classes)}
        answers = self.classifier_.predict_proba(list_of_pictures(X, "X"))
        probabilities = np.zeros((len(answers), len(self.classes_)), np.float32)
        for column, label in enumerate(self.classes_):
            if (name := label_name(label)) in trained:  # not a class whose pictures were all refused
                probabilities[:, column] = answers[:, trained[name]]
        return probabilities

    def predict(self, X: Pictures) -> NDArray[Any]:
        """Return the most probable label of each picture, ``[n]``."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])


class ImageEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features of pictures from a frozen pretrained backbone, for any estimator of scikit-learn.

    Pictures are paths, or uint8 arrays ``[n, height, width(, 3)]`` (or a list of such arrays). ``fit`` trains nothing:
    it settles the size and precision of the network, so that every later picture gets the same features however it
    comes.

    Args:
        features: ``embedding`` for the pooled output of the backbone's last stage; ``all`` for the mean and the log
            variance of every channel of all its stages as well, which kilat's own heads are fitted on.
        backbone: the pretrained network, any timm name with the extra ``torch``; None for EfficientNet-Lite0.
        size: side of the network's input in pixels; None for four times the pictures' own, at most the backbone's.
        resize: how pictures that are not square are resized: ``crop``, ``squash`` or ``pad``; None for ``crop``.
        precision: ``int8`` or ``fp32``; None for int8 where the backbone has it and a CPU computes.
        cache: whether features are taken from the feature cache and kept in it.

    Attributes:
        backbone_: the network, with its size, precision and the layout of its features.
        notes_: what is worth knowing about it, such as a size that is not its own, as sentences.
        n_features_out_: how many features a picture gets.
    """

    def __init__(
        self,
        features: Literal["embedding", "all"] = "embedding",
        *,
        backbone: str | None = None,
        size: int | str | None = None,
        resize: str | None = None,
        precision: str | None = None,
        cache: bool = True,
    ) -> None:
        self.features = features
        self.backbone = backbone
        self.size = size
        self.resize = resize
        self.precision = precision
        self.cache = cache

    def fit(self, X: Pictures, y: Any = None) -> Self:
        """Check the parameters, and settle size and precision of the network; ``y`` is ignored.

        Raises:
            KilatError: the pictures or the parameters are invalid; the message says why.
        """
        if self.features not in ("embedding", "all"):
            raise RecipeError(
                _("There are no features called '{features}'.").format(features=self.features),
                hint=nearest(str(self.features), ("embedding", "all")),
            )
        source = source_of_pictures(X, [""] * len(X), "X")
        choice = backbones.choose(self._settings(), source, inference_device("auto"))
        self.backbone_, self.notes_ = choice.backbone, [note.sentence() for note in choice.notes]
        self.n_features_out_ = int(self._columns().sum())
        return self

    def transform(self, X: Pictures) -> Floats:
        """Return the features of pictures, float32 ``[n, n_features_out_]``.

        Raises:
            PictureError: a picture cannot be read.
            SourceError: these are neither paths nor uint8 pixels.
        """
        check_is_fitted(self)
        if not len(X):
            return np.zeros((0, self.n_features_out_), np.float32)
        source, settings = source_of_pictures(X, [""] * len(X), "X"), self._settings()
        device = inference_device("auto")
        cache = FeatureCache(cache_namespace(self.backbone_, settings.resize, device)) if self.cache else None
        try:
            extraction = extract_features(
                source,
                np.ones(len(X), bool),
                self.backbone_,
                resize=settings.resize,
                cache=cache,
                runner=backbones.runner(self.backbone_, settings, device),
            )
        finally:
            if cache is not None:
                cache.close()
        for row, refusal in extraction.refusals.items():
            raise PictureError(refusal.code, refusal.detail, source.entries[row].path)
        features: Floats = extraction.features[:, self._columns()]
        return features

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return a name for each feature: the part of the network that it comes from, and its number there."""
        check_is_fitted(self)
        names = [f"{block.name}.{number}" for block in self.backbone_.blocks for number in range(block.width)]
        return np.array(names, object)[self._columns()]

    def _settings(self) -> recipes.Features:
        given = {"backbone": self.backbone, "size": self.size, "resize": self.resize, "precision": self.precision}
        overrides = {f"features.{name}": value for name, value in given.items() if value is not None}
        return recipes.load("transfer", overrides).features

    def _columns(self) -> NDArray[np.bool_]:
        """Which features of the backbone are given, a mask; of several joined backbones each has its own last stage."""
        wanted = [self.features == "all" or block.name.rpartition(".")[2] == "last" for block in self.backbone_.blocks]
        return np.repeat(wanted, [block.width for block in self.backbone_.blocks])
