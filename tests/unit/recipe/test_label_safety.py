"""Where augmentation can change what a class means, and where it says nothing."""

import json

import pytest

from kilat.recipe import Augment, built_in, load
from kilat.recipe.label_safety import unsafe_augmentations, without_unsafe_flips

EVERYTHING = Augment(
    horizontal_flip=True, vertical_flip=True, rotation=180, shear=20, zoom=0.2, brightness=0.2, contrast=0.2,
    channel_shift=0.2, randaugment={}, trivialaugment=True, resized_crop=0.08, cutout=8, erasing=0.5, mixup=0.2,
)  # fmt: skip
DIGITS = list("0123456789")
CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def named(augment, classes):
    """Return the classes that the notes name."""
    return {name for note in unsafe_augmentations(augment, classes) for name in note.values["classes"]}


@pytest.mark.parametrize(
    "classes",
    [
        CIFAR, FASHION, "daisy dandelion roses sunflowers tulips".split(), ["apple", "orange", "banana"],
        ["right whale", "blue whale", "red panda", "polar bear"], ["down jacket", "pick-up", "close up"],
        ["batik jawa barat", "batik jawa timur"], ["white rice", "fried chicken"], ["grade A", "seven up", "sirsak"],
    ],
    ids=lambda classes: classes[0],
)  # fmt: skip
def test_no_false_positives(classes):
    assert unsafe_augmentations(EVERYTHING, classes) == []


@pytest.mark.parametrize("classes", [DIGITS, ["left", "right"], ["red", "green"]], ids=lambda classes: classes[0])
def test_no_augmentation_no_notes(classes):
    assert unsafe_augmentations(Augment(), classes) == []
    harmless = Augment(
        crop=4, width_shift=0.1, shear=10, zoom=0.2, rotation=15, resized_crop=0.5, cutout=8, erasing=0.5, mixup=0.2
    )
    assert unsafe_augmentations(harmless, classes) == []


@pytest.mark.parametrize(
    ("choice", "classes", "wanted"),
    [
        ({"horizontal_flip": True}, ["0", "3", "8", "6"], "3 6"),
        ({"vertical_flip": True}, ["0", "3", "8", "6"], "6"),
        ({"horizontal_flip": True}, ["zero", "Seven", "tiga", "digit_2", "angka 4"], "Seven|tiga|digit_2|angka 4"),
        ({"horizontal_flip": True}, ["A", "B", "b", "letter_d", "<"], "B|b|letter_d|<"),
        ({"vertical_flip": True}, ["A", "B", "<"], "A"),
        ({"horizontal_flip": True}, ["left", "up", "kanan", "none"], "left|kanan"),
        ({"vertical_flip": True}, ["left", "up", "bawah", "none"], "up|bawah"),
        ({"horizontal_flip": True}, ["Turn-Left", "belok kanan", "stop"], "Turn-Left|belok kanan"),
        ({"horizontal_flip": True}, ["left lung", "right lung", "heart"], "left lung|right lung"),
        ({"vertical_flip": True}, ["thumbs_up", "thumbs_down", "fist"], "thumbs_up|thumbs_down"),
        ({"horizontal_flip": True}, ["→", "↑"], "→"),
        ({"rotation": 90}, ["left", "up", "circle"], "left|up"),
        ({"rotation": 90}, ["0", "1", "7"], "1 7"),
        ({"rotation": 45}, DIGITS, "6 9"),
        ({"rotation": 45}, ["6", "7"], ""),
        ({"resized_crop": 0.3}, ["E", "F", "letter_q", "none"], "E|F|letter_q"),
        ({"rotation": 44}, DIGITS, ""),
        ({"trivialaugment": True}, ["0", "7"], "7"),
        ({"channel_shift": 0.1}, ["red", "dark blue", "car"], "red|dark blue"),
        ({"brightness": 0.1}, ["merah muda", "abu-abu", "hitam"], "merah muda|abu-abu|hitam"),
        ({"randaugment": {}}, ["red apple", "green apple", "pear"], "red apple|green apple"),
        ({"trivialaugment": True}, ["mawar merah", "mawar putih", "melati"], "mawar merah|mawar putih"),
    ],
)
def test_classes_whose_meaning_is_at_stake(choice, classes, wanted):
    separator = "|" if "|" in wanted else None
    assert named(Augment(**choice), classes) == {name.strip() for name in wanted.split(separator)}


def test_the_sentence_names_the_option_the_classes_and_what_to_do():
    (note,) = unsafe_augmentations(Augment(horizontal_flip=True, crop=4), DIGITS)
    assert note.values["classes"] == list("12345679")
    assert note.sentence() == (
        "augment.horizontal_flip mirrors pictures left to right, which can change the meaning of "
        "'1', '2', '3', '4', '5' and 3 more. Switch it off if it does; `kilat preview` shows the augmented pictures."
    )


def test_each_option_gets_a_note_of_its_own():
    augment = Augment(horizontal_flip=True, vertical_flip=True, rotation=120, resized_crop=0.3)
    notes = unsafe_augmentations(augment, ["6", "9"])
    options = ["augment.horizontal_flip", "augment.vertical_flip", "augment.rotation", "augment.resized_crop"]
    assert [note.sentence().split()[0] for note in notes] == options
    assert "120 degrees" in notes[2].sentence()
    assert "30% of pictures" in notes[3].sentence()


def test_one_policy_can_change_both_directions_and_colours():
    notes = unsafe_augmentations(Augment(trivialaugment=True), ["red left", "green left", "red right", "green right"])
    assert [note.code for note in notes] == ["label_safety_rotation", "label_safety_colour"]
    assert {note.values["option"] for note in notes} == {"trivialaugment"}


def test_notes_are_what_json_can_hold():
    notes = unsafe_augmentations(EVERYTHING, ["left", "right", "red 6", "green 6"])
    assert json.loads(json.dumps([note.document() for note in notes])) == [note.document() for note in notes]


class TestAutomaticFlips:
    @pytest.mark.parametrize(
        ("classes", "changed"),
        [
            (DIGITS, "1 2 3 4 5 6 7 9".split()),
            (["turn left", "turn right", "stop"], ["turn left", "turn right"]),
            (["A", "b"], ["b"]),
        ],
    )
    def test_labels_like_characters_and_directions_switch_them_off(self, classes, changed):
        augment, (note,) = without_unsafe_flips(Augment(horizontal_flip="auto", crop=4), classes)
        assert augment == Augment(crop=4)
        assert (note.code, note.values["classes"]) == ("flips_off_labels", changed)
        assert "set augment.horizontal_flip=true" in note.sentence()
        assert unsafe_augmentations(augment, classes) == []

    def test_other_labels_leave_them_open(self):
        augment = Augment(horizontal_flip="auto")
        assert without_unsafe_flips(augment, ["daisy", "tulip", "A", "8"]) == (augment, [])
        assert unsafe_augmentations(augment, ["daisy", "tulip"]) == []

    @pytest.mark.parametrize("chosen", [True, False])
    def test_what_was_chosen_stays(self, chosen):
        augment = Augment(horizontal_flip=chosen)
        assert without_unsafe_flips(augment, DIGITS) == (augment, [])

    def test_built_in_recipes_leave_them_open(self):
        flips = {name: load(name).augment.horizontal_flip for name in built_in()}
        assert {name for name, flip in flips.items() if flip} == {
            "best", "fast-cifar", "fast-cifar-90", "fast-cifar-915", "finetune", "small-cnn", "strided-cnn", "tiny",
            "vgg-cifar", "vgg16-binary",
        }  # fmt: skip
        # What is made for CIFAR-10 knows that its classes bear mirroring.
        always = {name for name, flip in flips.items() if flip is True}
        assert always == {"fast-cifar", "fast-cifar-90", "fast-cifar-915"}
