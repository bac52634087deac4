"""The processes that train one network together, one a device: batches are shared out and sums added up.

The result is that of a single process. Every process of a group calls the same methods in the same order; only the
first one writes files and talks to the user. ``SingleProcess`` has the same methods for a process that is alone.

Several GPUs, and NCCL between them, are untested; CPUs and gloo are tested.
"""

import contextlib
import hmac
import os
import pickle
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is public all the same

from kilat.errors import RunError
from kilat.fit.checkpoint import Checkpoints, Snapshot
from kilat.fit.distributed.sync_batch_norm import SyncBatchNorm
from kilat.fit.loader import InMemory, Pictures
from kilat.locale import _
from kilat.locale.notes import Note

T = TypeVar("T")
Rows = NDArray[np.int64]

TIMEOUT = timedelta(minutes=30)
"""The longest that processes wait for each other, such as helpers for the next request."""

_SIGNATURE_BYTES = 32  # of HMAC-SHA256
_LOOPBACK = {"linux": "lo", "darwin": "lo0"}
_ABSENT = 2**62


@dataclass(frozen=True)
class Share:
    """The part of a batch that one process computes.

    Args:
        rows: which pictures of the batch.
        weight: their fraction of the batch; 0 where there were fewer pictures than processes, and this process computes
            one that does not count.
    """

    rows: slice
    weight: float


class SingleProcess:
    """One process that does everything by itself."""

    rank, size = 0, 1

    def checkpoints(self, own: Checkpoints | None) -> "Checkpoints | SharedCheckpoints":
        """Return what training saves to and resumes from."""
        assert own is not None
        return own

    def on_first(self, work: Callable[[], T]) -> T:
        """Return, in every process, what some work gives that only the first process does."""
        return work()

    def max(self, number: int) -> int:
        """Return the largest of every process's number."""
        return number

    def min_nonzero(self, number: int) -> int:
        """Return the smallest of every process's number that is not 0; 0 where all are."""
        return number

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sums of every process's numbers, ``[n]``."""
        return numbers

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by the sums of every process's, in place."""

    def share(self, count: int) -> Share:
        """Return which of ``count`` pictures this process computes."""
        return Share(slice(0, count), 1.0)

    def all_gather(self, own: Tensor, count: int) -> Tensor:
        """Return what every process has for its share of ``count`` pictures, ``[share, ...]``, as one tensor."""
        return own

    def batches(self, pictures: Pictures, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Return whole batches, as ``pictures`` gives them."""
        return pictures.batches(order)

    def sync_batch_norms(self, weight: float) -> contextlib.AbstractContextManager[object]:
        """Normalise over the whole batch inside the block, of which this process has a share of this weight."""
        return contextlib.nullcontext()

    def request(self, rows: Rows) -> None:
        """Have the other processes compute the logits of these rows with this one."""

    def close(self) -> None:
        """Let the other processes end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes where one failed."""


ALONE = SingleProcess()


class Group(SingleProcess):
    """Several processes that train together, as one of them sees it; ``join`` comes first.

    Args:
        rank: which process this is; 0 for the first.
        size: how many there are.
        key: what the processes sign messages with.
    """

    def __init__(self, rank: int, size: int, key: bytes = b"") -> None:
        self.rank, self.size, self.key = rank, size, key

    def checkpoints(self, own: Checkpoints | None) -> "SharedCheckpoints":
        """Return those of the first process, shared by all."""
        return SharedCheckpoints(own if self.rank == 0 else None, self)

    def on_first(self, work: Callable[[], T]) -> T:
        """Return, in every process, what some work gives that only the first process does."""
        return cast(T, self.broadcast(work() if self.rank == 0 else None))

    def max(self, number: int) -> int:
        """Return the largest of every process's number."""
        found = torch.tensor(number)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def min_nonzero(self, number: int) -> int:
        """Return the smallest of every process's number that is not 0; 0 where all are."""
        found = -self.max(-number if number else -_ABSENT)
        return 0 if found == _ABSENT else found

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sums of every process's numbers, float64 ``[n]`` on the CPU."""
        sums = numbers.cpu().double()
        distributed.all_reduce(sums)
        return sums

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by the sums of every process's, in one message."""
        if not tensors:
            return
        sums = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(sums)
        for tensor, part in zip(tensors, torch.split(sums, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def share(self, count: int) -> Share:
        """Return a contiguous share, as equal as can be; the first picture with no weight where there are too few."""
        start, stop = (rank * count // self.size for rank in (self.rank, self.rank + 1))
        if start == stop:
            return Share(slice(0, min(1, count)), 0.0)
        return Share(slice(start, stop), (stop - start) / count)

    def all_gather(self, own: Tensor, count: int) -> Tensor:
        """Return what every process has for its share of ``count`` pictures, ``[share, ...]``, as one tensor."""
        if not count:
            return own
        sizes = [(rank + 1) * count // self.size - rank * count // self.size for rank in range(self.size)]
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: sizes[self.rank]] = own[: sizes[self.rank]]
        parts = [torch.empty_like(padded) for _size in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def batches(self, pictures: Pictures, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Yield whole batches; where pictures have to be decoded, every process decodes its share of them."""
        if isinstance(pictures, InMemory):
            yield from pictures.batches(order)
            return
        shares = [rows[self.share(len(rows)).rows] for rows in order]
        with contextlib.closing(pictures.batches(shares)) as arriving:
            for rows, own in zip(order, arriving, strict=True):
                yield self.all_gather(own, len(rows))

    def sync_batch_norms(self, weight: float) -> contextlib.AbstractContextManager[object]:
        """Normalise over the whole batch inside the block; this process's values count unless the weight is 0."""
        return SyncBatchNorm(counts=weight > 0)

    def request(self, rows: Rows) -> None:
        """Have the other processes compute the logits of these rows with the first one."""
        if self.rank == 0:
            self.broadcast(rows)

    def serve(self, compute: Callable[[Rows], object]) -> None:
        """Compute what the first process requests, until it closes the group."""
        while (rows := self.broadcast(None)) is not None:
            compute(cast(Rows, rows))

    def close(self) -> None:
        """Have ``serve`` return in the other processes."""
        if self.rank == 0:
            self.broadcast(None)

    def broadcast(self, content: object) -> object:
        """Return what the first process passed in, in all of them.

        It goes over sockets, which somebody else on this machine might reach. So it is signed with a key that the
        helpers were started with, and nothing is unpickled without that signature.

        Raises:
            RunError: the signature is wrong.
        """
        packed = pickle.dumps(content) if self.rank == 0 else b""
        signed = hmac.digest(self.key, packed, "sha256") + packed
        length = torch.tensor(len(signed))
        distributed.broadcast(length, 0)
        message = torch.empty(int(length), dtype=torch.uint8)
        if self.rank == 0:
            message = torch.frombuffer(bytearray(signed), dtype=torch.uint8)
        distributed.broadcast(message, 0)
        if self.rank == 0:
            return content
        received = message.numpy().tobytes()
        signature, packed = received[:_SIGNATURE_BYTES], received[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, hmac.digest(self.key, packed, "sha256")):
            raise RunError(_("This process received something that the first process did not send."))
        return pickle.loads(packed)  # noqa: S301 - signed


class SharedCheckpoints:
    """Checkpoints that the first process writes and reads, and that all processes resume from.

    Args:
        own: the first process's; None in the others.
        group: the processes.
    """

    def __init__(self, own: Checkpoints | None, group: Group) -> None:
        self.own, self.group = own, group

    @property
    def damaged(self) -> set[int]:
        """The steps whose checkpoints are known to be damaged; none in other processes than the first."""
        return self.own.damaged if self.own else set()

    def save(self, step: int, snapshot: Snapshot, *, base: int | None = None) -> None:
        """Save a checkpoint, once."""
        if self.own:
            self.own.save(step, snapshot, base=base)

    def newest(self) -> tuple[int, Snapshot, list[Note]] | None:
        """Return the newest sound checkpoint, as ``Checkpoints.newest`` does."""
        return self.group.on_first(lambda: cast(Checkpoints, self.own).newest())

    def at(self, step: int) -> Snapshot | None:
        """Return the checkpoint of a step."""
        return self.group.on_first(lambda: cast(Checkpoints, self.own).at(step))


def join(store: TCPStore, rank: int, size: int, device: str) -> None:
    """Make this process part of a group; returns when all of them are.

    Args:
        store: where they find each other.
        rank: which process this is.
        size: how many there are.
        device: ``cpu`` or ``cuda``.
    """
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    with _loopback_only():
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)


@contextlib.contextmanager
def _loopback_only() -> Iterator[None]:
    """Let gloo use the machine's own interface, also where the machine's name has no address in any network."""
    name, interface = "GLOO_SOCKET_IFNAME", _LOOPBACK.get(sys.platform)
    if interface is None or name in os.environ:
        yield
        return
    os.environ[name] = interface
    try:
        yield
    finally:
        del os.environ[name]
