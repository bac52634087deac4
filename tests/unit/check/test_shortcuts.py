"""Shortcuts: what gives a label away beside the subject is named, and nothing is reported where nothing does."""

import numpy as np
import pandas as pd
import pytest

from kilat.check import shortcuts
from kilat.data.image_stats import IMAGE_STATS


def made(n: int = 300, classes: int = 3, seed: int = 0):
    """A set in which nothing but chance differs between the classes."""
    generator = np.random.default_rng(seed)
    image_stats = np.zeros(n, IMAGE_STATS)
    image_stats["width"], image_stats["height"] = generator.integers(200, 400, (2, n))
    image_stats["bytes"], image_stats["quality"], image_stats["format"], image_stats["mode"] = (
        20000,
        88,
        b"JPEG",
        b"RGB",
    )
    for name in ("brightness", "contrast", "dark_share", "light_share", "sharpness"):
        image_stats[name] = generator.uniform(0, 1, n)
    image_stats["colourfulness"] = generator.uniform(20, 90, n)
    image_stats["border_mean"] = generator.uniform(0, 255, (n, 4))
    label = np.array(["daisy", "rose", "tulip", *map(str, range(classes))])[np.arange(n) % classes]
    return pd.DataFrame({"label": label, "status": "used"}), image_stats


def only(table, image_stats):
    (finding,) = shortcuts.find(table, image_stats)
    return finding


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "classes"), [(20, 2), (60, 3), (300, 3), (1000, 20)])
def test_nothing_is_found_where_only_chance_differs(n, classes, seed):
    assert shortcuts.find(*made(n, classes, seed)) == []


def test_one_class_of_another_quality_is_serious_and_named():
    table, image_stats = made()
    image_stats["quality"][table["label"] == "daisy"] = 85
    finding = only(table, image_stats)
    assert (finding.kind, finding.severity, finding.values["group"]) == ("shortcut", "serious", "compression")
    assert "“daisy”" in finding.title()
    assert "100 of its 100 pictures have a JPEG quality of 85, 0% of the others." in finding.title()
    (rule,) = finding.values["rules"]
    assert rule["balanced_accuracy"] == 1
    assert 0.95 < rule["balanced_accuracy_interval"][0] < 1
    assert finding.captions() == ["with it: daisy", "without it: the others"]
    own, others = finding.groups
    assert set(table["label"][list(own)]) == {"daisy"}
    assert set(table["label"][list(others)]) == {"rose", "tulip"}


@pytest.mark.parametrize("dark", [False, True])
def test_a_frame_is_serious_even_where_a_dark_picture_hides_its_end_on_some_sides(dark):
    table, image_stats = made()
    own = np.flatnonzero(table["label"] == "rose")
    image_stats["border_width"][own], image_stats["border_edge"][own], image_stats["border_mean"][own] = 4, 1, 0
    if dark:
        image_stats["border_edge"][own, :2], image_stats["border_width"][own, 0] = 0, 30
    finding = only(table, image_stats)
    assert (finding.severity, finding.values["group"]) == ("serious", "frame")
    assert "a frame of one tone, 4 pixels wide" in finding.title()


@pytest.mark.parametrize(
    ("field", "value", "group"),
    [("camera", b"Canon EOS 5D", "camera"), ("mode", b"L", "colour"), ("format", b"PNG", "compression")],
)
def test_names_can_be_a_shortcut_too(field, value, group):
    table, image_stats = made()
    image_stats[field][table["label"] == "tulip"] = value
    finding = only(table, image_stats)
    assert (finding.severity, finding.values["group"]) == ("serious", group)
    assert value.decode() in finding.title()


def test_a_range_of_sizes_can_be_a_shortcut():
    table, image_stats = made()
    own = np.asarray(table["label"] == "tulip")
    image_stats["width"][own] = np.random.default_rng(1).integers(500, 600, own.sum())
    assert "a width of at least 5" in only(table, image_stats).title()


def test_brightness_may_be_the_subject_and_is_never_serious():
    table, image_stats = made()
    own = np.asarray(table["label"] == "tulip")
    image_stats["brightness"][own] = np.random.default_rng(1).uniform(1.5, 2, own.sum())
    finding = only(table, image_stats)
    assert (finding.severity, finding.values["group"]) == ("warning", "light")
    assert "may be the subject itself" in finding.advice()


def test_a_rule_for_half_a_class_is_nothing_and_for_most_of_it_a_warning():
    table, image_stats = made()
    own = np.flatnonzero(table["label"] == "daisy")
    image_stats["quality"][own[:40]] = 60
    assert shortcuts.find(table, image_stats) == []
    image_stats["quality"][own[:80]] = 60
    assert only(table, image_stats).severity == "warning"


def test_of_two_classes_one_rule_and_of_several_one_finding_with_all_names():
    table, image_stats = made(classes=2)
    image_stats["quality"][table["label"] == "rose"] = 60
    assert len(only(table, image_stats).values["rules"]) == 1
    table, image_stats = made()
    for quality, label in ((50, "daisy"), (60, "rose"), (70, "tulip")):
        image_stats["quality"][table["label"] == label] = quality
    finding = only(table, image_stats)
    assert [rule["label"] for rule in finding.values["rules"]] == ["daisy", "rose", "tulip"]
    assert "“rose”, “tulip”" in finding.title()


def test_rules_are_measured_on_held_out_pictures():
    """Every picture has a size of its own: a rule fitted to all of them would know each by heart."""
    table, image_stats = made(400, 2)
    image_stats["width"] = np.random.default_rng(3).permutation(400) + 1000
    image_stats["height"] = np.random.default_rng(4).permutation(400) + 1000
    assert shortcuts.find(table, image_stats) == []


def test_nothing_is_found_of_refused_pictures_and_of_a_single_class():
    table, image_stats = made()
    image_stats["quality"][table["label"] == "daisy"] = 85
    assert shortcuts.find(table.assign(label="one"), image_stats) == []
    assert (
        shortcuts.find(table.assign(status=np.where(table["label"] == "daisy", "refused", "used")), image_stats) == []
    )
