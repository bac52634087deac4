"""Concatenated backbones give what each gives alone, and with flip averaging the mean of both sides."""

import numpy as np
import pytest

from kilat.errors import BackboneError
from kilat.features import lite
from kilat.features.concat import concat
from kilat.features.processing import OnnxRunner

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
MIRRORED = np.ascontiguousarray(PIXELS[:, :, ::-1])


@pytest.fixture(scope="module")
def pair():
    return lite.build(32, "fp32"), lite.build(32, "int8")


def test_concatenated(pair):
    both = concat(pair)
    alone = [OnnxRunner(one)(PIXELS) for one in pair]
    np.testing.assert_array_equal(OnnxRunner(both)(PIXELS), np.concatenate(alone, 1))
    assert both.width == sum(one.width for one in pair)
    assert both.name == "efficientnet_lite0+efficientnet_lite0"
    assert both.precision == "fp32"
    assert [block.name.rpartition(".")[2] for block in both.blocks].count("last") == 2


def test_flip_average(pair):
    mirrored = OnnxRunner(concat(pair, flip_average=True))
    plain = OnnxRunner(concat(pair))
    np.testing.assert_allclose(mirrored(PIXELS), (plain(PIXELS) + plain(MIRRORED)) / 2, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mirrored(PIXELS), mirrored(MIRRORED), rtol=0, atol=1e-6)


def test_one_alone_is_itself(pair):
    assert concat(pair[:1]) is pair[0]
    assert concat(pair[:1], flip_average=True).blocks == pair[0].blocks


def test_the_same_parts_give_the_same_bytes(pair):
    assert concat(pair, flip_average=True).digest == concat(pair, flip_average=True).digest
    assert len({concat(pair).digest, concat(pair[::-1]).digest, concat(pair, flip_average=True).digest}) == 3


def test_different_sizes_are_refused(pair):
    with pytest.raises(BackboneError, match=r"one size; these take efficientnet_lite0 at 32, .* at 64") as caught:
        concat([pair[0], lite.build(64)])
    assert caught.value.hint == "Set it: --size 64."
