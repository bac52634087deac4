"""Where memory does not suffice for a batch, it is computed in parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

from kilat.errors import RunError
from kilat.locale import _, ngettext

T = TypeVar("T")

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")
"""What PyTorch's allocators say where they have no error of their own for it."""


class MicroBatch:
    """How many pictures are computed at once: half as many each time memory does not suffice.

    ``size`` is that number; 0 as long as memory sufficed for everything.
    """

    def __init__(self) -> None:
        self.size = 0

    def compute(self, work: Callable[[int], T], count: int, *, divisible: bool = True) -> T:
        """Return what some work on pictures gives, which is done again with fewer at once until memory suffices.

        Args:
            work: called with how many pictures to compute at once; where memory did not suffice, as if it had not been.
            count: how many pictures there are.
            divisible: whether it may be done in parts.

        Raises:
            RunError: memory does not suffice for the least that can be computed at once.
        """
        while True:
            at_once = min(self.size or count, count)
            try:
                return work(at_once)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Only here is the error gone, and with it everything that its traceback refers to.
            if at_once <= 1 or not divisible:
                raise _not_enough_memory(at_once)
            self.size = -(-at_once // 2)
            # Pieces of the sizes that were tried are of no more use to the allocator.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if torch.backends.mps.is_available():
                torch.mps.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY)


def _not_enough_memory(count: int) -> RunError:
    message = ngettext(
        "There is not enough memory for a single picture.",
        "There is not enough memory for {count} pictures at once, and fewer cannot be computed.",
        count,
    )
    return RunError(
        message.format(count=count),
        hint=_("Use a lower fit.batch, smaller pictures (--size), a smaller network, or a device with more memory."),
    )
