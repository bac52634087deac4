"""The tree of options: every option by its path, and the section that stands at a path."""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter

from kilat.recipe.fit import SCHEDULES
from kilat.recipe.network import KINDS
from kilat.recipe.section import Section
from kilat.recipe.sections import Recipe

_DOT = re.compile(r"\.(?!\d+(?:\.|$))")
"""Between parts of a path; a number belongs to the list before it."""


def option_paths(sections: Iterable[str]) -> list[str]:
    """Return all options of some sections by their full path; a group of options follows its members."""
    return [path for name in sections for path in _paths_of(name)]


def short_paths(paths: Sequence[str]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart; ``name`` says nothing by itself."""
    parts = [_DOT.split(path) for path in paths]
    parts = [one[:-1] if one[-1] == "name" and len(one) > 1 else one for one in parts]
    length = 1
    while len({tuple(one[-length:]) for one in parts}) < len(parts) and length < max(map(len, parts)):
        length += 1
    return [".".join(one[-length:]) for one in parts]


def is_switch(path: str) -> bool:
    """Return whether an option takes true and false."""
    annotation = annotation_at(path.split("."))
    return bool in (annotation, *get_args(annotation))


def is_null(path: str, value: Any) -> bool:
    """Return whether a value says that an option has none: the word ``none``, where the option has no such value."""
    annotation = annotation_at(path.split("."))
    if value != "none" or type(None) not in get_args(annotation):
        return False
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValueError:
        return True
    return False


@cache
def _paths_of(section: str) -> tuple[str, ...]:
    return tuple(_paths_below(Recipe.model_fields[section].annotation, section)[:-1])


def section_at(path: Iterable[str]) -> type[Section] | None:
    """Return the section at a path; None where there is a list, one of several sections, or a value."""
    sections = _sections_in(annotation_at(path))
    return sections[0] if len(sections) == 1 else None


def annotation_at(path: Iterable[str]) -> Any:
    """Return the type of what stands at a path; None where there is nothing of the kind."""
    return _annotation_at(tuple(path))


@lru_cache(maxsize=4096)
def _annotation_at(path: tuple[str, ...]) -> Any:
    annotation: Any = Recipe
    for part in path:
        annotation = _annotation_inside(annotation, part)
        if annotation is None:
            break
    return annotation


def option_names(path: Iterable[str]) -> list[str]:
    """Return the names of the options in the section at a path; none where there is no section."""
    section = section_at(path)
    return [] if section is None else list(section.model_fields)


def is_option(path: str) -> bool:
    """Return whether a path leads to an option, or to an entry of a list or mapping, which only its content decides."""
    *parents, leaf = path.split(".")
    return leaf == "name" or annotation_at([*parents, leaf]) is not None or not _sections_in(annotation_at(parents))


def _paths_below(annotation: Any, path: str) -> list[str]:
    fields = {
        name: field.annotation for section in _sections_in(annotation) for name, field in section.model_fields.items()
    }
    if path == "fit.schedule":
        fields["name"] = str
    return [*(deeper for name, inner in fields.items() for deeper in _paths_below(inner, f"{path}.{name}")), path]


def _sections_in(annotation: Any) -> list[type[Section]]:
    """Return the sections that a field can hold: none, one, or one of several."""
    if get_origin(annotation) is Annotated:
        return _sections_in(get_args(annotation)[0])
    types = [annotation, *(get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ())]
    bare = [get_args(one)[0] if get_origin(one) is Annotated else one for one in types]
    return [one for one in bare if isinstance(one, type) and issubclass(one, Section)]


def _annotation_inside(annotation: Any, part: str) -> Any:
    """Return the type of a part: an item of a list, one of several sections by its name, or a field."""
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0]
    sections = _sections_in(annotation)
    if len(sections) > 1:
        named = [section for section in sections if section in (KINDS.get(part), SCHEDULES.get(part))]
        if named:
            return named[0]
    return next((section.model_fields[part].annotation for section in sections if part in section.model_fields), None)
