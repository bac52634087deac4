"""Augmentation of batches: against SciPy picture by picture, the distribution of draws, and what stays exact."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from scipy import ndimage  # noqa: E402 - after the check for the extra

from kilat.fit.augment import colour, geometry, policies, random  # noqa: E402
from kilat.fit.augment.augmenter import Augmenter  # noqa: E402
from kilat.recipe import Augment  # noqa: E402

SCIPY_MODES = {"nearest": "nearest", "reflect": "reflect", "constant": "grid-constant", "wrap": "grid-wrap"}
COURSE = {
    "rotation": 15, "width_shift": 0.12, "height_shift": 0.12, "horizontal_flip": True, "zoom": 0.1,
    "brightness": 0.1, "shear": 10, "channel_shift": 0.1,
}  # fmt: skip
EVERYTHING = {
    **COURSE, "crop": 2, "resized_crop": 0.3, "vertical_flip": True, "contrast": 0.3, "randaugment": {},
    "trivialaugment": True, "cutout": 3, "erasing": 0.5, "mixup": 0.4, "cutmix": 1.0,
}  # fmt: skip


def noise(n=16, height=9, width=9, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, height, width, channels), dtype=torch.uint8, generator=generator)


def augmented(pixels, seed=0, **choices):
    targets = torch.eye(4)[torch.arange(len(pixels)) % 4]
    return Augmenter(Augment(**choices))(pixels, targets, torch.Generator().manual_seed(seed))


def planes_of(pixels):
    return pixels.permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("fill", SCIPY_MODES)
def test_warp_is_scipys_affine_transform(fill):
    planes = planes_of(noise(8, 7, 11))
    maps = torch.eye(2, 3) + 0.4 * torch.randn(8, 2, 3, generator=torch.Generator().manual_seed(1))
    maps[:, :, 2] *= 20
    found = geometry.warp(planes, maps, geometry.Outside(fill, 77.0))
    centre = np.array([3.0, 5.0])
    for picture, sixth, result in zip(planes.double().numpy(), maps.double().numpy(), found.numpy(), strict=True):
        matrix, shift = sixth[::-1, 1::-1], sixth[::-1, 2]  # SciPy counts rows before columns
        offset = centre + shift - matrix @ centre
        for channel, plane in zip(picture, result, strict=True):
            wanted = ndimage.affine_transform(channel, matrix, offset, order=1, mode=SCIPY_MODES[fill], cval=77.0)
            np.testing.assert_allclose(plane, wanted, atol=0.02)


def test_nothing_chosen_changes_nothing():
    pixels = noise()
    planes, targets = augmented(pixels)
    assert torch.equal(planes, planes_of(pixels))
    assert torch.equal(targets, torch.eye(4).repeat(4, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_is_float_planes_with_channels_last(channels):
    planes, _ = augmented(noise(4, 8, 6, channels), **EVERYTHING)
    assert planes.shape == (4, channels, 8, 6)
    assert planes.dtype == torch.float32
    assert planes.is_contiguous(memory_format=torch.channels_last)
    assert planes.min() >= 0
    assert planes.max() <= 255


@pytest.mark.parametrize(("line", "axis"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_flips_are_exact_and_hit_half_of_the_pictures(line, axis):
    pixels = noise(400, 3, 4, 1)
    planes, _ = augmented(pixels, **{line: True})
    same = (planes == planes_of(pixels)).flatten(1).all(1)
    mirrored = (planes == planes_of(pixels).flip(axis)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 160 <= same.sum() <= 240  # four standard deviations


@pytest.mark.parametrize("fill", ["nearest", "reflect", "constant", "wrap"])
def test_crops_are_cut_out_of_the_padded_picture(fill):
    pixels = noise(200, 5, 4, 1)
    found, _ = augmented(pixels, crop=2, fill=fill, fill_value=9)
    mode = {"nearest": "edge", "reflect": "symmetric", "constant": "constant", "wrap": "wrap"}[fill]
    options = {"constant_values": 9} if fill == "constant" else {}
    padded = np.pad(pixels[..., 0].numpy(), ((0, 0), (2, 2), (2, 2)), mode, **options)
    positions = set()
    for picture, plane in zip(padded, found[:, 0].numpy(), strict=True):
        cuts = [(y, x) for y in range(5) for x in range(5) if np.array_equal(picture[y : y + 5, x : x + 4], plane)]
        assert cuts
        positions.update(cuts)
    assert len(positions) == 25  # every position is drawn for some picture


def test_crops_wider_than_the_picture_mirror_it_again_and_again():
    pixels = noise(50, 2, 2, 1)
    found, _ = augmented(pixels, crop=7, fill="reflect")
    padded = np.pad(pixels[..., 0].numpy(), ((0, 0), (7, 7), (7, 7)), "symmetric")
    for picture, plane in zip(padded, found[:, 0].numpy(), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(picture, (2, 2))
        assert (windows == plane).all((2, 3)).any()


@pytest.mark.parametrize("fill", SCIPY_MODES)
def test_crop_and_flip_are_the_same_with_and_without_interpolation(fill):
    choices = {"crop": 3, "horizontal_flip": True, "vertical_flip": True, "fill": fill, "fill_value": 40}
    exact, _ = augmented(noise(32, 8, 6), **choices)
    sampled, _ = augmented(noise(32, 8, 6), **choices, zoom=(1 + 1e-9, 1 + 1e-9))  # a zoom by 1 that is interpolated
    torch.testing.assert_close(sampled, exact, atol=0.01, rtol=0)


def drawn_maps(n=4000, size=20, **choices):
    return geometry.draw_affine_maps(n, (size, size), Augment(**choices), torch.Generator().manual_seed(3))


def is_uniform(values, low, high):
    """By Kolmogorov and Smirnov: the empirical distribution stays within 1.63 / sqrt(n), one chance in a hundred."""
    ordered = np.sort(values.double().numpy())
    expected = (ordered - low) / (high - low)
    return np.abs(expected - np.arange(1, len(ordered) + 1) / len(ordered)).max() < 1.63 / len(ordered) ** 0.5


def test_every_range_is_drawn_uniformly_to_both_sides():
    rotation = drawn_maps(rotation=40)
    assert is_uniform(torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0]).rad2deg(), -40, 40)
    assert is_uniform(drawn_maps(width_shift=0.3)[:, 0, 2], -6, 6)
    assert is_uniform(drawn_maps(height_shift=0.3)[:, 1, 2], -6, 6)
    assert is_uniform(torch.asin(-drawn_maps(shear=30)[:, 0, 1]).rad2deg(), -30, 30)
    zoom = drawn_maps(zoom=(0.5, 1.5))
    assert is_uniform(zoom[:, 0, 0], 0.5, 1.5)
    assert is_uniform(zoom[:, 1, 1], 0.5, 1.5)
    assert abs(np.corrcoef(zoom[:, 0, 0], zoom[:, 1, 1])[0, 1]) < 0.05  # each by itself


def test_a_width_shift_moves_along_the_width():
    pixels = torch.arange(0, 200, 20, dtype=torch.uint8).repeat(9, 5, 1)[..., None]  # brighter to the right
    along, _ = augmented(pixels, width_shift=0.5)
    across, _ = augmented(pixels, height_shift=0.5)
    assert not torch.allclose(along, planes_of(pixels), atol=1)
    assert torch.allclose(across, planes_of(pixels), atol=0.01)


def sources(n=2000, height=20, width=20, **choices):
    """The positions ``(x, y)`` from which augmentation takes pixels, ``[n, 2, height, width]``.

    They are the colours of pictures that are brighter to the right in red, and downwards in green.
    """
    across = torch.arange(0, 10 * width, 10, dtype=torch.uint8).expand(height, width)
    down = torch.arange(0, 10 * height, 10, dtype=torch.uint8)[:, None].expand(height, width)
    pixels = torch.stack([across, down, torch.zeros_like(down)], 2).expand(n, height, width, 3)
    return augmented(pixels, fill="constant", fill_value=255, **choices)[0][:, :2] / 10


@pytest.mark.parametrize("kept", [(0.08, 1.0), (0.35, 0.6), (0.9, 1.0)])
def test_a_resized_crop_is_a_part_of_the_picture_that_fills_it(kept):
    found = sources(resized_crop=kept)
    steps_x, steps_y = found[:, 0].diff(dim=2), found[:, 1].diff(dim=1)
    share_x, share_y = steps_x[:, 0, 0], steps_y[:, 0, 0]
    torch.testing.assert_close(steps_x, share_x[:, None, None].expand_as(steps_x), atol=1e-4, rtol=0)
    torch.testing.assert_close(steps_y, share_y[:, None, None].expand_as(steps_y), atol=1e-4, rtol=0)
    assert kept[0] - 1e-3 < (share_x * share_y).min()
    assert (share_x * share_y).max() < (kept[1] if kept[1] < 0.75 else 1) + 1e-3
    assert (share_x / share_y).log().abs().max() < np.log(4 / 3) + 1e-3
    assert found.min() > -1e-3  # what is outside, white, never shows
    assert found.max() < 19 + 1e-3


def test_a_resized_crop_is_anywhere():
    found = sources(resized_crop=(0.3, 0.5))
    for corner, opposite in ((found[:, 0, 0, 0], found[:, 0, 0, -1]), (found[:, 1, 0, 0], found[:, 1, -1, 0])):
        assert is_uniform(corner / (19 - (opposite - corner)), 0, 1)


def test_a_crop_of_everything_is_the_picture():
    planes, _ = augmented(noise(), resized_crop=1)
    torch.testing.assert_close(planes, planes_of(noise()), atol=0.01, rtol=0)


def test_the_crop_is_what_is_moved():
    found = sources(resized_crop=(0.1, 0.2), zoom=(0.5, 0.5), horizontal_flip=True, vertical_flip=True)
    steps_x, steps_y = found[:, 0].diff(dim=2)[:, 0, 0], found[:, 1].diff(dim=1)[:, 0, 0]
    area = (steps_x * steps_y).abs()
    assert area.min() > 0.1 / 4 - 1e-3
    assert area.max() < 0.2 / 4 + 1e-3
    assert {(float(x), float(y)) for x, y in zip(steps_x.sign(), steps_y.sign(), strict=True)} == {
        (1, 1), (1, -1), (-1, 1), (-1, -1)
    }  # fmt: skip
    assert found.min() > -1e-3  # enlarged about its own middle: still inside
    assert found.max() < 19 + 1e-3


def test_brightness_multiplies_and_clips():
    pixels = torch.full((1000, 1, 1, 1), 100, dtype=torch.uint8)
    assert is_uniform(augmented(pixels, brightness=(0.5, 1.5))[0].flatten() / 100, 0.5, 1.5)
    assert augmented(pixels, brightness=(3, 4))[0].eq(255).all()


def test_contrast_keeps_the_mean_grey_of_each_picture():
    pixels = noise(50, 4, 4, 3) // 2 + 64  # far enough from 0 and 255
    planes, _ = augmented(pixels, contrast=(0.5, 1.2))
    before, after = colour.grey(planes_of(pixels)), colour.grey(planes)
    torch.testing.assert_close(after.mean((1, 2, 3)), before.mean((1, 2, 3)), atol=0.01, rtol=0)
    factors = after.std((1, 2, 3)) / before.std((1, 2, 3))
    assert factors.min() >= 0.499
    assert factors.max() <= 1.201
    assert factors.max() - factors.min() > 0.5


def test_channels_of_a_picture_shift_together():
    pixels = torch.full((2000, 1, 1, 3), 128, dtype=torch.uint8)
    shifts = (augmented(pixels, channel_shift=0.2)[0] - 128).flatten(1)
    assert is_uniform(shifts[:, 0], -51, 51)
    assert torch.equal(shifts, shifts[:, :1].expand(-1, 3))


@pytest.mark.parametrize("line", [*EVERYTHING, "everything"])
def test_equal_generators_give_equal_bytes_and_others_do_not(line):
    choices = EVERYTHING if line == "everything" else {line: EVERYTHING[line]}
    pixels = noise(32)
    first, again, other = (augmented(pixels, seed, **choices) for seed in (1, 1, 2))
    assert first[0].numpy().tobytes() == again[0].numpy().tobytes()
    assert first[1].numpy().tobytes() == again[1].numpy().tobytes()
    assert not torch.equal(first[0], other[0])


def test_global_random_state_is_left_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - that it stays
    augmented(noise(), **EVERYTHING)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize("line", [line for line in EVERYTHING if line not in ("mixup", "cutmix")])
def test_every_picture_gets_a_draw_of_its_own(line):
    pixels = noise(1, 12, 12).repeat(64, 1, 1, 1)
    planes, _ = augmented(pixels, **{line: EVERYTHING[line]})
    kinds = len(planes.flatten(1).unique(dim=0))
    assert kinds == 2 if line.endswith("flip") else kinds > 15


def test_a_batch_is_changed_without_touching_the_pixels_given():
    pixels = noise()
    before = pixels.clone()
    augmented(pixels, **EVERYTHING)
    assert torch.equal(pixels, before)


def test_brightness_comes_before_channel_shift():
    pixels = torch.full((200, 1, 1, 1), 200, dtype=torch.uint8)
    planes, _ = augmented(pixels, brightness=(0, 1e-9), channel_shift=0.1)
    assert planes.max() > 20  # the other way round, all would be black


def test_policies_draw_every_operation_equally_often():
    count = 1400
    drawn = random.integers(count, 0, len(policies.OPERATIONS) - 1, torch.Generator().manual_seed(0))
    assert drawn.bincount().min() > 60
    assert drawn.bincount().max() < 140


def test_randaugment_without_magnitude_leaves_only_what_has_none():
    pixels = noise(200, 8, 8)
    planes, _ = augmented(pixels, randaugment={"operations": 1, "magnitude": 0})
    kept = (planes - planes_of(pixels)).abs().flatten(1).amax(1) < 0.01
    assert 0.75 < kept.float().mean() < 0.95  # all but autocontrast and equalize, 12 of 14


def test_policies_fill_as_the_recipe_says():
    pixels = torch.full((300, 8, 8, 1), 200, dtype=torch.uint8)
    bare, _ = augmented(pixels, trivialaugment=True, fill="constant", fill_value=31)
    assert ((bare - 31).abs() < 0.01).flatten(1).any(1).float().mean() > 0.2
    full, _ = augmented(pixels, trivialaugment=True)
    assert (full.flatten(1).std(1) < 0.01).all()


@pytest.mark.gpu
def test_a_gpu_draws_the_same():
    pixels, targets = noise(64, 32, 32), torch.eye(4).repeat(16, 1)
    augmenter = Augmenter(Augment(**EVERYTHING))
    here = augmenter(pixels, targets, torch.Generator().manual_seed(0))
    there = augmenter(pixels.cuda(), targets.cuda(), torch.Generator().manual_seed(0))
    assert (there[0].cpu() - here[0]).abs().mean() < 0.1  # posterize and solarize jump where rounding differs
    torch.testing.assert_close(there[1].cpu(), here[1])
