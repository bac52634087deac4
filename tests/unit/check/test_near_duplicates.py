"""Altered copies are found, pictures that are only of the same kind are not, and groups do not grow into chains."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kilat.check.near_duplicates import NearDuplicates, find, findings, leaked
from kilat.data.image_stats import IMAGE_STATS

RESAMPLING = Image.Resampling


def photo(seed, wide=240, high=180):
    """Like a photo: power falls with frequency, and some things have edges."""
    dice = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(dice.normal(size=(high, wide)))
    frequency = np.hypot(np.fft.fftfreq(high)[:, None] * high, np.fft.rfftfreq(wide)[None] * wide)
    field = np.fft.irfft2(spectrum / np.maximum(frequency, 1) ** 1.2, (high, wide))
    pixels = 128 + 50 * (field - field.mean()) / field.std()
    for _ in range(5):
        top, left = dice.integers(0, high - 50), dice.integers(0, wide - 50)
        pixels[top : top + 50, left : left + 40] += dice.integers(-60, 60)
    return Image.fromarray(np.clip(pixels, 0, 230).astype(np.uint8))


def saved(image, quality=60):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def crop(image, low=0.02, high=0.95):
    width, height = image.size
    return image.crop((round(low * width), round(0.01 * height), round(high * width), round(0.93 * height)))


CHANGES = {
    "saved again": lambda image: saved(image, 40),
    "resized": lambda image: saved(image.resize((130, 92), RESAMPLING.BICUBIC)),
    "cropped": lambda image: saved(crop(image)),
    "mirrored": lambda image: saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "brighter": lambda image: saved(image.point(lambda value: min(255, value * 1.2))),
    "all at once": lambda image: saved(
        crop(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).resize((130, 92)).point(lambda value: value * 0.85), 45
    ),
}
ORIGINALS = [photo(seed) for seed in range(60)]


def stats(images):
    made = np.zeros(len(images), IMAGE_STATS)
    for row, image in enumerate(images):
        made["thumbnail"][row] = np.asarray(image.resize((32, 32), RESAMPLING.BILINEAR, reducing_gap=2.0))
    return made


def groups(images, used=None):
    return find(stats(images), np.arange(len(images)) if used is None else np.asarray(used)).groups


def table(count, *, labels=None, splits=None, sizes=None):
    sizes = sizes or [(100, 80)] * count
    return pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(count)],
            "label": labels or ["a"] * count,
            "split": splits or ["train"] * count,
            "status": "used",
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
        }
    )


def near_duplicates(*pairs, changes=()):
    return NearDuplicates(
        tuple(pairs), tuple((0.99,) * (len(pair) - 1) for pair in pairs), tuple(changes for _ in pairs)
    )


class TestFind:
    @pytest.mark.parametrize("change", CHANGES)
    def test_copies_are_found_and_nothing_else(self, change):
        copies = [CHANGES[change](image) for image in ORIGINALS[:12]]
        found = groups([*ORIGINALS, *copies])
        assert sorted(map(sorted, found)) == [[row, 60 + row] for row in range(12)]

    def test_what_they_differ_by_is_recorded(self):
        copies = [CHANGES[change](ORIGINALS[row]) for row, change in enumerate(CHANGES)]
        found = find(stats([*ORIGINALS, *copies]), np.arange(66))
        assert [sorted(group) for group in found.groups] == [[row, 60 + row] for row in range(6)]
        assert found.changes == (
            (), (), ("cropped",), ("mirrored",), ("brightness",), ("mirrored", "cropped", "brightness"),
        )  # fmt: skip
        assert all(0.96 <= value <= 1 for pair in found.correlation for value in pair)

    def test_all_copies_of_one_picture_are_one_group(self):
        copies = [change(ORIGINALS[3]) for change in CHANGES.values()]
        copies += [saved(ORIGINALS[3], quality) for quality in range(30, 90, 5)]
        (group,) = groups([*ORIGINALS, *copies])
        assert sorted(group) == [3, *range(60, 78)]

    def test_pictures_that_are_not_used_are_in_no_group(self):
        images = [*ORIGINALS, saved(ORIGINALS[0]), saved(ORIGINALS[1])]
        assert groups(images, used=[row for row in range(62) if row != 60]) in ((((1, 61)),), ((61, 1),))

    def test_a_set_without_copies_has_no_groups(self):
        assert groups(ORIGINALS) == ()
        assert groups([]) == groups(ORIGINALS[:1]) == ()

    def test_uniform_pictures_are_not_compared(self):
        flat = [Image.new("L", (50, 40), grey) for grey in (0, 0, 7, 200, 201, 255)]
        assert groups(flat) == ()
        assert len(groups([*flat, ORIGINALS[0], saved(ORIGINALS[0])])) == 1

    def test_plain_things_of_one_kind_are_no_near_duplicates(self):
        """Bars on black are all similar; what is similar by chance proves nothing."""
        dice = np.random.default_rng(0)
        plain = []
        for _ in range(150):
            pixels = np.zeros((28, 28), np.uint8)
            left, width, top = dice.integers(9, 12), dice.integers(6, 9), dice.integers(2, 5)
            pixels[top : 26 - top, left : left + width] = dice.integers(150, 255)
            plain.append(Image.fromarray(np.clip(pixels + dice.normal(0, 8, (28, 28)), 0, 255).astype(np.uint8)))
        assert len(groups(plain)) <= 3

    def test_a_chain_is_cut_into_groups_around_a_centre(self):
        """Each frame of a slow pan is like the next, the first and the last have little in common."""
        wide = photo(99, wide=700)
        frames = [wide.crop((6 * step, 0, 6 * step + 240, 180)) for step in range(60)]
        found = groups([*ORIGINALS, *frames])
        assert len(found) > 3
        assert max(map(len, found)) < 20
        rows = [row for group in found for row in group]
        assert len(rows) == len(set(rows))
        assert min(rows) >= 60

    def test_the_result_is_deterministic(self):
        images = stats([*ORIGINALS, *(saved(image) for image in ORIGINALS[:20])])
        assert find(images, np.arange(80)) == find(images, np.arange(80))

    def test_handwritten_digits_are_no_near_duplicates(self):
        from sklearn.datasets import load_digits

        digits = [Image.fromarray((image * 255 / 16).astype(np.uint8)) for image in load_digits().images[:600]]
        assert len(groups(digits)) <= 2


class TestFindings:
    def test_no_near_duplicates_are_no_findings(self):
        assert findings(near_duplicates(), table(5)) == []

    def test_a_leak_counts_test_pictures_and_is_serious(self):
        splits = ["train", "test", "test", "train", "test", "test"]
        found = findings(near_duplicates((0, 1, 2), (3, 4)), table(6, splits=splits))
        assert [(one.kind, one.severity) for one in found] == [("leak", "serious")]
        assert found[0].title() == "3 of 4 test pictures have a near-duplicate in the training data."
        assert found[0].groups == ((0, 1, 2), (3, 4))
        assert (found[0].values["groups"], found[0].values["pictures"]) == (2, 5)
        assert leaked(near_duplicates((0, 1, 2), (3, 4)), table(6, splits=splits)) == [1, 2, 4]

    def test_one_leaked_picture_is_named(self):
        (found,) = findings(near_duplicates((0, 1)), table(3, splits=["train", "test", "test"]))
        assert found.title() == (
            "1 of 2 test pictures has a near-duplicate in the training data: 1.jpg is nearly the same as 0.jpg."
        )

    def test_copies_within_the_test_are_no_leak(self):
        (found,) = findings(near_duplicates((0, 1)), table(3, splits=["test", "test", "train"]))
        assert (found.kind, found.severity) == ("near_duplicates", "warning")
        assert found.title() == "0.jpg has a near-duplicate: 1.jpg."

    def test_validation_may_be_leaked_into_as_well(self):
        (found,) = findings(near_duplicates((0, 1)), table(2, splits=["train", "validation"]))
        assert (found.kind, found.severity) == ("validation_leak", "warning")
        assert found.title().startswith("1 of 1 validation pictures has a near-duplicate in the training set: 1.jpg ")

    def test_different_labels_of_one_picture_are_serious(self):
        found = findings(near_duplicates((0, 1), (2, 3)), table(4, labels=["a", "b", "a", "a"]))
        assert [(one.kind, one.severity, one.groups) for one in found] == [
            ("conflicting_duplicates", "serious", ((0, 1),)),
            ("near_duplicates", "warning", ((2, 3),)),
        ]
        assert found[0].title() == ("Near-duplicates have different labels: 0.jpg is labelled “a”, 1.jpg “b”.")

    def test_captions_name_what_was_changed(self):
        sizes = [(100, 80), (50, 40)]
        (found,) = findings(near_duplicates((0, 1), changes=("mirrored",)), table(2, sizes=sizes))
        assert found.captions() == ["mirrored, resized"]
        (found,) = findings(near_duplicates((0, 1)), table(2))
        assert found.captions() == ["saved again"]

    def test_the_most_similar_stand_first(self):
        made = NearDuplicates(((0, 1), (2, 3)), ((0.97,), (0.99,)), ((), ()))
        (found,) = findings(made, table(4))
        assert found.groups == ((2, 3), (0, 1))
        assert found.title() == "4 pictures are near-duplicates, in 2 groups."
