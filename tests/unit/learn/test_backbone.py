"""Which backbone a recipe means: the embedded ones by name, at a size that follows from the pictures."""

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.features.weights import weights_file
from kilat.learn.backbone import choose
from kilat.recipe import Features


def source(side: int):
    return ArraySource([np.zeros((side, side, 3), np.uint8)] * 3, ["a", "a", "b"], "x")


@pytest.mark.parametrize("name", lite.NAMES)
@pytest.mark.parametrize(("side", "sizes"), [(300, (224, 256, 256)), (60, (224, 256, 256)), (16, (64, 64, 64))])
def test_small_pictures_are_enlarged_and_photos_seen_at_the_usual_side(name, side, sizes):
    if weights_file(name) is None:
        pytest.skip("the extra weights is not installed")
    backbone = choose(Features(backbone=name), source(side), "cpu").backbone
    assert (backbone.name, backbone.size, backbone.precision) == (name, sizes[lite.NAMES.index(name)], "int8")


def test_size_and_precision_as_given():
    backbone = choose(Features(size=96, precision="fp32"), source(300), "cpu").backbone
    assert (backbone.name, backbone.size, backbone.precision) == (lite.NAME, 96, "fp32")
    assert choose(Features(size=32), source(300), "cuda").backbone.precision == "fp32"


def test_others_need_torch(monkeypatch):
    monkeypatch.setattr("kilat.learn.backbone.has_torch", lambda: False)
    with pytest.raises(MissingExtra, match=r"'resnet18' .*efficientnet_lite2.* needs the extra 'torch'"):
        choose(Features(backbone="resnet18"), source(32), "cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of weights of the smallest networks that timm has."""
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    timm = pytest.importorskip("timm", reason="the extra torch is not installed")
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    for name in ("test_vit", "test_efficientnet"):
        torch.manual_seed(0)
        save_file(timm.create_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "cache"))


def test_a_transformer_in_int8_and_a_convolutional_network_in_fp32(weights, home):
    features = Features(backbone="test_vit", weights=weights / "test_vit.safetensors", precision="int8", size=64)
    backbone = choose(features, source(300), "cpu").backbone
    assert (backbone.size, backbone.precision) == (64, "int8")
    other = features.model_copy(
        update={"backbone": "test_efficientnet", "weights": weights / "test_efficientnet.safetensors"}
    )
    with pytest.raises(BackboneError, match="test_efficientnet computes in fp32 only"):
        choose(other, source(300), "cpu")
    assert choose(other.model_copy(update={"precision": "auto"}), source(300), "cpu").backbone.precision == "fp32"


def test_the_size_of_a_transformer_follows_from_the_pictures(weights, home):
    """16 pixels are seen at 64, with positions resampled from the network's own 160, which is said."""
    small = Features(backbone="test_vit", weights=weights / "test_vit.safetensors")
    choice = choose(small, source(16), "cpu")
    assert choice.backbone.size == 64
    assert [note.code for note in choice.notes] == ["positions_resampled"]
    assert choice.notes[0].values == {"backbones": {"test_vit": 160}, "size": 64}
    assert choose(small, source(16), "cpu") == choice  # read from the cache
    photos = choose(small, source(300), "cpu")
    assert (photos.backbone.size, photos.notes) == (160, [])


def test_int8_only_where_the_pictures_say_that_it_is_precise_enough(weights, home, monkeypatch):
    greys = ArraySource(
        [np.full((16, 16, 3), grey, np.uint8) for grey in np.linspace(0, 255, 200)], ["a"] * 200, "greys"
    )
    features = Features(backbone="test_vit", weights=weights / "test_vit.safetensors")
    monkeypatch.setattr("kilat.learn.int8_check.MOST_NOISE", 1.0)
    precise = choose(features, greys, "cpu")
    monkeypatch.setattr("kilat.learn.int8_check.MOST_NOISE", 0.0)
    coarse = choose(features, greys, "cpu")
    assert [choice.backbone.precision for choice in (precise, coarse)] == ["int8", "fp32"]
    assert [choice.notes[-1].code for choice in (precise, coarse)] == ["backbone_int8", "backbone_fp32"]
    assert choose(features, greys, "cuda").backbone.precision == "fp32"


def test_beside_an_embedded_network_the_file_is_that_of_the_other(weights, home):
    file = weights / "test_vit.safetensors"
    choice = choose(Features(backbone=f"{lite.NAME}+test_vit", weights=file, precision="fp32"), source(16), "cpu")
    backbone = choice.backbone
    assert backbone.size == 64
    assert {block.name.partition(".")[0] for block in backbone.blocks} == {lite.NAME, "test_vit"}
    with pytest.raises(BackboneError, match="comes with its own weights") as caught:
        choose(Features(weights=file), source(16), "cpu")
    assert "efficientnet_lite0.ra_in1k" in caught.value.hint
