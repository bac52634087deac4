"""Results kept between runs: what follows from content and settings alone is computed once.

A result is found under the digest of everything that it follows from: arrays and settings themselves, the source of
kilat, and what the last bits of a sum depend on (NumPy, its BLAS, the cores). So another picture, label, seed, setting
or version never meets it, and with it a run gives the same bytes as without.

Each result is a file: a SHA-256 of the rest, and NumPy's ``npz``. It appears whole or not at all, so that processes may
run side by side. A file that is damaged, or a folder that cannot be used, costs the saving, not the run. Where the
files outgrow their limit, those that were used longest ago go first; files by other names are not kilat's, and stay.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import stat
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.system_errors import file_reason
from kilat.runtime.cores import available_cores
from kilat.runtime.files import cache_home
from kilat.runtime.kept_files import RESULTS, mark_used, shrink
from kilat.runtime.regular_file import read_regular_file

_DOCUMENT = "document"
_SUFFIX = ".result"
_MOST_BYTES = 1 << 30
"""Of a result; no larger one is read."""
_CHECKSUM_BYTES = 32
_PACKAGE = Path(__file__).resolve().parents[1]


class Result(NamedTuple):
    """A result as plain data.

    Args:
        document: what JSON holds: floats come back as they were, tuples as lists.
        arrays: by name.
    """

    document: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


@dataclass
class ResultCache:
    """Results in a folder.

    Args:
        folder: of the files; None for a cache that keeps nothing.
        limit: bytes that they may take.
        is_read_only: whether nothing is written: what a time limit cut short is not what a run without it gives.

    Attributes:
        trouble: why a result could not be read or kept; empty where nothing went wrong.
    """

    folder: Path | None = None
    limit: int = 0
    is_read_only: bool = False
    trouble: str = field(default="", init=False)

    def notes(self) -> list[Note]:
        """Return a note where something went wrong."""
        return [Note("result_cache", {"reason": self.trouble})] if self.trouble else []

    def recall(self, name: str, inputs: Mapping[str, Any], compute: Callable[[], Result]) -> Result:
        """Return a result that was kept, or compute it and keep it.

        Args:
            name: of what is computed.
            inputs: everything that it follows from, by name: arrays, or what JSON holds.
            compute: computes it.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{_digest(name, inputs)}{_SUFFIX}"
        if (known := self._read(path)) is not None:
            return known
        result = compute()
        if not self.is_read_only:
            self._write(path, result)
        return result

    def _read(self, path: Path) -> Result | None:
        try:
            data = read_regular_file(path, _MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.trouble = file_reason(error)
            return None
        checksum, content = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
        if hashlib.sha256(content).digest() != checksum:
            self.trouble = _("{path} is damaged").format(path=path)
            return None
        mark_used(path)
        try:
            return _unpacked(content)
        except (ValueError, KeyError, OSError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile):
            self.trouble = _("{path} is damaged").format(path=path)
            return None

    def _write(self, path: Path, result: Result) -> None:
        document = np.frombuffer(json.dumps(result.document).encode(), np.uint8)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **{_DOCUMENT: document}, **result.arrays)
        partial = path.with_suffix(f".{uuid.uuid4().hex}")  # another process may be writing the same result
        try:
            if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
                return  # it is not kilat's
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as file:
                file.write(hashlib.sha256(content.getbuffer()).digest())
                file.write(content.getbuffer())
            partial.replace(path)
            shrink(path.parent, RESULTS, self.limit)
        except OSError as error:
            self.trouble = file_reason(error)
            with contextlib.suppress(OSError):
                partial.unlink()


def folder() -> Path:
    """Return where results are kept, in the folder for what can be made again."""
    return cache_home() / "results"


def _unpacked(content: bytes) -> Result:
    """Return the result that a file holds.

    Raises:
        ValueError, KeyError, OSError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile: it holds none.
    """
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream) as members:
        if any(one.compress_type != zipfile.ZIP_STORED for one in members.infolist()):
            raise ValueError("compressed")  # which kilat never does, and which may hold any number of bytes
    with np.load(stream, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    document = json.loads(arrays.pop(_DOCUMENT).tobytes())
    if not isinstance(document, dict):
        raise ValueError("no document")  # noqa: TRY004 - of a file, not of an argument
    return Result(document, arrays)


def _digest(name: str, inputs: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(environment_digest())
    digest.update(name.encode())
    for key, value in inputs.items():
        is_array = isinstance(value, np.ndarray)
        said = [value.dtype.str, value.shape] if is_array else value
        digest.update(f"\0{key} {json.dumps(said, sort_keys=True)}\0".encode())
        if is_array:
            digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


@functools.cache
def environment_digest(source: Path = _PACKAGE) -> bytes:
    """Return a digest of what computes: kilat's source, NumPy and the libraries of its products, and the cores."""
    from threadpoolctl import threadpool_info

    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(source).as_posix()} {len(content)}\0".encode() + content)
    libraries = [one for one in threadpool_info() if one["user_api"] == "blas"]
    products = sorted([one["internal_api"], str(one["version"]), str(one.get("architecture"))] for one in libraries)
    digest.update(json.dumps([np.__version__, products, available_cores()]).encode())
    return digest.digest()
