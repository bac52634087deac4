"""The weights of a Keras file, read once in a process of their own before Keras reads them here.

HDF5 trusts what a file says of itself, so that a damaged one may take gigabytes, never end, or bring the process down.
There it has limits of memory and of processor time.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from kilat.locale import _
from kilat.model.keras_bounds import HDF5_MAGIC, WEIGHTS, TooMuchError, require_bounded_hdf5, require_bounded_zip

_SECONDS = 10
"""Of processor time; a gigabyte of weights takes less than one."""

_WALL_SECONDS = 120
_MEMORY = 3 << 30
"""Bytes of address space beside twice those of the file; the interpreter with its libraries takes one of the three."""

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from kilat.model.keras_guard import serve; serve()"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def stored_bytes(path: Path) -> int:
    """Return how many bytes the arrays in a Keras file take, ``.keras`` or ``.h5``.

    Raises:
        TooMuchError: they are many times the bytes of the file, or reading them takes too much memory or time.
        ValueError: it is damaged.
    """
    command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path), os.fspath(path.absolute())]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and our own code
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | _ONE_THREAD,
            timeout=_WALL_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise TooMuchError(_("reading its weights takes too much memory or time, or fails")) from None
    if "too_much" in answer:
        raise TooMuchError(answer["too_much"])
    if "damage" in answer:
        raise ValueError(answer["damage"])
    return int(answer["stored"])


def serve() -> None:
    """Answer for the file that the command names, as JSON."""
    path = Path(sys.argv[2])
    _limit(path.stat().st_size)
    answer: dict[str, Any]
    try:
        answer = {"stored": _read(path)}
    except TooMuchError as error:
        answer = {"too_much": str(error)}
    except MemoryError:
        answer = {"too_much": _("reading its weights takes too much memory or time, or fails")}
    except Exception as error:  # noqa: BLE001 - HDF5 and zip have many kinds
        answer = {"damage": type(error).__name__}
    print(json.dumps(answer))  # noqa: T201 - the parent reads it


def _limit(size: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has none, and macOS not all
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY + 2 * size,) * 2)


def _read(path: Path) -> int:
    """Return how many bytes the arrays take, after each of them and every attribute was read."""
    import h5py  # type: ignore[import-untyped]

    with path.open("rb") as opened:
        is_hdf5 = opened.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    if is_hdf5:
        with h5py.File(path, "r") as file:
            return _read_everything(file, path.stat().st_size)
    require_bounded_zip(path)
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS not in archive.namelist():
            return 0
        content = archive.read(WEIGHTS)
    with h5py.File(io.BytesIO(content), "r") as file:
        return _read_everything(file, len(content))


def _read_everything(file: Any, size: int) -> int:
    stored = require_bounded_hdf5(file, size)
    waiting = [file]
    while waiting:
        one = waiting.pop()
        dict(one.attrs)
        if hasattr(one, "keys"):
            waiting += one.values()
        else:
            one[()]
    return stored
