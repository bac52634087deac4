"""The section ``augment``: what ranges mean, and which are refused."""

from typing import Any

import pytest

from kilat.recipe import Augment, load

LAYERS = {"layers": ["flatten", {"dense": "classes"}]}


def augment(**choices: Any) -> Augment:
    return load({"model": LAYERS, "augment": choices}).augment


@pytest.mark.parametrize("name", ["zoom", "brightness", "contrast"])
def test_one_number_is_that_much_to_both_sides_of_one(name: str) -> None:
    assert getattr(augment(**{name: 0.25}), name) == (0.75, 1.25)
    assert getattr(augment(**{name: [0.5, 2]}), name) == (0.5, 2.0)
    assert getattr(augment(**{name: 0}), name) == (1.0, 1.0)


def test_brightness_may_go_down_to_black_and_a_zoom_may_not(problems: Any) -> None:
    assert augment(brightness=[0, 1]).brightness == (0.0, 1.0)
    (found,) = problems({"model": LAYERS, "augment": {"zoom": [0, 1]}})
    assert found.startswith("augment.zoom: must be two factors above 0, the smaller first, or one number below 1")


def test_a_resized_crop_of_one_number_goes_up_to_the_whole() -> None:
    assert augment(resized_crop=0.35).resized_crop == (0.35, 1.0)
    assert augment(resized_crop=1).resized_crop == (1.0, 1.0)
    assert augment(resized_crop=[0.5, 0.9]).resized_crop == (0.5, 0.9)
    assert augment(resized_crop=None).resized_crop is None


@pytest.mark.parametrize(
    ("choices", "path"),
    [
        ({"zoom": [1.2, 0.8]}, "augment.zoom"),
        ({"zoom": 1.5}, "augment.zoom"),
        ({"zoom": [0.5]}, "augment.zoom.1"),
        ({"contrast": -2}, "augment.contrast"),
        ({"resized_crop": 0}, "augment.resized_crop"),
        ({"resized_crop": [0.5, 1.2]}, "augment.resized_crop"),
        ({"resized_crop": [0.8, 0.4]}, "augment.resized_crop"),
        ({"resized_crop": True}, "augment.resized_crop"),
        ({"erasing": 2}, "augment.erasing"),
        ({"rotation": 200}, "augment.rotation"),
        ({"width_shift": 12}, "augment.width_shift"),
        ({"fill": "mirror"}, "augment.fill"),
        ({"fill_value": 300}, "augment.fill_value"),
        ({"cutout": -1}, "augment.cutout"),
        ({"randaugment": True}, "augment.randaugment"),
        ({"randaugment": {"operations": 0}}, "augment.randaugment.operations"),
    ],
)
def test_impossible_ranges_are_named_by_their_path(problems: Any, choices: dict[str, Any], path: str) -> None:
    found = problems({"model": LAYERS, "augment": choices})
    assert [line.partition(": ")[0] for line in found] == [path]


def test_unknown_choices_get_the_nearest(problems: Any) -> None:
    assert problems({"model": LAYERS, "augment": {"horizontl_flip": True}}) == [
        "augment.horizontl_flip: unknown option. Did you mean 'horizontal_flip'?"
    ]


def test_what_fills_the_outside_changes_nothing_by_itself() -> None:
    assert not augment(fill="constant", fill_value=9).is_active
    assert augment(cutout=4).is_active


def test_all_of_it_can_be_left_out_of_a_recipe() -> None:
    assert not load("vgg-cifar", {"augment": {}}).augment.is_active


def test_a_policy_can_be_set_option_by_option() -> None:
    policy = load("vgg-cifar", {"augment.randaugment.operations": 3}).augment.randaugment
    assert policy is not None
    assert (policy.operations, policy.magnitude) == (3, 9.0)
