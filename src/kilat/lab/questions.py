"""Ready-made comparisons by the name of a technique: ``questions.yaml``, put to of a recipe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kilat import recipe as recipes
from kilat.data.catalog import Source
from kilat.errors import KilatError, RecipeError, nearest
from kilat.features.extract import suggested_size
from kilat.features.pixels import natural_size
from kilat.lab.layer_changes import CHANGES, change_layers
from kilat.lab.variants import Proposal, grid
from kilat.locale import _, localized
from kilat.locale.notes import Note
from kilat.recipe import Recipe, RecipeLike
from kilat.recipe.words.instead import as_yaml

Kind = Literal["trained", "frozen"]

TRAINED, FROZEN = "small-cnn", "transfer"
"""The recipes that a question is put to where none is named."""
LARGE, PHOTO_SIDE = 64, 48
"""Of larger pictures, in pixels, the small network gets colours and pictures of this side."""


class Form(BaseModel):
    """How a question is put: one of the four."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vary: dict[str, list[Any]] = Field(default_factory=dict)
    times: dict[str, list[float]] = Field(default_factory=dict)
    layers: dict[str, list[Any]] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    as_given: bool = False

    @model_validator(mode="after")
    def _one(self) -> "Form":
        if sum(map(bool, (self.vary, self.times, self.layers, self.variants))) != 1:
            raise ValueError("is put in one way")
        if not self.layers.keys() <= CHANGES.keys():
            raise ValueError("changes layers in a way that there is none of")
        return self

    def __str__(self) -> str:
        """Return its variants in few words, without knowing a recipe."""
        if self.variants:
            return ", ".join(self.variants)
        ((option, values),) = (self.vary or self.times or self.layers).items()
        if self.times:
            return f"{option} " + ", ".join(f"× {localized(value, 'g')}" for value in values)
        return f"{option}={','.join(map(as_yaml, values))}"


class Question(BaseModel):
    """A question, under its other names too, put to the two kinds of recipes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    also: list[str] = Field(default_factory=list)
    trained: Form | None = None
    frozen: Form | None = None

    def form(self, kind: Kind) -> Form | None:
        """Return how it is put to a kind of recipe; None where it makes no sense there."""
        return self.trained if kind == "trained" else self.frozen


@cache
def questions() -> dict[str, Question]:
    """Return all questions by their names."""
    text = (resources.files("kilat.lab") / "questions.yaml").read_text("utf-8")
    return {name: Question.model_validate(given) for name, given in yaml.safe_load(text).items()}


def listed() -> dict[str, dict[Kind, str]]:
    """Return the variants of every question in few words, by the kind of recipe that it is put to."""
    kinds: tuple[Kind, ...] = ("trained", "frozen")
    return {
        name: {kind: str(form) for kind in kinds if (form := question.form(kind))}
        for name, question in questions().items()
    }


def find(name: str) -> tuple[str, Question]:
    """Return a question by one of its names, however that is written.

    Raises:
        RecipeError: there is none.
    """
    wanted = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    by_name = {one: title for title, question in questions().items() for one in (title, *question.also)}
    if wanted not in by_name:
        raise RecipeError(
            _("There is no question '{name}'.").format(name=name),
            hint=" ".join([nearest(wanted, by_name), _("`kilat lab --questions` lists them all.")]),
        )
    return by_name[wanted], questions()[by_name[wanted]]


def proposals(
    question: str, recipe: RecipeLike | None, overrides: Mapping[str, Any], source: Source
) -> Sequence[Proposal]:
    """Return the variants that answer a question.

    Args:
        question: its name.
        recipe: that it is put to; None for one that it makes sense of.
        overrides: options that hold for all variants.
        source: the pictures, whose size decides what is small.

    Raises:
        RecipeError: there is no such question, or it makes no sense of the recipe.
    """
    title, found = find(question)
    base = _default(found, source) if recipe is None else recipe
    chosen = recipes.load(base, dict(overrides))
    kind: Kind = "trained" if chosen.model is not None or chosen.is_finetuning else "frozen"
    form = found.form(kind)
    if chosen.is_finetuning and not _is_valid(form, chosen):
        form = found.frozen if _is_valid(found.frozen, chosen) else None
    if form is None:
        raise _foreign(title, found, kind)
    variants = list(_different(_variants(form, base, chosen, source), overrides))
    if len(variants) < 2:
        raise RecipeError(
            _("The question '{name}' changes nothing in this recipe.").format(name=title),
            hint=_("Ask it of another one, such as --recipe {recipe}.").format(
                recipe=TRAINED if kind == "trained" else FROZEN
            ),
        )
    return variants


def chosen_recipe(reference: Recipe) -> Note:
    """Return the note on the recipe that a question was put to, where none was named.

    Args:
        reference: the first variant.
    """
    if reference.model is None:
        return Note("lab_question_recipe", {"recipe": FROZEN})
    if reference.input.size != PHOTO_SIDE:
        return Note("lab_question_recipe", {"recipe": TRAINED})
    return Note("lab_question_photos", {"recipe": TRAINED, "size": PHOTO_SIDE})


def _default(question: Question, source: Source) -> RecipeLike:
    """Return the recipe that a question is put to where none is named; a small network is made fit for photos."""
    if question.frozen is not None:
        return FROZEN
    if natural_size(source) <= LARGE:
        return TRAINED
    return recipes.load(TRAINED, {"input.size": PHOTO_SIDE, "input.colour": "rgb"})


def _is_valid(form: "Form | None", recipe: Recipe) -> bool:
    """Return whether a question's options are options of a fine-tuned backbone, which lists no layers."""
    if form is None or form.layers:
        return False
    options = [*form.vary, *form.times, *(option for one in form.variants.values() for option in one)]
    return all(option.partition(".")[0] in recipe.sections for option in options)


def _foreign(name: str, question: Question, kind: Kind) -> RecipeError:
    """Return the error about a question that makes no sense of a recipe."""
    if question.trained is None:
        sentence, hint = _("The question '{name}' is about frozen backbones; this recipe trains a network."), FROZEN
    elif kind == "frozen":
        sentence = _("The question '{name}' is about networks that are trained; this recipe trains none.")
        hint = TRAINED
    else:
        sentence = _("The question '{name}' is about the layers of a network; this recipe fine-tunes a backbone.")
        hint = TRAINED
    return RecipeError(
        sentence.format(name=name), hint=_("Ask it of another recipe: --recipe {recipe}").format(recipe=hint)
    )


def _variants(form: Form, base: RecipeLike, recipe: Recipe, source: Source) -> Iterator[Proposal]:
    if form.vary:
        yield from grid(base, form.vary)
    elif form.times:
        ((option, factors),) = form.times.items()
        yield from grid(base, {option: [_times(recipe, option, factor, source) for factor in factors]})
    elif form.variants:
        yield from (Proposal(name, options, base) for name, options in form.variants.items())
    else:
        ((what, values),) = form.layers.items()
        if recipe.model is None or not recipe.model.layers:
            raise RecipeError(_("The question changes layers, of which this recipe lists none."))
        for value in values:
            name = f"{what}={as_yaml(value)}"
            yield Proposal(name, {}, change_layers(recipe, what, value), {what: as_yaml(value)})
        if form.as_given:
            yield Proposal(f"{what}=given", {}, recipe, {what: "given"})


def _times(recipe: Recipe, option: str, factor: float, source: Source) -> float:
    """Return a value that follows from the recipe's own; whole numbers stay whole."""
    fit = recipe.fit
    values: dict[str, Callable[[], float]] = {
        "fit.batch": lambda: fit.batch,
        "fit.epochs": lambda: sum(phase.epochs for phase in fit.all_phases),
        "fit.optimizer.learning_rate": lambda: fit.optimizer.rate,
        "input.size": lambda: recipe.input.size if recipe.input.size != "auto" else natural_size(source),
        "features.size": lambda: recipe.features.size if recipe.features.size != "auto" else suggested_size(source),
    }
    own = values[option]()
    return max(1, round(own * factor)) if isinstance(own, int) else float(f"{own * factor:.6g}")


def _different(variants: Iterator[Proposal], overrides: Mapping[str, Any]) -> Iterator[Proposal]:
    """Yield variants that are other recipes than those before them; what is wrong with one is said later."""
    known: set[str] = set()
    for one in variants:
        try:
            text = recipes.load(one.recipe, {**overrides, **one.options}).model_dump_json()
        except KilatError:
            yield one
            continue
        if text not in known:
            known.add(text)
            yield one
