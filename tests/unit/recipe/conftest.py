"""What tests of recipes share: the problems that a recipe is refused for."""

from collections.abc import Callable
from typing import Any

import pytest

from kilat.errors import RecipeError
from kilat.recipe import load


@pytest.fixture(scope="session")
def problems() -> Callable[..., list[str]]:
    """The sentences with which a recipe is refused: ``problems("vgg-cifar", {"l2": -1})``."""

    def refused(recipe: Any, overrides: dict[str, Any] | None = None) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            load(recipe, overrides)
        first, *rest = caught.value.message.split("\n")
        assert first == "The recipe has problems:"
        return [line.removeprefix("  ") for line in rest]

    return refused
