"""Image stats: what is measured of a picture while it is decoded, and that nothing odd stops it."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from kilat.data.decode import decode
from kilat.data.image_stats import IMAGE_STATS, image_stats


def photo(width: int = 240, height: int = 180, seed: int = 0) -> Image.Image:
    """Something with large and small structure, in colour."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    fine = np.random.default_rng(seed + 1).integers(0, 60, (height, width, 1))
    smooth = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return Image.fromarray(np.clip(smooth + fine - 30, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def stats(picture, shrink_to=None):
    image, full = decode(picture, shrink_to=shrink_to)
    return image_stats([picture], [image], full)[0]


def test_a_record_is_packed_small_and_the_same_on_every_machine():
    assert IMAGE_STATS.itemsize < 1600
    assert IMAGE_STATS.itemsize == sum(IMAGE_STATS[name].itemsize for name in IMAGE_STATS.names)
    assert not any(IMAGE_STATS[name].base.byteorder == ">" for name in IMAGE_STATS.names)
    record = stats(encoded(photo()))
    assert record.dtype == IMAGE_STATS
    assert np.frombuffer(record.tobytes(), IMAGE_STATS)[0] == record


@pytest.mark.parametrize("quality", [1, 20, 49, 50, 75, 88, 95, 100])
def test_jpeg_quality_is_read_from_the_tables(quality):
    assert stats(encoded(photo(), quality=quality))["quality"] == quality


@pytest.mark.parametrize(("name", "number"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_the_header_is_read(name, number):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "Canon EOS 5D", 6
    data = encoded(photo(), subsampling=name, progressive=True, exif=exif)
    record = stats(data)
    assert (record["format"], record["mode"], record["bytes"]) == (b"JPEG", b"RGB", len(data))
    assert (record["subsampling"], record["progressive"]) == (number, True)
    assert (record["camera"], record["orientation"]) == (b"Canon EOS 5D", 6)
    assert (record["width"], record["height"]) == (180, 240)


def test_other_formats_and_arrays_have_no_jpeg_fields():
    for picture, kind, mode in (
        (encoded(photo().convert("P"), "PNG"), b"PNG", b"P"),
        (np.asarray(photo().convert("L")), b"", b"L"),
        (np.asarray(photo()), b"", b"RGB"),
    ):
        record = stats(picture)
        assert (record["format"], record["mode"]) == (kind, mode)
        assert (record["quality"], record["subsampling"], record["orientation"]) == (0, -2, 1)


def test_the_thumbnail_is_the_luminance_of_the_whole_picture():
    image = photo(320, 64)
    whole = image.convert("L").resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(stats(np.asarray(image))["thumbnail"].astype(float) - np.asarray(whole)).max() <= 3


def test_the_tones_of_a_known_picture():
    pixels = np.full((100, 100, 3), 102, np.uint8)
    pixels[:20], pixels[80:] = 0, 255
    record = stats(pixels)
    assert record["brightness"] == pytest.approx(0.6 * 0.4 + 0.2)
    assert (record["dark_share"], record["light_share"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert record["contrast"] == pytest.approx(np.std(pixels / 255), abs=1e-4)
    assert record["quantiles"] == pytest.approx([0, 0, 0.4, 0.4, 0.4, 1, 1])
    assert record["colourfulness"] == 0


def test_sharpness_falls_with_blur_and_not_with_resolution_or_contrast():
    image = photo(1024, 768)
    sharp = stats(np.asarray(image))
    small = stats(np.asarray(image.resize((512, 384), Image.Resampling.BOX)))
    pale = stats((np.asarray(image) // 2 + 60).astype(np.uint8))
    blurred = stats(np.asarray(image.filter(ImageFilter.GaussianBlur(12))))
    for field in ("sharpness", "peak_sharpness"):
        assert small[field] == pytest.approx(sharp[field], rel=0.1)
        assert pale[field] == pytest.approx(sharp[field], rel=0.1)
        assert blurred[field] < sharp[field] / 3


@pytest.mark.parametrize("tone", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 60)])
def test_a_frame_is_measured(tone):
    framed = ImageOps.expand(photo(), 4, tone)
    record = stats(encoded(framed, quality=88))
    assert np.abs(record["border_width"].astype(int) - 4).max() <= 1
    assert record["border_edge"].min() > 0.5
    assert np.abs(record["border_mean"] - np.dot(tone, [0.299, 0.587, 0.114])).max() <= 12
    assert stats(encoded(photo()))["border_width"].max() == 0


def test_a_frame_around_a_large_picture_is_measured_in_its_own_pixels():
    data = encoded(ImageOps.expand(photo(1600, 1200), 8, (0, 0, 0)))
    image, full = decode(data, shrink_to=200)
    assert image.width < full[0]
    assert np.abs(image_stats([data], [image], full)[0]["border_width"].astype(int) - 8).max() <= 2


def test_bars_are_followed_inwards():
    record = stats(np.asarray(ImageOps.expand(photo(400, 200), (0, 50), (0, 0, 0))))
    assert record["border_width"].tolist() == [50, 50, 0, 0]
    assert record["border_edge"][:2].min() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (8, 8), (9000, 40)])
def test_odd_sizes_are_measured(size):
    record = stats(np.full((size[1], size[0]), 7, np.uint8))
    assert (record["width"], record["height"]) == size
    assert all(np.isfinite(record[name]).all() for name in IMAGE_STATS.names if IMAGE_STATS[name].base.kind == "f")


def test_damaged_exif_hides_only_itself():
    data = encoded(photo(), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x0f\x01\x02\0\xff\xff\xff\x7f\0\0\0\x09")
    record = stats(data)
    assert (record["format"], record["camera"], record["orientation"]) == (b"JPEG", b"", 1)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (28, 40), (300, 200)])
def test_pictures_measured_together_have_the_records_that_each_has_alone(size):
    files = [encoded(photo(*size, seed), quality=60 + seed) for seed in range(7)]
    files += [np.asarray(photo(*size, 9)), encoded(ImageOps.expand(photo(*size), 3).resize(size), "PNG")]
    images = [decode(file)[0] for file in files]
    together = image_stats(files, images, size)
    assert [record.tobytes() for record in together] == [stats(file).tobytes() for file in files]
