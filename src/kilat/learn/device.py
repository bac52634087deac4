"""The device on which a network trains or a frozen backbone runs; torch is asked only where there is a GPU."""

import ctypes.util
import importlib.util
import os
import sys
from pathlib import Path

from kilat.errors import MissingExtra, RunError
from kilat.locale import _
from kilat.runtime.extras import has_torch


def training_device(wanted: str) -> str:
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
    return inference_device(wanted)


def inference_device(wanted: str) -> str:
    """Where a frozen backbone looks: ``cuda``, or ``cpu`` also where a network would train on another device.

    Raises:
        MissingExtra: ``cuda`` was asked for without the extra ``torch``.
        RunError: ``cuda`` was asked for where there is no GPU that PyTorch can use.
    """
    if wanted in ("cpu", "mps", "xla") or (wanted == "auto" and not (_has_nvidia_gpu() and has_torch())):
        return "cpu"
    if not has_torch():
        raise MissingExtra(_("Looking at pictures on a GPU"), "torch")
    from kilat.model.gpu import is_usable

    if is_usable():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise RunError(_("PyTorch finds no CUDA GPU that it can use here."), hint=_("Take --device cpu or --device auto."))


def _mps(wanted: str) -> str:
    if not has_torch():
        raise MissingExtra(_("Training on an Apple GPU"), "torch")
    from kilat.model.gpu import has_apple_gpu

    if has_apple_gpu():
        return "mps"
    if wanted == "auto":
        return "cpu"
    raise RunError(_("PyTorch finds no Apple GPU (MPS) here."), hint=_("Take --device cpu or --device auto."))


def _xla() -> str:
    if not has_torch():
        raise MissingExtra(_("Training on a TPU"), "torch")
    if importlib.util.find_spec("torch_xla") is None:
        raise RunError(
            _("The device xla needs torch_xla, which is not installed."),
            hint=_("Install it as its own pages say for your TPU, or take --device auto."),
        )
    return "xla"


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidia0").exists() or (os.name == "nt" and ctypes.util.find_library("nvcuda") is not None)
