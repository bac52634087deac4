"""Find entries of the tables, however a word is spelled: as its library writes it, or without capitals and packages."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from kilat.recipe.network import KINDS
from kilat.recipe.option_tree import option_paths
from kilat.recipe.sections import Recipe
from kilat.recipe.words.layer_words import LAYERS
from kilat.recipe.words.part_words import PARTS
from kilat.recipe.words.word import NOTHING, Part, Word, normal, read_python

Path = tuple[str, ...]


def find_part(table: Mapping[str, Part], name: str) -> Part | None:
    """Return a part by its name; None where there is none."""
    bare = name.rpartition(".")[2]
    word = normal(bare)
    return table.get(bare) or next((part for key, part in table.items() if normal(key) == word), None)


def find_word(table: Mapping[str, Word], name: str) -> Word | None:
    """Return an option by its name; None where there is none."""
    word = normal(name)
    return table.get(name) or next((found for key, found in table.items() if normal(key) == word), None)


def own_option(name: str) -> Word | None:
    """Return the word for one of kilat's own options, in whatever section it is and however it is spelled."""
    own = _own_options().get(normal(name))
    return Word((own,)) if own and own != "name" else None


def own_part(name: str) -> Part | None:
    """Return the part for one of kilat's own kinds of layers, however it is spelled."""
    kind = next((kind for kind in KINDS if normal(kind) == normal(name)), None)
    if kind is None:
        return None
    main = KINDS[kind].main
    return Part("layer", {kind: {}}, {**({main: Word((main,))} if main else {}), **_of_kind(kind)})


def own_path(key: str) -> str:
    """Return the path of an option with kinds of layers in kilat's words: ``model.layers.0.Conv2D.filters``."""
    return ".".join(map(_own_kind, key.split(".")))


def layer_option(kind: str, name: str, value: Any) -> tuple[str, Any] | None:
    """Return an option of a kind of layer with its value, by any name of it; None where it has none.

    Args:
        kind: of kilat's.
        name: of the option.
        value: as given.
    """
    if kind not in KINDS:
        return None
    if name in KINDS[kind].model_fields:
        return name, value
    word = find_word(_of_kind(kind), name)
    pairs = [] if word is None else converted(word, value)
    return pairs[0] if pairs and "." not in pairs[0][0] else None


def place_of_parts(path: Path) -> str:
    """Return the place of the parts that may stand at a path; empty where none may."""
    if path[:1] == ("model",) and path[-1] in ("activation", "function"):
        return "activation"
    if path == ("fit", "optimizer") or (path[:2] == ("fit", "optimizer_groups") and len(path) == 3):
        return "fit.optimizer"
    place = ".".join(path)
    return place if place in ("fit.schedule", "fit.loss", "fit.early_stopping") else ""


def parameters_at(path: Path) -> Mapping[str, Word]:
    """Return what other libraries call the options of the section at a path."""
    if path[:2] == ("model", "layers"):
        return _of_kind(path[-1])
    place = "fit.schedule" if path[:2] == ("fit", "schedule") else place_of_parts(path)
    return _merged(part for part in PARTS.values() if place and part.place == place)


def converted(word: Word, value: Any) -> list[tuple[str, Any]]:
    """Return each option that a word sets, with its value."""
    try:
        made = word.value(read_python(value))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
        made = value  # the check of the whole recipe refuses it
    values = made if len(word.to) > 1 and isinstance(made, list) else [made] * len(word.to)
    return [(option, one) for option, one in zip(word.to, values, strict=False) if one is not NOTHING]


@cache
def _own_options() -> dict[str, str]:
    return {normal(path): path.rpartition(".")[2] for path in option_paths(Recipe.model_fields)}


def _own_kind(name: str) -> str:
    """Return a kind of layer in kilat's words; any other name as it is."""
    if name in Recipe.model_fields or name in KINDS:
        return name
    part = find_part(LAYERS, name)
    return next(iter(part.base)) if part is not None and part.place == "layer" else name


def _of_kind(kind: str) -> Mapping[str, Word]:
    """Return what other libraries call the options of a kind of layer."""
    return _merged(part for part in LAYERS.values() if part.place == "layer" and kind in part.base)


def _merged(parts: Iterable[Part]) -> Mapping[str, Word]:
    """Return the parameters of several parts; of those with one name, the first."""
    words: dict[str, Word] = {}
    for part in parts:
        words = {**part.parameters, **words}
    return words
