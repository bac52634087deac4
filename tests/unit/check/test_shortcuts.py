"""Shortcuts: what tells a label without the subject is named, and nothing is where nothing does."""

import numpy as np
import pandas as pd
import pytest

from kilat.check import shortcuts
from kilat.data.image_stats import IMAGE_STATS


def made(n: int = 300, classes: int = 3, seed: int = 0):
    """A set in which nothing but chance differs between the classes."""
    generator = np.random.default_rng(seed)
    facts = np.zeros(n, IMAGE_STATS)
    facts["width"], facts["height"] = generator.integers(200, 400, (2, n))
    facts["bytes"], facts["quality"], facts["format"], facts["mode"] = 20000, 88, b"JPEG", b"RGB"
    for name in ("brightness", "contrast", "dark_share", "light_share", "sharpness"):
        facts[name] = generator.uniform(0, 1, n)
    facts["colourfulness"] = generator.uniform(20, 90, n)
    facts["border_mean"] = generator.uniform(0, 255, (n, 4))
    label = np.array(["daisy", "rose", "tulip", *map(str, range(classes))])[np.arange(n) % classes]
    return pd.DataFrame({"label": label, "status": "used"}), facts


def only(table, facts):
    (finding,) = shortcuts.find(table, facts)
    return finding


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "classes"), [(20, 2), (60, 3), (300, 3), (1000, 20)])
def test_nothing_is_said_where_only_chance_differs(n, classes, seed):
    assert shortcuts.find(*made(n, classes, seed)) == []


def test_one_class_of_another_quality_is_serious_and_named():
    table, facts = made()
    facts["quality"][table["label"] == "daisy"] = 85
    finding = only(table, facts)
    assert (finding.kind, finding.severity, finding.facts["group"]) == ("shortcut", "serious", "compression")
    assert "“daisy”" in finding.title
    assert "100 of its 100 pictures have a JPEG quality of 85, 0% of the others." in finding.title
    (rule,) = finding.facts["rules"]
    assert rule["balanced_accuracy"] == 1
    assert 0.95 < rule["balanced_accuracy_interval"][0] < 1
    own, others = finding.groups
    assert set(table["label"][list(own)]) == {"daisy"}
    assert set(table["label"][list(others)]) == {"rose", "tulip"}


@pytest.mark.parametrize("dark", [False, True])
def test_a_frame_is_serious_even_where_a_dark_picture_hides_its_end_on_some_sides(dark):
    table, facts = made()
    own = np.flatnonzero(table["label"] == "rose")
    facts["border_width"][own], facts["border_edge"][own], facts["border_mean"][own] = 4, 1, 0
    if dark:
        facts["border_edge"][own, :2], facts["border_width"][own, 0] = 0, 30
    finding = only(table, facts)
    assert (finding.severity, finding.facts["group"]) == ("serious", "frame")
    assert "a frame of one tone, 4 pixels wide" in finding.title


@pytest.mark.parametrize(
    ("field", "value", "group"),
    [("camera", b"Canon EOS 5D", "camera"), ("mode", b"L", "colour"), ("format", b"PNG", "compression")],
)
def test_names_tell_too(field, value, group):
    table, facts = made()
    facts[field][table["label"] == "tulip"] = value
    finding = only(table, facts)
    assert (finding.severity, finding.facts["group"]) == ("serious", group)
    assert value.decode() in finding.title


def test_a_range_of_sizes_tells():
    table, facts = made()
    own = np.asarray(table["label"] == "tulip")
    facts["width"][own] = np.random.default_rng(1).integers(500, 600, own.sum())
    assert "a width of at least 5" in only(table, facts).title


def test_brightness_may_be_the_subject_and_is_never_serious():
    table, facts = made()
    own = np.asarray(table["label"] == "tulip")
    facts["brightness"][own] = np.random.default_rng(1).uniform(1.5, 2, own.sum())
    finding = only(table, facts)
    assert (finding.severity, finding.facts["group"]) == ("look", "light")
    assert "may be the subject itself" in finding.advice


def test_half_a_class_told_is_no_separation_and_most_of_it_deserves_a_look():
    table, facts = made()
    own = np.flatnonzero(table["label"] == "daisy")
    facts["quality"][own[:40]] = 60
    assert shortcuts.find(table, facts) == []
    facts["quality"][own[:80]] = 60
    assert only(table, facts).severity == "look"


def test_of_two_classes_one_warning_and_of_several_one_with_all_names():
    table, facts = made(classes=2)
    facts["quality"][table["label"] == "rose"] = 60
    assert len(only(table, facts).facts["rules"]) == 1
    table, facts = made()
    for quality, label in ((50, "daisy"), (60, "rose"), (70, "tulip")):
        facts["quality"][table["label"] == label] = quality
    finding = only(table, facts)
    assert [rule["class"] for rule in finding.facts["rules"]] == ["daisy", "rose", "tulip"]
    assert "“rose”, “tulip”" in finding.title


def test_what_is_told_is_told_of_pictures_held_out():
    """Every picture has a size of its own: a rule learnt from all of them would know each by heart."""
    table, facts = made(400, 2)
    facts["width"] = np.random.default_rng(3).permutation(400) + 1000
    facts["height"] = np.random.default_rng(4).permutation(400) + 1000
    assert shortcuts.find(table, facts) == []


def test_refused_pictures_and_a_single_class_say_nothing():
    table, facts = made()
    facts["quality"][table["label"] == "daisy"] = 85
    assert shortcuts.find(table.assign(label="one"), facts) == []
    assert shortcuts.find(table.assign(status=np.where(table["label"] == "daisy", "refused: x", "used")), facts) == []
