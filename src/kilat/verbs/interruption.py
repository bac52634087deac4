"""What is kept of work that Ctrl-C, SIGTERM or a full disk ends, and what goes on with it."""

import contextlib
import signal
from collections.abc import Callable, Iterator

from kilat.locale import _
from kilat.locale.escapes import Shown
from kilat.runtime.files import UnwritableError
from kilat.runtime.signals import Stopped, Terminated


@contextlib.contextmanager
def explained(
    *, keeps_features: bool, resume: Callable[[], str] = lambda: "", of_trials: bool = False
) -> Iterator[None]:
    """Say what is kept, where the block is interrupted, or cannot write what it did.

    Args:
        keeps_features: whether the block extracts features, which the next run finds again.
        resume: called then: the command that goes on from a checkpoint; empty where there is none.
        of_trials: whether the block runs the trials of a lab, of which those that are finished are kept as well.

    Raises:
        Stopped: there is such a command.
        UnwritableError: something could not be written; its hint has the command.
        KeyboardInterrupt: there is none; a note (PEP 678) says what is kept nevertheless.
    """
    try:
        yield
    except Stopped as stopped:
        raise Stopped(stopped.number, hint=_go_on(resume())) from None
    except UnwritableError as error:
        hints = [error.hint, *map(_go_on, filter(None, [resume()]))]
        raise UnwritableError(error.message, hint=Shown("\n").join(filter(None, hints))) from error
    except KeyboardInterrupt as interrupt:
        if command := resume():
            number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
            message = _("Stopped by {signal}; what was trained up to the last checkpoint is saved.")
            if of_trials:
                message = _("Stopped by {signal}; the trials that are finished are saved.")
            raise Stopped(number, message.format(signal=number.name), hint=_go_on(command)) from None
        if keeps_features:
            interrupt.add_note(_("The features that were extracted are kept, by the content of each picture."))
        raise


def _go_on(command: str) -> str:
    return _("Go on with it:\n  {command}").format(command=command)
