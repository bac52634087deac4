"""What to write instead of another library's words: the very line, for the recipe's file or for the command line."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from kilat.locale import _
from kilat.locale.escapes import shell_word
from kilat.locale.excerpt import excerpt, shortened
from kilat.locale.lists import listed
from kilat.recipe.problems import Problem
from kilat.recipe.size_limits import too_large_number
from kilat.recipe.words.translate import Change, is_in_place_of_one

_SHOWN_PLACES = 10
_LONGEST_LINE = 2_000
"""Characters of what is to be written."""


def line_to_write(change: Change, translated: Mapping[str, Any]) -> str:
    """Return what to write in a recipe, as YAML with what stands beside it: ``write batch: 32``.

    Args:
        change: the place, and the options that say it.
        translated: the recipe in kilat's words.
    """
    by_section: dict[tuple[str, ...], list[str]] = {}
    for option in change.options:
        *section, name = root = _root(option)
        is_there = _has(translated, ".".join(root))
        value = _at(translated, root) if is_there else _alone(option, root, change)
        lines = by_section.setdefault(tuple(section), [])
        lines += [line for line in _written(value, name) if line not in lines]
    sentences = [
        (_("write {lines}") if section == change.given[: len(section)] else _("under {section}, write {lines}")).format(
            section=".".join(section), lines=_(" and ").join(shortened(line, _LONGEST_LINE) for line in lines)
        )
        for section, lines in by_section.items()
    ]
    sentences += [_layer_to_write(layer) for layer in change.layers]
    return _with_notes(sentences, change)


def problems_in_words(
    changes: Sequence[Change], translated: Mapping[str, Any], overrides: Iterable[tuple[str, ...]]
) -> list[Problem]:
    """Return the places with words of other libraries as problems; those with the same line to write as one.

    Args:
        changes: of a recipe.
        translated: that recipe in kilat's words.
        overrides: the paths of options that were given on the command line; what is wrong in them is written there.
    """
    places: dict[str, list[Change]] = {}
    for change in changes:
        given = _overrides_of(change, overrides)
        if given:
            paths = [path for path in given if _has(translated, path)] or [".".join(change.given)]
            paths += [one for one in change.options if not any(_is_inside(one, path) for path in paths)]
            paths = [path for path in paths if _has(translated, path)]
            sentence = override_to_write(change, [(path, _at(translated, path.split("."))) for path in paths])
        else:
            sentence = line_to_write(change, translated)
        places.setdefault(sentence, []).append(change)
    return [
        Problem(same[0].given, f"{_places(same)}: {sentence}", same[0].of_name) for sentence, same in places.items()
    ]


def _places(changes: Sequence[Change]) -> str:
    return listed([shortened(".".join(one.given)) for one in changes], _SHOWN_PLACES)


def _overrides_of(change: Change, overrides: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the paths of the overrides that brought a change: of its place, or of what stands around or inside it."""
    return [
        ".".join(path)
        for path in overrides
        if change.given[: len(path)] == path or path[: len(change.given)] == change.given
    ]


def _is_inside(one: str, other: str) -> bool:
    """Return whether one of two paths leads to a part of what the other leads to."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _has(document: Any, path: str) -> bool:
    try:
        _at(document, path.split("."))
    except (KeyError, TypeError, LookupError, ValueError):
        return False
    return True


def override_to_write(change: Change, values: Iterable[tuple[str, Any]]) -> str:
    """Return what to write on the command line: ``write --set fit.batch=32``.

    Args:
        change: the word.
        values: options by their path, with their values.
    """
    options = [f"--set {shell_word(f'{path}={as_yaml(value)}')}" for path, value in values]
    sentences = [_("write {lines}").format(lines=" ".join(options))] if options else []
    return _with_notes([*sentences, *map(_layer_to_write, change.layers)], change)


def as_yaml(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _layer_to_write(layer: Any) -> str:
    lines = _(" and ").join(_written(layer, "0"))
    return _("under {section}, write {lines}").format(section="model.layers", lines=lines)


def _with_notes(sentences: Sequence[str], change: Change) -> str:
    notes = "; ".join(map(_, change.notes))
    return ("; ".join(sentences) or _("leave it out")) + (f" ({notes})" if notes else "")


def _root(option: str) -> tuple[str, ...]:
    """Return the path of what is written as a line of its own: a layer, or an option of a section."""
    parts = option.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return tuple(parts[: numbers[-1] + 1] if numbers else parts[:2])


def _at(document: Any, path: Iterable[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _alone(option: str, root: tuple[str, ...], change: Change) -> Any:
    """Return what stands at a root by an option of it alone: where its section is given, but as no group of options."""
    value = change.values.get(option)
    for name in reversed(option.split(".")[len(root) :]):
        value = {name: value}
    return value


def _written(value: Any, name: str) -> list[str]:
    """Return the lines of an option, or of a layer in the list; several where one layer became several."""
    if not name.isdigit():
        return [f"{name}: {as_yaml(value)}"]
    if is_in_place_of_one(value):
        return [line for layer in _several(value) for line in _written(layer, name)]
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, options),) = value.items()
        return [f"- {kind}: {as_yaml(options)}"]
    return [f"- {as_yaml(value)}"]


def _several(value: Mapping[str, Any]) -> list[Any]:
    layers: list[Any] = value["repeat"]["layers"]
    return layers


def _plain(value: Any) -> Any:
    """Return a value without what YAML has no sign for: tuples are lists, anything else is shown as Python has it."""
    if isinstance(value, Mapping):
        return {_plain_single(key): _plain(one) for key, one in value.items()}
    if not isinstance(value, list | tuple):
        return _plain_single(value)
    return [_plain(one) for item in value for one in (_several(item) if is_in_place_of_one(item) else [item])]


def _plain_single(value: Any) -> Any:
    is_plain = isinstance(value, str | bool | int | float | None) and not too_large_number(value)
    return value if is_plain else excerpt(value)
