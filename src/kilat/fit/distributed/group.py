"""Training in several processes, one a device: batches are shared out and sums added up, so it is as if there were one.

The process that was asked to train does everything else as ever. For the training it has PyTorch's own launcher
(``torch.distributed.elastic.multiprocessing``, by which torchrun starts its workers) start helpers, which get the task
from it, take every step with it, answer with it, and end. Only the first process writes and speaks.

Several GPUs, and NCCL between them, are untested; CPUs and gloo are tested.
"""

import contextlib
import gc
import hmac
import io
import json
import logging
import math
import os
import pickle
import secrets
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is public all the same
from torch.distributed.elastic import multiprocessing

from kilat.errors import KilatError, RunError
from kilat.fit.checkpoint import Checkpoints, Snapshot
from kilat.fit.distributed.sync_batch_norm import Together
from kilat.fit.loader import InMemory, Pictures
from kilat.fit.signals import Stopped
from kilat.fit.train_state import TrainSpec
from kilat.locale import _
from kilat.runtime.cores import available_cores

T = TypeVar("T")
Rows = NDArray[np.int64]

_HERE, _TROUBLE = "here", "trouble"
_KEY = "KILAT_GROUP_KEY"
_SIGNATURE = 32  # bytes of HMAC-SHA256
_PATIENCE = timedelta(minutes=30)  # the longest that helpers wait for an answer to be asked for
_LOOPBACK = {"linux": "lo", "darwin": "lo0"}
_PROGRAM = "from kilat.fit.distributed.group import assist; assist()"
_NOTICE_SECONDS = 5.0
_END_SECONDS = 20.0
_NONE = 2**62


@dataclass(frozen=True)
class Share:
    """A process's part of a batch.

    Args:
        where: which pictures of it.
        weight: their share of the batch; 0 where there were fewer pictures than processes, and this one only looks on.
    """

    where: slice
    weight: float


class SingleProcess:
    """One process that does everything; what several do together is nothing to it."""

    rank, size = 0, 1

    def checkpoints(self, own: Checkpoints | None) -> "Checkpoints | SharedCheckpoints":
        """What training saves with and goes on from."""
        assert own is not None
        return own

    def once(self, work: Callable[[], T]) -> T:
        """What some work comes to, done by the first process alone."""
        return work()

    def largest(self, number: int) -> int:
        """The largest of every process's number."""
        return number

    def smallest(self, number: int) -> int:
        """The smallest of every process's number; 0 stands for none."""
        return number

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The sums of every process's numbers."""
        return numbers

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Makes tensors the sums of every process's."""

    def share(self, count: int) -> Share:
        """Which of so many pictures are this process's."""
        return Share(slice(0, count), 1.0)

    def joined(self, own: Tensor, count: int) -> Tensor:
        """What every process has of its share of ``count`` pictures, ``[share, ...]``, put together."""
        return own

    def batches(self, pictures: Pictures, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Whole batches, as ``pictures`` gives them."""
        return pictures.batches(order)

    def norms_together(self, weight: float) -> contextlib.AbstractContextManager[object]:
        """While it lasts, batch norms see the whole batch, also where this process has only a share of such weight."""
        return contextlib.nullcontext()

    def ask(self, rows: Rows) -> None:
        """Has the other processes answer these rows with this one."""

    def close(self) -> None:
        """Lets the other processes go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What ends the work of one process ends that of all."""


ALONE = SingleProcess()


class Group(SingleProcess):
    """Several processes that train together. Every process calls the same methods in the same order.

    Args:
        rank: which process this is.
        size: how many there are.
        device: ``cpu`` or ``cuda``.
        helpers: the other processes, in the first one.
    """

    def __init__(self, rank: int, size: int, device: str, helpers: "_Helpers | None" = None) -> None:
        self.rank, self.size, self.device, self.helpers = rank, size, device, helpers
        self.key = helpers.key if helpers else bytes.fromhex(os.environ.get(_KEY, ""))
        self.end = weakref.finalize(self, _leave, helpers, torch.get_num_threads())
        if helpers:
            torch.set_num_threads(_threads_each(size))

    def checkpoints(self, own: Checkpoints | None) -> "SharedCheckpoints":
        """The first process's, for all."""
        return SharedCheckpoints(own if self.rank == 0 else None, self)

    def once(self, work: Callable[[], T]) -> T:
        """What some work comes to, done by the first process alone."""
        return cast(T, self._broadcast(work() if self.rank == 0 else None))

    def largest(self, number: int) -> int:
        """The largest of every process's number."""
        found = torch.tensor(number)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def smallest(self, number: int) -> int:
        """The smallest of every process's number; 0 stands for none."""
        found = -self.largest(-number if number else -_NONE)
        return 0 if found == _NONE else found

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The sums of every process's numbers."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Makes tensors the sums of every process's, in one message."""
        if not tensors:
            return
        sums = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(sums)
        for tensor, part in zip(tensors, torch.split(sums, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def share(self, count: int) -> Share:
        """Contiguous shares, as equal as can be; who is left without one looks at the first picture, for nothing."""
        start, stop = (rank * count // self.size for rank in (self.rank, self.rank + 1))
        if start == stop:
            return Share(slice(0, min(1, count)), 0.0)
        return Share(slice(start, stop), (stop - start) / count)

    def joined(self, own: Tensor, count: int) -> Tensor:
        """What every process has of its share of ``count`` pictures, put together."""
        if not count:
            return own
        sizes = [(rank + 1) * count // self.size - rank * count // self.size for rank in range(self.size)]
        mine = own.new_zeros(max(sizes), *own.shape[1:])
        mine[: sizes[self.rank]] = own[: sizes[self.rank]]
        parts = [torch.empty_like(mine) for _size in sizes]
        distributed.all_gather(parts, mine)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def batches(self, pictures: Pictures, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Whole batches; where pictures must be decoded, every process decodes its share of them."""
        if isinstance(pictures, InMemory):
            yield from pictures.batches(order)
            return
        with contextlib.closing(pictures.batches([rows[self.share(len(rows)).where] for rows in order])) as arriving:
            for rows, own in zip(order, arriving, strict=True):
                yield self.joined(own, len(rows))

    def norms_together(self, weight: float) -> contextlib.AbstractContextManager[object]:
        """While it lasts, batch norms see the whole batch."""
        return Together(counts=weight > 0)

    def ask(self, rows: Rows) -> None:
        """Has the helpers answer these rows with this process."""
        if self.rank == 0:
            self._broadcast(rows)

    def follow(self, answer: Callable[[Rows], object]) -> None:
        """Answers with the first process whatever it is asked, until it needs no more."""
        while (rows := self._broadcast(None)) is not None:
            answer(cast(Rows, rows))

    def close(self) -> None:
        """Lets the helpers go."""
        if self.helpers and self.end.alive:
            self._broadcast(None)
            self.helpers.wait()
            self.end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.helpers or error is None:
            return
        # Where a helper went, the others find out by losing their connection to it; what it said is the reason.
        trouble = self.helpers.trouble() if isinstance(error, RuntimeError) else None
        self.end()
        if trouble:
            raise trouble from error

    def send(self, task: bytes, pictures: Pictures) -> None:
        """Gives the helpers their task."""
        self._broadcast(task)
        if isinstance(pictures, InMemory):
            distributed.broadcast(pictures.pixels, 0)

    def receive(self) -> tuple[TrainSpec, bool]:
        """The task, and whether its time is limited."""
        task, is_timed = _unpacked(cast(bytes, self._broadcast(None)))
        if isinstance(task.pictures, InMemory):
            distributed.broadcast(task.pictures.pixels, 0)
        return task, is_timed

    def _broadcast(self, content: object) -> object:
        """What the first process has, on all of them.

        It goes over sockets, at which somebody else may be. So it is signed with a key that the helpers were started
        with, and nothing is unpickled without that signature.
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
        got = message.numpy().tobytes()
        if not hmac.compare_digest(got[:_SIGNATURE], hmac.digest(self.key, got[_SIGNATURE:], "sha256")):
            raise RunError(_("What this process got is not what the first process sent."))
        return pickle.loads(got[_SIGNATURE:])  # noqa: S301 - signed


class SharedCheckpoints:
    """Checkpoints that the first process writes and reads, and that all of them go on from.

    Args:
        own: the first process's.
        group: who goes on.
    """

    def __init__(self, own: Checkpoints | None, group: Group) -> None:
        self.own, self.group = own, group

    @property
    def damaged(self) -> set[int]:
        """The steps whose checkpoints were found to be, as far as this process knows."""
        return self.own.damaged if self.own else set()

    def save(self, step: int, snapshot: Snapshot, *, base: int | None = None) -> None:
        """Saves a checkpoint, once."""
        if self.own:
            self.own.save(step, snapshot, base=base)

    def newest(self) -> tuple[int, Snapshot, list[str]] | None:
        """The newest sound checkpoint, as ``Checkpoints.newest`` has it."""
        return self.group.once(lambda: cast(Checkpoints, self.own).newest())

    def at(self, step: int) -> Snapshot | None:
        """The checkpoint of a step."""
        return self.group.once(lambda: cast(Checkpoints, self.own).at(step))


def gather(task: TrainSpec, *, is_timed: bool) -> SingleProcess:
    """The processes that a task's recipe asks for, ready to train it with this one.

    Args:
        task: its network still on the CPU.
        is_timed: whether its time is limited.

    Raises:
        RunError: there are not enough devices, or what is to be learnt cannot be sent to other processes.
    """
    size = task.recipe.runtime.devices
    if size == 1:
        return ALONE
    require(size, task.device)
    _end_the_one_before()
    packed = _packed(task, is_timed)
    helpers = _Helpers(size, task.device)
    try:
        helpers.expect()
        _join(helpers.store, 0, size, task.device)
        group = Group(0, size, task.device, helpers)
        _open.append(group.end)
        with group:
            group.send(packed, task.pictures)
    except BaseException:
        helpers.stop()
        raise
    return group


def require(size: int, device: str) -> None:
    """Refuses more processes than there are devices for.

    Raises:
        RunError: how many there are.
    """
    if size == 1 or (device == "cpu" and distributed.is_available() and distributed.is_gloo_available()):
        return
    if device != "cuda" or not (distributed.is_available() and distributed.is_nccl_available()):
        raise RunError(
            _("Several devices of the kind '{device}' cannot train together here.").format(device=device),
            hint=_("Take --devices 1."),
        )
    count = torch.cuda.device_count()
    if count < size:
        message = _("{wanted} devices were asked for, and PyTorch finds {count}.")
        raise RunError(message.format(wanted=size, count=count), hint=_("Take --devices {n}.").format(n=count))


def assist() -> None:
    """What a helper does, from its start to its end."""
    rank, size, port, parent, device = (int(word) if word.isdigit() else word for word in sys.argv[1:])
    assert isinstance(rank, int)
    assert isinstance(size, int)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    store = TCPStore("127.0.0.1", cast(int, port), size, is_master=False, timeout=_PATIENCE)
    store.add(_HERE, 1)
    try:
        _help(store, rank, size, str(device))
    except Stopped:
        pass  # with the first process, which says so
    except Exception as error:  # noqa: BLE001 - whatever it is, the first process tells it
        _confess(store, rank, error)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _help(store: TCPStore, rank: int, size: int, device: str) -> None:
    from kilat.fit.loop import Trainer

    _join(store, rank, size, device)
    group = Group(rank, size, device)
    task, is_timed = group.receive()
    # How much time is left is the first process's to say; here it only matters that it counts.
    training = Trainer(task, None, math.inf if is_timed else None, group=group)
    training.run()
    group.follow(training.learner.logits)


def _confess(store: TCPStore, rank: int, error: Exception) -> None:
    """Tells the first process what went wrong, unless another did before: then this one only lost its connection."""
    message, hint = str(error) or type(error).__name__, ""
    if isinstance(error, KilatError):
        message, hint = error.message, error.hint
    text = json.dumps({"rank": rank, "message": message, "mend": hint, "known": isinstance(error, KilatError)})
    with contextlib.suppress(Exception):  # or it is the first process that has gone
        if store.compare_set(_TROUBLE, "", text).decode() == text and not isinstance(error, KilatError):
            sys.excepthook(type(error), error, error.__traceback__)


def _end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone, even while it waits for a GPU that waits for others."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What signals do stays as it was: torch puts its own answers in their place, for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    kept = [(number, signal.getsignal(number)) for name in names if (number := getattr(signal, name, None))]
    try:
        yield
    finally:
        for number, answer in kept:
            signal.signal(number, answer)


class _Helpers:
    """The processes beside the first, as it sees them.

    Args:
        size: how many processes there are, this one counted.
        device: where they train.
    """

    def __init__(self, size: int, device: str) -> None:
        self.size, self.key = size, secrets.token_bytes()
        self.store = TCPStore("127.0.0.1", 0, size, is_master=True, timeout=_PATIENCE, wait_for_workers=False)
        ranks = range(1, size)
        words = [str(self.store.port), str(os.getpid()), device]
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)  # what this process can import, they can
        own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(_threads_each(size)), _KEY: self.key.hex()}
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # kilat says it in its own words
        with _own_signals():
            self.processes = multiprocessing.start_processes(
                "kilat",
                sys.executable,
                {rank - 1: ("-c", _PROGRAM, str(rank), str(size), *words) for rank in ranks},
                {rank - 1: own for rank in ranks},
                multiprocessing.DefaultLogsSpecs(),
            )

    def expect(self) -> None:
        """Waits until all of them have started.

        Raises:
            RunError: one could not.
        """
        while self.store.add(_HERE, 0) < self.size - 1:
            if (result := self.processes.wait(0)) is not None:
                codes = [failure.exitcode for failure in result.failures.values()]
                raise RunError(_("The other processes could not start (exit codes {codes}).").format(codes=codes))
            time.sleep(0.02)

    def trouble(self) -> RunError | None:
        """Why one of them went, if one did."""
        until = time.monotonic() + _NOTICE_SECONDS
        while time.monotonic() < until:
            if self.store.check([_TROUBLE]):
                return _told(json.loads(self.store.get(_TROUBLE)), self.size)
            if (result := self.processes.wait(0)) is not None and result.failures:
                first = min(result.failures.values(), key=lambda failure: failure.timestamp)
                return _ended(first.local_rank + 1, first.exitcode, self.size)
            time.sleep(0.02)
        return None

    def wait(self) -> None:
        """Waits until all of them have ended by themselves, or ends them."""
        self.processes.wait(_END_SECONDS, period=0.02)
        self.stop()

    def stop(self) -> None:
        """Ends them at once: what they know, this process knows."""
        self.processes.close(signal.SIGKILL if hasattr(signal, "SIGKILL") else None)


def _told(trouble: dict[str, Any], size: int) -> RunError:
    if trouble["known"]:
        return RunError(trouble["message"], hint=trouble["mend"])
    message = _("Process {number} of {size} failed: {reason}.")
    return RunError(message.format(number=trouble["rank"] + 1, size=size, reason=trouble["message"].rstrip(".")))


def _ended(rank: int, code: int, size: int) -> RunError:
    how = _("exit code {code}").format(code=code) if code >= 0 else signal.Signals(-code).name
    message = _("Process {number} of {size} was ended from outside ({how}).")
    return RunError(
        message.format(number=rank + 1, size=size, how=how),
        hint=_("If memory did not suffice, take fewer --devices. Go on with --resume and the folder of the run."),
    )


_open: list[Callable[[], object]] = []
"""What ends the group that this process is in: there can only be one, as PyTorch has it."""


def _end_the_one_before() -> None:
    gc.collect()
    while _open:
        _open.pop()()
    if distributed.is_initialized():
        raise RunError(
            _("This process already takes part in a group of torch.distributed."),
            hint=_("Train with one device, or leave it to kilat to start the others."),
        )


def _join(store: TCPStore, rank: int, size: int, device: str) -> None:
    """Makes this process part of the group; returns when all of them are."""
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    with _on_this_machine():
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Has gloo talk through the machine's own interface, also where its name stands for nothing in any network."""
    name, interface = "GLOO_SOCKET_IFNAME", _LOOPBACK.get(sys.platform)
    if interface is None or name in os.environ:
        yield
        return
    os.environ[name] = interface
    try:
        yield
    finally:
        del os.environ[name]


def _leave(helpers: _Helpers | None, threads_before: int) -> None:
    if helpers is None:
        return
    helpers.stop()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    torch.set_num_threads(threads_before)


def _threads_each(size: int) -> int:
    return max(1, min(available_cores(), torch.get_num_threads()) // size)


def _packed(task: TrainSpec, is_timed: bool) -> bytes:
    """A task as other processes get it, without pixels that are held: those are sent as they are."""
    if homeless := sorted({type(part).__name__ for part in task.network.modules() if _is_homeless(type(part))}):
        raise RunError(
            _("Other processes cannot find the network's class {name}: it is defined in the program itself.").format(
                name=homeless[0]
            ),
            hint=_("Define it in a module that can be imported, or take devices=1."),
        )
    file = io.BytesIO()
    try:
        pickle.Pickler(file).dump((task, is_timed))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _unsendable(error) from error
    return file.getvalue()


def _unpacked(packed: bytes) -> tuple[TrainSpec, bool]:
    try:
        task, is_timed = pickle.loads(packed)  # noqa: S301 - signed by the process that started this one
    except (pickle.UnpicklingError, AttributeError, ImportError, TypeError) as error:
        raise _unsendable(error) from error
    return cast(TrainSpec, task), bool(is_timed)


def _is_homeless(kind: type) -> bool:
    return kind.__module__ == "__main__"


def _unsendable(error: Exception) -> RunError:
    return RunError(
        _("The network or the pictures cannot be sent to other processes: {reason}.").format(reason=error),
        hint=_("Take devices=1, a network of importable classes, or pictures held in memory (input.hold=memory)."),
    )
