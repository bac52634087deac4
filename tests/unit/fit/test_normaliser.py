"""Normalisation is the mean and standard deviation of the training pictures' pixels, to the bit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.data.arrays import ArraySource  # noqa: E402
from kilat.fit.augment import colour  # noqa: E402
from kilat.fit.loader import InMemory, Streaming  # noqa: E402
from kilat.fit.normaliser import Normaliser, fit_normaliser  # noqa: E402


class TestNormaliser:
    IMAGES = np.random.default_rng(1).integers(0, 256, (30, 16, 16, 3), np.uint8) // np.array([1, 2, 5], np.uint8)
    ROWS = np.array([17, 3, 4, 29, 8, 11])

    def fitted(self, kind, colour="rgb", images=IMAGES, **options):
        return fit_normaliser(kind, InMemory(images, "cpu"), self.ROWS, colour=colour, **options)

    def test_what_needs_no_statistics(self):
        assert self.fitted("scale") == Normaliser((0.0,), (255.0,))
        assert self.fitted("none") == Normaliser((0.0,), (1.0,))

    def test_one_mean_of_all_values(self):
        values = self.IMAGES[self.ROWS].astype(np.float64)
        found = self.fitted("zscore")
        np.testing.assert_allclose([*found.mean, *found.std], [values.mean(), values.std()], rtol=1e-13)

    def test_a_mean_of_each_channel(self):
        values = self.IMAGES[self.ROWS].astype(np.float64)
        found = self.fitted("channel_zscore")
        np.testing.assert_allclose(found.mean, values.mean((0, 1, 2)), rtol=1e-13)
        np.testing.assert_allclose(found.std, values.std((0, 1, 2)), rtol=1e-13)

    @pytest.mark.parametrize("kind", ["zscore", "channel_zscore"])
    def test_grey_pictures_come_out_with_mean_0_and_deviation_1(self, kind):
        found = self.fitted(kind, "grey")
        planes = torch.from_numpy(self.IMAGES[self.ROWS]).permute(0, 3, 1, 2).double()
        normal = (colour.grey(planes) - found.mean[0]) / found.std[0]
        assert len(found.mean) == len(found.std) == 1
        np.testing.assert_allclose([normal.mean(), normal.std(correction=0)], [0, 1], atol=1e-12)

    def test_a_constant_channel_is_divided_by_1(self):
        images = self.IMAGES.copy()
        images[..., 1] = 77
        found = self.fitted("channel_zscore", images=images)
        assert (found.mean[1], found.std[1]) == (77.0, 1.0)
        assert self.fitted("zscore", "grey", np.full_like(images, 9)) == Normaliser((9.0,), (1.0,))

    @pytest.mark.parametrize("colour", ["rgb", "grey"])
    def test_neither_the_loader_nor_the_order_nor_the_batches_matter(self, colour):
        first = self.fitted("channel_zscore", colour)
        assert self.fitted("channel_zscore", colour, batch=1) == first
        streamed = Streaming(ArraySource(self.IMAGES, ["a"] * 30, "x"), 16, "crop", "cpu")
        assert fit_normaliser("channel_zscore", streamed, self.ROWS[::-1], colour=colour, batch=4) == first

    @pytest.mark.parametrize(
        ("given", "is_near"),
        [
            (Normaliser((110.0, 118.0, 85.0), (70.0, 62.0, 68.0)), True),  # of other photos
            (Normaliser((78.0,), (96.0,)), True),  # of digits, in one channel
            (Normaliser((0.0,), (255.0,)), False),
            (Normaliser((0.0,), (1.0,)), False),
            (Normaliser((250.0,), (60.0,)), False),
        ],
    )
    def test_near_the_pixels_of_imagenet(self, given, is_near):
        assert given.is_near(Normaliser((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))) == is_near
