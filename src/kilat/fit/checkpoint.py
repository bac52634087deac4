"""Checkpoints: all that training needs to go on as if nothing had happened, safe under kills, full disks and bit rot.

A checkpoint is two files, ``step-00000123.safetensors`` and ``step-00000123.json``. The second is written last and
holds the SHA-256 of the first and of itself: without it there is no checkpoint, and what does not match is never used.
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
from kilat.runtime.files import write_file

_KEPT = 2
_TENSORS, _DOCUMENT = ".safetensors", ".json"
_NAME = re.compile(r"step-(\d{8,})(\.safetensors|\.json)")


@dataclass
class Snapshot:
    """The state of training: its tensors by name, and everything else as one document that JSON can hold."""

    tensors: dict[str, Tensor]
    document: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder; opening it removes what a killed process left unfinished.

    ``damaged`` are the steps whose checkpoints were found to be.

    Args:
        folder: where they lie; it is made where it is missing.

    Raises:
        RunError: the folder can be neither made nor read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: set[int] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(_("{path} cannot be made: {reason}.").format(path=folder, reason=reason)) from error
        self._clean()

    def save(self, step: int, snapshot: Snapshot, *, base: int | None = None) -> None:
        """Saves a checkpoint, then removes those that nobody will go back to.

        The last two stay, and ``base``. Checkpoints of later steps belong to a course of training that was given up;
        they go as well.

        Args:
            step: how many steps training has done altogether.
            snapshot: what to save; tensors may lie on any device, in any layout, and share memory.
            base: a step to go back to, whose checkpoint must stay.

        Raises:
            RunError: it cannot be written; the checkpoints before it are untouched.
        """
        tensors = safetensors.torch.save({name: _plain(tensor) for name, tensor in snapshot.tensors.items()})
        document = {"step": step, "tensors": _sha256(tensors), "document": snapshot.document}
        try:
            with contextlib.suppress(OSError):
                self._path(step, _DOCUMENT).unlink()  # or it would speak for the tensors of another course
            write_file(self._path(step, _TENSORS), tensors)
            write_file(self._path(step, _DOCUMENT), json.dumps({"digest": _digest(document), **document}) + "\n")
        except RunError as error:
            with contextlib.suppress(RunError):
                self._clean()
            hint = _("Make room there, or choose a folder that can be written to; earlier checkpoints are untouched.")
            raise RunError(error.message, hint=hint) from error
        self.damaged.discard(step)
        _sync(self.folder)
        self._prune(step, base)

    def newest(self) -> tuple[int, Snapshot, list[str]] | None:
        """The newest sound checkpoint with its step, and a sentence for every damaged one that was passed over."""
        notes: list[str] = []
        for step in reversed(self._steps()):
            try:
                return step, self._read(step), notes
            except _DamagedError as damage:
                self.damaged.add(step)
                note = _("The checkpoint of step {step:,} was passed over: {reason}.")
                notes.append(note.format(step=step, reason=damage))
        return None

    def at(self, step: int) -> Snapshot | None:
        """The checkpoint of a step; None where there is none, or none that is sound."""
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
            reason = error.strerror or error
            raise RunError(_("{path} cannot be read: {reason}.").format(path=self.folder, reason=reason)) from error

    def _steps(self) -> list[int]:
        """The steps that have a checkpoint, rising."""
        found = (_NAME.fullmatch(path.name) for path in self._files())
        return sorted(int(name[1]) for name in found if name and name[2] == _DOCUMENT)

    def _read(self, step: int) -> Snapshot:
        try:
            written = json.loads(self._path(step, _DOCUMENT).read_bytes())
            tensors = self._path(step, _TENSORS).read_bytes()
        except OSError as error:
            raise _DamagedError(_("it cannot be read ({reason})").format(reason=error.strerror or error)) from error
        except (ValueError, RecursionError) as error:
            raise _DamagedError(_("its document is damaged")) from error
        if not isinstance(written, dict) or written.pop("digest", None) != _digest(written) or written["step"] != step:
            raise _DamagedError(_("its document is damaged"))
        if _sha256(tensors) != written["tensors"]:
            raise _DamagedError(_("its tensors are damaged"))
        return Snapshot(safetensors.torch.load(tensors), written["document"])

    def _prune(self, step: int, base: int | None) -> None:
        past = [each for each in self._steps() if each <= step and each not in self.damaged]
        keep = {*past[-_KEPT:], base}
        for each in self._steps():
            if each not in keep:
                with contextlib.suppress(OSError):
                    self._path(each, _DOCUMENT).unlink()
        self._clean()

    def _clean(self) -> None:
        """Removes temporary files, and tensors that no document speaks for. What cannot be removed harms nobody."""
        steps = set(self._steps())
        for path in self._files():
            name = _NAME.fullmatch(path.name)
            orphan = name and name[2] == _TENSORS and int(name[1]) not in steps
            temporary = path.name.startswith(".step-") and path.name.endswith(".partial")
            if orphan or temporary:
                with contextlib.suppress(OSError):
                    path.unlink()


class _DamagedError(Exception):
    """Why a checkpoint cannot be used."""


def _plain(tensor: Tensor) -> Tensor:
    """A copy that safetensors can write: on the CPU, contiguous, sharing memory with no other."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(document: dict[str, Any]) -> str:
    """Of what the document says, however it is laid out."""
    return _sha256(json.dumps(document).encode())


def _sync(folder: Path) -> None:
    """Makes new names last through a power failure, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some network file systems sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
