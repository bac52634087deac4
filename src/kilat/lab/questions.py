"""Ready-made comparisons by the name of a technique."""

from collections.abc import Sequence

from kilat.data.catalog import Source
from kilat.errors import RecipeError, nearest
from kilat.lab.variants import Proposal
from kilat.locale import _
from kilat.recipe import RecipeLike


def proposals(question: str, recipe: RecipeLike | None, source: Source) -> Sequence[Proposal]:
    """Return the variants that answer a question.

    Raises:
        RecipeError: there is no such question.
    """
    raise RecipeError(_("There is no question '{name}'.").format(name=question), hint=nearest(question, ()))
