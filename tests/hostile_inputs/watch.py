"""Run something in a process of its own, and watch what it takes: seconds, processor seconds, memory, output.

Processes are forked from one that has imported kilat, so that a case costs a tenth of a second; whatever they start is
counted with them. Linux only: memory is read in ``/proc``.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORKS = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_PRELOADED = ["kilat.cli", "kilat.verbs.train", "kilat.verbs.check", "kilat.verbs.drift", "kilat.verbs.predict"]
_EVERY = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_SHOWN = 4_000

FAULTS = ("Traceback (most recent call last)", "Fatal Python error", "terminate called", "Segmentation fault")
"""What the output of a program holds that came to an end that nobody had thought of."""


@dataclass(frozen=True)
class Limits:
    """What a process may take before it is killed, and how it begins.

    Args:
        seconds: by the clock.
        cpu: seconds of the processor.
        memory: address space in bytes; None without a limit. PyTorch takes much that it never uses.
        interrupt: send one SIGINT after so many processor seconds; None for none.
    """

    seconds: float = 120.0
    cpu: float = 60.0
    memory: int | None = None
    interrupt: float | None = None


@dataclass(frozen=True)
class Watched:
    """What was watched of a process.

    Args:
        code: its exit code; negative where a signal ended it.
        seconds: by the clock.
        cpu: seconds of the processor, of all its processes.
        peak: the most memory that all its processes held at once, in bytes.
        out: what it wrote to standard output.
        err: what it wrote to standard error.
        was_killed: whether it reached a limit.
        after_interrupt: processor seconds between the interrupt and the end.
        left: processes that were still there when it had ended.
    """

    code: int
    seconds: float
    cpu: float
    peak: int
    out: str
    err: str
    was_killed: bool
    after_interrupt: float = 0.0
    left: int = 0

    @property
    def faults(self) -> list[str]:
        """What ended it wrongly: a signal, a limit, a traceback."""
        found = [fault for fault in FAULTS if fault in self.err or fault in self.out]
        if self.was_killed:
            found.append("killed at its limit")
        elif self.code < 0:
            found.append(f"ended by {signal.Signals(-self.code).name}")
        return found

    def __str__(self) -> str:
        return (
            f"code {self.code}, {self.seconds:.1f} s, {self.cpu:.1f} processor s, peak {self.peak / 1e6:,.0f} MB, "
            f"{', '.join(self.faults) or 'no fault'}\n{self.out[-_SHOWN:]}\n{self.err[-_SHOWN:]}"
        )


def watch(
    call: Callable[..., object],
    *arguments: Any,
    limits: Limits = Limits(),
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    before: str = "",
) -> Watched:
    """Call something in a process of its own, and return what was watched.

    Args:
        call: a function of a module; or a statement to run.
        arguments: for it.
        limits: of time and memory.
        environment: variables beside those of this process.
        cwd: where it runs.
        before: Python that runs first, such as to close a stream.
    """
    _FORKS.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "out"), Path(folder, "err")
        given = {**os.environ, "KILAT_LANG": "en", **(environment or {})}
        process = _FORKS.Process(target=_begin, args=(call, arguments, limits, given, cwd, before, files))
        begun = time.monotonic()
        process.start()
        assert process.pid is not None
        peak, cpu, interrupted, was_killed = 0, 0.0, None, False
        pids = {process.pid}
        while process.is_alive():
            process.join(_EVERY)
            tree = [*_tree(process.pid)]
            memory, cpu_now = _taken(tree)
            peak, cpu = max(peak, memory), max(cpu, cpu_now)
            pids.update(tree)
            if limits.interrupt is not None and interrupted is None and cpu >= limits.interrupt:
                interrupted = cpu
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGINT)
            if time.monotonic() - begun > limits.seconds or cpu > limits.cpu:
                was_killed = True
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - begun
        left = _end(pids)
        out, err = (path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else "" for path in files)
        code = process.exitcode
        assert code is not None
        after = 0.0 if interrupted is None else cpu - interrupted
        return Watched(code, seconds, cpu, peak, out, err, was_killed, after, left)


def kilat(*arguments: object, **options: Any) -> Watched:
    """Run the command line in a process of its own, and return what was watched."""
    return watch(_main, *map(str, arguments), **options)


def _main(*arguments: str) -> None:
    sys.argv = ["kilat", *arguments]
    from kilat.cli import main

    main()


def _begin(
    call: Callable[..., object],
    arguments: Sequence[Any],
    limits: Limits,
    environment: Mapping[str, str],
    cwd: Path | None,
    before: str,
    files: tuple[Path, Path],
) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if cwd is not None:
        os.chdir(cwd)
    if limits.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    exec(before)
    call(*arguments)


def _taken(tree: Sequence[int]) -> tuple[int, float]:
    """Return memory and processor seconds of a process and all that it started."""
    memory, cpu = 0, 0.0
    for pid in tree:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            memory += 1024 * int(rollup.partition("\nPss:")[2].split()[0])
            numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError, ValueError):
            continue
        cpu += sum(map(int, numbers[11:15])) / _TICKS  # of its threads, and of its children that have ended
    return memory, cpu


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        threads = [*Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _tree(int(child))


def _end(pids: Iterable[int]) -> int:
    """Kill what is left of some processes, and return how many there were."""
    left = 0
    time.sleep(_EVERY)  # whoever has just ended may not be gone yet
    for pid in pids:
        try:
            is_there = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if is_there:
            left += 1
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    return left
