"""Every word in the tables leads to a recipe that is valid: no line that is shown is refused in its turn."""

import contextlib
import itertools
import random
import re
from typing import Any

import pytest
from pydantic import ValidationError

from kilat.errors import RecipeError
from kilat.recipe import Recipe, load
from kilat.recipe.activation_function import ACTIVATIONS as RECIPE_ACTIVATIONS
from kilat.recipe.network import KINDS
from kilat.recipe.option_tree import option_paths
from kilat.recipe.overrides import sections_that_count
from kilat.recipe.words.layer_words import ACTIVATIONS, LAYERS
from kilat.recipe.words.lookup import find_part, own_part
from kilat.recipe.words.option_words import CONTAINERS, OPTIONS
from kilat.recipe.words.part_words import PARTS
from kilat.recipe.words.translate import translate

HEAD = ["flatten", {"dense": "classes"}]
RECIPES: list[dict[str, Any]] = [
    {"model": {"layers": HEAD}},
    {"model": {"layers": [{"dense": 1}]}, "input": {"size": 8}},
    {"model": {"layers": [{"backbone": "resnet18"}, "global_avg_pool", *HEAD]}},
    {"fit": {"unfreeze": "all"}},
    {},
]
VALUES = (
    0.5, 3, 96, True, 0, [0.9, 0.99], "adam", "cosine", "mse", "relu", "l2", "memory", "resnet18", "balanced", "cuda",
    "glorot_uniform", "max_norm", "loss", "batch_norm", "reflect", "crop", "rgb",
)  # fmt: skip
PARAMETERS: list[Any] = [
    None, 3, 0.5, True, "relu", [4, 3], {"filters": 4, "kernel_size": 3}, {"decay_steps": 10}, {"milestones": [3, 6]},
    {"boundaries": [3, 6], "values": [0.1, 0.01, 0.001]}, {"scale": 0.5},
]  # fmt: skip


def is_valid(recipe: dict[str, Any]) -> bool:
    translated, changes = translate(recipe, sections_that_count(recipe))
    try:
        Recipe.model_validate(translated)
    except ValidationError:
        return False
    return bool(changes)


def test_an_option_beside_the_sections() -> None:
    pairs = list(itertools.product(RECIPES, VALUES))
    assert [word for word in OPTIONS if not any(is_valid({**recipe, word: value}) for recipe, value in pairs)] == []


@pytest.mark.parametrize("where", ["itself", "callbacks"])
def test_a_part_beside_the_sections_and_among_callbacks(where: str) -> None:
    def is_understood(word: str) -> bool:
        given = ({word: one} if where == "itself" else {"callbacks": [{word: one}]} for one in PARAMETERS)
        return any(is_valid({**recipe, **part}) for part in given for recipe in RECIPES[:-1])

    assert [word for word in PARTS if not is_understood(word)] == []


def test_a_layer() -> None:
    def is_understood(word: str) -> bool:
        networks = ([{"conv": 4}, {word: given}, *HEAD] for given in PARAMETERS)
        return any(is_valid({"model": {"layers": layers}}) for layers in networks)

    words = {**LAYERS, **ACTIVATIONS}.keys() - KINDS.keys()
    assert [word for word in words if not is_understood(word)] == []


def test_an_activation_of_a_layer_and_of_the_network() -> None:
    for word in ACTIVATIONS.keys() - set(RECIPE_ACTIVATIONS):
        assert is_valid({"model": {"layers": HEAD, "activation": word}}), word
        assert is_valid({"model": {"layers": [{"conv": {"filters": 4, "activation": word}}, *HEAD]}}), word


def test_whatever_is_given_is_refused_in_sentences() -> None:
    """Words of all kinds at all places, with values of all kinds: 150 recipes drawn with a fixed seed."""
    draw = random.Random(0)
    own = [name for path in option_paths(Recipe.model_fields) for name in path.split(".")]
    words = [
        *OPTIONS,
        *PARTS,
        *LAYERS,
        *ACTIVATIONS,
        *CONTAINERS,
        *KINDS,
        *own,
        "class_name",
        "config",
        "name",
        "",
        ".",
    ]
    single = (None, True, 0, -1, 0.5, float("nan"), "", "(1,2)", "[1", "20%", "Conv2D(3)", "a=1", "f(", "é", [], {})

    def value(depth: int) -> Any:
        kind = draw.random()
        if depth > 3 or kind < 0.6:
            return draw.choice(words if kind < 0.15 else single)
        if kind < 0.75:
            return [value(depth + 1) for _ in range(draw.randint(0, 3))]
        return {draw.choice(words): value(depth + 1) for _ in range(draw.randint(0, 3))}

    for _ in range(150):
        document = {draw.choice([*Recipe.model_fields, *draw.choices(words, k=3)]): value(0) for _ in range(3)}
        overrides = {".".join(draw.choices(words, k=draw.randint(1, 4))): value(0)}
        with contextlib.suppress(RecipeError):
            load(document, overrides)


@pytest.mark.slow
def test_every_layer_of_keras_and_of_torch_has_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they have in their newest version: a new layer is one to be written down."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="the extra keras is not installed")
    nn = pytest.importorskip("torch", reason="the extra torch is not installed").nn
    tables = {**LAYERS, **ACTIVATIONS, **PARTS}
    no_layers = re.compile(
        r"InputSpec|MaxNumBoundingBoxes|.*(Parameter|Buffer|Loss|Loss2d|LossOptions|Base|Container)s?.*|DataParallel|.*Options"
    )
    for library in (keras.layers, nn):
        names = [
            name for name in dir(library) if isinstance(getattr(library, name), type) and not no_layers.fullmatch(name)
        ]
        assert [name for name in names if not (find_part(tables, name) or own_part(name))] == []
