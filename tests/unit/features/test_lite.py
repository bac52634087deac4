"""The embedded backbones: refused sizes, the same bytes every time, int8 beside fp32 on photographs."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from kilat.errors import BackboneError
from kilat.features import lite
from kilat.features.processing import OnnxRunner
from kilat.features.resize_graph import Resizer
from kilat.features.weights import weights_file


def photos(size: int) -> NDArray[np.uint8]:
    """Parts of two photographs, quite different from each other."""
    resizer = Resizer(size, "crop")
    corners = [(0, 0), (0, 400), (180, 200), (200, 0)]
    return np.stack(
        [resizer(photo[y : y + 220, x : x + 230]) for photo in load_sample_images().images for y, x in corners]
    )


@pytest.mark.parametrize(
    ("size", "hint"),
    [
        (0, "Use 32 or 64."),
        (-32, "Use 32 or 64."),
        (31, "Use 32 or 64."),
        (33, "Use 32 or 64."),
        (100, "Use 96 or 128."),
        (225, "Use 224 or 256."),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest(size: int, hint: str) -> None:
    with pytest.raises(BackboneError, match=f"cannot take pictures of {size} pixels: .* multiple of 32") as caught:
        lite.build(size)
    assert caught.value.hint == hint


def test_the_same_bytes_every_time() -> None:
    for precision in ("int8", "fp32"):
        one, two = lite.build(64, precision), lite.build(64, precision)
        assert one.model == two.model
        assert one.digest == two.digest
        assert one.precision == precision
    assert lite.build(64).digest != lite.build(32).digest
    assert lite.build(64, "fp32").digest != lite.build(64, "int8").digest


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_graph_is_valid_and_its_blocks_name_its_features(precision: str) -> None:
    backbone = lite.build(32, precision)
    model = onnx.load_from_string(backbone.model)
    onnx.checker.check_model(model, full_check=True)
    assert [one.name for one in model.graph.input] == ["pixels"]
    assert [one.name for one in model.graph.output] == ["features"]
    assert backbone.blocks[0].name == "stage1.mean"
    assert (backbone.blocks[-1].name, backbone.blocks[-1].width) == ("last", 1280)
    assert backbone.width == 2 * (16 + 24 + 40 + 80 + 112 + 192 + 320) + 1280
    features = OnnxRunner(backbone)(photos(32))
    assert features.shape == (8, backbone.width)
    assert np.isfinite(features).all()
    assert (features[:, -1280:] >= 0).all()
    assert (features[:, -1280:] <= 6).all()


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("efficientnet_lite1", (16, 24, 40, 80, 112, 192, 320)),
        ("efficientnet_lite2", (16, 24, 48, 88, 120, 208, 352)),
    ],
)
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_larger_variants(name: str, channels: tuple[int, ...], precision: str) -> None:
    if weights_file(name) is None:
        pytest.skip("the extra weights is not installed")
    backbone = lite.build(32, precision, name)
    onnx.checker.check_model(onnx.load_from_string(backbone.model), full_check=True)
    assert [block.width for block in backbone.blocks] == [*np.repeat(channels, 2), 1280]
    features = OnnxRunner(backbone)(photos(32))
    assert (backbone.name, features.shape) == (name, (8, backbone.width))
    assert np.isfinite(features).all()


def test_default_sizes_are_multiples_of_the_stride() -> None:
    assert set(lite.DEFAULT_SIZES) == set(lite.NAMES)
    assert all(side % lite.STRIDE == 0 for side in lite.DEFAULT_SIZES.values())


def test_int8_takes_a_quarter() -> None:
    assert len(lite.build(32, "int8").model) < 0.3 * len(lite.build(32, "fp32").model)


@pytest.mark.parametrize("size", [96, 224])
def test_int8_is_close_to_fp32_on_photographs(size: int) -> None:
    """Standardised, as the head uses them. A picture's int8 features are nearest to its own in fp32, by far."""
    pixels = photos(size)
    exact, quick = (OnnxRunner(lite.build(size, precision))(pixels) for precision in ("fp32", "int8"))
    mean, deviation = exact.mean(0), exact.std(0) + 0.1
    exact, quick = (exact - mean) / deviation, (quick - mean) / deviation
    assert np.corrcoef(exact.ravel(), quick.ravel())[0, 1] > 0.8
    away = np.linalg.norm(quick[:, None] - exact[None], axis=2)
    own = np.diag(away)
    others = np.where(np.identity(len(away)), np.inf, away).min(1)
    assert (own < 0.75 * others).all()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_pixels_without_contrast_give_finite_features(precision: str) -> None:
    flat = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (0, 127, 255)])
    features = OnnxRunner(lite.build(32, precision))(flat)
    assert np.isfinite(features).all()


def test_the_record_of_a_photograph() -> None:
    """Guards a rewrite of the graph: means of a few blocks of fp32 features, as timm's network gives them."""
    backbone = lite.build(96, "fp32")
    features = OnnxRunner(backbone)(photos(96))
    means, start = {}, 0
    for block in backbone.blocks:
        means[block.name] = float(features[:, start : start + block.width].mean())
        start += block.width
    recorded = {
        "stage1.mean": 0.34309,
        "stage1.log_variance": 3.17909,
        "stage3.mean": -0.0236,
        "stage4.log_variance": 3.36238,
        "stage6.mean": 0.11577,
        "stage7.log_variance": 0.38718,
        "last": 0.57608,
    }
    assert {name: means[name] for name in recorded} == pytest.approx(recorded, rel=1e-3, abs=1e-4)
