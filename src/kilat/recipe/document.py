"""Recipes from names, files and single options; every problem is reported, with its path and the nearest valid name."""

import copy
import itertools
import os
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kilat.errors import RecipeError, nearest
from kilat.locale import _
from kilat.locale.escapes import Shown
from kilat.locale.excerpt import shortened
from kilat.locale.system_errors import system_reason
from kilat.recipe.overrides import apply_overrides, sections_that_count, unfreezes
from kilat.recipe.problems import Problem, problems_of
from kilat.recipe.sections import Recipe
from kilat.recipe.size_limits import MAX_TEXT, count_values
from kilat.recipe.words.instead import problems_in_words
from kilat.recipe.words.translate import translate
from kilat.recipe.written import MAX_CHARACTERS, Written, read_value, read_yaml
from kilat.runtime.regular_file import read_regular_file

RecipeLike = str | Path | dict[str, Any] | Recipe
"""A built-in name, the path of a YAML file, a dictionary of sections, or a recipe."""

_FINE_TUNING = "finetune"
_PRESETS = {"fast": "fast", "good": "good", "best": "best"}
_MAX_BYTES = 4 * MAX_CHARACTERS  # UTF-8 has at most four a character
_SHOWN_PROBLEMS = 30
_MAX_TRANSLATED = 3_000  # names and values; of a larger recipe no words of other libraries are looked up


def load(recipe: RecipeLike = "transfer", overrides: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe, with single options overridden.

    Args:
        recipe: a built-in name, the path of a YAML file, a dictionary, or a recipe.
        overrides: options by their path (``features.size``), or by the end of it where only one has it (``size``).
            A new ``name`` of an optimizer or a schedule keeps the old one's options that it knows.

    Raises:
        RecipeError: with every problem, its path and the nearest valid name.
    """
    (document, written), overrides = _read(recipe), overrides or {}
    size = count_values(document) + count_values(overrides)
    if unfreezes(overrides, document):
        fine_tuning, _written = _read(_FINE_TUNING)
        document |= {section: fine_tuning[section] for section in ("augment", "fit")}
    paths, without_place = apply_overrides(document, overrides)
    lines: list[list[str]] = [[problem] for problem in without_place]
    count = len(lines)
    try:
        valid = Recipe.model_validate(document)
        if not lines:
            return valid
    except ValidationError as error:
        given = {tuple(path.split(".")) for path in paths.values()}
        problems, left = _problems(document, given, error, is_large=size > _MAX_TRANSLATED)
        lines += [_located(problem, written, given) for problem in problems]
        count = len(lines) + left
    shown = [f"  {line}" for problem in lines[:_SHOWN_PROBLEMS] for line in problem]
    if count > _SHOWN_PROBLEMS:
        shown.append(_("  and {count:,} other problems").format(count=count - _SHOWN_PROBLEMS))
    raise RecipeError(Shown("\n").join([_("The recipe has problems:"), *shown]))


def option_paths(recipe: RecipeLike, overrides: dict[str, Any]) -> dict[str, str]:
    """Return the full path of every override of a recipe that has a place in it, by the key that it was given by."""
    document, _written = _read(recipe)
    return apply_overrides(document, overrides)[0]


def of_preset(preset: str | None, recipe: RecipeLike) -> RecipeLike:
    """Return the recipe of a preset (fast, good or best); the given one where there is no preset.

    Raises:
        RecipeError: there is no such preset, or a recipe was given as well.
    """
    if preset is None:
        return recipe
    if preset not in _PRESETS:
        message = _("There is no preset '{preset}'.").format(preset=shortened(preset))
        raise RecipeError(message, hint=nearest(preset, _PRESETS))
    if recipe != "transfer":
        raise RecipeError(
            _("Both a preset and a recipe were given."), hint=_("Leave one of the two out: a preset is a recipe.")
        )
    return _PRESETS[preset]


def parse_override(text: str) -> tuple[str, Any]:
    """Parse ``features.size=256`` into a path and a YAML value.

    Raises:
        RecipeError: there is no ``=`` in it, or the value is not valid YAML.
    """
    path, sign, value = text.partition("=")
    if not sign or not path:
        pair = re.fullmatch(r"\s*([\w.]+)\s*(?::|\s)\s*(\S.*)", text) if len(text) <= MAX_TEXT else None
        example = f"{pair[1]}={pair[2]}" if pair else "features.size=192"
        raise RecipeError(
            _("'{text}' sets no option.").format(text=shortened(text)),
            hint=_("Write it as PATH=VALUE, such as {example}.").format(example=shortened(example)),
        )
    try:
        return path.strip(), read_value(value)
    except ValueError as error:
        raise RecipeError(
            _("The value in '{text}' is not valid YAML: {reason}.").format(text=shortened(text), reason=error),
            hint=_("Quote it, such as PATH='\"a: b\"'."),
        ) from None


def built_in() -> list[str]:
    """Return the names of the recipes that come with kilat."""
    folder = resources.files("kilat.recipe") / "built_in"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def text(name: str) -> str:
    """Return the text of a built-in recipe.

    Raises:
        RecipeError: there is none of this name.
    """
    if name not in built_in():
        message = _("There is no built-in recipe '{name}'.").format(name=shortened(name))
        raise RecipeError(message, hint=nearest(name, built_in()))
    return (resources.files("kilat.recipe") / "built_in" / f"{name}.yaml").read_text("utf-8")


def about(name: str) -> str:
    """Return what a built-in recipe says of itself, in the language of the environment."""
    return _(first_sentence(text(name)))


def first_sentence(recipe: str) -> str:
    """Return the first comment of a recipe's text, up to the first full stop."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), recipe.splitlines())
    return " ".join(line.lstrip("# ") for line in lines).partition(". ")[0].rstrip(".")


def _problems(
    document: dict[str, Any], overrides: set[tuple[str, ...]], error: ValidationError, *, is_large: bool
) -> tuple[list[Problem], int]:
    """Return what is wrong with a recipe: words of other libraries first, then what is wrong without them.

    Args:
        document: the recipe with its overrides.
        overrides: the paths of these.
        error: what the check of the document found.
        is_large: whether the recipe is too large to look its words up.

    Returns:
        The problems, or the first of very many, and how many are left out.
    """
    translated, changes = (document, []) if is_large else translate(document, sections_that_count(document))
    if not changes:
        return problems_of(error)
    problems = problems_in_words(changes, translated, overrides)
    try:
        Recipe.model_validate(translated)
    except ValidationError as further:
        others, left = problems_of(further)
        return [*problems, *others], left
    return problems, 0


def _located(problem: Problem, written: Written | None, overrides: set[tuple[str, ...]]) -> list[str]:
    """Return a problem in lines, with its place in the file that it stands in, where it does."""
    is_override = any(problem.path[: len(path)] == path for path in overrides)
    if written is None or not written.name or not problem.path or is_override:
        return [problem.sentence]
    place = written.place(problem.path, of_name=problem.of_name)
    return [problem.sentence] if place is None else written.located(place, problem.sentence)


def _read(recipe: RecipeLike) -> tuple[dict[str, Any], Written | None]:
    """Return the sections of a recipe, which the caller may change, and how they were written where that was YAML."""
    if isinstance(recipe, Recipe):
        return recipe.model_dump(), None
    if isinstance(recipe, dict):
        return {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}, None
    if str(recipe) in built_in():
        document, written = _parse(text(str(recipe)), "")
    else:
        document, written = _parse(_read_file(recipe), str(recipe))
    if document is not None and not isinstance(document, dict):
        raise RecipeError(
            _("The recipe {recipe} does not consist of sections.").format(recipe=recipe),
            hint=_("Sections: {sections}.").format(sections=", ".join(Recipe.model_fields)),
        )
    copied = copy.deepcopy(document or {})  # since it is parsed once for all variants of a recipe
    return {section: {} if options is None else options for section, options in copied.items()}, written


def _read_file(recipe: str | Path) -> str:
    """Return the text of a recipe's file.

    Raises:
        RecipeError: there is none, or it cannot be read.
    """
    if not os.path.isfile(recipe):  # noqa: PTH113 - Path's own raises for names that are too long
        raise RecipeError(
            _("There is no recipe '{recipe}': neither a built-in one nor a file.").format(
                recipe=shortened(str(recipe))
            ),
            hint=nearest(str(recipe), built_in()),
        )
    try:
        return read_regular_file(recipe, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        message = _("The recipe {recipe} cannot be read: it is no text in UTF-8.").format(recipe=recipe)
        raise RecipeError(message, hint=_("Save it as UTF-8, from a text editor.")) from None
    except OSError as error:
        reason = system_reason(error)
        message = _("The recipe {recipe} cannot be read: {reason}.").format(recipe=recipe, reason=reason)
        raise RecipeError(message) from None


@lru_cache(maxsize=8)
def _parse(content: str, name: str) -> tuple[Any, Written]:
    return read_yaml(content, name)
