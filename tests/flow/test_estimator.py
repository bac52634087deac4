"""``kilat.ImageClassifier`` and ``kilat.ImageEmbedder`` among scikit-learn's tools."""

import io
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from kilat import ImageClassifier
from kilat.errors import PictureError, RecipeError, SourceError

CHECKS = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_set_params",
    "check_valid_tag_types",
)


@pytest.fixture(scope="module")
def digits():
    """Pictures of three digits, and which digit each is."""
    data = load_digits(n_class=3)
    return np.rint(data.images[:150] * (255 / 16)).astype(np.uint8), data.target[:150]


@pytest.fixture(scope="module")
def fitted(digits):
    pictures, digit = digits
    return ImageClassifier().fit(pictures[:100], digit[:100])


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_own_checks(check):
    getattr(estimator_checks, check)("ImageClassifier", ImageClassifier())


def test_default_parameters_are_plain():
    estimator_checks.check_parameters_default_constructible("ImageClassifier", ImageClassifier())


def test_predictions_in_the_callers_own_labels(fitted, digits):
    pictures, digit = digits
    assert is_classifier(fitted)
    assert fitted.classes_.tolist() == [0, 1, 2]
    predicted = fitted.predict(pictures[100:])
    assert predicted.dtype == digit.dtype
    assert predicted.shape == (50,)
    assert fitted.score(pictures[100:], digit[100:]) > 0.95
    probabilities = fitted.predict_proba(pictures[100:])
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (50, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (fitted.classes_[probabilities.argmax(1)] == predicted).all()


@pytest.mark.parametrize(
    "labels",
    [
        np.array([10, 9, 100]),
        np.array(["ten", "a, b", "ünï"]),
        np.array([-1.0, 0.0, 2.0]),
        np.array(["x", "y", "z"], dtype=object),
    ],
)
def test_labels_of_any_kind_come_back_as_they_were(digits, labels):
    pictures, digit = digits
    estimator = ImageClassifier(size=32).fit(pictures[:60], labels[digit[:60]])
    assert estimator.classes_.tolist() == sorted(labels.tolist())
    assert estimator.score(pictures[60:], labels[digit[60:]]) > 0.8
    order = np.argsort(labels)
    assert (estimator.predict_proba(pictures[60:]).argmax(1) == np.argsort(order)[digit[60:]]).mean() > 0.8


def test_booleans_and_lists(digits):
    pictures, digit = digits
    estimator = ImageClassifier(size=32).fit(list(pictures[:60]), [bool(d == 1) for d in digit[:60]])
    assert estimator.classes_.tolist() == [False, True]
    assert estimator.predict(pictures[60:]).dtype == bool
    assert estimator.score(pictures[60:], digit[60:] == 1) > 0.8


def test_fitting_again_forgets(digits):
    pictures, digit = digits
    estimator = ImageClassifier(size=32).fit(pictures[:60], digit[:60])
    some = digit != 2
    assert estimator.fit(pictures[some], digit[some]) is estimator
    assert estimator.predict_proba(pictures[:4]).shape == (4, 2)


def test_the_same_twice(fitted, digits):
    pictures, digit = digits
    again = clone(fitted).fit(pictures[:100], digit[:100])
    assert (again.predict_proba(pictures) == fitted.predict_proba(pictures)).all()


def test_cross_validation(digits):
    scores = cross_val_score(ImageClassifier(size=32), *digits, cv=StratifiedKFold(3))
    assert scores.shape == (3,)
    assert scores.mean() > 0.9


def test_predictions_held_out_by_scikit_learn(digits):
    pictures, digit = digits
    probabilities = cross_val_predict(ImageClassifier(size=32), pictures, digit, cv=2, method="predict_proba")
    assert (probabilities.argmax(1) == digit).mean() > 0.9


def test_grid_search_in_a_pipeline(digits):
    pictures, digit = digits
    pipeline = Pipeline([("invert", FunctionTransformer(np.invert)), ("kilat", ImageClassifier())])
    grid = {"kilat__size": [32, 64], "kilat__class_weight": ["balanced"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(pictures[:90], digit[:90])
    assert search.best_score_ > 0.8
    assert search.score(pictures[90:], digit[90:]) > 0.8
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_not_fitted():
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(ImageClassifier(), method)(np.zeros((1, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((4, 8, 8)), "uint8"),
        (np.zeros((4, 64), np.uint8), "uint8"),
        ([np.zeros((8, 8), np.uint8), "a.jpg"] * 2, "mixed"),
        ([None] * 4, "None"),
        ([], "no pictures"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_hint(pictures, message):
    with pytest.raises(SourceError, match=message):
        ImageClassifier().fit(pictures, [0, 1] * (len(pictures) // 2))


def test_predict_refuses_floats(fitted):
    with pytest.raises(SourceError, match="astype"):
        fitted.predict(np.zeros((2, 8, 8)))


def test_labels_must_match(digits):
    pictures, digit = digits
    with pytest.raises(SourceError, match="10 pictures"):
        ImageClassifier().fit(pictures[:10], digit[:9])
    with pytest.raises(SourceError, match="two classes"):
        ImageClassifier().fit(pictures[:10], np.zeros(10, int))


def test_fit_names_all_invalid_parameters(digits):
    pictures, digit = digits
    estimator = ImageClassifier(size=4, resize="stretch", class_weight="even")
    with pytest.raises(RecipeError) as error:
        estimator.fit(pictures, digit)
    for path in ("features.size", "features.resize", "head.class_weight"):
        assert path in str(error.value)


def test_paths_and_a_broken_one_among_them(make_photos, tmp_path):
    folder = make_photos(tmp_path / "set", temple=15, flower=15)
    broken = folder / "temple" / "broken.jpg"
    broken.write_bytes(b"no picture")
    paths = [broken, *sorted(folder.glob("*/*-*.jpg"))]
    labels = [path.parent.name for path in paths]
    estimator = ImageClassifier(size=64).fit(paths, labels)
    refused = estimator.catalog_[estimator.catalog_["status"] != "used"]
    assert refused["path"].tolist() == [str(broken)]
    assert refused["code"].item() == "not_an_image"
    assert estimator.score(paths[1:], labels[1:]) > 0.9
    assert (estimator.predict([str(path) for path in paths[1:]]) == estimator.predict(paths[1:])).all()
    with pytest.raises(PictureError, match="not a picture"):
        estimator.predict(paths)


def test_pictures_of_different_shapes(digits):
    pictures, digit = digits
    mixed = [np.pad(p, ((0, i % 3), (0, i % 5))) for i, p in enumerate(pictures)]
    mixed = [np.repeat(p[..., None], 3, axis=2) if i % 2 else p for i, p in enumerate(mixed)]
    estimator = ImageClassifier(size=32).fit(mixed[:100], digit[:100])
    assert estimator.score(mixed[100:], digit[100:]) > 0.8


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_serialised_and_read_again(fitted, digits, how):
    pictures, _ = digits
    if how == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        buffer = io.BytesIO()
        joblib.dump(fitted, buffer)
        buffer.seek(0)
        again = joblib.load(buffer)
    assert (again.predict_proba(pictures[:20]) == fitted.predict_proba(pictures[:20])).all()
    assert again.get_params() == fitted.get_params()


def test_metrics_of_inner_cross_validation(fitted):
    assert fitted.metrics_.validation.n == 100
    assert fitted.metrics_.validation.accuracy > 0.9
    assert fitted.metrics_.test.n == 0


def test_a_single_picture_per_class_is_enough(digits):
    pictures, digit = digits
    first = [int(np.flatnonzero(digit == d)[0]) for d in range(3)]
    estimator = ImageClassifier(size=32).fit(pictures[first], digit[first])
    assert (estimator.predict(pictures[first]) == digit[first]).all()
    assert estimator.metrics_.validation.n == 0


def test_the_recipe_decides_what_is_not_given(digits):
    pictures, digit = digits
    recipe = {"features": {"size": 32, "resize": "pad"}, "head": {"class_weight": "balanced"}, "runtime": {"seed": 5}}
    estimator = ImageClassifier(recipe, resize="squash").fit(pictures[:30], digit[:30])
    kept = estimator.classifier_.manifest.recipe
    assert (kept["features"]["size"], kept["features"]["resize"]) == (32, "squash")
    assert kept["head"]["class_weight"] == "balanced"
    assert kept["runtime"]["seed"] == 5
