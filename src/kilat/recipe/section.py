"""The base of every section of a recipe: frozen, typed, and closed to options that it does not know.

Numbers have upper bounds far beyond any use, so that a slip of the pen neither fills the memory nor runs for ever.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A section of a recipe, or a group of options inside one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return cls.expand(given)

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options, where there is a short form; sections that have one override this."""
        return given
