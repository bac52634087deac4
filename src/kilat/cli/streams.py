"""The standard streams of the program: whatever they lead to, writing never raises, and what was lost is known.

A stream may be closed, lead to a full disk or to a reader that has gone, and know no letter but ASCII. None of it stops
work: the rest of what is written is dropped, and the exit code says so.
"""

import errno
import io
import logging
import os
import select
import sys
import traceback
import warnings
from typing import Any

from kilat.cli.terminal import say_aside
from kilat.locale import _
from kilat.locale.escapes import Shown, visible
from kilat.locale.system_errors import system_reason

_NAMES = ("stdin", "stdout", "stderr")


class Output(io.RawIOBase):
    """What a stream writes to: it never raises, and keeps the first failure, from which on it drops everything.

    Args:
        file: that is written to.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write bytes, or drop them."""
        while self.failure is None:
            try:
                written = self._file.write(data)
            except OSError as error:
                self.failure = error
                break
            if written is not None:
                return written
            select.select([], [self], [])  # another program has made it one that does not wait
        return memoryview(data).nbytes

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def fileno(self) -> int:
        """Return the number of the open file."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._file.isatty()


def make_harmless() -> None:
    """Make the standard streams such that nothing raises, and that what libraries say of foreign text is escaped."""
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would take its place, and what is printed would go there
            os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free; writing fails as it did before
        if number:
            setattr(sys, name, _stream(number, getattr(sys, name)))
    warnings.formatwarning = _warning_line
    assert logging.lastResort is not None
    logging.lastResort.setFormatter(_LogFormatter())


def print_traceback(error: BaseException) -> None:
    """Print where a mistake of kilat's own happened, as Python does, in lines that no terminal minds."""
    lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
    say_aside(*lines)


def output_failure() -> OSError | None:
    """Return why nothing more can be written on standard output; None while it can."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, Output) else None


def finish() -> bool:
    """Write what was held back; return whether all of standard output was written, and say why where it was not."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    failure = output_failure()
    if failure is not None and failure.errno != errno.EPIPE:  # who stops reading has had enough
        sentence = _("The output could not be written: {reason}.").format(reason=system_reason(failure))
        say_aside(_("Error: {error}").format(error=sentence))
    return failure is None


def _stream(number: int, stream: object) -> io.TextIOWrapper:
    """Return a stream that never raises in the place of one of Python's, which is None where it was closed."""
    file: Any = io.FileIO(number, "w", closefd=False)
    encoding, is_immediate = "utf-8", False
    if isinstance(stream, io.TextIOWrapper):
        stream.flush()
        file = getattr(stream.buffer, "raw", stream.buffer)  # on Windows, a console's own
        encoding, is_immediate = stream.encoding, stream.line_buffering
    return io.TextIOWrapper(io.BufferedWriter(Output(file)), encoding, "backslashreplace", line_buffering=is_immediate)


class _LogFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _warning_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,  # noqa: ARG001 - as Python has it
) -> str:
    return Shown("\n").join((f"{filename}:{lineno}: {category.__name__}: {message}", ""))
