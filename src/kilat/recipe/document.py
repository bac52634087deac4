"""Recipes from names, files and single choices; every problem is reported, with its path and the nearest valid name."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from kilat.errors import RecipeError, nearest
from kilat.recipe.fit import SCHEDULES
from kilat.recipe.network import KINDS
from kilat.recipe.section import Section
from kilat.recipe.sections import Recipe


def load(recipe: str | Path | dict[str, Any] | Recipe = "transfer", overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe from its name, file or content, with single choices overridden.

    Args:
        recipe: a built-in name, the path of a YAML file, a dictionary, or a recipe.
        overrides: choices by their path (``features.size``), or by their last name where only one has it (``size``).

    Raises:
        RecipeError: with every problem, its path and the nearest valid name.
    """
    document = _document(recipe)
    problems = []
    for key, value in (overrides or {}).items():
        try:
            _put(document, _full_path(key, document), value)
        except KeyError:
            paths = _paths(_sections(document))
            problems.append(f"{key}: unknown choice. {nearest(key, [*paths, *map(_leaf, paths)])}")
    try:
        valid = Recipe.model_validate(document)
        if not problems:
            return valid
    except ValidationError as error:
        problems += dict.fromkeys(_sentence(dict(problem)) for problem in error.errors())
    raise RecipeError("\n".join(["The recipe has problems:", *(f"  {problem}" for problem in problems)]))


def parse_override(text: str) -> tuple[str, Any]:
    """``features.size=256`` as a path and a YAML value.

    Raises:
        RecipeError: there is no ``=`` in it, or the value is no YAML.
    """
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise RecipeError(f"'{text}' is no choice.", mend="Write it as PATH=VALUE, such as features.size=192.")
    try:
        return path.strip(), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
        raise RecipeError(f"The value in '{text}' is no YAML.", mend="Quote it, such as PATH='\"a: b\"'.") from None


def built_in() -> list[str]:
    """The names of the recipes that come with kilat."""
    folder = resources.files("kilat") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def text(name: str) -> str:
    """A built-in recipe as it is written.

    Raises:
        RecipeError: there is none of this name.
    """
    if name not in built_in():
        raise RecipeError(f"There is no built-in recipe '{name}'.", mend=nearest(name, built_in()))
    return (resources.files("kilat") / "recipes" / f"{name}.yaml").read_text("utf-8")


def _document(recipe: str | Path | dict[str, Any] | Recipe) -> dict[str, Any]:
    if isinstance(recipe, Recipe):
        return recipe.model_dump()
    if isinstance(recipe, dict):
        return {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    if str(recipe) in built_in():
        written = text(str(recipe))
    elif Path(recipe).is_file():
        written = _read(Path(recipe))
    else:
        raise RecipeError(
            f"There is no recipe '{recipe}': neither a built-in name nor a file.", mend=nearest(str(recipe), built_in())
        )
    try:
        document = yaml.safe_load(written)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise RecipeError(f"The recipe {recipe} is no YAML: {error}") from None
    if document is not None and not isinstance(document, dict):
        raise RecipeError(
            f"The recipe {recipe} is not a document of sections.", mend=f"Sections: {', '.join(Recipe.model_fields)}."
        )
    return {section: {} if choices is None else choices for section, choices in (document or {}).items()}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error}.") from None


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    """Sets one choice; what stands on the way is copied, so that nobody else's document changes."""
    *sections, leaf = path.split(".")
    inside: Any = document
    for depth, section in enumerate(sections):
        step = _step(inside, section)
        inner = inside[step] if isinstance(inside, list) else inside.get(step)
        if isinstance(inner, BaseModel):
            inner = inner.model_dump()
        if depth and isinstance(inner, str):
            inner = {"name": inner}  # optimizer: adam
        if inner is not None and not isinstance(inner, dict | list | tuple):
            return  # no section at all: the check of the whole document says so
        inside[step] = inside = list(inner) if isinstance(inner, list | tuple) else dict(inner or {})
    inside[_step(inside, leaf)] = value


def _step(inside: Any, name: str) -> Any:
    """A key as it is; in a list, a place that there is."""
    if isinstance(inside, list):
        if not name.isdigit() or int(name) >= len(inside):
            raise KeyError(name)
        return int(name)
    return name


def _paths(sections: Iterable[str]) -> list[str]:
    """All choices of some sections, by their full path."""
    return [path for section in sections for path in _below(Recipe.model_fields[section].annotation, section)]


def _below(annotation: Any, path: str) -> list[str]:
    kind = _section(annotation)
    if kind is None:
        return [path]
    return [
        deeper for name, field in kind.model_fields.items() for deeper in _below(field.annotation, f"{path}.{name}")
    ]


def _section(annotation: Any) -> type[Section] | None:
    """The section that a field holds, if it holds one."""
    kinds = [annotation, *(get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ())]
    found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
    return found[0] if len(found) == 1 and not issubclass(found[0], tuple(SCHEDULES.values())) else None


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _sections(document: dict[str, Any]) -> list[str]:
    """The sections that count in a document: those of a trained network, or those of a frozen one."""
    example = Recipe() if document.get("model") is None else Recipe.model_construct(model=document["model"])
    return list(example.sections)


def _full_path(key: str, document: dict[str, Any]) -> str:
    """The path of a choice; a last name alone is looked for in the sections that count, the shallowest first."""
    everywhere = _paths(Recipe.model_fields)
    if key in everywhere or any(
        key.startswith(f"{path}.") or path.startswith(f"{key}.") for path in everywhere if "." in key
    ):
        return key
    matches = [path for path in _paths(_sections(document)) if _leaf(path) == key]
    depth = min((path.count(".") for path in matches), default=0)
    matches = [path for path in matches if path.count(".") == depth]
    if len(matches) != 1:
        raise KeyError(key)
    return matches[0]


def _sentence(problem: dict[str, Any]) -> str:
    """One problem as ``path: what is wrong``, with the nearest valid name for an unknown key."""
    where = [str(part) for part in problem["loc"] if not _is_inner(str(part))]
    path = ".".join(part for part, before in zip(where, ["", *where], strict=False) if before != "schedule")
    if problem["type"] == "extra_forbidden":
        *section, leaf = where
        return f"{path}: unknown {'choice' if section else 'section'}. {nearest(leaf, _names(section))}"
    given = repr(problem["input"])
    given = f" (given: {given if len(given) < 80 else given[:77] + '...'})"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        what, known = ("schedule", list(SCHEDULES)) if where[-1] == "schedule" else ("kind of layer", list(KINDS))
        return f"{path}: unknown {what}. {nearest(str(problem.get('ctx', {}).get('tag', '')), known)}{given}"
    message = problem["msg"].removeprefix("Value error, ")
    if not path:  # about several sections at once; the sentence names them
        return str(message)
    return f"{path}: {message[0].lower()}{message[1:]}{given}"


def _is_inner(part: str) -> bool:
    """Whether a part of a problem's place is pydantic's own and nothing that stands in a recipe."""
    return "[" in part or part in ("int", "float", "str", "path", "constrained-int", "constrained-float")


def _names(section: list[str]) -> list[str]:
    """The names that a section knows, found from the place of a problem."""
    kind: Any = Recipe
    for part in section:
        if part in kind.model_fields:
            kind = _section(kind.model_fields[part].annotation) or kind
        elif part in KINDS or part in SCHEDULES:
            kind = KINDS.get(part) or SCHEDULES[part]
    return list(kind.model_fields)
