"""Arguments and options that several verbs share, and what a recipe makes of them."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperOption

from kilat.locale import N_, _


def complete_recipe(incomplete: str) -> list[str]:
    """Return the built-in recipes that begin with what was typed so far."""
    from kilat.recipe import built_in

    return [name for name in built_in() if name.startswith(incomplete)]


Data = Annotated[
    str,
    typer.Argument(help=N_("Labelled pictures: a folder of class folders, a CSV table, a zip or tar, or a known set.")),
]
RecipeName = Annotated[str, typer.Option(help=N_("A built-in recipe, or a YAML file."), autocompletion=complete_recipe)]
RecipeArgument = Annotated[
    str, typer.Argument(help=N_("A built-in recipe, or a YAML file."), autocompletion=complete_recipe)
]
Weights = Annotated[str | None, typer.Option(help=N_("A file with the network's weights; 'none' for random ones."))]
Page = Annotated[Path | None, typer.Option(help=N_("The HTML page to write; with --json none, unless it is named."))]
Size = Annotated[str | None, typer.Option(help=N_("Side of the network's input in pixels, or 'auto'."))]
Choices = Annotated[
    list[str] | None,
    typer.Option("--set", help=N_("One value of the recipe, such as features.resize=pad; may be repeated.")),
]
Labels = Annotated[Path | None, typer.Option(help=N_("A suspects.csv with corrected labels."))]
Root = Annotated[Path | None, typer.Option(help=N_("Folder that already holds copies of known sets."))]
PathColumn = Annotated[str | None, typer.Option(help=N_("Column of a table that names the pictures."))]
LabelColumn = Annotated[str | None, typer.Option(help=N_("Column of a table with their labels."))]
SplitColumn = Annotated[str | None, typer.Option(help=N_("Column of a table that says train, validation or test."))]
Images = Annotated[Path | None, typer.Option(help=N_("Folder with the pictures that a table names."))]
ClassFrom = Annotated[
    str | None,
    typer.Option(help=N_("What names the class: first-folder (the default), last-folder, folders or file-name.")),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=N_("Show the result only, no progress."))]
Open = Annotated[bool, typer.Option("--open", help=N_("Open the page in the browser when it is written."))]
Json = Annotated[bool, typer.Option("--json", help=N_("Print the result as JSON."))]
Model = Annotated[Path, typer.Argument(help=N_("A model.onnx, or the run folder that holds it."))]


READS_PICTURES = frozenset(("data", "path_column", "picture"))
"""Parameters of the verbs that read pictures."""


def decode_memory_option() -> TyperOption:
    """Return the option ``--decode-memory``, which holds for this process and those that it starts."""
    text = N_("Memory for decoding pictures, such as 4GB; by default a quarter of the memory, 1 GiB at most.")
    return TyperOption(
        param_decls=["--decode-memory"], type=str, expose_value=False, help=text, callback=_allow_for_decoding
    )


def _allow_for_decoding(_context: Any, _option: Any, given: str | None) -> None:
    from kilat.runtime.memory import DECODING_VARIABLE, number_of_bytes

    if given is not None:
        os.environ[DECODING_VARIABLE] = str(number_of_bytes(given, "--decode-memory"))


def overrides(choices: list[str] | None, **given: Any) -> dict[str, Any]:
    """Return the values of a recipe that were given on the command line: options of their own, and ``--set``."""
    from kilat.recipe import parse_override

    return {key: value for key, value in given.items() if value is not None} | dict(map(parse_override, choices or []))


def side(size: str | None) -> int | str | None:
    """Return the value of ``--size``: pixels as a number, anything else as it was written."""
    return int(size) if size and re.fullmatch(r"[0-9]{1,9}", size) else size


def instead_of(option: str, value: str | None, own: Collection[str]) -> str:
    """Return what to write instead of an option that other programs have, such as ``--lr 0.1``; nothing if unknown.

    Args:
        option: as it was written.
        value: what stands behind it; None where nothing does.
        own: the options of the verb.
    """
    from kilat.recipe import parse_override
    from kilat.recipe.option_tree import is_switch
    from kilat.recipe.overrides import sections_that_count
    from kilat.recipe.words.instead import as_yaml, override_to_write
    from kilat.recipe.words.translate import translate_option

    name = option.lstrip("-").replace("-", "_")
    given = True if value is None else parse_override(f"{name}={value}")[1]
    found = translate_option(name, given, sections_that_count({"model": {}}))
    if found is None:
        return ""
    change, values = found
    if value is None:  # not a switch, so its value is missing
        values = [(path, one if one is not True or is_switch(path) else "VALUE") for path, one in values]
    short = [(f"--{path.rpartition('.')[2].replace('_', '-')}", one) for path, one in values]
    if values and all(name in own for name, _value in short):
        return _("write {lines}").format(lines=" ".join(f"{name} {as_yaml(one)}" for name, one in short))
    return override_to_write(change, values)
