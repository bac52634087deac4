"""What this machine offers: device, precision, threads. Torch is only asked where there is a GPU to ask it about."""

import ctypes.util
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar, cast

from kilat.errors import MissingExtra, RunError

T = TypeVar("T")
R = TypeVar("R")


def threads() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Does some work on every item, a thread per core, and gives the results in the order of the items."""
    with ThreadPoolExecutor(threads(), thread_name_prefix="kilat-work") as pool:
        return list(pool.map(work, items))


def plain_blas() -> AbstractContextManager[object]:
    """Keeps matrix products on the core that asks for them, while the block lasts.

    Their own threads wait for each other by spinning: beside another busy program, two seconds became 27. Work that is
    handed out by ``spread`` uses the same cores and waits for nothing.
    """
    from threadpoolctl import threadpool_limits

    return cast(AbstractContextManager[object], threadpool_limits(1, user_api="blas"))


def cache_home() -> Path:
    """Where kilat keeps what it can make again: ``$KILAT_CACHE``, or ``kilat`` in the platform's folder for caches."""
    if given := os.environ.get("KILAT_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "kilat"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/kilat"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kilat"


def has_torch() -> bool:
    """Whether the extra ``torch`` is installed (without importing it, which takes seconds)."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "timm"))


def device(wanted: str) -> str:
    """Where a network trains on this machine: ``cpu``, ``cuda``, or, both untested, ``mps`` (Apple) or ``xla`` (TPUs).

    Args:
        wanted: one of them, or ``auto`` for the GPU of an NVIDIA or Apple machine, else the CPU.

    Raises:
        MissingExtra: a GPU was asked for without the extra ``torch``.
        RunError: a device was asked for that PyTorch cannot use here.
    """
    if wanted == "xla":
        return _xla()
    if wanted == "mps" or (wanted == "auto" and sys.platform == "darwin" and has_torch()):
        return _mps(wanted)
    return looking_device(wanted)


def looking_device(wanted: str) -> str:
    """Where a frozen backbone looks: ``cuda``, or ``cpu`` also where a network would train on another device.

    Raises:
        MissingExtra: ``cuda`` was asked for without the extra ``torch``.
        RunError: ``cuda`` was asked for where there is no GPU that PyTorch can use.
    """
    if wanted in ("cpu", "mps", "xla") or (wanted == "auto" and not (_has_nvidia_gpu() and has_torch())):
        return "cpu"
    if not has_torch():
        raise MissingExtra("Looking at pictures on a GPU", "torch")
    from kilat.model.gpu import is_usable

    if is_usable():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise RunError("PyTorch finds no CUDA GPU that it can use here.", mend="Take --device cpu or --device auto.")


def _mps(wanted: str) -> str:
    if not has_torch():
        raise MissingExtra("Training on an Apple GPU", "torch")
    from kilat.model.gpu import has_apple_gpu

    if has_apple_gpu():
        return "mps"
    if wanted == "auto":
        return "cpu"
    raise RunError("PyTorch finds no Apple GPU (MPS) here.", mend="Take --device cpu or --device auto.")


def _xla() -> str:
    if not has_torch():
        raise MissingExtra("Training on a TPU", "torch")
    if importlib.util.find_spec("torch_xla") is None:
        raise RunError(
            "The device xla needs torch_xla, which is not installed.",
            mend="Install it as its own pages say for your TPU, or take --device auto.",
        )
    return "xla"


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidia0").exists() or (os.name == "nt" and ctypes.util.find_library("nvcuda") is not None)
