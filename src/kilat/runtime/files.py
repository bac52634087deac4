"""Files that are written whole or not at all, and the folder for what can be made again."""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import uuid
from pathlib import Path
from typing import Any, BinaryIO

from kilat.errors import KilatError, RecipeError, RunError
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.file_lock import open_locked

PARTIAL = ".kilat.partial"
"""What the name of a temporary file ends with; it begins with a dot."""

_LONGEST_NAME = 200
"""Bytes of a file's name that its temporary one may hold; file systems take 255."""

_LEAST_SPACE = 1 << 16
"""Bytes without which no work is begun whose result is to be written."""


_HEAD = 4096
"""First bytes of a file that show whether it is text."""


class UnwritableError(RunError):
    """A file could not be written: the disk is full, or its folder went away.

    ``result`` is what was to be shown in it, where whoever asked for the file gets nothing else.
    """

    result: Any = None


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file through a temporary one, so that a kill leaves the old file or the new one.

    Several processes may write the same file at once: each writes it whole. A link is replaced, never followed, and
    what is neither file nor link, such as a device, stays.

    Raises:
        UnwritableError: the disk is full, the folder cannot be written to, or something else has the name.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    if reason := _obstacle(path):
        raise _unwritable(path, reason)
    try:
        partial, file = _open_partial(path)
        try:
            with file:
                file.truncate(0)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if os.name == "posix":
                    partial.replace(path)  # still locked, or another process might begin to write it
            if os.name != "posix":
                partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise _unwritable(path, system_reason(error)) from error


def refuse_overwriting(path: Path, hint: str) -> None:
    """Refuse to write a file that is there, before the work for it begins.

    Raises:
        RecipeError: it is.
    """
    if os.path.lexists(path):
        raise RecipeError(_("{path} is there already.").format(path=path), hint=hint)


def require_possible(path: Path) -> None:
    """Refuse a path that nothing can have, or whose folder may not be looked into; that nothing is there is no matter.

    Raises:
        KilatError: it is such a path.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = system_reason(error if isinstance(error, OSError) else "invalid argument")
        raise KilatError(_("{path} cannot be read: {reason}.").format(path=path, reason=reason)) from None


def require_writable(path: Path, *, is_text: bool = True) -> None:
    """Refuse to write a file where none can be, before the work for it begins.

    Args:
        path: of the file. One that is there is overwritten.
        is_text: whether it will be text. Then a picture, an archive or a model by its name is not overwritten: it was
            hardly meant.

    Raises:
        RecipeError: there is no such folder, it cannot be written to or is full, or something else has the name.
    """
    reason = _obstacle(path) or (_obstacle_to_text(path) if is_text else "")
    if not reason and not path.parent.is_dir():
        reason = _("there is no folder {folder}").format(folder=path.parent)
    if reason := reason or _obstacle_in(path.parent):
        raise RecipeError(_("{path} cannot be written: {reason}.").format(path=path, reason=reason))


def require_folder(path: Path) -> None:
    """Refuse a folder that can neither be made nor written into, before the work for it begins.

    Raises:
        RecipeError: it is a file or in one, its name is too long, or its place cannot be written to or is full.
    """
    there = next(one for one in (path, *path.parents, Path()) if os.path.lexists(one))
    try:
        (path / ("x" * _LONGEST_NAME)).stat()  # the names of the files in it have to fit into a path as well
    except FileNotFoundError:
        reason = "" if there.is_dir() else _("{path} is not a folder").format(path=there)
    except OSError as error:
        reason = _("{path} is not a folder").format(path=there) if there.is_file() else system_reason(error)
    except ValueError:
        reason = system_reason("invalid argument")
    else:
        reason = ""
    if reason := reason or _obstacle_in(there):
        raise RecipeError(_("{folder} cannot be made: {reason}.").format(folder=path, reason=reason))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document as indented JSON; numbers that are not finite are a programming error."""
    write_file(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def cache_home() -> Path:
    """Return the folder for what can be made again: ``$KILAT_CACHE``, or ``kilat`` in the platform's cache folder.

    Raises:
        RunError: the user has no home folder, and the environment names no other.
    """
    try:
        if given := os.environ.get("KILAT_CACHE"):
            return Path(given).expanduser()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "kilat"
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/kilat"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kilat"
    except RuntimeError as error:
        raise RunError(
            _("There is no home folder to keep files between runs in."),
            hint=_("Name a folder with the environment variable KILAT_CACHE."),
        ) from error


def _open_partial(path: Path) -> tuple[Path, BinaryIO]:
    """Open the temporary file that becomes another one; what a killed process left of it is used again."""
    encoded = os.fsencode(path.name)
    name = path.name if len(encoded) <= _LONGEST_NAME else hashlib.sha256(encoded).hexdigest()
    usual, other = (path.with_name(f".{one}{PARTIAL}") for one in (name, uuid.uuid4().hex))
    with contextlib.suppress(OSError):  # such as a link by its name
        if (file := open_locked(usual)) is not None:
            return usual, file
    return other, other.open("xb")  # another process writes it just now


def _obstacle(path: Path) -> str:
    """Return what in the place of a file keeps it from being written; empty where nothing does."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        return system_reason(error)
    except ValueError:  # such as a NUL in its name
        return system_reason("invalid argument")
    if stat.S_ISDIR(mode):
        return _("it is a folder")
    if not stat.S_ISREG(mode):
        return _("it is a pipe, a socket or a device, not a file")
    return "" if os.access(path, os.W_OK) else system_reason("permission denied")


def _obstacle_to_text(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if b"\0" in file.read(_HEAD):
            return _("it is there already, and is not text")
    return ""


def _obstacle_in(folder: Path) -> str:
    """Return what keeps a new file from being written into a folder; empty where nothing does."""
    if not os.access(folder, os.W_OK | os.X_OK):
        is_read_only = os.name == "posix" and os.statvfs(folder).f_flag & os.ST_RDONLY
        return system_reason("read-only file system" if is_read_only else "permission denied")
    with contextlib.suppress(OSError):
        disk = shutil.disk_usage(folder)
        if disk.total and disk.free < _LEAST_SPACE:
            return system_reason("no space left on device")
    return ""


def _unwritable(path: Path, reason: str) -> UnwritableError:
    return UnwritableError(_("{path} cannot be written: {reason}.").format(path=path, reason=reason))
