"""What is wrong with a recipe, as sentences about its options, from the errors that pydantic reports."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from kilat.errors import did_you_mean, nearest
from kilat.locale import N_, _, ngettext
from kilat.locale.excerpt import excerpt, shortened
from kilat.recipe.fit import SCHEDULES
from kilat.recipe.network import KINDS
from kilat.recipe.option_tree import option_names
from kilat.recipe.renamed import renamed_sentence

_MOST_ERRORS = 200
"""Of pydantic's errors; a sentence about each of thousands would take minutes, and nobody reads so many."""

_LONGEST_PATH = 200
"""Characters."""

_SHOWN_KINDS = 10

_NUMBER, _WHOLE_NUMBER, _TRUE_OR_FALSE = N_("a number"), N_("a whole number"), N_("true or false")
_EXPECTED = {
    "less_than": N_("less than {lt}"),
    "less_than_equal": N_("at most {le}"),
    "greater_than": N_("greater than {gt}"),
    "greater_than_equal": N_("at least {ge}"),
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "finite_number": N_("a finite number"),
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _TRUE_OR_FALSE,
    "bool_parsing": _TRUE_OR_FALSE,
    "string_type": N_("text"),
    "string_unicode": N_("text in Unicode"),
    "tuple_type": N_("a list"),
    "list_type": N_("a list"),
    "path_type": N_("a path"),
    "dict_type": N_("a mapping of names to values"),
}
"""What should be there, by pydantic's type of an error; its context fills in the limits."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a recipe.

    Args:
        path: of the option that it is about; empty where it is about several.
        sentence: what is wrong, with the option's path before it.
        of_name: whether it is the option's name, and not its value, that is wrong.
    """

    path: tuple[str, ...]
    sentence: str
    of_name: bool = False


def problems_of(error: ValidationError) -> tuple[list[Problem], int]:
    """Return the problems that pydantic found, in its order: all, or the first of very many and how many are left."""

    def location(problem: Any) -> list[str]:
        """Return the path of a problem in the recipe, without the types and validators that pydantic adds to it."""
        types = ("int", "float", "str", "path", "constrained-int", "constrained-float")
        parts = [str(part) for part in problem["loc"]]
        own = [part for part in parts if not re.fullmatch(r"[\w-]+\[.*\]", part, re.DOTALL) and part not in types]
        return own or (parts if problem["type"] == "extra_forbidden" else own)

    found = []
    errors = error.errors(include_url=False)
    for where, group in itertools.groupby(errors[:_MOST_ERRORS], location):
        parts = tuple(part for part, before in zip(where, ["", *where], strict=False) if before != "schedule")
        path = _path(parts)
        # A list may only count as too short because of items that are problems of their own.
        problems = [
            dict(problem)
            for problem in group
            if problem["type"] != "too_short" or len(problem["input"]) < problem["ctx"]["min_length"]
        ]
        expected = [phrase for problem in problems for phrase in _expected(problem)]
        # A value that fits none of several types has one problem for each of them, which make one line.
        if expected and all(problem["type"] in (*_EXPECTED, "literal_error") for problem in problems):
            found.append(Problem(parts, f"{path}: {_unexpected(problems, expected)}"))
        else:
            found += [one for problem in problems for one in _problems(parts, where, problem)]
    return list(dict.fromkeys(found)), len(errors[_MOST_ERRORS:])


def _path(parts: Iterable[str]) -> str:
    return shortened(".".join(map(shortened, parts)), _LONGEST_PATH)


def _problems(parts: tuple[str, ...], where: list[str], problem: dict[str, Any]) -> list[Problem]:
    if parts:
        return [Problem(parts, _line(parts, where, problem), problem["type"] == "extra_forbidden")]
    # About several sections at once: the sentences begin with their names.
    sentences = str(problem["ctx"]["error"]).split("\n")
    return [Problem(tuple(re.split(r"[^\w.]", one, maxsplit=1)[0].split(".")), one, of_name=True) for one in sentences]


def _line(parts: tuple[str, ...], where: list[str], problem: dict[str, Any]) -> str:
    path, value, kind = _path(parts), problem["input"], problem["type"]
    if kind == "extra_forbidden":
        *section, name = where
        unknown = _("unknown option.") if section else _("unknown section.")
        return f"{path}: {renamed_sentence('.'.join(parts)) or f'{unknown} {nearest(name, option_names(section))}'}"
    given = _given(value)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return f"{path}: {_unknown_kind(value, where)}{given}"
    if kind == "model_type":
        sentence = _("must be a group of options: {names}").format(names=", ".join(option_names(where)))
    elif kind == "missing":
        sentence = _("missing")
    elif kind == "too_short":
        count = problem["ctx"]["min_length"]
        sentence = ngettext("must have at least {count} item", "must have at least {count} items", count)
        sentence = sentence.format(count=count)
    elif kind == "too_long":
        count = problem["ctx"]["max_length"]
        sentence = ngettext("must have at most {count} item", "must have at most {count} items", count)
        sentence = sentence.format(count=count)
    elif kind == "value_error":
        sentence = str(problem["ctx"]["error"])
    else:
        sentence = _("not valid")
    return f"{path}: {sentence}{given}"


def _given(value: Any) -> str:
    shown = excerpt(value)
    is_cut = shown.endswith("…") and not isinstance(value, str | bytes)  # half a group says nothing
    return "" if is_cut else " " + _("(given: {value})").format(value=shown)


def _expected(problem: dict[str, Any]) -> list[str]:
    """Return what should be there instead of a value, as phrases."""
    if problem["type"] == "literal_error":
        return re.findall(r"'[^']*'", problem["ctx"]["expected"])
    if problem["type"] not in _EXPECTED:
        return []
    limits = {
        name: f"{limit:.10g}" if isinstance(limit, float) else limit for name, limit in problem.get("ctx", {}).items()
    }
    return [_(_EXPECTED[problem["type"]]).format(**limits)]


def _unexpected(problems: list[dict[str, Any]], expected: list[str]) -> str:
    *others, last = dict.fromkeys(expected)
    phrase = ", ".join(others) + _(" or ") + last if others else last
    value = problems[0]["input"]
    sentence = _("must be {expected}").format(expected=phrase) + _given(value)
    names = [name.strip("'") for name in expected if name.startswith("'")]
    meant = did_you_mean(value, names) if isinstance(value, str) else ""
    return f"{sentence}. {meant}" if meant else sentence


def _unknown_kind(value: Any, where: list[str]) -> str:
    if where[-1] == "schedule":
        name = value.get("name", "") if isinstance(value, dict) else value
        return _("unknown schedule. {hint}").format(hint=nearest(str(name), SCHEDULES))
    if isinstance(value, dict) and len(value) > 1:
        kinds = shortened(", ".join(str(kind) for kind in itertools.islice(value, _SHOWN_KINDS)))
        return _("a layer is of one kind, not of several: {kinds}").format(kinds=kinds)
    name = next(iter(value), "") if isinstance(value, dict) else value
    return _("unknown kind of layer. {hint}").format(hint=nearest(str(name), KINDS))
