"""Checkpoints: all that training needs to resume as if nothing had happened, safe from kills, full disks and bit rot.

A checkpoint is two files, ``step-00000123.safetensors`` and ``step-00000123.json``. The second is written last and
holds the SHA-256 of the first and of itself: without it there is no checkpoint, and one that does not match is never
used.
"""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from kilat.errors import RunError
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.system_errors import system_reason
from kilat.runtime.files import UnwritableError, write_file
from kilat.runtime.memory import available_memory
from kilat.runtime.regular_file import read_regular_file

_KEPT = 2
_TENSORS, _DOCUMENT = ".safetensors", ".json"
_MOST_BYTES = 1 << 28
"""Of a checkpoint's document: it grows with epochs and watched layers."""
_NAME = re.compile(r"step-(\d{8,})(\.safetensors|\.json)")


@dataclass
class Snapshot:
    """The state of a training: its tensors by name, and everything else as one document that JSON can hold."""

    tensors: dict[str, Tensor]
    document: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder; opening it removes what a killed process left unfinished.

    ``damaged`` holds the steps whose checkpoints were found to be damaged.

    Args:
        folder: where they are; created if missing.

    Raises:
        RunError: the folder cannot be created or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: set[int] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = system_reason(error)
            raise RunError(_("{path} cannot be created: {reason}.").format(path=folder, reason=reason)) from error
        self._clean()

    def save(self, step: int, snapshot: Snapshot, *, base: int | None = None) -> None:
        """Save a checkpoint, then remove those that are no longer needed.

        The last two stay, and ``base``. Checkpoints of later steps belong to updates that were given up; they are
        removed as well.

        Args:
            step: how many updates training has made altogether.
            snapshot: what to save; tensors may be on any device, in any layout, and share memory.
            base: a step to roll back to, whose checkpoint must stay.

        Raises:
            UnwritableError: it cannot be written; earlier checkpoints are untouched.
        """
        tensors = safetensors.torch.save({name: _plain(tensor) for name, tensor in snapshot.tensors.items()})
        document = {"step": step, "tensors": _sha256(tensors), "document": snapshot.document}
        try:
            with contextlib.suppress(OSError):
                self._path(step, _DOCUMENT).unlink()  # or it would belong to the tensors written now
            write_file(self._path(step, _TENSORS), tensors)
            write_file(self._path(step, _DOCUMENT), json.dumps({"digest": _digest(document), **document}) + "\n")
        except UnwritableError as error:
            with contextlib.suppress(RunError):
                self._clean()
            hint = _("Free some space, or choose a folder that can be written to; earlier checkpoints are untouched.")
            raise UnwritableError(error.message, hint=hint) from error
        self.damaged.discard(step)
        _sync(self.folder)
        self._prune(step, base)

    def newest(self) -> tuple[int, Snapshot, list[Note]] | None:
        """Return the newest sound checkpoint with its step, and a note about every damaged one that was skipped."""
        notes: list[Note] = []
        for step in reversed(self._steps()):
            try:
                return step, self._read(step), notes
            except _DamagedError as error:
                self.damaged.add(step)
                notes.append(error.note)
        return None

    def at(self, step: int) -> Snapshot | None:
        """Return the checkpoint of a step; None where there is none, or none that is sound."""
        try:
            return self._read(step) if step in self._steps() else None
        except _DamagedError:
            return None

    def _path(self, step: int, suffix: str) -> Path:
        return self.folder / f"step-{step:08d}{suffix}"

    def _files(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except OSError as error:
            reason = system_reason(error)
            raise RunError(_("{path} cannot be read: {reason}.").format(path=self.folder, reason=reason)) from error

    def _steps(self) -> list[int]:
        """Return the steps that have a checkpoint, rising."""
        found = (_NAME.fullmatch(path.name) for path in self._files())
        return sorted(int(name[1]) for name in found if name and name[2] == _DOCUMENT)

    def _read(self, step: int) -> Snapshot:
        try:
            written = json.loads(read_regular_file(self._path(step, _DOCUMENT), _MOST_BYTES))
            tensors = read_regular_file(self._path(step, _TENSORS), available_memory())
        except OSError as error:
            reason = str(error.strerror or error)
            raise _DamagedError(Note("checkpoint_unreadable", {"step": step, "reason": reason})) from error
        except (ValueError, RecursionError) as error:
            raise _DamagedError(Note("checkpoint_document_damaged", {"step": step})) from error
        is_sound = isinstance(written, dict) and written.pop("digest", None) == _digest(written)
        if not is_sound or written.keys() != {"step", "tensors", "document"} or written["step"] != step:
            raise _DamagedError(Note("checkpoint_document_damaged", {"step": step}))
        if _sha256(tensors) != written["tensors"]:
            raise _DamagedError(Note("checkpoint_tensors_damaged", {"step": step}))
        try:
            return Snapshot(safetensors.torch.load(tensors), written["document"])
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise _DamagedError(Note("checkpoint_tensors_damaged", {"step": step})) from error

    def _prune(self, step: int, base: int | None) -> None:
        past = [each for each in self._steps() if each <= step and each not in self.damaged]
        keep = {*past[-_KEPT:], base}
        for each in self._steps():
            if each not in keep:
                with contextlib.suppress(OSError):
                    self._path(each, _DOCUMENT).unlink()
        self._clean()

    def _clean(self) -> None:
        """Remove temporary files, and tensors without a document. What cannot be removed does no harm."""
        steps = set(self._steps())
        for path in self._files():
            name = _NAME.fullmatch(path.name)
            orphan = name and name[2] == _TENSORS and int(name[1]) not in steps
            temporary = path.name.startswith(".step-") and path.name.endswith(".partial")
            if orphan or temporary:
                with contextlib.suppress(OSError):
                    path.unlink()


class _DamagedError(Exception):
    """A checkpoint cannot be used; ``note`` says why."""

    def __init__(self, note: Note) -> None:
        super().__init__(note.code)
        self.note = note


def _plain(tensor: Tensor) -> Tensor:
    """Return a copy that safetensors can write: on the CPU, contiguous, sharing memory with no other."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(document: dict[str, Any]) -> str:
    """Return the digest of what a document says, however it is laid out."""
    return _sha256(json.dumps(document).encode())


def _sync(folder: Path) -> None:
    """Make new file names survive a power failure, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some network file systems sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
