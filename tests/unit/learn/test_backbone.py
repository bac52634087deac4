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


def test_size_and_precision_as_asked():
    backbone = choose(Features(size=96, precision="fp32"), source(300), "cpu").backbone
    assert (backbone.name, backbone.size, backbone.precision) == (lite.NAME, 96, "fp32")
    assert choose(Features(size=32), source(300), "cuda").backbone.precision == "fp32"


def test_others_compute_in_fp32_and_need_torch(monkeypatch):
    with pytest.raises(BackboneError, match="resnet18 computes in fp32 only"):
        choose(Features(backbone="resnet18", precision="int8"), source(32), "cpu")
    monkeypatch.setattr("kilat.learn.backbone.has_torch", lambda: False)
    with pytest.raises(MissingExtra, match=r"'resnet18' .*efficientnet_lite2.* needs the extra 'torch'"):
        choose(Features(backbone="resnet18"), source(32), "cpu")
