"""How a verb is declared: its family, its examples, and its help, which is translated when it is shown.

Typer would print families of verbs by itself, but with rich, whose import takes longer than everything else that
``kilat --help`` does.
"""

import copy
import inspect
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from kilat.cli.language import complete_language
from kilat.cli.options import READS_PICTURES, decode_memory_option
from kilat.cli.terminal import say
from kilat.errors import RecipeError
from kilat.locale import N_, _
from kilat.locale.escapes import shell_command

F = TypeVar("F", bound=Callable[..., None])

FAMILIES = (N_("Train"), N_("Use a model"), N_("Know the data"), N_("Recipes and networks"), N_("Housekeeping"))
"""In the order in which the help lists them."""

_VALUE_KIND = re.compile(r"<[a-z ]+>")  # of the value of an option, as Typer names it: <path>


class _InLanguage:
    """A command whose help is in the language of the environment."""

    help: str | None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the name of the command."""
        return [_(piece) for piece in super().collect_usage_pieces(ctx)]  # type: ignore[misc]

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the line on how it is used."""
        usage = " ".join(self.collect_usage_pieces(ctx))
        formatter.write_usage(ctx.command_path, usage, prefix=f"{_('Usage:')} ")

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what it does."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_translated(self.help))

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence of what it does, as shells show it when they complete."""
        return _translated(self.help).partition("\n\n")[0]

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return what may follow, each with its help."""
        found: list[Any] = super().shell_complete(ctx, incomplete)  # type: ignore[misc]
        for one in found:
            one.help = _translated(one.help)
        return found


class Verb(_InLanguage, TyperCommand):
    """A verb whose help ends with examples (its ``epilog``, a command a line)."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        if any(one.name in READS_PICTURES for one in self.params):
            self.params.append(decode_memory_option())
        self.params.append(_language_option())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; for one of another program, say what to write instead.

        Raises:
            RecipeError: such an option was given.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # the parser's, of typer or of click
            option = getattr(error, "option_name", "") if type(error).__name__ == "NoSuchOption" else ""
            own = [name for one in self.get_params(ctx) for name in one.opts]
            instead = _instead_of(option, given, own) if option and "--set" in own else ""
            if not instead:
                raise
            raise RecipeError(_("No such option: {option}; {instead}").format(option=option, instead=instead)) from None

    def invoke(self, ctx: Any) -> Any:
        """Do it; where Ctrl-C or SIGTERM ends it, say what is kept and give the same command again.

        Raises:
            Stopped: it was interrupted.
        """
        from kilat.runtime.signals import Stopped, Terminated, sigterm_interrupts

        with sigterm_interrupts():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as interrupt:
                if guarded := sys.modules.get("kilat.data.guarded_process"):
                    guarded.interrupt()  # else the end would wait for what is decoded there
                number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
                kept: list[str] = getattr(interrupt, "__notes__", [])
                hint = (
                    _("The same command goes on from there:\n  {command}")
                    if kept
                    else _("To run it again:\n  {command}")
                )
                message = " ".join([_("Stopped by {signal}.").format(signal=number.name), *kept])
                raise Stopped(number, message, hint=hint.format(command=typed_command())) from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, in two sections."""
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are, however wide the terminal is."""
        with formatter.section(_("Examples")):
            for line in (self.epilog or "").splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Verbs(_InLanguage, TyperGroup):
    """All verbs, listed in families."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.params.append(_language_option())

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of kilat itself, then its verbs."""
        _write_parameters(self.get_params(ctx), ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every verb with the first sentence of its help, the verbs of a family together."""
        widest = max(map(len, self.commands))
        for name, members in families(self).items():
            rows = [(f"{verb.name:<{widest}}", verb.get_short_help_str()) for verb in members]
            with formatter.section(_(name)):
                formatter.write_dl(rows)


def families(verbs: TyperGroup) -> dict[str, list[Verb]]:
    """Return the verbs of every family, in the order of the help."""
    every = [verb for verb in verbs.commands.values() if isinstance(verb, Verb)]
    return {name: [verb for verb in every if verb.rich_help_panel == name] for name in FAMILIES}


def verb(family: str, *examples: str, name: str | None = None) -> Callable[[F], F]:
    """Return a decorator that makes a function a verb.

    Args:
        family: one of ``FAMILIES``.
        examples: commands that its help ends with.
        name: of the verb, where it is not the function's.
    """
    assert family in FAMILIES
    return app.command(name, cls=Verb, rich_help_panel=family, epilog="\n".join(examples))


def _instead_of(option: str, args: list[str], own: list[str]) -> str:
    from kilat.cli.options import instead_of

    written = next((one for one in args if one.partition("=")[0] == option), option)
    behind = args[args.index(written) + 1 :] if written in args else []
    is_value = behind and not behind[0].startswith("-") and not Path(behind[0]).exists()  # --amp flowers/
    value = written.partition("=")[2] or (behind[0] if is_value else None)
    return instead_of(option, value, own)


def typed_command() -> str:
    """Return the command as it was typed."""
    return shell_command("kilat", *sys.argv[1:])


def _print_version(wanted: bool) -> None:
    if wanted:
        import kilat

        say(f"kilat {kilat.__version__}")
        raise typer.Exit


app = typer.Typer(
    name="kilat",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options_of_kilat_itself(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help=N_("Show the version and exit.")
    ),
) -> None:
    """Turn a folder of labelled pictures into a tested, explained, portable image classifier."""


def _write_parameters(parameters: list[Any], ctx: Any, formatter: Any) -> None:
    for kind, title in (("argument", _("Arguments")), ("option", _("Options"))):
        shown = [copy.copy(one) for one in parameters if one.param_type_name == kind]
        for parameter in shown:
            parameter.help = _translated(parameter.help)
        if records := [record for one in shown if (record := one.get_help_record(ctx))]:
            with formatter.section(title):
                formatter.write_dl([(_VALUE_KIND.sub(lambda kind: _(kind[0]), name), text) for name, text in records])


def _language_option() -> TyperOption:
    """Return the option ``--lang``; ``kilat.cli.main`` has read it before anything is shown."""
    text = N_("Language of what is shown; by default that of KILAT_LANG or of the system.")
    return TyperOption(
        param_decls=["--lang"], type=str, expose_value=False, help=text, autocompletion=complete_language
    )


def _translated(text: str | None) -> str:
    return _(inspect.cleandoc(text)) if text else ""  # the translation of an empty text is a catalog's header
