"""The command line: one short function per verb, a module per family. The only room that prints or exits.

Stands on every room below, verbs/ above all. Everything heavy is imported inside of the verb that needs it, so that
``kilat --help`` and ``kilat predict`` start at once.
"""

import atexit
import errno
import os
import signal
import sys
from typing import NoReturn

from kilat.cli import (  # noqa: F401 - they register their verbs
    compare_runs,
    data,
    housekeeping,
    labs,
    models,
    networks,
    parser,
    past_runs,
    predictions,
    show,
    streams,
    training,
)
from kilat.cli.language import settle_language
from kilat.cli.terminal import say_aside
from kilat.cli.verb import app
from kilat.errors import KilatError, RunError
from kilat.locale import _
from kilat.locale.system_errors import file_reason

__all__ = ["app", "main", "run"]

_INTERRUPTED = 128 + signal.SIGINT

_OF_NAMES = {errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.ELOOP, errno.EINVAL}
"""What the system says of a name that was given, rather than of its own state."""


def run() -> NoReturn:
    """Run the command line as a program, which ends as soon as it is done.

    Python would free everything first, which takes a second or more once PyTorch was imported.
    """
    streams.make_harmless()
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a mistake of kilat's own, which is shown as Python would
        streams.print_traceback(error)
        code = 1
    atexit._run_exitfuncs()  # noqa: SLF001 - what libraries still have to write; there is no public name for it
    if not streams.finish() and code in (0, data.FOUND):
        code = 1
    os._exit(code if isinstance(code, int) else 1)


def main() -> None:
    """Run the command line; errors that users cause are shown as sentences."""
    try:
        settle_language(sys.argv[1:])
        code = app(prog_name="kilat", standalone_mode=False)
    except KilatError as error:
        is_told_to = error.kind == "stopped"  # which is no error of anyone
        say_aside(str(error) if is_told_to else _("Error: {error}").format(error=error))
        if command := show.glossary_command(str(error)):
            say_aside(_("Words: {command}").format(command=command))
        sys.exit(error.exit_code)
    except OSError as error:  # of a file that was given, such as one in a folder that may not be read
        say_aside(_("Error: {error}").format(error=f"{file_reason(error)}."))
        sys.exit(KilatError.exit_code if error.errno in _OF_NAMES else RunError.exit_code)
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # outside of a verb, of which Typer makes an error
            sys.exit(_INTERRUPTED)
        if not parser.is_usage_error(error):
            raise
        code = parser.print_usage_error(error)
    sys.exit(code)
