"""``kilat.ImageEmbedder``: features of a frozen backbone for scikit-learn's estimators."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from kilat import ImageEmbedder
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
    return np.rint(data.images[:90] * (255 / 16)).astype(np.uint8), data.target[:90]


@pytest.fixture(scope="module")
def fitted(digits):
    return ImageEmbedder(size=32).fit(digits[0])


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_own_checks(check):
    getattr(estimator_checks, check)("ImageEmbedder", ImageEmbedder())


def test_default_parameters_are_plain():
    estimator_checks.check_parameters_default_constructible("ImageEmbedder", ImageEmbedder())


def test_the_embedding_is_the_last_stage_of_all_features(fitted, digits):
    pictures, _ = digits
    embedding = fitted.transform(pictures)
    every = ImageEmbedder("all", size=32).fit(pictures)
    features = every.transform(pictures)
    assert embedding.dtype == features.dtype == np.float32
    assert embedding.shape == (90, fitted.n_features_out_) == (90, 1280)
    assert features.shape == (90, every.n_features_out_) == (90, every.backbone_.width)
    assert (features[:, -1280:] == embedding).all()
    names = every.get_feature_names_out()
    assert names[-1280:].tolist() == fitted.get_feature_names_out().tolist()
    assert names[0] == "stage1.mean.0"
    assert names[-1] == "last.1279"
    assert len(set(names)) == len(names)


def test_every_picture_gets_the_same_features_however_it_comes(fitted, digits):
    pictures, _ = digits
    together = fitted.transform(pictures)
    coloured = [np.repeat(picture[..., None], 3, 2) for picture in pictures[:5]]
    for given in (pictures[:5], list(pictures[:5]), pictures[4::-1][::-1], coloured):
        assert (fitted.transform(given) == together[:5]).all()
    for how in (ImageEmbedder(size=32, cache=False).fit(pictures), clone(fitted).fit(pictures[:3])):
        assert (how.transform(pictures[:5]) == together[:5]).all()
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.transform(pictures) == together).all()
    assert again.get_params() == fitted.get_params()


def test_fit_settles_the_size(digits, make_photos, tmp_path):
    """Small pictures that come later get the size of those that came first."""
    photos = sorted(make_photos(tmp_path / "photos", temple=3, flower=3).glob("*/*.jpg"))
    embedder = ImageEmbedder().fit(photos)
    assert embedder.backbone_.size == 224
    assert embedder.transform(digits[0][:2]).shape == (2, 1280)
    assert embedder.backbone_.size == 224
    assert ImageEmbedder().fit(digits[0]).backbone_.size == 32


def test_parameters_reach_the_backbone(digits):
    pictures, _ = digits
    embedder = ImageEmbedder(size=64, precision="fp32").fit(pictures)
    assert (embedder.backbone_.size, embedder.backbone_.precision) == (64, "fp32")
    wide = [np.pad(picture, ((0, 0), (0, 8))) for picture in pictures[:4]]
    cropped, padded = (ImageEmbedder(size=32, resize=resize).fit_transform(wide) for resize in ("crop", "pad"))
    assert not np.allclose(cropped, padded)


def test_in_a_pipeline(digits):
    pipeline = make_pipeline(ImageEmbedder(size=32), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, *digits, cv=3).mean() > 0.9


def test_columns_of_a_table_have_its_names(fitted, digits):
    table = clone(fitted).fit(digits[0]).set_output(transform="pandas").transform(digits[0][:3])
    assert table.columns.tolist() == fitted.get_feature_names_out().tolist()
    assert table.shape == (3, 1280)


def test_no_pictures(fitted):
    assert fitted.transform([]).shape == (0, 1280)
    with pytest.raises(SourceError, match="no pictures"):
        ImageEmbedder().fit([])


def test_not_fitted(digits):
    with pytest.raises(NotFittedError):
        ImageEmbedder().transform(digits[0])
    with pytest.raises(NotFittedError):
        ImageEmbedder().get_feature_names_out()


def test_a_broken_picture_is_named(fitted, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.jpg: not a picture"):
        fitted.transform([broken])


def test_what_is_no_picture_is_refused(fitted):
    with pytest.raises(SourceError, match="astype"):
        fitted.transform(np.zeros((2, 8, 8)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"features": "every"}, "no features called 'every'"),
        ({"size": 4}, r"features\.size"),
        ({"resize": "stretch"}, r"features\.resize"),
        ({"precision": "fp64"}, r"features\.precision"),
    ],
)
def test_fit_refuses_invalid_parameters(digits, parameters, message):
    with pytest.raises(RecipeError, match=message):
        ImageEmbedder(**parameters).fit(digits[0])
