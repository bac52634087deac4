"""The common corruptions against what defines them: closed forms, Pillow, SciPy, colorsys, and copying one by one."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from kilat.errors import RecipeError
from kilat.evaluate import textures
from kilat.evaluate.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt, table_side
from kilat.evaluate.image_filters import (
    copy_in_turn,
    gaussian_blur,
    motion_blur,
    random_neighbours,
    sample_bilinear,
    smooth_shifts,
    three_point_warp,
    zoom_middle,
)  # fmt: skip
from kilat.runtime.array_types import Pixels

TABLES = (32, 64, 224)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene(height: int, width: int, seed: int = 0) -> Pixels:
    """Coloured, with large and small shapes, from nearly black to nearly white."""
    noise = generator(seed).normal(size=(2, height, width, 3))
    large = ndimage.gaussian_filter(noise[0], (height / 6, width / 6, 0), mode="wrap")
    small = ndimage.gaussian_filter(noise[1], (1, 1, 0), mode="wrap")
    mixed = large / large.std() + 0.5 * small / small.std()
    pixels: Pixels = np.clip(128 + 60 * mixed, 0, 255).astype(np.uint8)
    return pixels


def flat(side: int, value: int) -> Pixels:
    return np.full((side, side, 3), value, np.uint8)


def change(before: Pixels, after: Pixels) -> float:
    return float(np.abs(after.astype(float) - before).mean())


def test_there_are_fifteen_in_four_groups() -> None:
    assert len(CORRUPTIONS) == len(set(CORRUPTIONS)) == 15
    assert [len(names) for names in GROUPS.values()] == [3, 4, 4, 4]


@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (50, 64), (121, 130)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_picture_of_any_shape_stays_one(name: str, shape: tuple[int, int]) -> None:
    before = scene(*shape)
    kept = before.copy()
    weak, strong = (corrupt(before, name, severity, generator()) for severity in (1, 5))
    assert weak.shape == strong.shape == before.shape
    assert weak.dtype == strong.dtype == np.uint8
    assert change(before, strong) > 0
    assert np.array_equal(before, kept)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_generator_decides_everything(name: str) -> None:
    before = scene(48, 48)
    first, again, other = (corrupt(before, name, 3, generator(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    drawn = name not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
    assert drawn != np.array_equal(first, other)


@pytest.mark.parametrize("side", TABLES)
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "elastic_transform"])
def test_a_higher_severity_changes_more(name: str, side: int) -> None:
    """In every step where strength is one number; elastic_transform goes from wide bends to fine tremor instead."""
    scenes = [scene(side, side, seed) for seed in range(128 // side + 1)]
    mixed = name in ("glass_blur", "motion_blur", "zoom_blur", "snow", "frost", "fog")
    changes = [
        np.mean([change(one, corrupt(one, name, severity, generator(seed))) for seed, one in enumerate(scenes)])
        for severity in ((1, 5) if mixed else SEVERITIES)
    ]
    assert all(np.diff(changes) > 0), changes


@pytest.mark.parametrize(
    ("shorter", "table"), [(8, 32), (32, 32), (45, 32), (46, 64), (119, 64), (120, 224), (224, 224), (1000, 224)]
)
def test_the_nearest_of_the_references_sizes_gives_the_constants(shorter: int, table: int) -> None:
    assert table_side(np.zeros((shorter, 1000, 3), np.uint8)) == table


@pytest.mark.parametrize(("side", "levels"), [(32, (0.04, 0.1)), (64, (0.04, 0.18)), (224, (0.08, 0.38))])
def test_gaussian_noise_has_its_deviation(side: int, levels: tuple[float, float]) -> None:
    weak, strong = (corrupt(flat(side, 128), "gaussian_noise", severity, generator()) for severity in (1, 5))
    assert weak.std() == pytest.approx(255 * levels[0], rel=0.05)
    values = 128 + 255 * levels[1] * generator(1).normal(size=10**6)
    assert strong.std() == pytest.approx(np.clip(values, 0, 255).std(), rel=0.05)


def test_shot_noise_counts_photons() -> None:
    photons, value = 60, 100
    noisy = corrupt(flat(224, value), "shot_noise", 1, generator()).astype(float)
    assert noisy.mean() == pytest.approx(value - 0.5, abs=0.5)  # values are cut off to whole numbers
    assert noisy.var() == pytest.approx(value * 255 / photons, rel=0.03)
    assert len(np.unique(noisy)) < photons + 1
    assert corrupt(flat(32, 0), "shot_noise", 5, generator()).max() == 0


def test_impulse_noise_is_salt_and_pepper_in_each_colour_on_its_own() -> None:
    noisy = corrupt(flat(224, 77), "impulse_noise", 5, generator())
    assert set(np.unique(noisy)) == {0, 77, 255}
    salt, pepper = noisy == 255, noisy == 0
    assert salt.mean() == pytest.approx(0.135, abs=0.003)
    assert pepper.mean() == pytest.approx(0.135, abs=0.003)
    assert (salt | pepper).all(2).mean() == pytest.approx(0.27**3, abs=0.003)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_is_the_mean_over_a_disk(severity: int) -> None:
    radius, softness = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    at = np.arange(-14, 15)
    disk = (at[:, None] ** 2 + at**2 <= radius**2).astype(float)
    expected = ndimage.correlate(scene(120, 150).astype(float), (disk / disk.sum())[..., None], mode="mirror")
    blurred = corrupt(scene(120, 150), "defocus_blur", severity, generator())
    assert change(blurred, expected) < (0.6 if softness < 0.5 else 1.5)


def test_glass_blur_copies_one_pixel_after_the_other() -> None:
    height, width, reach = 13, 17, 2
    chosen = random_neighbours(height, width, reach, generator())
    moved = np.arange(height * width)
    for row in range(height - reach, reach, -1):
        for column in range(width - reach, reach, -1):
            pixel = row * width + column
            assert abs(chosen[pixel] // width - row) <= reach
            moved[pixel] = moved[chosen[pixel]]
    assert np.array_equal(copy_in_turn(chosen), moved)
    assert (moved != np.arange(len(moved))).mean() > 0.4


def test_glass_blur_keeps_the_picture_in_its_place() -> None:
    before = scene(224, 224)
    smooth, after = (
        ndimage.gaussian_filter(one.astype(float), (4, 4, 0))
        for one in (before, corrupt(before, "glass_blur", 1, generator()))
    )
    assert np.abs(smooth - after).mean() < 0.3 * change(before, smooth)


def test_the_blur_of_glass_is_a_gaussian() -> None:
    before = scene(40, 60)
    for deviation in (0.05, 0.7, 1.5):
        expected = ndimage.gaussian_filter(before.astype(float), (deviation, deviation, 0), mode="nearest")
        assert gaussian_blur(before, deviation) == pytest.approx(expected, abs=1e-3)


def test_motion_leaves_half_a_gaussian_behind_every_point() -> None:
    point = np.zeros((41, 41), np.uint8)
    point[20, 20] = 255
    trail = motion_blur(point, radius=10, deviation=3, angle=0)
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    assert trail[20, 20::-1] == pytest.approx(255 * weights / weights.sum(), abs=1e-4)
    assert np.delete(trail, 20, axis=0).max() == 0
    assert motion_blur(point, 10, 3, angle=-90)[20:, 20] == pytest.approx(trail[20, 20::-1], abs=1e-4)
    still = corrupt(flat(224, 99), "motion_blur", 5, generator())
    assert set(np.unique(still)) <= {98, 99}  # what leaves at one border comes in at the other as it is there


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.13, 1.3, 2.25, 4.5])
def test_a_zoom_is_that_of_scipy(factor: float) -> None:
    before = scene(60, 90).astype(np.float32)[..., 0]
    kept = [int(np.ceil(side / factor)) for side in before.shape]
    start = [(side - part) // 2 for side, part in zip(before.shape, kept, strict=True)]
    middle = before[start[0] : start[0] + kept[0], start[1] : start[1] + kept[1]]
    larger = ndimage.zoom(middle, factor, order=1)
    trim = [(enlarged - side) // 2 for enlarged, side in zip(larger.shape, before.shape, strict=True)]
    expected = larger[trim[0] : trim[0] + 60, trim[1] : trim[1] + 90]
    assert zoom_middle(Image.fromarray(before), factor) == pytest.approx(expected, abs=0.02)


def test_zoom_blur_leaves_the_middle_and_smears_the_border() -> None:
    before = scene(224, 224)
    moved = np.abs(corrupt(before, "zoom_blur", 3, generator()).astype(float) - before).mean(2)
    assert moved[107:117, 107:117].mean() < 0.5 * np.concatenate([moved[:20], moved[-20:]]).mean()


def test_snow_is_bright_and_falls_from_both_sides() -> None:
    black = corrupt(flat(224, 0), "snow", 3, generator()).astype(int)
    assert black.min() == int(0.3 * 127.5)  # the whitened share of a black picture
    assert (black[..., 0] == black[..., 2]).all()
    assert np.array_equal(black, black[::-1, ::-1])
    assert corrupt(flat(224, 255), "snow", 3, generator()).min() == 255


def test_frost_is_mixed_in_with_the_weights_of_the_reference() -> None:
    for severity, (share, weight) in ((1, (1, 0.4)), (3, (0.7, 0.7))):
        dark, light = (corrupt(flat(224, value), "frost", severity, generator()).astype(int) for value in (0, 60))
        assert np.abs(light - dark - share * 60)[light < 255].max() <= 1
        ice = dark / weight
        tint = min(textures.FROST_TINTS, key=lambda tint: float(np.abs(ice.mean((0, 1)) - tint[0]).sum()))
        assert ice.mean((0, 1)) == pytest.approx(np.array(tint[0]), abs=12)


def test_frost_is_the_same_every_time_and_repeats_seamlessly() -> None:
    ice = textures.frost(0, 0.3).astype(float)
    textures.frost_crystals.cache_clear()
    textures.frost.cache_clear()
    assert np.array_equal(ice, textures.frost(0, 0.3))
    for axis in (0, 1):
        inside = np.abs(np.diff(ice, axis=axis)).mean()
        assert np.abs(np.take(ice, 0, axis) - np.take(ice, -1, axis)).mean() == pytest.approx(inside, rel=0.3)
    assert np.array_equal(corrupt(scene(600, 8), "frost", 1, generator()).shape, (600, 8, 3))


def test_plasma_is_rougher_where_it_decays_less() -> None:
    smooth, rough = (textures.plasma(128, decay, generator()) for decay in (2.0, 1.4))
    for cloud in (smooth, rough):
        assert (cloud.min(), cloud.max()) == (0, 1)
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_each_octave_of_plasma_is_the_mean_of_four_and_noise() -> None:
    grid = generator().random((4, 4), np.float32)
    finer = textures.plasma_octave(grid, np.float32(0), generator())
    assert np.array_equal(finer[::2, ::2], grid)
    assert finer[3, 3] == pytest.approx(grid[1:3, 1:3].mean())
    assert finer[2, 3] == pytest.approx((finer[1, 3] + finer[3, 3] + finer[2, 2] + finer[2, 4]) / 4)
    assert finer[3, 2] == pytest.approx((finer[2, 2] + finer[4, 2] + finer[3, 1] + finer[3, 3]) / 4)
    noisy = [
        textures.plasma_octave(grid, np.float32(1), generator(seed))[1::2, 1::2] - finer[1::2, 1::2]
        for seed in range(200)
    ]
    assert np.var(noisy) == pytest.approx(1 / 3, rel=0.05)


def test_fog_keeps_the_brightest_and_hides_contrast() -> None:
    before = scene(224, 224)
    fog = corrupt(before, "fog", 1, generator())
    assert fog.max() <= before.max()
    steps = [np.abs(np.diff(one.astype(float), axis=1)).mean() for one in (before, fog)]
    assert steps[1] == pytest.approx(steps[0] / (1 + 1.5), rel=0.2)
    assert corrupt(flat(64, 0), "fog", 5, generator()).max() == 0


@pytest.mark.parametrize(("side", "amounts"), [(32, (0.05, 0.3)), (224, (0.1, 0.5))])
def test_brightness_raises_the_value_of_hsv(side: int, amounts: tuple[float, float]) -> None:
    before = scene(side, side)[:, :20]
    before = np.concatenate([before, flat(side, 0)], 1)
    for severity, amount in zip((1, 5), amounts, strict=True):
        after = corrupt(before, "brightness", severity, generator())
        for y, x in generator(1).integers(0, [side, side + 20], (200, 2)):
            hue, saturation, value = colorsys.rgb_to_hsv(*(before[y, x] / 255))
            expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + amount, 1)))
            assert np.abs(after[y, x] - expected).max() <= 1


@pytest.mark.parametrize(("severity", "amount"), enumerate((0.4, 0.3, 0.2, 0.1, 0.05), 1))
def test_contrast_draws_values_to_the_mean_of_their_colour(severity: int, amount: float) -> None:
    before = scene(150, 130)
    mean = before.mean((0, 1))
    expected = np.floor((before - mean) * amount + mean)
    after = corrupt(before, "contrast", severity, generator())
    assert np.abs(after - expected).max() <= 1
    assert (after == expected).mean() > 0.999


def test_elastic_shifts_are_smooth_and_as_far_as_the_reference_says() -> None:
    shifts = smooth_shifts(100, 120, 3.0, generator())
    noise = 2 * generator().random((100, 120), np.float32) - 1
    assert shifts == pytest.approx(ndimage.gaussian_filter(noise, 3.0, mode="reflect", truncate=3), abs=1e-5)


def test_the_elastic_plane_follows_its_three_points() -> None:
    down, across = np.indices((90, 90), np.float32)
    rows, columns = three_point_warp(down, across, 9.0, generator())
    moved = generator().uniform(-9, 9, (3, 2))
    for (y, x), (dy, dx) in zip(((75, 75), (75, 15), (15, 15)), moved, strict=True):
        at = [[y + dy], [x + dx]]
        assert ndimage.map_coordinates(rows, at, order=1)[0] == pytest.approx(y, abs=1e-2)
        assert ndimage.map_coordinates(columns, at, order=1)[0] == pytest.approx(x, abs=1e-2)


def test_values_between_pixels_are_those_of_scipy() -> None:
    planes = scene(30, 40).transpose(2, 0, 1).astype(np.float32)
    at = generator().uniform([[-20], [-20]], [[50], [60]], (2, 1200)).reshape(2, 30, 40).astype(np.float32)
    expected = [ndimage.map_coordinates(plane, at, order=1, mode="reflect") for plane in planes]
    assert sample_bilinear(planes, *at) == pytest.approx(np.array(expected), abs=0.01)


@pytest.mark.parametrize(("side", "shares"), [(32, (0.95, 0.65)), (64, (0.9, 0.5)), (224, (0.6, 0.25))])
def test_pixelate_leaves_so_many_pixels(side: int, shares: tuple[float, float]) -> None:
    for severity, share in zip((1, 5), shares, strict=True):
        after = corrupt(scene(side, side), "pixelate", severity, generator())
        jumps = (np.abs(np.diff(after.astype(int), axis=1)).sum((0, 2)) > 0).sum()
        assert jumps + 1 == int(side * share)


@pytest.mark.parametrize(("side", "qualities"), [(32, (80, 40)), (64, (65, 25)), (224, (25, 7))])
def test_jpeg_is_that_of_pillow(side: int, qualities: tuple[int, int]) -> None:
    for severity, quality in zip((1, 5), qualities, strict=True):
        file = io.BytesIO()
        Image.fromarray(scene(side, side)).save(file, "JPEG", quality=quality)
        after = corrupt(scene(side, side), "jpeg_compression", severity, generator())
        assert np.array_equal(after, np.asarray(Image.open(file)))


def test_what_does_not_exist_is_refused_with_what_does() -> None:
    with pytest.raises(RecipeError, match="'jpeg_compression'"):
        corrupt(flat(32, 0), "jpeg_compresion", 1, generator())
    with pytest.raises(RecipeError, match="severity 6"):
        corrupt(flat(32, 0), "fog", 6, generator())
