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
    """Return the device on which a network trains: ``cpu``, ``cuda``, ``mps`` (Apple) or ``xla`` (TPU).

    The last two are untested.

    Args:
        wanted: one of them, or ``auto`` for the GPU of an NVIDIA or Apple machine, else the CPU.

    Raises:
        MissingExtra: it needs the extra ``torch``, which is not installed.
        RunError: PyTorch cannot use it here.
    """
    if wanted == "xla":
        if not has_torch():
            raise MissingExtra(_("Training on a TPU"), "torch")
        if importlib.util.find_spec("torch_xla") is None:
            raise RunError(
                _("The device xla needs torch_xla, which is not installed."),
                hint=_("Install it as its own pages say for your TPU, or use --device auto."),
            )
        return "xla"
    if wanted == "mps" or (wanted == "auto" and sys.platform == "darwin" and has_torch()):
        if not has_torch():
            raise MissingExtra(_("Training on an Apple GPU"), "torch")
        from kilat.model.gpu import has_apple_gpu

        if has_apple_gpu():
            return "mps"
        if wanted == "auto":
            return "cpu"
        raise RunError(_("PyTorch finds no Apple GPU (MPS) here."), hint=_("Use --device cpu or --device auto."))
    return inference_device(wanted)


def inference_device(wanted: str) -> str:
    """Return the device on which a frozen backbone runs: ``cuda``, or ``cpu`` also where training is on another.

    Args:
        wanted: as for ``training_device``.

    Raises:
        MissingExtra: ``cuda`` needs the extra ``torch``, which is not installed.
        RunError: there is no GPU that PyTorch can use.
    """
    has_gpu = Path("/dev/nvidia0").exists() or (os.name == "nt" and ctypes.util.find_library("nvcuda") is not None)
    if wanted in ("cpu", "mps", "xla") or (wanted == "auto" and not (has_gpu and has_torch())):
        return "cpu"
    if not has_torch():
        raise MissingExtra(_("Extracting features on a GPU"), "torch")
    from kilat.model.gpu import is_usable

    if is_usable():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise RunError(_("PyTorch finds no CUDA GPU that it can use here."), hint=_("Use --device cpu or --device auto."))
