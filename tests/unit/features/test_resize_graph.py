"""The graph that fits pictures into a square against Pillow's resize, for every shape and way."""

from typing import get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from sklearn.datasets import load_sample_image

from kilat.features.resize_graph import OPSET, Resizer, resize_nodes
from kilat.recipe import Resize

WAYS: tuple[Resize, ...] = get_args(Resize)
SHAPES = [(1, 1), (1, 50), (50, 1), (2, 3), (7, 5), (31, 33), (64, 64), (223, 225), (300, 401), (1, 1000), (999, 640)]
GREY = (127, 127, 127)

Pixels = NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(pixels: Pixels, size: int, way: Resize) -> NDArray[np.int64]:
    image = Image.fromarray(pixels)
    width, height = image.size
    if way == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if way == "pad":
        side = max(width, height)
        square = Image.new("RGB", (side, side), GREY)
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        image = square
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.int64)


@pytest.fixture(scope="module")
def photo() -> Pixels:
    """A photograph, 427 × 640."""
    return np.ascontiguousarray(load_sample_image("china.jpg"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_white_noise_of_any_shape_comes_within_two_grey_levels_of_pillow(way: Resize, size: int) -> None:
    """Noise is the hardest: both round to whole numbers between the two directions, each in its own order."""
    fit = Resizer(size, way)
    for height, width in SHAPES:
        got = fit(noise(height, width))
        assert got.dtype == np.uint8
        away = np.abs(got - reference(noise(height, width), size, way))
        assert away.max() <= 2, (height, width)
        assert away.mean() <= 0.3, (height, width)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [32, 96, 128, 224])
def test_a_photo_is_pillows_on_average(way: Resize, size: int, photo: Pixels) -> None:
    fit = Resizer(size, way)
    means = []
    for part in (photo, photo[:200, :150], photo[:99, :301], photo[100:150, 300:333], photo[:224, :224]):
        away = np.abs(fit(np.ascontiguousarray(part)) - reference(part, size, way))
        assert away.max() <= 2
        means.append(away.mean())
    assert np.mean(means) <= 0.05


def test_the_photo_fills_the_square_or_lies_in_grey() -> None:
    white = np.full((20, 60, 3), 255, np.uint8)
    assert (Resizer(32, "crop")(white) == 255).all()
    assert (Resizer(32, "squash")(white) == 255).all()
    padded = Resizer(96, "pad")(white)
    assert (padded[:31] == 127).all()
    assert (padded[33:63] == 255).all()
    assert (padded[66:] == 127).all()


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    for way in WAYS:
        np.testing.assert_array_equal(Resizer(96, way)(noise(96, 96)), noise(96, 96))


def test_crop_keeps_the_middle() -> None:
    for pixels in (noise(96, 131), noise(131, 96)):
        middle = pixels[17:113] if pixels.shape[0] > 96 else pixels[:, 17:113]
        np.testing.assert_array_equal(Resizer(96, "crop")(pixels), middle)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (300, 200)])
def test_a_batch_is_fitted_picture_by_picture(way: Resize, height: int, width: int) -> None:
    nodes, constants = resize_nodes(64, way)
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 64, 64, 3])
    graph = helper.make_graph(nodes, "fit", [image], [pixels], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = np.stack([noise(height, width, seed) for seed in range(5)])
    (got,) = session.run(None, {"image": batch})
    np.testing.assert_array_equal(got, [Resizer(64, way)(one) for one in batch])
