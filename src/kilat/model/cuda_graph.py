"""Work on a GPU that is recorded once, as a CUDA graph, and then repeated with a single launch."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Graph(Protocol):
    """Work that is recorded once and then repeated: always the same operations on the same memory.

    What the work was when it was recorded it stays: all shapes, all addresses, and every number that is not in a
    tensor. It must not wait for the device, nor copy anything to it or from it.
    """

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Do the work as it is, where it will be recorded; return its result."""
        ...

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record the work without doing it; return the tensor that will hold its result."""
        ...

    def replay(self) -> None:
        """Do what was recorded."""
        ...


class CudaGraph:
    """A graph on the current GPU, as PyTorch's notes on CUDA graphs have it."""

    def __init__(self) -> None:
        self._graph, self._stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Do the work on the stream that it will be recorded on, where libraries then have their workspaces."""
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            result = work()
        here.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record the work without doing it; return the tensor that will hold its result.

        Raises:
            OutOfMemoryError: of ``torch``; a graph keeps all its memory, and would not leave as much again for what is
                not in it, such as a smaller batch or a validation.
        """
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        try:
            # Other threads, which load pictures, may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                result = work()
        except Exception:
            self._graph.reset()  # or random numbers could be drawn in graphs only
            raise
        if torch.cuda.mem_get_info()[0] < torch.cuda.memory_reserved() - before:
            self._graph.reset()
            raise torch.OutOfMemoryError("a graph would keep too much memory")
        return result

    def replay(self) -> None:
        """Launch the graph on the current stream."""
        self._graph.replay()


def graph_maker(device: str) -> Callable[[], Graph] | None:
    """Return what makes graphs on a device; None where it has none."""
    return CudaGraph if device == "cuda" else None
