"""What was called, as pages show it: a line of Python that can be typed again."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

_LONGEST_MAPPING = 120
"""Characters."""


def python_call(verb: str, *given: Any, **overrides: Any) -> str:
    """Return a call such as ``kilat.train('flowers', epochs=3)``; what is no path, name or number stands as dots.

    Args:
        verb: the name of the function.
        given: its positional arguments; None for those that are left at their defaults.
        overrides: single choices of the recipe.
    """
    named = {name: value for name, value in overrides.items() if name.isidentifier()}
    dotted = {name: value for name, value in overrides.items() if name not in named}
    arguments = [_written(value) for value in given if value is not None]
    arguments += [f"{name}={_written(value)}" for name, value in named.items()]
    arguments += [f"**{dotted!r}"] if dotted else []
    return f"kilat.{verb}({', '.join(arguments)})"


def title(model: object, data: object) -> str:
    """Return the title of a page about a model and some data: the last part of the path of each that has one."""
    names = [Path(one).resolve().name for one in (model, data) if isinstance(one, str | Path)]
    return " · ".join(names) or "kilat"


def now() -> str:
    """Return the local date and time to the minute, as ISO 8601."""
    return datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M")


def _written(value: Any) -> str:
    if isinstance(value, Path):
        return repr(str(value))
    is_plain = isinstance(value, str | int | float | bool) or (
        isinstance(value, Mapping) and len(repr(value)) <= _LONGEST_MAPPING
    )
    return repr(value) if is_plain else "…"
