"""What every part of a recipe is: a frozen, typed section that knows no other keys than its own."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")
