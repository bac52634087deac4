"""Augmentation that can change what a class means: mirrored or cut digits, turned arrows, shifted colours."""

import re
from collections import Counter
from collections.abc import Sequence

from kilat.locale.notes import Note
from kilat.recipe.augment import Augment

_DIGITS = {
    word: str(digit)
    for words in (
        "zero one two three four five six seven eight nine",
        "nol satu dua tiga empat lima enam tujuh delapan sembilan",
    )
    for digit, word in enumerate(words.split())
}
_SIGN_WORDS = frozenset("digit number letter character angka nomor huruf".split())

# Characters that look the same, as they are commonly written, after being mirrored left to right, turned upside down,
# or turned by any angle.
_SAME_MIRRORED = frozenset("08AHIMOTUVWXYilovwx+-=|*:.^_!")
_SAME_UPSIDE_DOWN = frozenset("038BCDEHIKOXclox+-=|*:<>()[]{}")
_SAME_TURNED = frozenset("0OXox+*.@")
# Characters that become one another by half a turn, and are hard to tell apart after less.
_HALF_TURNS = dict(zip("69MWnubqdp", "96WMunqbpd", strict=True))

_LEFT_RIGHT = frozenset("left leftward leftwards right rightward rightwards kiri kanan ← → ⬅ ➡".split())
_UP_DOWN = frozenset("up upward upwards down downward downwards atas bawah ↑ ↓ ⬆ ⬇".split())
_SENSE_OF_ROTATION = frozenset("clockwise counterclockwise anticlockwise".split())
_DIRECTIONS = _LEFT_RIGHT | _UP_DOWN | _SENSE_OF_ROTATION
_BESIDE_DIRECTIONS = frozenset("arrow arrows turn point pointing only ahead to the panah belok arah ke".split())

_SHADES = frozenset("light dark pale bright deep muda tua terang gelap".split())
_COLOURS = _SHADES | frozenset(
    "red orange yellow green blue purple pink brown black white grey gray cyan magenta "
    "merah jingga oranye kuning hijau biru ungu coklat cokelat hitam putih abu kelabu".split()
)

_TRIVIAL_ROTATION = 135.0  # what the wide TrivialAugment goes up to
_SIGN_SHARE = 0.5  # of a picture: less can show one sign as another, E as F


def unsafe_augmentations(augment: Augment, classes: Sequence[str]) -> list[Note]:
    """Return a note for each option that can turn a picture of some class into something else.

    Args:
        augment: the recipe's section.
        classes: their names, in English or Indonesian. Names that say nothing of direction or colour raise no alarm.
    """
    notes = []
    if augment.horizontal_flip is True:
        notes.append(Note("label_safety_horizontal_flip", {"classes": _changed_by_mirroring(classes)}))
    if augment.vertical_flip:
        names = _changed_by_flip(classes, _SAME_UPSIDE_DOWN, _UP_DOWN | _SENSE_OF_ROTATION)
        notes.append(Note("label_safety_vertical_flip", {"classes": names}))
    # RandAugment stops at 30 degrees, which changes no meaning.
    rotations = {"rotation": augment.rotation, "trivialaugment": augment.trivialaugment * _TRIVIAL_ROTATION}
    for option, degrees in rotations.items():
        values = {"option": option, "degrees": degrees, "classes": _changed_by_rotation(classes, degrees)}
        notes.append(Note("label_safety_rotation", values))
    if augment.resized_crop and augment.resized_crop[0] < _SIGN_SHARE:
        names = [name for name in classes if _sign(name)]
        notes.append(Note("label_safety_crop", {"share": augment.resized_crop[0], "classes": names}))
    colours = {
        "brightness": augment.brightness != (1.0, 1.0),
        "channel_shift": augment.channel_shift > 0,
        "randaugment": augment.randaugment is not None,
        "trivialaugment": augment.trivialaugment,
    }
    coloured = _told_apart_by(classes, _COLOURS)
    for option, is_chosen in colours.items():
        if is_chosen:
            notes.append(Note("label_safety_colour", {"option": option, "classes": coloured}))
    return [note for note in notes if note.values["classes"]]


def without_unsafe_flips(augment: Augment, classes: Sequence[str]) -> tuple[Augment, list[Note]]:
    """Switch off an automatic horizontal flip where labels look like characters or directions, with a note."""
    if augment.horizontal_flip != "auto" or not (names := _changed_by_mirroring(classes)):
        return augment, []
    return augment.model_copy(update={"horizontal_flip": False}), [Note("flips_off_labels", {"classes": names})]


def _changed_by_mirroring(classes: Sequence[str]) -> list[str]:
    return _changed_by_flip(classes, _SAME_MIRRORED, _LEFT_RIGHT | _SENSE_OF_ROTATION)


def _changed_by_flip(classes: Sequence[str], unchanged: frozenset[str], directions: frozenset[str]) -> list[str]:
    pointing = _naming_direction(classes, directions)
    return [name for name in classes if ((sign := _sign(name)) and sign not in unchanged) or name in pointing]


def _changed_by_rotation(classes: Sequence[str], degrees: float) -> list[str]:
    """Return the classes that a rotation changes.

    From 90 degrees on these are directions and signs, from 45 degrees on signs that are another class's half turn.
    """
    signs = {name: _sign(name) for name in classes}
    if degrees >= 90:
        pointing = _naming_direction(classes, _LEFT_RIGHT | _UP_DOWN)
        return [name for name, sign in signs.items() if (sign and sign not in _SAME_TURNED) or name in pointing]
    if degrees >= 45:
        return [name for name, sign in signs.items() if sign and _HALF_TURNS.get(sign) in signs.values()]
    return []


def _sign(name: str) -> str | None:
    """Return the single digit, letter or mark that a class stands for; None for every other class."""
    if len(bare := name.strip()) == 1:
        return None if bare in _DIRECTIONS else bare
    words = [word for word in _words(name) if word.casefold() not in _SIGN_WORDS]
    if len(words) != 1:
        return None
    (word,) = words
    return word if len(word) == 1 else _DIGITS.get(word.casefold())


def _naming_direction(classes: Sequence[str], directions: frozenset[str]) -> set[str]:
    """Return classes that name a direction: by itself, with an arrow or a turn, or as all that tells two apart."""
    found = set(_told_apart_by(classes, _DIRECTIONS))
    found |= {name for name in classes if not set(_lower_words(name)) - _DIRECTIONS - _BESIDE_DIRECTIONS}
    return {name for name in found if directions & set(_lower_words(name))}


def _told_apart_by(classes: Sequence[str], words: frozenset[str]) -> list[str]:
    """Return the classes that only some words tell from another class, as red and green apples."""
    others = {
        name: tuple(word for word in own if word not in words)
        for name in classes
        if not words.isdisjoint(own := _lower_words(name))
    }
    counts = Counter(others.values())
    return [name for name, rest in others.items() if counts[rest] > 1]


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+|[←→↑↓⬅➡⬆⬇]", name)


def _lower_words(name: str) -> list[str]:
    return [word.casefold() for word in _words(name)]
