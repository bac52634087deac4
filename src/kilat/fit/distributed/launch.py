"""Starts the other processes of a training in several processes, and notices where one of them fails.

The process that was asked to train does everything as ever. PyTorch's own launcher
(``torch.distributed.elastic.multiprocessing``, with which torchrun starts its workers) starts helpers, which run
``kilat.fit.distributed.helper``: they get the training from this process, make every update with it, compute logits
with it, and end.
"""

import contextlib
import gc
import io
import json
import logging
import os
import pickle
import secrets
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is public all the same
from torch.distributed.elastic import multiprocessing

from kilat.errors import RunError
from kilat.fit.distributed.group import ALONE, TIMEOUT, Group, SingleProcess, join
from kilat.fit.loader import InMemory
from kilat.fit.train_state import TrainSpec
from kilat.locale import _
from kilat.locale.escapes import Shown
from kilat.runtime.cores import available_cores

HELPER = "kilat.fit.distributed.helper"
"""The module that helpers run."""

KEY_VARIABLE = "KILAT_GROUP_KEY"
STARTED, FAILURE = "started", "failure"
"""Keys of the store in which the processes meet: how many helpers have started, and what the first one reports."""

_FAILURE_SECONDS = 5.0  # a helper's end is noticed after its connection is lost
_EXIT_SECONDS = 20.0
_POLL_SECONDS = 0.02


def start_group(spec: TrainSpec, *, is_timed: bool) -> SingleProcess:
    """Return the processes that a recipe asks for, ready to train with this one.

    Args:
        spec: the training, its network still on the CPU.
        is_timed: whether its time is limited.

    Raises:
        RunError: there are too few devices, or the training cannot be sent to other processes.
    """
    size = spec.recipe.runtime.devices
    if size == 1:
        return ALONE
    require_devices(size, spec.device)
    _end_earlier_groups()
    packed = pack(spec, is_timed=is_timed)
    helpers = _Helpers(size, spec.device)
    try:
        helpers.wait_for_start()
        join(helpers.store, 0, size, spec.device)
        group = _LeadingGroup(helpers)
        _running.append(group.finalizer)
        with group:
            group.broadcast(packed)
            if isinstance(spec.pictures, InMemory):
                distributed.broadcast(spec.pictures.pixels, 0)
    except BaseException:
        helpers.stop()
        raise
    return group


def require_devices(size: int, device: str) -> None:
    """Check that there is a device for every process.

    Raises:
        RunError: there are fewer.
    """
    if size == 1 or (device == "cpu" and distributed.is_available() and distributed.is_gloo_available()):
        return
    if device != "cuda" or not (distributed.is_available() and distributed.is_nccl_available()):
        raise RunError(
            _("Several devices of the kind '{device}' cannot train together here.").format(device=device),
            hint=_("Train with --devices 1."),
        )
    count = torch.cuda.device_count()
    if count < size:
        raise RunError(
            _("{wanted} devices were asked for, but PyTorch finds {count}.").format(wanted=size, count=count),
            hint=_("Train with --devices {count}.").format(count=max(count, 1)),
        )


def pack(spec: TrainSpec, *, is_timed: bool) -> bytes:
    """Return a training as it is sent to helpers, without pixels in memory: these are sent as they are.

    Args:
        spec: the training.
        is_timed: whether its time is limited.

    Raises:
        RunError: a part of it cannot be pickled, or its class cannot be found by other processes.
    """
    classes = {type(module) for module in spec.network.modules()}
    if unimportable := sorted(kind.__name__ for kind in classes if kind.__module__ == "__main__"):
        raise RunError(
            _(
                "Other processes cannot find the network's class {name}: it is defined in the program that was started."
            ).format(name=unimportable[0]),
            hint=_("Define it in a module that can be imported, or train with devices=1."),
        )
    file = io.BytesIO()
    try:
        _Pickler(file, spec).dump((spec, is_timed))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _cannot_send(error) from error
    return file.getvalue()


def unpack(packed: bytes) -> tuple[TrainSpec, bool]:
    """Return what ``pack`` was given; pixels in memory are allocated, and have yet to be received.

    Raises:
        RunError: it cannot be unpickled here.
    """
    try:
        spec, is_timed = _Unpickler(io.BytesIO(packed)).load()
    except (pickle.UnpicklingError, AttributeError, ImportError, TypeError) as error:
        raise _cannot_send(error) from error
    return cast(TrainSpec, spec), bool(is_timed)


@contextlib.contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers after the block: PyTorch's launcher replaces them for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    handlers = [(number, signal.getsignal(number)) for name in names if (number := getattr(signal, name, None))]
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)


class _Pickler(pickle.Pickler):
    """Packs a training without the pixels that it holds in memory."""

    def __init__(self, file: io.BytesIO, spec: TrainSpec) -> None:
        super().__init__(file)
        self.pixels = spec.pictures.pixels if isinstance(spec.pictures, InMemory) else None

    def persistent_id(self, value: Any) -> tuple[tuple[int, ...], str] | None:
        return (tuple(value.shape), value.device.type) if value is self.pixels and value is not None else None


class _Unpickler(pickle.Unpickler):
    """Allocates memory for the pixels that were not packed."""

    def persistent_load(self, pixels: tuple[tuple[int, ...], str]) -> Tensor:
        shape, device = pixels
        return torch.empty(shape, dtype=torch.uint8, device=device)


def _cannot_send(error: Exception) -> RunError:
    return RunError(
        _("The network or the pictures cannot be sent to other processes: {reason}.").format(reason=error),
        hint=_(
            "Train with devices=1, a network of classes that can be imported, or pictures in memory "
            "(input.cache=memory)."
        ),
    )


class _Helpers:
    """The other processes, as the first one sees them.

    Args:
        size: the number of processes, including this one.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, size: int, device: str) -> None:
        self.size, self.key = size, secrets.token_bytes()
        self.threads = max(1, min(available_cores(), torch.get_num_threads()) // size)  # of every process
        self.store = TCPStore("127.0.0.1", 0, size, is_master=True, timeout=TIMEOUT, wait_for_workers=False)
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)  # so that they can import the same
        environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(self.threads), KEY_VARIABLE: self.key.hex()}
        arguments = (str(size), str(self.store.port), str(os.getpid()), device)
        self._logger = logging.getLogger("torch.distributed.elastic")
        self._log_level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)  # kilat reports failures in its own words
        with preserve_signal_handlers():
            self.processes = multiprocessing.start_processes(
                "kilat",
                sys.executable,
                {rank - 1: ("-m", HELPER, str(rank), *arguments) for rank in range(1, size)},
                {rank - 1: environment for rank in range(1, size)},
                multiprocessing.DefaultLogsSpecs(),
            )

    def wait_for_start(self) -> None:
        """Wait until all of them have started.

        Raises:
            RunError: one could not.
        """
        while self.store.add(STARTED, 0) < self.size - 1:
            if (result := self.processes.wait(0)) is not None:
                codes = ", ".join(str(failure.exitcode) for failure in result.failures.values())
                raise RunError(_("The other processes could not start (exit codes: {codes}).").format(codes=codes))
            time.sleep(_POLL_SECONDS)

    def failure(self) -> RunError | None:
        """Return why one of them ended, if one did."""
        until = time.monotonic() + _FAILURE_SECONDS
        while time.monotonic() < until:
            if self.store.check([FAILURE]):
                return self._reported(json.loads(self.store.get(FAILURE)))
            if (result := self.processes.wait(0)) is not None and result.failures:
                first = min(result.failures.values(), key=lambda failure: failure.timestamp)
                return self._killed(first.local_rank + 1, first.exitcode)
            time.sleep(_POLL_SECONDS)
        return None

    def _reported(self, failure: dict[str, Any]) -> RunError:
        if failure["is_kilat_error"]:
            # Another process of this run made them from sentences, whose line breaks are kilat's own.
            return RunError(Shown(failure["message"]), hint=Shown(failure["hint"]))
        return RunError(
            _("Process {number} of {size} failed: {reason}.").format(
                number=failure["rank"] + 1, size=self.size, reason=failure["message"].rstrip(".")
            )
        )

    def _killed(self, rank: int, code: int) -> RunError:
        how = _("exit code {code}").format(code=code) if code >= 0 else signal.Signals(-code).name
        return RunError(
            _("Process {number} of {size} was ended from outside ({how}).").format(
                number=rank + 1, size=self.size, how=how
            ),
            hint=_("If memory ran out, use fewer --devices. Go on with --resume and the folder of the run."),
        )

    def wait(self) -> None:
        """Wait until all of them have ended by themselves, or end them."""
        self.processes.wait(_EXIT_SECONDS, period=_POLL_SECONDS)
        self.stop()

    def stop(self) -> None:
        """End them at once: there is nothing in them that this process does not have."""
        self.processes.close(signal.SIGKILL if hasattr(signal, "SIGKILL") else None)
        self._logger.setLevel(self._log_level)


class _LeadingGroup(Group):
    """The group as the first process sees it: it ends the others when it is closed, collected, or fails.

    Args:
        helpers: the other processes.
    """

    def __init__(self, helpers: _Helpers) -> None:
        super().__init__(0, helpers.size, helpers.key)
        self.helpers = helpers
        self.finalizer = weakref.finalize(self, _leave, helpers, torch.get_num_threads())
        torch.set_num_threads(helpers.threads)

    def close(self) -> None:
        """Let the helpers end."""
        if self.finalizer.alive:
            super().close()
            self.helpers.wait()
            self.finalizer()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        # Where a helper has ended, the others lose their connection to it; what that helper reported is the reason.
        failure = self.helpers.failure() if isinstance(error, RuntimeError) else None
        self.finalizer()
        if failure:
            raise failure from error


def _leave(helpers: _Helpers, threads_before: int) -> None:
    helpers.stop()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    torch.set_num_threads(threads_before)


_running: list[Callable[[], object]] = []
"""What ends the group that this process leads: PyTorch has one at a time."""


def _end_earlier_groups() -> None:
    gc.collect()
    while _running:
        _running.pop()()
    if distributed.is_initialized():
        raise RunError(
            _("This process already takes part in a group of torch.distributed."),
            hint=_("Train with one device, or leave it to kilat to start the other processes."),
        )
