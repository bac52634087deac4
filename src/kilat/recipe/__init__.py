"""The recipe: every choice, its default and its check, as frozen typed models. All problems are reported together."""

from kilat.recipe.augment import Augment
from kilat.recipe.document import about, built_in, load, of_preset, parse_override, text
from kilat.recipe.fit import Fit
from kilat.recipe.network import Network
from kilat.recipe.sections import METHODS, Features, Head, Input, Recipe, Resize, Trust

__all__ = [
    "METHODS", "Augment", "Features", "Fit", "Head", "Input", "Network", "Recipe", "Resize", "Trust", "about",
    "built_in", "load", "of_preset", "parse_override", "text",
]  # fmt: skip
