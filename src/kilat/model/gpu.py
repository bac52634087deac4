"""Looking at pictures on a GPU: the same features as the ONNX backbone gives, in compiled half precision."""

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.model.feature_extractor import FeatureExtractor, create

_BATCHES = (64, 256)
_PIXELS_PER_BATCH = 128 * 224 * 224


def is_usable() -> bool:
    """Whether PyTorch finds a CUDA GPU and can compute on it."""
    if not torch.cuda.is_available():
        return False
    try:
        return int((torch.ones(2, device="cuda") + 1).sum()) == 4
    except RuntimeError:
        return False


def has_apple_gpu() -> bool:
    """Whether PyTorch finds a GPU of Apple's that it can compute on."""
    return torch.backends.mps.is_available()


class TorchRunner:
    """A backbone in PyTorch, as ``kilat.features.extract.Runner``: any number of threads may call it.

    On ``cuda`` it computes in bfloat16 (float16 where the GPU has no bfloat16), compiled for one batch size, which
    shorter batches are filled up to; on ``cpu`` in float32, uncompiled, for comparison.

    Args:
        backbone_name: that of an embedded network (``kilat.features.lite.NAMES``), or as timm has it.
        size: side of the input in pixels.
        weights: a file of weights; None for the embedded ones or timm's hub.
        device: ``cuda`` or ``cpu``.

    Raises:
        BackboneError: as ``kilat.model.backbones.load``.
    """

    def __init__(self, backbone_name: str, size: int, weights: Path | None, device: str = "cuda") -> None:
        frozen = create(backbone_name, size, weights)
        self.batch = int(np.clip(_PIXELS_PER_BATCH // size**2, *_BATCHES))
        self.device = torch.device(device)
        self.lock = threading.Lock()
        self.on_gpu = self.device.type == "cuda"
        self.staging = torch.zeros(self.batch, size, size, 3, dtype=torch.uint8, pin_memory=self.on_gpu)
        frozen = frozen.to(self.device)
        frozen.network.to(memory_format=torch.channels_last)
        if self.on_gpu:
            frozen.network.to(torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16)
        self.run: Callable[[Tensor], Tensor] = compiled(frozen, self.staging.to(self.device)) if self.on_gpu else frozen

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features of a batch."""
        parts = [self._look(pixels[start : start + self.batch]) for start in range(0, len(pixels), self.batch)]
        return np.concatenate(parts)

    def _look(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(pixels)
        with self.lock, torch.inference_mode():
            self.staging[:count] = torch.from_numpy(pixels)
            batch = self.staging if self.on_gpu else self.staging[:count]
            features = self.run(batch.to(self.device, non_blocking=True))[:count]
            return np.array(features.float().cpu().numpy(), np.float32)


def compiled(frozen: FeatureExtractor, example: Tensor) -> Callable[[Tensor], Tensor]:
    """The network compiled for batches like ``example``; traced and frozen where there is nothing to compile with."""
    with torch.inference_mode():
        try:
            run: Callable[[Tensor], Tensor] = torch.compile(frozen, dynamic=False)
            run(example)
        except Exception:  # noqa: BLE001 - no C compiler, no Triton, an operator that it cannot take: one fallback for all
            run = traced(frozen, example)
            run(example)
    return run


def traced(frozen: FeatureExtractor, example: Tensor) -> Callable[[Tensor], Tensor]:
    """The network traced and frozen: batch norms folded, nothing of Python left in the way."""
    jit: Any = torch.jit
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about every shape that tracing fixes; the batches are all of one shape
        trace: Callable[[Tensor], Tensor] = jit.freeze(jit.trace(frozen, (example,), check_trace=False))
    return trace
