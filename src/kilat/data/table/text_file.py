"""A table as text, line by line: UTF-8, or UTF-16 that says so in its first bytes."""

import io
from collections.abc import Iterator
from pathlib import Path

from kilat.data.bounds import LONGEST_LINE, MOST_LINES, TABLE_BYTES
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.regular_file import TooLargeFileError, open_regular_file

_HEAD = 1000
"""First bytes that tell what a file is."""


class TextFile:
    """The lines of a text, each with its line end, however often they are asked for.

    Args:
        file: where it is.

    Attributes:
        file: where it is.
        encoding: ``UTF-16``, as spreadsheets write it ('Unicode text'); empty for UTF-8.

    Raises:
        SourceError: it cannot be read, is larger than any table, or is no text.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with open_regular_file(file, TABLE_BYTES) as opened:
                head = opened.read(_HEAD)
        except OSError as error:
            raise _unreadable(file, error) from error
        self.encoding = "UTF-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
        _require_text(file, head, self.encoding)

    def __iter__(self) -> Iterator[str]:
        number = 0
        try:
            with (
                open_regular_file(self.file, TABLE_BYTES) as opened,
                io.TextIOWrapper(opened, self.encoding or "utf-8-sig", newline="") as text,
            ):
                while line := text.readline(LONGEST_LINE + 1):
                    number += 1
                    if number > MOST_LINES:
                        raise SourceError(
                            _("{file} has more than {count:,} lines.").format(file=self.file, count=MOST_LINES),
                            hint=_("Split it into several tables."),
                        )
                    if len(line) > LONGEST_LINE:
                        raise SourceError(
                            _("Line {line} of {file} has more than {count:,} characters.").format(
                                line=number, file=self.file, count=LONGEST_LINE
                            ),
                            hint=_("A table has a line for each picture. Save it again as CSV in UTF-8."),
                        )
                    yield line
        except OSError as error:
            raise _unreadable(self.file, error) from error
        except UnicodeDecodeError as error:
            # What was decoded before, but for the line that goes on here, was given already.
            line_number = number + error.object[: error.start].count(b"\n") + 1
            raise SourceError(
                _("The table {file} is not UTF-8: byte 0x{byte:02x} in line {line}.").format(
                    file=self.file, byte=error.object[error.start], line=line_number
                ),
                hint=_(
                    "Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'), so that no letter in a path or label is guessed."
                ),
            ) from error


def _unreadable(file: Path, error: OSError) -> SourceError:
    hint = _("Split it into several tables.") if isinstance(error, TooLargeFileError) else ""
    return SourceError(
        _("The table {file} cannot be read: {reason}.").format(file=file, reason=system_reason(error)), hint=hint
    )


def _require_text(file: Path, head: bytes, encoding: str) -> None:
    """Raise where a file is something else than its name says; the first bytes tell."""
    start = head[:200].lstrip().lower()
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        found, hint = _("a spreadsheet or an archive"), _("Save it as 'CSV UTF-8' from the spreadsheet, or unpack it.")
    elif head.startswith(b"\x1f\x8b"):
        found, hint = _("compressed (gzip)"), _("Unpack it first: gunzip FILE.")
    elif start.startswith((b"<!doctype", b"<html", b"<?xml")):
        found = _("a web page or XML")
        hint = _("The download may have given a page that asks to log in: download the file again.")
    elif start.startswith(b"version https://git-lfs"):
        found, hint = _("a pointer of Git LFS, not the file itself"), _("Fetch the file: git lfs pull")
    elif (b"\0" in head and not encoding) or head.startswith(b"\xff\xfe\0\0"):  # UTF-32 begins as UTF-16 does
        found, hint = _("not text"), _("Save it as CSV in UTF-8.")
    else:
        return
    raise SourceError(_("The table {file} is {found}.").format(file=file, found=found), hint=hint)
