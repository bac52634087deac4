"""Features from a GPU: the same as from the ONNX backbone, in half precision."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kilat.model.cuda_graph import Graph, graph_maker
from kilat.model.feature_extractor import FeatureExtractor, create

_BATCHES = (64, 256)
_PIXELS_PER_BATCH = 128 * 224 * 224
_LANES = 3
"""Batches on their way at once: one is filled, one computed, one read."""
_WARM_UP = 3
_SAME = 0.02
"""By how much of the largest feature a repeated computation may differ from one that is made anew."""

_log = logging.getLogger(__name__)


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
    """Backbones in PyTorch, as a ``kilat.features.extract.Runner``: any number of threads may call it.

    On ``cuda`` it computes in bfloat16 (float16 where the GPU has no bfloat16), batches of one size, which shorter ones
    are filled up to: recorded as one CUDA graph, so that the processor launches all of it at once. Pictures and
    features travel while other batches are computed. On ``cpu`` it computes in float32, for comparison.

    Args:
        backbone_names: those of embedded networks (``kilat.features.lite.NAMES``), or as timm has them; the features of
            several stand side by side.
        size: side of the input in pixels.
        weights: a file of weights; None for the embedded ones or timm's hub.
        device: ``cuda`` or ``cpu``.
        flip_average: whether features are averaged over each picture and its mirror image.
        batch: pictures that are computed at once; None for a number that follows from the size, or fewer if memory
            does not suffice.
        make_graph: makes what the network is recorded in; None for what the device has.

    Raises:
        BackboneError: as ``kilat.model.backbones.load``.
    """

    portable = False

    def __init__(
        self,
        backbone_names: Sequence[str],
        size: int,
        weights: Path | None,
        device: str = "cuda",
        *,
        flip_average: bool = False,
        batch: int | None = None,
        make_graph: Callable[[], Graph] | None = None,
    ) -> None:
        extractors = [create(name, size, weights).to(torch.device(device)) for name in backbone_names]
        for extractor in extractors:
            extractor.network.to(memory_format=torch.channels_last)
            if device == "cuda":
                extractor.network.to(torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16)
        self._streams: Any = getattr(torch, device)  # those of the CPU do nothing
        self._copying, self._computing = self._streams.Stream(), self._streams.Stream()
        self._lock = threading.Lock()
        make_graph = make_graph or graph_maker(device)
        wanted = batch or int(np.clip(_PIXELS_PER_BATCH // size**2, *_BATCHES))
        views = 2 if flip_average else 1
        self.computation, self.batch = _fitting(_SideBySide(extractors, views), wanted, make_graph)
        self._lanes: SimpleQueue[_Lane] = SimpleQueue()
        for _ in range(_LANES):
            self._lanes.put(_Lane(self.computation, self._streams))
        self._streams.synchronize()  # all of this was made on another stream

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of pictures."""
        batches = [pixels[start : start + self.batch] for start in range(0, len(pixels), self.batch)]
        return np.concatenate([self._features(batch) for batch in batches])

    def _features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        lane = self._lanes.get()
        try:
            lane.pixels[: len(pixels)] = torch.from_numpy(pixels)
            with self._lock:
                self._launch(lane)
            lane.done.synchronize()
            return np.array(lane.features[: len(pixels)].numpy())
        finally:
            self._lanes.put(lane)

    def _launch(self, lane: "_Lane") -> None:
        """Have the device compute a batch as soon as it can; nothing waits here."""
        with self._streams.stream(self._copying):
            lane.arrived.copy_(lane.pixels, non_blocking=True)
            lane.sent.record(self._copying)
        with torch.inference_mode(), self._streams.stream(self._computing):
            self._computing.wait_event(lane.sent)
            lane.features.copy_(self.computation(lane.arrived), non_blocking=True)
            lane.done.record(self._computing)


class Computation:
    """The features of batches of one size, recorded as a graph where that can be.

    ``pixels`` is what was computed last, ``[batch, size, size, 3]``, and ``features`` what it gave, ``[batch, width]``.

    Args:
        network: on its device.
        batch: pictures in a batch.
        graph: what it is recorded in; None where nothing is.

    Raises:
        OutOfMemoryError: of ``torch``; the batch is too large for this device.
    """

    def __init__(self, network: "_SideBySide", batch: int, graph: Graph | None) -> None:
        self._network = network
        self._graph: Graph | None = None
        drawn = torch.Generator().manual_seed(0)
        noise = torch.randint(256, (batch, network.size, network.size, 3), dtype=torch.uint8, generator=drawn)
        with torch.inference_mode():
            self.pixels = noise.to(network.device)
            self.features = self._compute()
            if graph is not None:
                self._record(graph)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the features of a batch on the device; the next batch takes their place."""
        self.pixels.copy_(pixels)
        if self._graph is None:
            self.features = self._compute()
        else:
            self._graph.replay()
        return self.features

    def _record(self, graph: Graph) -> None:
        """Record the network, unless that fails or gives something else than computing it anew."""
        expected = self.features
        try:
            for _ in range(_WARM_UP):
                graph.run(self._compute)
            features = graph.record(self._compute)
            graph.replay()
        except Exception as error:  # noqa: BLE001 - whatever it is, the network can be run without a graph
            _log.debug("the backbone is not recorded as a CUDA graph: %s", error)
            return
        if float((features - expected).abs().max()) > _SAME * float(expected.abs().max()):
            _log.debug("the backbone is not recorded as a CUDA graph: it does not repeat itself")
            return
        self._graph, self.features = graph, features

    def _compute(self) -> Tensor:
        features: Tensor = self._network(self.pixels)
        return features


class _SideBySide(nn.Module):
    """The features of several backbones, averaged over one or two views: as they are, and mirrored."""

    def __init__(self, extractors: Sequence[FeatureExtractor], views: int) -> None:
        super().__init__()
        self.extractors, self.views = nn.ModuleList(extractors), views
        self.size, self.device = extractors[0].size, extractors[0].pixel_mean.device

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features of pixels uint8 ``[n, size, size, 3]``."""
        sides = [pixels, pixels.flip(2)][: self.views]
        views = [torch.cat([extractor(side) for extractor in self.extractors], 1) for side in sides]
        return views[0] if self.views == 1 else (views[0] + views[1]) / 2


def _fitting(network: _SideBySide, batch: int, make_graph: Callable[[], Graph] | None) -> tuple[Computation, int]:
    """Return what computes batches of a size, or of the half, a quarter, ... of it that memory suffices for."""
    while True:
        try:
            return Computation(network, batch, make_graph() if make_graph else None), batch
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2
        torch.cuda.empty_cache()


class _Lane:
    """Memory for one batch on its way to the device and back.

    Args:
        computation: of the batch.
        streams: ``torch.cuda`` or ``torch.cpu``.
    """

    def __init__(self, computation: Computation, streams: Any) -> None:
        self.arrived = torch.empty_like(computation.pixels)
        pinned = self.arrived.device.type == "cuda"
        self.pixels = torch.zeros(self.arrived.shape, dtype=torch.uint8, pin_memory=pinned)
        self.features = torch.zeros(computation.features.shape, pin_memory=pinned)
        self.sent = streams.Event()
        # Who waits for a GPU leaves the processor to those who decode pictures.
        self.done = streams.Event(blocking=True) if pinned else streams.Event()
