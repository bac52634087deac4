"""The variants of a lab: every combination of the values that options are given, each a whole recipe, checked."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilat import recipe as recipes
from kilat.errors import KilatError, RecipeError
from kilat.locale import N_, _, ngettext
from kilat.locale.escapes import Shown, shell_word
from kilat.locale.excerpt import excerpt, shortened
from kilat.locale.lists import listed
from kilat.recipe import Recipe, RecipeLike
from kilat.recipe.size_limits import count_values
from kilat.recipe.words.instead import as_yaml
from kilat.recipe.written import read_value

Values = Mapping[str, Sequence[Any]]
"""The values to compare, by the path of an option, or by the end of it where only one option has it."""

_FIXED = {
    "runtime.seed": N_("trials have seeds of their own: --seeds says how many, --seed draws others"),
    "runtime.time_limit": N_("the limit is that of the whole lab: --time-limit"),
    "data.test": N_("the lab keeps one test set back from all variants: --set data.test=0.2 says how large it is"),
    "data.near_duplicates": N_("all variants answer the same pictures: --set data.near_duplicates=apart holds for all"),
    "trust": N_("it decides what is said beside an answer, not the answer, which is what a lab compares"),
}
_FIXED_FOR_HEADS = {
    "head.folds": N_("heads are compared on the folds of the lab: --folds says how many"),
}
MOST_VARIANTS = 1_000
_COUNTED = 10**9
_LONGEST_VALUE, _LONGEST_SLUG, _MOST_BYTES = 40, 80, 200
_SHOWN_PROBLEMS, _SHOWN_NAMES = 12, 3


@dataclass(frozen=True)
class Candidate:
    """A variant before it is tried.

    Args:
        name: by which it is called.
        slug: the name as that of a file.
        options: what was chosen for it: values as YAML, by the path of the option.
        recipe: the whole of it.
        arguments: of ``kilat train``, that say the same; empty where only the whole recipe does.
    """

    name: str
    slug: str
    options: Mapping[str, str]
    recipe: Recipe
    arguments: tuple[str, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether anything in it is trained by gradient."""
        return self.recipe.model is not None or self.recipe.is_finetuning


@dataclass(frozen=True)
class Proposal:
    """A variant as it was asked for.

    Args:
        name: by which it is called.
        options: what is chosen for it, by path.
        recipe: that these are chosen in.
        shown: what else differs in the recipe itself, as if it were an option.
    """

    name: str
    options: Mapping[str, Any]
    recipe: RecipeLike
    shown: Mapping[str, str] = field(default_factory=dict)


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """Parse ``fit.optimizer=sgd,adam`` into a path and its values; each is YAML, so that lists and mappings may be.

    Raises:
        RecipeError: there are no values in it, or they are not valid YAML.
    """
    path, sign, values = text.partition("=")
    shown = shortened(text)
    if not sign or not path.strip() or not values.strip():
        raise RecipeError(
            _("'{text}' gives no values to compare.").format(text=shown),
            hint=_("Write it as PATH=VALUE,VALUE, such as fit.optimizer=sgd,adam."),
        )
    try:
        found = read_value(f"[{values}]")
    except ValueError as error:
        raise RecipeError(
            _("The values in '{text}' are not valid YAML: {reason}.").format(text=shown, reason=error),
            hint=_("Quote a value that has a comma or a brace in it, such as PATH='\"a, b\",c'."),
        ) from None
    if any(isinstance(one, str) and re.match(r"\s*[\d.e+-]*\d\s*\.\.\s*[\d.+-]", one) for one in found):
        raise RecipeError(
            _("'{text}' gives a range; a lab compares values.").format(text=shown),
            hint=_("Name the values, or search in the range: kilat search DATA --vary {vary}").format(
                vary=shell_word(text) if len(text) == len(shown) else "…"
            ),
        )
    return path.strip(), found[0] if len(found) == 1 and isinstance(found[0], list) else found


def vary_of(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of several such texts, by path.

    Raises:
        RecipeError: one is not valid, or two are about the same option.
    """
    found: dict[str, list[Any]] = {}
    for path, values in map(parse_vary, texts):
        if path in found:
            raise varied_twice(path)
        found[path] = values
    return found


def grid(recipe: RecipeLike, values: Values) -> list[Proposal]:
    """Return a variant for every combination of the values, the first values first.

    Raises:
        RecipeError: an option is varied twice, or there are too many variants even for a time limit.
    """
    values = {key: _listed(key, given) for key, given in values.items()}
    paths = [recipes.option_paths(recipe, {key: given[0]}).get(key, key) for key, given in values.items()]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise varied_twice(twice[0])
    if (count := math.prod(map(len, values.values()))) > MOST_VARIANTS:
        sentence = _("That makes {count:,} variants; a lab has at most {most:,}.")
        if count > _COUNTED:
            sentence = _("That makes more than {count:,} variants; a lab has at most {most:,}.")
        raise RecipeError(
            sentence.format(count=min(count, _COUNTED), most=MOST_VARIANTS),
            hint=_("Vary fewer options at once, or search in ranges of their values: kilat search"),
        )
    labels, combinations = recipes.short_paths(paths), list(itertools.product(*values.values()))
    names = (
        ", ".join(f"{label}={_short(value)}" for label, value in zip(labels, chosen, strict=True))
        for chosen in combinations
    )
    return [
        Proposal(name, dict(zip(values, chosen, strict=True)), recipe)
        for name, chosen in zip(_numbered(names), combinations, strict=True)
    ]


def check(proposals: Sequence[Proposal], overrides: Mapping[str, Any]) -> list[Candidate]:
    """Return the variants of a lab as whole recipes.

    Args:
        proposals: what was asked for, the reference first.
        overrides: options that hold for all of them.

    Raises:
        RecipeError: variants that are no valid recipes, with all of their problems; or there is nothing to compare.
    """
    candidates = validated(proposals, overrides)
    _refuse_equal(candidates)
    return candidates


def validated(proposals: Sequence[Proposal], overrides: Mapping[str, Any]) -> list[Candidate]:
    """Return variants as whole recipes, whether or not they differ.

    Args:
        proposals: what was asked for.
        overrides: options that hold for all of them.

    Raises:
        RecipeError: variants that are no valid recipes, with all of their problems; or options that no lab varies.
    """
    problems: dict[str, list[str]] = {}
    candidates: list[Candidate] = []
    slugs = _slugs([one.name for one in proposals])
    for proposal, slug in zip(proposals, slugs, strict=True):
        given = {**overrides, **proposal.options}
        try:
            recipe = recipes.load(proposal.recipe, given)
        except RecipeError as error:
            _add(problems, error, proposal.name)
            continue
        paths = recipes.option_paths(proposal.recipe, given)
        options = {**proposal.shown, **{paths[key]: as_yaml(value) for key, value in proposal.options.items()}}
        candidates.append(Candidate(proposal.name, slug, options, recipe, _arguments(proposal.recipe, given)))
    if problems:
        raise refusal(problems, len(proposals))
    _refuse_fixed(candidates)
    return candidates


def refusal(problems: Mapping[str, Sequence[str]], count: int) -> RecipeError:
    """Return the error that names all variants that cannot be tried.

    Args:
        problems: the names of variants, by what is wrong with them.
        count: of all variants.
    """
    refused = len({name for names in problems.values() for name in names})
    sentence = ngettext(
        "{refused} of {count} variant cannot be tried; nothing was run:",
        "{refused} of {count} variants cannot be tried; nothing was run:",
        count,
    )
    lines = [sentence.format(refused=refused, count=count)]
    for problem, names in itertools.islice(problems.items(), _SHOWN_PROBLEMS):
        lines += [*(f"  {line.strip()}" for line in problem.split("\n")), f"    ({listed(names, _SHOWN_NAMES)})"]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(_("  and {count:,} other problems").format(count=len(problems) - _SHOWN_PROBLEMS))
    return RecipeError(Shown("\n").join(lines))


def add_problem(problems: dict[str, list[str]], error: KilatError, name: str) -> None:
    """Record what is wrong with a variant, beside others with the same problem."""
    problems.setdefault(str(error), []).append(name)


def varied_twice(option: str) -> RecipeError:
    """Return the error about an option that is varied in two places."""
    return RecipeError(
        _("{option} is varied twice.").format(option=shortened(option)),
        hint=_("Give all of its values at once: --vary {option}=VALUE,VALUE").format(option=shortened(option)),
    )


def _listed(key: str, given: Any) -> list[Any]:
    """Return the values of an option, which may be text as on the command line.

    Raises:
        RecipeError: they are none.
    """
    if isinstance(given, str):
        return parse_vary(f"{key}={given}")[1]
    if not isinstance(given, Iterable) or not (values := list(itertools.islice(given, MOST_VARIANTS + 1))):
        raise RecipeError(
            _("{option}: {given} is no list of values to compare.").format(option=shortened(key), given=excerpt(given)),
            hint=_("Give them as a list, such as [1, 2], or as text: '1,2'."),
        )
    count_values({key: values})  # which refuses what no recipe holds
    return values


def _add(problems: dict[str, list[str]], error: RecipeError, name: str) -> None:
    """Record every problem of a recipe by itself: one value that is wrong is wrong in many combinations."""
    _heading, _newline, lines = str(error).partition("\n")
    for line in (lines or str(error)).split("\n"):
        problems.setdefault(line.strip(), []).append(name)


def _refuse_fixed(candidates: Sequence[Candidate]) -> None:
    """Refuse options that cannot be compared.

    Raises:
        RecipeError: it says why for each.
    """
    fixed = _FIXED if any(one.is_trained for one in candidates) else {**_FIXED, **_FIXED_FOR_HEADS}
    varied = dict.fromkeys(path for one in candidates for path in one.options)
    lines = [
        f"  {path}: {_(reason)}"
        for path in varied
        for option, reason in fixed.items()
        if path == option or path.startswith(f"{option}.")
    ]
    if lines:
        raise RecipeError(Shown("\n").join([_("A lab does not vary:"), *lines]))


def _refuse_equal(candidates: Sequence[Candidate]) -> None:
    """Refuse variants that are the same recipe, and a single one.

    Raises:
        RecipeError: there is nothing to compare.
    """
    if len(candidates) < 2:
        option, value = next(iter(candidates[0].options.items()), ("fit.optimizer", "sgd"))
        raise RecipeError(
            _("There is one variant, and nothing to compare it with."),
            hint=_("Give an option two values or more: --vary {option}={value},OTHER").format(
                option=option, value=value
            ),
        )
    first: dict[str, str] = {}
    for one in candidates:
        other = first.setdefault(one.recipe.model_dump_json(), one.name)
        if other != one.name:
            raise RecipeError(
                _("The variants “{one}” and “{other}” are the same recipe.").format(one=other, other=one.name),
                hint=_("Leave one of them out: two equal variants differ in nothing."),
            )


def _arguments(recipe: RecipeLike, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what ``kilat train`` is given for a recipe with overrides; nothing for a recipe without a name."""
    if not isinstance(recipe, str | Path):
        return ()
    choices = [f"{key}={as_yaml(value)}" for key, value in given.items()]
    return ("--recipe", str(recipe), *(part for choice in choices for part in ("--set", choice)))


def _short(value: Any) -> str:
    text = as_yaml(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _slugs(names: Sequence[str]) -> list[str]:
    """Return names as those of files, no two alike, not even where capitals do not count."""
    plain = (re.sub(r"[^\w.=+-]+", "-", name).replace("=-", "=").strip("-.") for name in names)
    short = (name[:_LONGEST_SLUG].encode()[:_MOST_BYTES].decode("utf-8", "ignore") for name in plain)
    return list(_numbered(name or "variant" for name in short))


def _numbered(names: Iterator[str]) -> Iterator[str]:
    """Yield names, those that are there already with a number behind them."""
    taken: set[str] = set()
    for name in names:
        numbered = (name if number == 1 else f"{name}~{number}" for number in itertools.count(1))
        free = next(one for one in numbered if one.casefold() not in taken)
        taken.add(free.casefold())
        yield free
