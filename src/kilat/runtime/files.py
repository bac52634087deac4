"""Files that are written whole or not at all, and the folder for what can be made again."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from kilat.errors import RecipeError, RunError
from kilat.locale import _
from kilat.locale.system_errors import system_reason


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file through a temporary one, so that a kill leaves the old file or the new one.

    Raises:
        RunError: the disk is full, or the folder cannot be written to.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise RunError(
            _("{path} cannot be written: {reason}.").format(path=path, reason=system_reason(error))
        ) from error


def refuse_overwriting(path: Path, hint: str) -> None:
    """Refuse to write a file that is there, before the work for it begins.

    Raises:
        RecipeError: it is.
    """
    if path.exists():
        raise RecipeError(_("{path} is there already.").format(path=path), hint=hint)


def require_folder(path: Path) -> None:
    """Refuse to write a file where none can be, before the work for it begins.

    Raises:
        RecipeError: there is no such folder, or it is a folder itself.
    """
    if path.is_dir():
        raise RecipeError(_("{path} cannot be written: it is a folder.").format(path=path))
    if not path.parent.is_dir():
        raise RecipeError(
            _("{path} cannot be written: there is no folder {folder}.").format(path=path, folder=path.parent)
        )


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document as indented JSON; numbers that are not finite are a programming error."""
    write_file(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def cache_home() -> Path:
    """Return the folder for what can be made again: ``$KILAT_CACHE``, or ``kilat`` in the platform's cache folder."""
    if given := os.environ.get("KILAT_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "kilat"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/kilat"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kilat"
