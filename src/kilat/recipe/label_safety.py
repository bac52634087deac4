"""Where augmentation can change what a class means: mirrored or cut digits, turned arrows, shifted colours."""

import re
from collections import Counter
from collections.abc import Sequence

from kilat.locale import _
from kilat.recipe import Augment

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
_MIRRORED = frozenset("08AHIMOTUVWXYilovwx+-=|*:.^_!")
_UPTURNED = frozenset("038BCDEHIKOXclox+-=|*:<>()[]{}")
_ROUND = frozenset("0OXox+*.@")
# Characters that become one another by half a turn, and are hard to tell apart after less.
_HALF_TURNS = dict(zip("69MWnubqdp", "96WMunqbpd", strict=True))

_SIDEWAYS = frozenset("left leftward leftwards right rightward rightwards kiri kanan ← → ⬅ ➡".split())
_UPRIGHT = frozenset("up upward upwards down downward downwards atas bawah ↑ ↓ ⬆ ⬇".split())
_SPIN = frozenset("clockwise counterclockwise anticlockwise".split())
_DIRECTIONS = _SIDEWAYS | _UPRIGHT | _SPIN
_POINTING = frozenset("arrow arrows turn point pointing only ahead to the panah belok arah ke".split())

_SHADES = frozenset("light dark pale bright deep muda tua terang gelap".split())
_COLOURS = _SHADES | frozenset(
    "red orange yellow green blue purple pink brown black white grey gray cyan magenta "
    "merah jingga oranye kuning hijau biru ungu coklat cokelat hitam putih abu kelabu".split()
)

_TRIVIAL_ROTATION = 135.0  # what the wide TrivialAugment goes up to
_SIGN_SHARE = 0.5  # of a picture: less can show one sign as another, E as F
_NAMED = 6


def altered_meanings(augment: Augment, classes: Sequence[str]) -> list[str]:
    """Sentences for the user, one for each choice that can turn a picture of these classes into something else.

    Args:
        augment: what a recipe chooses.
        classes: their names, in English or Indonesian. Names that say nothing of direction or colour raise no alarm.
    """
    findings = []
    if augment.horizontal_flip:
        names = _flipped(classes, _MIRRORED, _SIDEWAYS | _SPIN)
        findings.append(("horizontal_flip", _("mirrors pictures left to right"), names))
    if augment.vertical_flip:
        names = _flipped(classes, _UPTURNED, _UPRIGHT | _SPIN)
        findings.append(("vertical_flip", _("turns pictures upside down"), names))
    for line, degrees in _rotations(augment).items():
        effect = _("turns pictures by up to {degrees:g} degrees").format(degrees=degrees)
        findings.append((line, effect, _rotated(degrees, classes)))
    if augment.resized_crop and augment.resized_crop[0] < _SIGN_SHARE:
        effect = _("shows as little as {share:.0%} of pictures").format(share=augment.resized_crop[0])
        findings.append(("resized_crop", effect, [name for name in classes if _sign(name)]))
    coloured = _differing(classes, _COLOURS)
    findings += [(line, _("changes the colours of pictures"), coloured) for line in _colour_lines(augment)]
    return [_sentence(line, effect, names) for line, effect, names in findings if names]


def _sentence(line: str, effect: str, names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
    if len(names) > _NAMED:
        shown += _(" and {more} more").format(more=len(names) - _NAMED)
    return _(
        "augment.{line} {effect}, which can change what these classes mean: {classes}. "
        "Switch it off if it does; `kilat preview` shows what becomes of pictures."
    ).format(line=line, effect=effect, classes=shown)


def _flipped(classes: Sequence[str], symmetric: frozenset[str], directions: frozenset[str]) -> list[str]:
    pointing = _pointing(classes, directions)
    return [name for name in classes if ((sign := _sign(name)) and sign not in symmetric) or name in pointing]


def _rotations(augment: Augment) -> dict[str, float]:
    """The lines that can turn pictures far, and by how many degrees at most; RandAugment stops at 30."""
    degrees = {
        "rotation": augment.rotation,
        "trivialaugment": _TRIVIAL_ROTATION if augment.trivialaugment else 0.0,
    }
    return {line: most for line, most in degrees.items() if most}


def _rotated(degrees: float, classes: Sequence[str]) -> list[str]:
    """From a quarter turn on, whatever points or reads; from an eighth on, signs that are each other's half turn."""
    signs = {name: _sign(name) for name in classes}
    if degrees >= 90:
        pointing = _pointing(classes, _SIDEWAYS | _UPRIGHT)
        return [name for name, sign in signs.items() if (sign and sign not in _ROUND) or name in pointing]
    if degrees >= 45:
        return [name for name, sign in signs.items() if sign and _HALF_TURNS.get(sign) in signs.values()]
    return []


def _colour_lines(augment: Augment) -> list[str]:
    chosen = {
        "brightness": augment.brightness != (1.0, 1.0),
        "channel_shift": augment.channel_shift > 0,
        "randaugment": augment.randaugment is not None,
        "trivialaugment": augment.trivialaugment,
    }
    return [line for line, is_chosen in chosen.items() if is_chosen]


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+|[←→↑↓⬅➡⬆⬇]", name)


def _lower(name: str) -> list[str]:
    return [word.casefold() for word in _words(name)]


def _sign(name: str) -> str | None:
    """The single digit, letter or mark that a class stands for; None for every other class."""
    if len(bare := name.strip()) == 1:
        return None if bare in _DIRECTIONS else bare
    words = [word for word in _words(name) if word.casefold() not in _SIGN_WORDS]
    if len(words) != 1:
        return None
    (word,) = words
    return word if len(word) == 1 else _DIGITS.get(word.casefold())


def _pointing(classes: Sequence[str], directions: frozenset[str]) -> set[str]:
    """The classes that name a direction: by itself, with an arrow or a turn, or as all that tells two classes apart."""
    found = set(_differing(classes, _DIRECTIONS))
    found |= {name for name in classes if not set(_lower(name)) - _DIRECTIONS - _POINTING}
    return {name for name in found if directions & set(_lower(name))}


def _differing(classes: Sequence[str], kind: frozenset[str]) -> list[str]:
    """The classes that only words of this kind tell from another class, as red and green apples."""
    rests = {
        name: tuple(word for word in words if word not in kind)
        for name in classes
        if not kind.isdisjoint(words := _lower(name))
    }
    counts = Counter(rests.values())
    return [name for name, rest in rests.items() if counts[rest] > 1]
