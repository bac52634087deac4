"""Where memory does not suffice for a batch, it is computed in parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

from kilat.errors import RunError
from kilat.locale import _

T = TypeVar("T")

_SIGNS = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")
"""How PyTorch's allocators say it where they have no error of their own for it."""


class Portions:
    """How many pictures are computed at once: half as many each time memory does not suffice.

    ``most`` is that number; 0 as long as there was enough for everything.
    """

    def __init__(self) -> None:
        self.most = 0

    def compute(self, work: Callable[[int], T], count: int, *, divisible: bool = True) -> T:
        """Does some work on pictures, and does it again with fewer at once until memory suffices.

        Args:
            work: told how many at once; where memory did not suffice, as if it had not been done.
            count: how many pictures there are.
            divisible: whether it may be done in parts.

        Raises:
            RunError: memory does not suffice for the least that can be computed at once.
        """
        while True:
            at_once = min(self.most or count, count)
            try:
                return work(at_once)
            except RuntimeError as error:
                if not is_shortage(error):
                    raise
            # Only here is the error gone, and with it all that its traceback holds on to.
            if at_once <= 1 or not divisible:
                raise _too_little(at_once)
            self.most = -(-at_once // 2)
            _release()


def is_shortage(error: RuntimeError) -> bool:
    """Whether an error says that memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


def _release() -> None:
    """Gives back what an allocator keeps for later; pieces of the sizes that were tried are of no more use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _too_little(pictures: int) -> RunError:
    message = _("Memory does not suffice for {pictures} pictures at once, and fewer cannot be computed.")
    return RunError(
        message.format(pictures=pictures) if pictures > 1 else _("Memory does not suffice for a single picture."),
        hint=_("Take a lower fit.batch, smaller pictures (--size), a smaller network, or a device with more memory."),
    )
