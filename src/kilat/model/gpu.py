"""Features from a GPU: the same as from the ONNX backbone, in compiled half precision."""

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
    """Return whether PyTorch finds a CUDA GPU and can compute on it."""
    if not torch.cuda.is_available():
        return False
    try:
        return int((torch.ones(2, device="cuda") + 1).sum()) == 4
    except RuntimeError:
        return False


def has_apple_gpu() -> bool:
    """Return whether PyTorch finds a GPU of Apple's that it can compute on."""
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
        batch: pictures that are computed at once; None for a number that follows from the size.

    Raises:
        BackboneError: as ``kilat.model.backbones.load``.
    """

    portable = False

    def __init__(
        self, backbone_name: str, size: int, weights: Path | None, device: str = "cuda", batch: int | None = None
    ) -> None:
        extractor = create(backbone_name, size, weights)
        self.batch = batch or int(np.clip(_PIXELS_PER_BATCH // size**2, *_BATCHES))
        self.device = torch.device(device)
        self.lock = threading.Lock()
        self.on_gpu = self.device.type == "cuda"
        self.staging = torch.zeros(self.batch, size, size, 3, dtype=torch.uint8, pin_memory=self.on_gpu)
        extractor = extractor.to(self.device)
        extractor.network.to(memory_format=torch.channels_last)
        self.run: Callable[[Tensor], Tensor] = extractor
        if self.on_gpu:
            extractor.network.to(torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16)
            self.run = compiled(extractor, self.staging.to(self.device))

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of a batch."""
        batches = [pixels[start : start + self.batch] for start in range(0, len(pixels), self.batch)]
        return np.concatenate([self._features(batch) for batch in batches])

    def _features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(pixels)
        with self.lock, torch.inference_mode():
            self.staging[:count] = torch.from_numpy(pixels)
            batch = self.staging if self.on_gpu else self.staging[:count]
            features = self.run(batch.to(self.device, non_blocking=True))[:count]
            return np.array(features.float().cpu().numpy(), np.float32)


def compiled(extractor: FeatureExtractor, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the network compiled for batches like ``example``; traced and frozen where it cannot be compiled."""
    with torch.inference_mode():
        try:
            run: Callable[[Tensor], Tensor] = torch.compile(extractor, dynamic=False)
            run(example)
        except Exception:  # noqa: BLE001 - no C compiler, no Triton, an unsupported operator: one fallback for all
            run = traced(extractor, example)
            run(example)
    return run


def traced(extractor: FeatureExtractor, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the network traced and frozen: batch norms folded, no Python between operators."""
    jit: Any = torch.jit
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about every shape that tracing fixes; the batches are all of one shape
        trace: Callable[[Tensor], Tensor] = jit.freeze(jit.trace(extractor, (example,), check_trace=False))
    return trace
