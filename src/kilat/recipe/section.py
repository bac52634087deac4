"""What every part of a recipe is: a frozen, typed section that knows no other keys than its own."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return cls.in_full(given)

    @classmethod
    def in_full(cls, given: Any) -> Any:
        """What was given, spelt out where it may be written short; sections with a short form say how."""
        return given
