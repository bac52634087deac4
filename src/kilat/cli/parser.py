"""What the parser of the command line says: Typer has it in English alone, so it is said anew, in our words."""

import re
from functools import cache
from typing import Any

from kilat.cli.terminal import say_aside
from kilat.locale import N_, _
from kilat.locale.escapes import Shown

HELP_WORDS = (
    N_("default: {default}"), N_("required"), N_("Show this message and exit."),
    N_("Install completion for the current shell."),
    N_("Show completion for the current shell, to copy it or customize the installation."),
    N_("[OPTIONS]"), N_("COMMAND [ARGS]..."),
    N_("<path>"), N_("<str>"), N_("<int>"), N_("<float>"), N_("<int range>"),
)  # fmt: skip
"""Of the help, as Typer has them."""

_ERRORS = {
    "Missing argument {name}.": N_("Missing argument {name}."),
    "Missing option {name}.": N_("Missing option {name}."),
    "Missing command.": N_("Missing command."),
    "No such command {name}. Did you mean {others}?": N_("No such command {name}. Did you mean {others}?"),
    "No such command {name}.": N_("No such command {name}."),
    "No such option: {name} (Possible options: {others})": N_("No such option: {name}. Did you mean {others}?"),
    "No such option: {name}": N_("No such option: {name}"),
    "Option {name} requires an argument.": N_("Option {name} requires a value."),
    "Option {name} does not take a value.": N_("Option {name} does not take a value."),
    "Got unexpected extra argument(s) ({values})": N_("Too many arguments: {values}"),
    "Invalid value for {name}: {problem}": N_("Invalid value for {name}: {problem}"),
    "{value} is not a valid int range.": N_("{value} is not a whole number."),
    "{value} is not a valid int.": N_("{value} is not a whole number."),
    "{value} is not a valid float.": N_("{value} is not a number."),
    "{value} is not in the range {range}.": N_("{value} is not in the range {range}."),
    "{value} is not one of {others}.": N_("{value} is not one of {others}."),
}
"""Our sentence for each of Typer's; the first that fits counts."""


def is_usage_error(error: Exception) -> bool:
    """Return whether the parser could not understand the command line."""
    return hasattr(error, "format_message")


def print_usage_error(error: Any) -> int:
    """Print how the command is used, and what is wrong with what was given; return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        say_aside(Shown(error.message))
        return int(error.exit_code)
    if context := error.ctx:
        command = f"{context.command_path} {context.help_option_names[0]}"
        say_aside(Shown(context.get_usage()), _("Try '{command}' for help.").format(command=command), "")
    say_aside(_("Error: {error}").format(error=in_our_words(error.format_message())))
    return int(error.exit_code)


def in_our_words(message: str) -> str:
    """Return what Typer says in the language of the environment; as it is where it says something new."""
    for theirs, ours in _ERRORS.items():
        if found := _pattern(theirs).fullmatch(message):
            values = found.groupdict()
            if problem := values.get("problem"):
                values["problem"] = in_our_words(problem)
            return _(ours).format(**values)
    return message


@cache
def _pattern(template: str) -> re.Pattern[str]:
    literal = re.split(r"\{(\w+)\}", template)
    parts = [f"(?P<{part}>.*?)" if index % 2 else re.escape(part) for index, part in enumerate(literal)]
    return re.compile("".join(parts), re.DOTALL)
