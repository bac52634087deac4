"""Training steps of one shape: a few as they are, then one that is recorded as a graph and repeated from there on.

What differs from step to step are tensors: the pictures, which are on the device already, and small ones from the CPU
such as classes, rates and what augmentation drew, which travel there together. A step is all of it from the pictures
to the new weights, so the processor has nothing to do but to draw numbers and to launch the graph.
"""

import logging
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Generator, Tensor, nn

from kilat.fit.augment.random import Draw, Draws, GivenDraws, RecordedDraws
from kilat.model.cuda_graph import Graph

_log = logging.getLogger(__name__)

_WARM_UP = 10
"""Steps that are made as they are: libraries choose kernels, what the optimizer keeps is allocated, and a training that
is over by then would not have gained what recording costs."""

_KNOWN = ("kilat", "torch", "timm")
"""Packages whose modules compute the same operations for every batch of one shape."""

Step = Callable[[Sequence[Tensor], Sequence[Tensor], Draws], Tensor]
"""Makes a step from tensors that were on the device, tensors that were on the CPU, and draws; returns its results."""


class StepRecorder:
    """Holds the step that is recorded: of one shape at a time, and of none where something speaks against it.

    Args:
        make_graph: makes what it is recorded in; None where nothing can be.
    """

    def __init__(self, make_graph: Callable[[], Graph] | None) -> None:
        self._make_graph = make_graph
        self._current: tuple[Hashable, CapturedStep] | None = None
        self._objection = ""

    def drop(self) -> None:
        """Forget what was recorded: the memory that it works on is no longer that of the training."""
        self._current, self._objection = None, ""

    def step(self, shape: Hashable, step: "Step", objection: Callable[[], str]) -> "CapturedStep | None":
        """Return the step to make; None for one that is not recorded.

        Args:
            shape: what all steps that repeat each other have in common; steps of another one begin anew.
            step: what is recorded.
            objection: says why nothing can be recorded, or nothing.
        """
        if self._make_graph is None or self._objection:
            return None
        if self._current is None or self._current[0] != shape:
            if reason := objection():
                self.object(reason)
                return None
            self._current = shape, CapturedStep(step, self._make_graph())
        return self._current[1]

    def object(self, reason: str) -> None:
        """Make all further steps as they are, for a reason, until what was recorded is dropped."""
        self._current, self._objection = None, reason
        _log.debug("training steps are not recorded as a CUDA graph: %s", reason)


class CapturedStep:
    """A training step that is recorded as a graph.

    Args:
        step: what is recorded.
        graph: where.
    """

    def __init__(self, step: Step, graph: Graph) -> None:
        self._step, self._graph = step, graph
        self._made = 0
        self._draws: list[Draw] = []
        self._resident: list[Tensor] = []
        self._travelling: _Transfer | None = None
        self._results: Tensor | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether steps are repeated by now."""
        return self._results is not None

    def __call__(self, resident: Sequence[Tensor], travelling: Sequence[Tensor], generator: Generator) -> Tensor:
        """Make a step.

        Args:
            resident: tensors on the device, of the same shapes every time.
            travelling: tensors on the CPU, of the same shapes every time.
            generator: on the CPU; what is drawn from.

        Returns:
            The results of the step.
        """
        self._made += 1
        if self._made == 1:
            return self._first(resident, travelling, generator)
        assert self._travelling is not None
        for static, new in zip(self._resident, resident, strict=True):
            static.copy_(new)
        self._travelling.load([*travelling, *(draw(generator) for draw in self._draws)])
        if self._made <= _WARM_UP:
            return self._graph.run(self._repeatable)
        if self._results is None:
            self._results = self._graph.record(self._repeatable)
        self._graph.replay()
        return self._results.clone()

    def _first(self, resident: Sequence[Tensor], travelling: Sequence[Tensor], generator: Generator) -> Tensor:
        """Make the first step, and find out what is drawn in it."""
        device = resident[0].device
        draws = RecordedDraws(generator, device)
        here = [tensor.to(device) for tensor in travelling]
        results = self._graph.run(lambda: self._step(resident, here, draws))
        self._draws = draws.made
        self._resident = [torch.empty_like(tensor) for tensor in resident]
        self._travelling = _Transfer([*travelling, *(draw(torch.Generator()) for draw in draws.made)], device)
        return results

    def _repeatable(self) -> Tensor:
        """Make a step of what is in the tensors that stay."""
        assert self._travelling is not None
        tensors = self._travelling.tensors
        given = len(tensors) - len(self._draws)
        draws = GivenDraws(tensors[given:], self._resident[0].device)
        return self._step(self._resident, tensors[:given], draws)


class _Transfer:
    """Small tensors of the CPU on another device: all in one transfer, and always to the same memory.

    ``tensors`` are those on the device, in the order in which they are given.

    Args:
        like: tensors of the shapes and types that will come.
        device: where they go.
    """

    def __init__(self, like: Sequence[Tensor], device: torch.device) -> None:
        # By falling size of their elements, so that all of them lie at multiples of it.
        self._order = sorted(range(len(like)), key=lambda index: -like[index].element_size())
        self._dtypes = list(dict.fromkeys(like[index].dtype for index in self._order))
        self._is_pinned = device.type == "cuda"
        self._block = torch.empty(sum(tensor.nbytes for tensor in like), dtype=torch.uint8, device=device)
        self.tensors = [torch.empty(0, device=device)] * len(like)
        start = 0
        for index in self._order:
            stop = start + like[index].nbytes
            self.tensors[index] = self._block[start:stop].view(like[index].dtype).view(like[index].shape)
            start = stop

    def load(self, values: Sequence[Tensor]) -> None:
        """Send new values; returns before they have arrived, which is before anything else that the device does."""
        # Memory of its own each time: the device may not have read the last. PyTorch uses it again once it has.
        host = torch.empty(self._block.shape, dtype=torch.uint8, pin_memory=self._is_pinned)
        start = 0
        for dtype in self._dtypes:
            parts = [values[index].flatten() for index in self._order if values[index].dtype == dtype]
            stop = start + sum(part.nbytes for part in parts)
            torch.cat(parts, out=host[start:stop].view(dtype))
            start = stop
        assert start == len(host), "shapes and types are the same every time"
        self._block.copy_(host, non_blocking=True)


def foreign_part(network: nn.Module) -> str:
    """Return the type of a module that may not compute the same for every batch, since kilat does not know it.

    Hooks count as well: they are Python, which a graph does not repeat. Empty where there is none.
    """
    for module in network.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)  # noqa: SLF001
        if type(module).__module__.partition(".")[0] not in _KNOWN or any(hooks):
            return type(module).__qualname__
    return ""
