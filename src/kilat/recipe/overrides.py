"""Single options put into a recipe's document: by their path, or by the end of it where only one option has it."""

import contextlib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from kilat.errors import nearest
from kilat.locale import N_, _, ngettext
from kilat.recipe.fit import SCHEDULES, Fit
from kilat.recipe.network import Layer, Network
from kilat.recipe.optimizer import OPTIMIZERS, Optimizer
from kilat.recipe.option_tree import option_paths, section_at
from kilat.recipe.renamed import renamed_sentence
from kilat.recipe.sections import Recipe

_FOR_TRAINED = N_(
    "only for networks that are trained; this recipe fits a head on a frozen backbone. Unfreeze the backbone "
    "(fit.unfreeze=all), take the preset best, or a recipe with a section model, such as vgg-cifar."
)
_FOR_FROZEN = N_("only for frozen backbones; this recipe trains the network of its section model.")


class _NoPlaceError(Exception):
    """An override that has no place in the recipe; says why."""


def apply_overrides(document: dict[str, Any], overrides: dict[str, Any]) -> list[str]:
    """Put options into a document, and return what is wrong with those that have no place in it.

    Whole groups come before their members, and names before the rest, so that no option is taken for one of what stood
    there before.
    """
    problems, paths = [], {}
    # The sections that count are those of a trained network, of a frozen backbone, or of one that is unfrozen.
    is_trained = document.get("model") is not None or any(key.partition(".")[0] == "model" for key in overrides)
    fit = Fit.model_construct(unfreeze="all") if "fit" in document else Fit()
    recipe = Recipe.model_construct(model=Network.model_construct() if is_trained else None, fit=fit)
    for key in overrides:
        try:
            paths[key] = _full_path(key, recipe.sections)
        except _NoPlaceError as problem:
            problems.append(f"{key}: {problem}")
    for key, path in sorted(paths.items(), key=lambda item: (item[1].count("."), not item[1].endswith(".name"))):
        try:
            _put(document, path, overrides[key])
        except _NoPlaceError as problem:
            problems.append(f"{key}: {problem}")
    return problems


def unfreezes(overrides: dict[str, Any], document: dict[str, Any]) -> bool:
    """Return whether options unfreeze a backbone whose recipe leaves it frozen: the rest is then as in fine-tuning."""
    is_unfrozen = any(overrides.get(key) for key in ("unfreeze", "fit.unfreeze", "phases", "fit.phases"))
    return is_unfrozen and not document.keys() & {"fit", "augment", "model"}


def _full_path(key: str, sections: Sequence[str]) -> str:
    """Return the path of an option; the end of one is searched in the sections that count, the shallowest first."""
    if key.partition(".")[0] in Recipe.model_fields:
        return key  # what is wrong with the rest of it, the check of the whole document says
    matches = [path for path in option_paths(sections) if path.endswith(f".{key}")]
    depth = min((path.count(".") for path in matches), default=0)
    matches = [path for path in matches if path.count(".") == depth]
    if len(matches) == 1:
        return matches[0]
    if matches:
        message = _("several options have this name; write one in full: {paths}")
        raise _NoPlaceError(message.format(paths=", ".join(matches)))
    every = option_paths(Recipe.model_fields)
    if any(path.endswith(f".{key}") for path in every):
        raise _NoPlaceError(_(_FOR_FROZEN if "model" in sections else _FOR_TRAINED))
    if renamed := renamed_sentence(key):
        raise _NoPlaceError(renamed)
    names = every if "." in key else [path.rpartition(".")[2] for path in (*option_paths(sections), *every)]
    raise _NoPlaceError(f"{_('unknown option.')} {nearest(key, dict.fromkeys((*names, *Recipe.model_fields)))}")


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set one option; what stands on the way is copied, so that nobody else's document changes."""
    *sections, leaf = path.split(".")
    inside: Any = document
    for depth, name in enumerate(sections):
        key = _key(inside, name)
        inner = _expanded(sections[: depth + 1], inside[key] if isinstance(inside, list) else inside.get(key))
        if not isinstance(inner, dict | list):
            return  # no section at all: the check of the whole document says so
        inside[key] = inside = inner
    inside[_key(inside, leaf)] = value
    if leaf == "name":
        _drop_options_of_another(inside, ".".join(sections))


def _key(inside: Any, name: str) -> Any:
    """Return a key as it is; in a list, a position that exists."""
    if not isinstance(inside, list):
        return name
    if name.isdigit() and int(name) < len(inside):
        return int(name)
    message = ngettext(
        "no item '{name}': the list has item 0 alone", "no item '{name}': the list has items 0 to {last}", len(inside)
    )
    raise _NoPlaceError(
        (message if inside else _("no item '{name}': the list is empty")).format(name=name, last=len(inside) - 1)
    )


def _expanded(path: list[str], given: Any) -> Any:
    """Return a copy of what stands at a path, short forms expanded, so that an option can be put into it."""
    if isinstance(given, BaseModel):
        given = given.model_dump()
    if given is None:
        return {}
    section = section_at(path)
    if section is None and isinstance(given, list | tuple):
        return list(given)
    if isinstance(given, str) and path[-1].isdigit():
        return {given: {}}  # a layer by its kind alone
    if isinstance(given, str) and path == ["fit", "schedule"]:
        return {"name": given}
    if section is not None:
        with contextlib.suppress(ValueError):  # what cannot be read, the check of the whole document names
            given = section.expand({path[-1]: given} if issubclass(section, Layer) else given)
    elif not isinstance(given, dict):
        message = _("{path} is {value}, which has no options")
        raise _NoPlaceError(message.format(path=".".join(path), value=repr(given)))
    return dict(given) if isinstance(given, dict) else given


def _drop_options_of_another(options: dict[str, Any], path: str) -> None:
    """Drop the options that the newly named optimizer or schedule does not have."""
    name = str(options["name"])
    if path == "fit.schedule" and name in SCHEDULES:
        known = set(SCHEDULES[name].model_fields)
    elif path.startswith("fit.optimizer") and name in OPTIMIZERS:
        known = set(Optimizer.known_options(name))
    else:
        return
    for option in set(options) - known - {"name"}:
        del options[option]
