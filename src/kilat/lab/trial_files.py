"""What the folder of a trial holds beside its answers, typed: how long it took, or why it has none."""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kilat.errors import RunError
from kilat.locale import _
from kilat.runtime.array_types import Ints
from kilat.runtime.json_document import DocumentError, read_typed

D = TypeVar("D", bound=BaseModel)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_: Literal[1] = Field(1, alias="schema")


class _Seconds(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    head_s: float = Field(ge=0)


class HeadTrial(_File):
    """A trial of a head: the chosen penalty of each fold, and its seconds."""

    l2_penalties: list[float]
    timing: _Seconds


class TrainedTrial(_File):
    """A trial of a network: the most memory that it held; None where that was not measured."""

    peak_bytes: int | None = Field(ge=0)


class FailedTrial(_File):
    """A trial without answers, why, and whether it would fail again."""

    reason: str
    is_final: bool


class DroppedVariant(BaseModel):
    """A variant that a time limit gave up, with how many seeds it had."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str
    seeds: int = Field(ge=0)


class DroppedVariants(_File):
    """All of them."""

    dropped: list[DroppedVariant]


def read_file(kind: type[D], path: Path) -> D:
    """Return what such a file holds.

    Raises:
        RunError: it cannot be read, or this version of kilat did not write it.
    """
    try:
        return read_typed(kind, path)
    except DocumentError as error:
        raise RunError(str(error)) from None


def require_pictures(path: Path, numbers: Ints, count: int) -> Ints:
    """Return the numbers of pictures in a table, if all of them are pictures of the lab.

    Args:
        path: of the table.
        numbers: that stand in it.
        count: how many pictures the lab has.

    Raises:
        RunError: some are not.
    """
    if ((numbers < 0) | (numbers >= count)).any():
        raise RunError(_("{path} has answers to pictures that the lab does not have.").format(path=path))
    return numbers
