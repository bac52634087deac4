"""The command line: one short function per verb, a module per family. The only room that prints or exits.

Stands on every room below, verbs/ above all. Everything heavy is imported inside of the verb that needs it, so that
``kilat --help`` and ``kilat predict`` start at once.
"""

import os
import sys

from kilat.cli import (  # noqa: F401 - they register their verbs
    compare_runs,
    data,
    housekeeping,
    models,
    networks,
    past_runs,
    predictions,
    training,
)
from kilat.cli.verb import app
from kilat.errors import KilatError
from kilat.locale import _

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; errors that users cause are shown as sentences."""
    try:
        app(prog_name="kilat")
    except KilatError as error:
        is_told_to = error.kind == "stopped"  # which is no error of anyone
        print(error if is_told_to else _("Error: {error}").format(error=error), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read the output went away; what is flushed at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
