"""A part as people write it: ``Conv2D(32, 3)``, ``Conv2D: {filters: 32}``, ``{class_name: Conv2D, config: …}``."""

import ast
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_NAMES = ("class_name", "type", "name", "class", "kind", "_target_")
"""Keys under which other formats give the name of a part, beside its parameters."""


@dataclass(frozen=True)
class Call:
    """A part with its parameters.

    Args:
        name: of the class or function, with its packages.
        given: parameters by position; what stands behind a colon alone is the first of them, but for ``true``.
        options: parameters by name.
        is_list: whether those by position were a list, which may also be a single value.
    """

    name: str
    given: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    is_list: bool = False


def as_call(written: Any) -> Call | None:
    """Return what was written as a part with its parameters; None where it is nothing of the kind."""
    if isinstance(written, Call):
        return written
    if isinstance(written, str):
        return _parse(written)
    return _of_mapping(written) if isinstance(written, Mapping) and written else None


def _of_mapping(written: Mapping[Any, Any]) -> Call | None:
    """Return a part from its name and its parameters, in any of the ways in which YAML and JSON hold them."""
    for key in _NAMES:
        if isinstance(written.get(key), str):
            rest = {name: value for name, value in written.items() if name != key}
            config = rest.pop("config", {})
            inside = config if isinstance(config, Mapping) else {}
            named = _parse(written[key])
            return named and Call(named.name, named.given, {**named.options, **rest, **inside})
    first, value = next(iter(written.items()))
    named = _parse(str(first))
    beside = {key: one for key, one in written.items() if key != first}
    if named is None or (beside and value):
        return None
    if beside or isinstance(value, Mapping):  # beside the name where they are not indented below it
        return Call(named.name, (), beside or value)
    if isinstance(value, list):
        return Call(named.name, tuple(value), is_list=True)
    return Call(named.name, () if value in (None, True) else (value,))


def _parse(text: str) -> Call | None:
    """Return a name, or a call of one as Python writes it; names among its parameters become text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of Python's, about text that is none of its own
            return _of_expression(ast.parse(text.strip(" ,;"), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no expression, or one that is too deep
        return None


def _of_expression(expression: ast.expr) -> Call | None:
    if isinstance(expression, ast.Call):
        if isinstance(expression.func, ast.Attribute) and expression.func.attr == "add" and len(expression.args) == 1:
            return _of_expression(expression.args[0])  # model.add(…)
        options = {one.arg: _value(one.value) for one in expression.keywords if one.arg}
        return Call(ast.unparse(expression.func), tuple(map(_value, expression.args)), options)
    return Call(ast.unparse(expression)) if isinstance(expression, ast.Name | ast.Attribute) else None


def _value(expression: ast.expr) -> Any:
    if isinstance(expression, ast.Call):
        return _of_expression(expression)
    if isinstance(expression, ast.List | ast.Tuple):
        return [_value(item) for item in expression.elts]
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Div):  # Rescaling(1./255)
        over, under = _value(expression.left), _value(expression.right)
        with suppress(ArithmeticError, TypeError):
            return over / under
        return None
    try:
        return ast.literal_eval(expression)
    except (ValueError, TypeError):
        return ast.unparse(expression)
