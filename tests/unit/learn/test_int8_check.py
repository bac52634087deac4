"""How much noise int8 adds to features is measured on the pictures, as a share of what tells them apart."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.data.arrays import ArraySource, PathsSource
from kilat.features.backbone import Backbone, Block
from kilat.learn import int8_check

SIDE = 32


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def backbone(step: float = 0.0) -> Backbone:
    """Two blocks of the pixels' own: the mean of each channel, and that rounded to multiples of a step."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["mean"], keepdims=0),
    ]
    constants = {"axes": np.array([1, 2]), "step": np.float32(step or 1)}
    rounded = "mean"
    if step:
        rounded = "rounded"
        nodes += [
            helper.make_node("Div", ["mean", "step"], ["steps"]),
            helper.make_node("Round", ["steps"], ["whole"]),
            helper.make_node("Mul", ["whole", "step"], ["rounded"]),
        ]
    nodes.append(helper.make_node("Concat", ["mean", rounded], ["features"], axis=1))
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return Backbone("means", model.SerializeToString(), SIDE, "fp32", (Block("exact", 3), Block("rounded", 3)))


def flat_pictures(count: int = 40) -> ArraySource:
    """Pictures of one grey each, 0 to 255 over all of them."""
    greys = np.linspace(0, 255, count).round().astype(np.uint8)
    return ArraySource([np.full((SIDE, SIDE, 3), grey, np.uint8) for grey in greys], ["a"] * count, "x")


def test_the_share_is_that_of_rounding_in_the_worst_block():
    """Rounding to a step adds step² / 12 (to within what 16 pictures can tell), and greys vary by 255² / 12."""
    share = int8_check.noise_share(backbone(), backbone(step=32), flat_pictures(), "crop")
    assert share == pytest.approx((32 / 255) ** 2, rel=0.6)
    assert int8_check.noise_share(backbone(), backbone(step=1e-3), flat_pictures(), "crop") < 1e-6


def test_measured_once_for_the_same_pictures(home, monkeypatch):
    first = int8_check.noise_share(backbone(), backbone(step=32), flat_pictures(), "crop")
    (file,) = home.rglob("int8-noise.json")
    kept = file.read_bytes()
    assert int8_check.noise_share(backbone(), backbone(step=32), flat_pictures(), "crop") == first
    assert file.read_bytes() == kept
    file.write_bytes(kept[: len(kept) // 2])
    assert int8_check.noise_share(backbone(), backbone(step=32), flat_pictures(), "crop") == first
    assert int8_check.noise_share(backbone(), backbone(step=32), flat_pictures(41), "crop") != first
    assert file.read_bytes() != kept


def test_too_few_pictures_that_can_be_read(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(20)]
    for path in paths:
        path.write_bytes(b"no picture")
    source = PathsSource(paths, ["a"] * len(paths))
    assert int8_check.noise_share(backbone(), backbone(step=32), source, "crop") is None
    assert int8_check.noise_share(backbone(), backbone(step=32), flat_pictures(4), "crop") is None
