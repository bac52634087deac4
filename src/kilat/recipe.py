"""The recipe: every choice, its default and its check, as frozen typed models. All problems are reported together."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kilat.errors import RecipeError, nearest

Resize = Literal["crop", "squash", "pad"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Section):
    """Which pictures take part, and in what."""

    test: float = Field(0.2, ge=0, lt=1)


class Features(_Section):
    """How pictures are looked at."""

    backbone: str = "efficientnet_lite0"
    weights: Path | None = None
    size: int | Literal["auto"] = "auto"
    resize: Resize = "crop"
    precision: Literal["auto", "int8", "fp32"] = "auto"

    @field_validator("size")
    @classmethod
    def _positive(cls, size: int | str) -> int | str:
        if isinstance(size, int) and not 16 <= size <= 1024:
            raise ValueError("must be 'auto' or 16 to 1024 pixels")
        return size


class Head(_Section):
    """How the linear head is fitted."""

    strengths: tuple[float, ...] = Field((2e-4, 4e-5, 1e-5, 2e-6), min_length=1)
    folds: int = Field(5, ge=2, le=20)
    components: int = Field(768, ge=1, le=4096)
    class_weight: Literal["balanced"] | None = None

    @field_validator("strengths")
    @classmethod
    def _above_zero(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < strength < 1e3 for strength in strengths):
            raise ValueError("must all be above 0")
        return strengths


class Runtime(_Section):
    """Where it runs, and the seed that everything random follows from."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(0, ge=0, lt=2**32)


class Recipe(_Section):
    """One document that says what is done."""

    data: Data = Data()
    features: Features = Features()
    head: Head = Head()
    runtime: Runtime = Runtime()

    def to_yaml(self) -> str:
        """The recipe with every choice written out."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


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
            _put(document, _full_path(key), value)
        except KeyError:
            problems.append(f"{key}: unknown choice. {nearest(key, [*_paths(), *_leaves()])}")
    try:
        valid = Recipe.model_validate(document)
        if not problems:
            return valid
    except ValidationError as error:
        problems += [_sentence(dict(problem)) for problem in error.errors()]
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


def _document(recipe: str | Path | dict[str, Any] | Recipe) -> dict[str, Any]:
    if isinstance(recipe, Recipe):
        return recipe.model_dump()
    if isinstance(recipe, dict):
        return {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    if str(recipe) in built_in():
        text = (resources.files("kilat") / "recipes" / f"{recipe}.yaml").read_text("utf-8")
    elif Path(recipe).is_file():
        text = _read(Path(recipe))
    else:
        raise RecipeError(
            f"There is no recipe '{recipe}': neither a built-in name nor a file.", mend=nearest(str(recipe), built_in())
        )
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise RecipeError(f"The recipe {recipe} is no YAML: {error}") from None
    if document is not None and not isinstance(document, dict):
        raise RecipeError(f"The recipe {recipe} is not a document of sections.", mend=f"Sections: {_sections()}.")
    return {section: {} if choices is None else choices for section, choices in (document or {}).items()}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error}.") from None


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *sections, leaf = path.split(".")
    for section in sections:
        inner = document.get(section, {})
        if isinstance(inner, BaseModel):
            inner = inner.model_dump()
        if not isinstance(inner, dict):
            return  # no section at all: the check of the whole document says so
        document[section] = inner = dict(inner)
        document = inner
    document[leaf] = value


def _paths() -> list[str]:
    paths = []
    for section, field in Recipe.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type) and issubclass(kind, BaseModel)
        paths += [f"{section}.{leaf}" for leaf in kind.model_fields]
    return paths


def _leaves() -> list[str]:
    return [path.rpartition(".")[2] for path in _paths()]


def _full_path(key: str) -> str:
    matches = [path for path in _paths() if key in (path, path.rpartition(".")[2])]
    if len(matches) != 1:
        raise KeyError(key)
    return matches[0]


def _sections() -> str:
    return ", ".join(Recipe.model_fields)


def _sentence(problem: dict[str, Any]) -> str:
    """One problem as ``path: what is wrong``, with the nearest valid name for an unknown key."""
    where = [str(part) for part in problem["loc"] if part not in ("int", "literal['auto']")]
    path = ".".join(where)
    if problem["type"] == "extra_forbidden":
        *section, leaf = where
        known = (
            [p.removeprefix(f"{section[0]}.") for p in _paths() if p.startswith(f"{section[0]}.")] if section else None
        )
        return f"{path}: unknown {'choice' if section else 'section'}. {nearest(leaf, known or Recipe.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]} (given: {problem['input']!r})"
