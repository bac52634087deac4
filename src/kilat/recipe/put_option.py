"""One option put into a recipe's document by its path; short forms on the way are expanded, copies are changed."""

import contextlib
from typing import Any

from pydantic import BaseModel

from kilat.locale import _, ngettext
from kilat.locale.excerpt import excerpt, shortened
from kilat.recipe.fit import SCHEDULES
from kilat.recipe.network import Layer
from kilat.recipe.optimizer import OPTIMIZERS, Optimizer
from kilat.recipe.option_tree import section_at

_LONGEST_NUMBER = 6  # digits


class NoPlaceError(Exception):
    """An option that has no place in the recipe; says why."""


def put_option(document: dict[str, Any], path: str, value: Any) -> None:
    """Set one option of a document; what stands on the way is copied, so that nobody else's document changes.

    Raises:
        NoPlaceError: something on the way has no options, or the list no such item.
    """
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
    if (number := number_of(name)) is not None and number < len(inside):
        return number
    message = ngettext(
        "no item '{name}': the list has item 0 alone", "no item '{name}': the list has items 0 to {last}", len(inside)
    )
    raise NoPlaceError(
        (message if inside else _("no item '{name}': the list is empty")).format(
            name=shortened(name), last=len(inside) - 1
        )
    )


def number_of(part: str) -> int | None:
    """Return the number that a part of a path is; None where it is none, or one that no list has."""
    return int(part) if part.isascii() and part.isdigit() and len(part) <= _LONGEST_NUMBER else None


def _expanded(path: list[str], given: Any) -> Any:
    """Return a copy of what stands at a path, short forms expanded, so that an option can be put into it."""
    if isinstance(given, BaseModel):
        given = given.model_dump()
    if given is None:
        return {}
    section = section_at(path)
    if section is None and isinstance(given, list | tuple):
        return list(given)
    if isinstance(given, str) and number_of(path[-1]) is not None:
        return {given: {}}  # a layer by its kind alone
    if isinstance(given, str) and path == ["fit", "schedule"]:
        return {"name": given}
    if section is not None:
        with contextlib.suppress(ValueError):  # what cannot be read, the check of the whole document names
            given = section.expand({path[-1]: given} if issubclass(section, Layer) else given)
    elif not isinstance(given, dict):
        message = _("{path} is {value}, which has no options")
        raise NoPlaceError(message.format(path=".".join(path), value=excerpt(given)))
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
