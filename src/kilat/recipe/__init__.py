"""The recipe: every option, its default and its check, as frozen typed models; all problems are reported together.

Stands on ``runtime``, ``locale`` and ``errors``.
"""

from kilat.recipe.augment import Augment
from kilat.recipe.document import RecipeLike, about, built_in, load, of_preset, option_paths, parse_override, text
from kilat.recipe.fit import Fit
from kilat.recipe.network import Network
from kilat.recipe.option_tree import short_paths
from kilat.recipe.sections import METHODS, Features, Head, Input, Recipe, Resize, Trust

__all__ = [
    "METHODS", "Augment", "Features", "Fit", "Head", "Input", "Network", "Recipe", "RecipeLike", "Resize", "Trust",
    "about", "built_in", "load", "of_preset", "option_paths", "parse_override", "short_paths",
    "text",
]  # fmt: skip
