"""Recipes from names, files and single choices; every problem is reported, with its path and the nearest valid name."""

import contextlib
import itertools
import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from kilat.errors import RecipeError, nearest
from kilat.locale import _
from kilat.recipe.fit import OPTIMIZERS, SCHEDULES, Fit, Optimizer
from kilat.recipe.network import KINDS, Layer, Network
from kilat.recipe.section import Section
from kilat.recipe.sections import Recipe

_SHOWN = 80
_FOR_TRAINED = (
    "for networks that are trained; this recipe fits a head on a frozen backbone. Open the backbone "
    "(fit.unfreeze=all), take a preset (good or best), or a recipe with a section model, such as vgg-cifar."
)
_FINE_TUNING = "finetune"
_PRESETS = {"fast": "transfer", "good": "good", "best": "best"}
Given = str | Path | dict[str, Any] | Recipe
_FOR_FROZEN = "for frozen backbones; this recipe trains the network of its section model."


def load(recipe: Given = "transfer", overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe from its name, file or content, with single choices overridden.

    Args:
        recipe: a built-in name, the path of a YAML file, a dictionary, or a recipe.
        overrides: choices by their path (``features.size``), or by the end of it where only one has it (``size``).
            A new ``name`` of an optimizer or a schedule keeps the old one's choices that it knows.

    Raises:
        RecipeError: with every problem, its path and the nearest valid name.
    """
    document = _document(recipe)
    if _is_opened_by(overrides or {}, document):
        tuning = _document(_FINE_TUNING)
        document |= {section: tuning[section] for section in ("augment", "fit")}
    problems = _override(document, overrides or {})
    try:
        valid = Recipe.model_validate(document)
        if not problems:
            return valid
    except ValidationError as error:
        problems += dict.fromkeys(_sentence(dict(problem)) for problem in error.errors())
    lines = (f"  {line}" for problem in problems for line in problem.split("\n"))
    raise RecipeError("\n".join(["The recipe has problems:", *lines]))


def of_preset(preset: str | None, recipe: Given) -> Given:
    """The recipe that a preset (fast, good or best) stands for; the one that was given where there is no preset.

    Raises:
        RecipeError: there is no such preset, or a recipe was given as well.
    """
    if preset is None:
        return recipe
    if preset not in _PRESETS:
        raise RecipeError(_("There is no preset '{preset}'.").format(preset=preset), hint=nearest(preset, _PRESETS))
    if recipe != "transfer":
        raise RecipeError(
            _("A preset and a recipe were given."), hint=_("Leave one of the two out: a preset is a recipe.")
        )
    return _PRESETS[preset]


def parse_override(text: str) -> tuple[str, Any]:
    """``features.size=256`` as a path and a YAML value.

    Raises:
        RecipeError: there is no ``=`` in it, or the value is no YAML.
    """
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise RecipeError(
            _("'{text}' is no choice.").format(text=text), hint=_("Write it as PATH=VALUE, such as features.size=192.")
        )
    try:
        return path.strip(), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
        raise RecipeError(
            _("The value in '{text}' is no YAML.").format(text=text), hint=_("Quote it, such as PATH='\"a: b\"'.")
        ) from None


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
        raise RecipeError(_("There is no built-in recipe '{name}'.").format(name=name), hint=nearest(name, built_in()))
    return (resources.files("kilat") / "recipes" / f"{name}.yaml").read_text("utf-8")


def about(name: str) -> str:
    """What a built-in recipe says of itself: its first comment, up to the first full stop."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text(name).splitlines())
    return " ".join(line.lstrip("# ") for line in lines).partition(". ")[0].rstrip(".")


def _document(recipe: Given) -> dict[str, Any]:
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
            _("There is no recipe '{recipe}': neither a built-in name nor a file.").format(recipe=recipe),
            hint=nearest(str(recipe), built_in()),
        )
    try:
        document = yaml.safe_load(written)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise RecipeError(_("The recipe {recipe} is no YAML: {error}").format(recipe=recipe, error=error)) from None
    if document is not None and not isinstance(document, dict):
        raise RecipeError(
            _("The recipe {recipe} is not a document of sections.").format(recipe=recipe),
            hint=_("Sections: {sections}.").format(sections=", ".join(Recipe.model_fields)),
        )
    return {section: {} if choices is None else choices for section, choices in (document or {}).items()}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(_("The recipe {path} cannot be read: {error}.").format(path=path, error=error)) from None


class _Unplaced(Exception):
    """An override that has no place in the recipe; says why."""


def _override(document: dict[str, Any], overrides: dict[str, Any]) -> list[str]:
    """Puts choices into a document; what is wrong with those that have no place in it.

    Whole groups come before their members, and names before the rest, so that no choice is taken for one of what stood
    there before.
    """
    problems = []
    placed = {}
    counting = _counting(document, overrides)
    for key in overrides:
        try:
            placed[key] = _full_path(key, counting)
        except _Unplaced as problem:
            problems.append(f"{key}: {problem}")
    for key, path in sorted(placed.items(), key=lambda item: (item[1].count("."), _leaf(item[1]) != "name")):
        try:
            _put(document, path, overrides[key])
        except _Unplaced as problem:
            problems.append(f"{key}: {problem}")
    return problems


def _counting(document: dict[str, Any], overrides: Iterable[str]) -> list[str]:
    """The sections that count: those of a trained network, of a frozen backbone, or of one that is opened."""
    is_trained = document.get("model") is not None or any(key.partition(".")[0] == "model" for key in overrides)
    fit = Fit.model_construct(unfreeze="all") if "fit" in document else Fit()
    return list(Recipe.model_construct(model=Network.model_construct() if is_trained else None, fit=fit).sections)


def _is_opened_by(overrides: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether single choices open a backbone whose recipe leaves it frozen: the rest is then as in fine-tuning."""
    opening = any(overrides.get(key) for key in ("unfreeze", "fit.unfreeze", "phases", "fit.phases"))
    return opening and not document.keys() & {"fit", "augment", "model"}


def _full_path(key: str, counting: list[str]) -> str:
    """The path of a choice; the end of one alone is looked for in the sections that count, the shallowest first."""
    if key.partition(".")[0] in Recipe.model_fields:
        return key  # what is wrong with the rest of it, the check of the whole document says
    known = _paths(counting)
    matches = _ending(key, known)
    depth = min((path.count(".") for path in matches), default=0)
    matches = [path for path in matches if path.count(".") == depth]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise _Unplaced(f"several choices end so. Say which: {', '.join(matches)}.")
    if _ending(key, _paths(Recipe.model_fields)):
        raise _Unplaced(_FOR_FROZEN if "model" in counting else _FOR_TRAINED)
    raise _Unplaced(f"unknown choice. {nearest(key, [*map(_leaf, known), *known])}")


def _ending(key: str, paths: list[str]) -> list[str]:
    return [path for path in paths if path.endswith(f".{key}")]


def _paths(sections: Iterable[str]) -> list[str]:
    """All choices of some sections, by their full path; a group of choices is one of them, after its members."""
    return [path for section in sections for path in _below(Recipe.model_fields[section].annotation, section)[:-1]]


def _below(annotation: Any, path: str) -> list[str]:
    fields = {name: field.annotation for kind in _kinds(annotation) for name, field in kind.model_fields.items()}
    if path == "fit.schedule":
        fields["name"] = str
    return [*(deeper for name, inner in fields.items() for deeper in _below(inner, f"{path}.{name}")), path]


def _kinds(annotation: Any) -> list[type[Section]]:
    """The sections that a field can hold: none, one, or one of several."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    kinds = [annotation, *(get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ())]
    bare = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    return [kind for kind in bare if isinstance(kind, type) and issubclass(kind, Section)]


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    """Sets one choice; what stands on the way is copied, so that nobody else's document changes."""
    *sections, leaf = path.split(".")
    inside: Any = document
    for depth, name in enumerate(sections):
        step = _step(inside, name)
        inner = _in_full(sections[: depth + 1], inside[step] if isinstance(inside, list) else inside.get(step))
        if not isinstance(inner, dict | list):
            return  # no section at all: the check of the whole document says so
        inside[step] = inside = inner
    inside[_step(inside, leaf)] = value
    if leaf == "name":
        _forget(inside, ".".join(sections))


def _step(inside: Any, name: str) -> Any:
    """A key as it is; in a list, a place that there is."""
    if isinstance(inside, list):
        if not name.isdigit() or int(name) >= len(inside):
            raise _Unplaced(f"there is no '{name}' in a list of {len(inside)}, which are counted from 0.")
        return int(name)
    return name


def _in_full(path: list[str], given: Any) -> Any:
    """A copy of what stands at a place, nothing in it written short, so that a choice can be put into it."""
    if isinstance(given, BaseModel):
        given = given.model_dump()
    if given is None:
        return {}
    place = _place(path)
    if place is None and isinstance(given, list | tuple):
        return list(given)
    if isinstance(given, str) and path[-1].isdigit():
        return {given: {}}  # a layer by its kind alone
    if isinstance(given, str) and path == ["fit", "schedule"]:
        return {"name": given}
    if place is not None:
        with contextlib.suppress(ValueError):  # what cannot be read, the check of the whole document names
            given = place.in_full({path[-1]: given} if issubclass(place, Layer) else given)
    elif not isinstance(given, dict):
        raise _Unplaced(f"unknown choice: {'.'.join(path)} is {given!r}, which has no choices of its own.")
    return dict(given) if isinstance(given, dict) else given


def _forget(choices: dict[str, Any], path: str) -> None:
    """Takes away what an optimizer or schedule of another name knew and the new one does not."""
    name = str(choices["name"])
    if path == "fit.schedule" and name in SCHEDULES:
        known = set(SCHEDULES[name].model_fields)
    elif path == "fit.optimizer" and name in OPTIMIZERS:
        known = set(Optimizer.known(name))
    else:
        return
    for choice in set(choices) - known - {"name"}:
        del choices[choice]


def _place(path: Iterable[str]) -> type[Section] | None:
    """The section at a place of a recipe; None where there is a list, one of several sections, or a value."""
    kinds = _kinds(_annotation(path))
    return kinds[0] if len(kinds) == 1 else None


def _annotation(path: Iterable[str]) -> Any:
    """The type of what stands at a place of a recipe."""
    annotation: Any = Recipe
    for part in path:
        annotation = _inside(annotation, part)
    return annotation


def _inside(annotation: Any, part: str) -> Any:
    """The type of a part: an item of a list, one of several sections by its name, or a field."""
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0]
    kinds = _kinds(annotation)
    named = [kind for kind in kinds if len(kinds) > 1 and kind in (KINDS.get(part), SCHEDULES.get(part))]
    if named:
        return named[0]
    return next((kind.model_fields[part].annotation for kind in kinds if part in kind.model_fields), None)


def _sentence(problem: dict[str, Any]) -> str:
    """One problem as ``path: what is wrong``, with the nearest valid name for an unknown one."""
    where = [str(part) for part in problem["loc"] if not _is_inner(str(part))]
    path = ".".join(part for part, before in zip(where, ["", *where], strict=False) if before != "schedule")
    if problem["type"] == "extra_forbidden":
        *section, leaf = where
        return f"{path}: unknown {'choice' if section else 'section'}. {nearest(leaf, _names(section))}"
    if not path:  # about several sections at once; the sentences name them
        return str(problem["msg"].removeprefix("Value error, "))
    return f"{path}: {_wrong(problem, where)}"


def _wrong(problem: dict[str, Any], where: list[str]) -> str:
    """What is wrong with a value, and what was given."""
    value, kind = problem["input"], problem["type"]
    given = f" (given: {value!r})" if len(repr(value)) < _SHOWN else ""
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(value, where) + given
    if kind in ("model_type", "dict_type"):
        return f"must be choices by their names: {', '.join(_names(where))}{given}"
    if kind == "tuple_type":
        return f"must be a list{given}"
    message = problem["msg"].removeprefix("Value error, ")
    sentence = f"{message[0].lower()}{message[1:]}{given}"
    if kind == "literal_error" and isinstance(value, str):
        near = get_close_matches(value, re.findall(r"'([^']*)'", problem["ctx"]["expected"]), n=2, cutoff=0.5)
        sentence += f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return sentence


def _unknown_kind(value: Any, where: list[str]) -> str:
    if where[-1] == "schedule":
        tag = value.get("name", "") if isinstance(value, dict) else value
        return f"unknown schedule. {nearest(str(tag), SCHEDULES)}"
    if isinstance(value, dict) and len(value) > 1:
        return f"a layer is of one kind, not of several: {', '.join(map(str, value))}"
    tag = next(iter(value), "") if isinstance(value, dict) else value
    return f"unknown kind of layer. {nearest(str(tag), KINDS)}"


def _is_inner(part: str) -> bool:
    """Whether a part of a problem's place is pydantic's own and nothing that stands in a recipe."""
    return "[" in part or part in ("int", "float", "str", "path", "constrained-int", "constrained-float")


def _names(path: list[str]) -> list[str]:
    """The names that a section knows, found from the place of a problem."""
    kind = _place(path)
    return [] if kind is None else list(kind.model_fields)
