"""The guarded process: decodes one picture at a time where a decoder may do harm, and may be ended at any moment.

It has limits of memory and of processor time of its own, so that a picture that takes more, or brings the decoder down,
is a refusal of that picture and nothing else. It starts when it is first needed, from anywhere: a notebook,
``python -``, macOS, Windows. Nothing that comes over its pipes is executed: a head of fixed size or JSON, and bytes.
"""

import atexit
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, cast

from kilat.errors import PictureError
from kilat.runtime.cores import available_cores

REQUEST = struct.Struct("<QQQQd")
"""Bytes of the file, most pixels, the side that is needed (0 for all), bytes allowed, seconds of processor time."""

ANSWER = struct.Struct("<IQ")
"""Bytes of the head, in JSON, and of the pixels."""

SECONDS = 8.0
"""Processor time that a picture may take. The slowest that the limits of ``picture_header`` allow takes half of it."""

_MOST_PROCESSES = 8
_MOST_HEAD = 1 << 16
_WALL = 9.0 if os.name == "posix" else 1.0
"""Times the processor time is what a picture may take by the clock, for systems that do not limit processor time."""

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from kilat.data.guarded_child import serve; serve()"

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # For the C library of Linux: what a picture took goes back to the system when it is freed; that of strips is kept.
    "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


@dataclass(frozen=True)
class Request:
    """A picture to decode.

    Args:
        content: of its file.
        most_pixels: a picture that has more is refused.
        shrink_to: the side that will be needed; None for all pixels.
        allowed: bytes that decoding may take.
        seconds: of processor time that it may take.
    """

    content: bytes
    most_pixels: int
    shrink_to: int | None
    allowed: int
    seconds: float = SECONDS


@dataclass(frozen=True)
class Answer:
    """A decoded picture.

    Args:
        size: width and height of the pixels.
        full: width and height of the whole picture, upright.
        file_stats: a record of ``kilat.data.file_stats.FILE_STATS``.
        pixels: in RGB.
    """

    size: tuple[int, int]
    full: tuple[int, int]
    file_stats: bytes
    pixels: bytearray


def ask(request: Request) -> Answer:
    """Have a picture decoded; safe to call from several threads, which wait where all processes are at work.

    Raises:
        PictureError: it cannot be decoded, or takes too much time or memory, or ends its decoder.
    """
    return _processes.ask(request)


def interrupt() -> None:
    """End what is being decoded now, as Ctrl-C does; whoever waits for it gets a PictureError at once."""
    _processes.kill()


class _Process:
    """A process that decodes one picture after the other, until its standard input ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - this interpreter, and our own code
            [sys.executable, "-I", "-c", _START, json.dumps([*map(str, sys.path)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT,
            bufsize=0,
            # Ctrl-C in a terminal goes to the whole group of a program: it ends this process through its parent.
            start_new_session=True,  # POSIX
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
        )
        self._seconds, self._is_late = SECONDS, False

    def decode(self, request: Request) -> Answer:
        """Return the decoded picture; where anything else is raised than a PictureError, the process is to be ended."""
        self._seconds = request.seconds
        timer = threading.Timer(_WALL * max(request.seconds, 1.0), self._end_late)
        timer.daemon = True
        timer.start()
        try:
            head = REQUEST.pack(
                len(request.content), request.most_pixels, request.shrink_to or 0, request.allowed, request.seconds
            )
            _write(self._process.stdin, head)
            _write(self._process.stdin, request.content)
            return self._answer(request)
        finally:
            timer.cancel()

    def _answer(self, request: Request) -> Answer:
        output = self._process.stdout
        size, count = ANSWER.unpack(_read(output, ANSWER.size))
        if size > _MOST_HEAD or count > request.allowed:
            raise EOFError
        head = json.loads(_read(output, size))
        if "code" in head:
            raise PictureError(head["code"], head["detail"])
        width, height = head["size"]
        if count != 3 * width * height:
            raise EOFError
        stats = bytes.fromhex(head["file_stats"])
        return Answer((width, height), tuple(head["full"]), stats, _read(output, count))

    def end(self) -> PictureError:
        """End the process, and return what its end says of the picture that it had."""
        self.close_pipes()
        code = self._process.poll()
        if code is None:
            self._process.kill()
        code = self._process.wait()
        if self._is_late or code == -getattr(signal, "SIGXCPU", 0):
            return PictureError("too_slow", f"> {self._seconds:g} s")
        if code == -getattr(signal, "SIGKILL", 0):  # by the system, for want of memory
            return PictureError("out_of_memory")
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return PictureError("decoder_died", name)

    def kill(self) -> None:
        """End the process; who waits for it finds that out."""
        self._process.kill()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended meanwhile."""
        return self._process.poll() is None

    def close_pipes(self) -> None:
        """Close both pipes, at which the process ends by itself when it has nothing to do."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _end_late(self) -> None:
        self._is_late = True
        self._process.kill()


class _Processes:
    """Some processes, each started when all others are at work."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(min(_MOST_PROCESSES, available_cores()))
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._lock = threading.Lock()

    def ask(self, request: Request) -> Answer:
        with self._free:
            process = self._take()
            try:
                answer = process.decode(request)
            except PictureError:
                self._idle.append(process)
                raise
            except (OSError, ValueError, KeyError, EOFError):
                raise self._end(process) from None
            except BaseException:
                self._end(process)
                raise
            self._idle.append(process)
            return answer

    def _take(self) -> _Process:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                self._all.discard(process)
                process.end()
            try:
                process = _Process()
            except (OSError, TypeError, ValueError) as error:  # TypeError: sys.executable is None
                raise PictureError("decoder_died", str(getattr(error, "strerror", "") or error)) from error
            self._all.add(process)
            return process

    def _end(self, process: _Process) -> PictureError:
        self._all.discard(process)
        return process.end()

    def end(self) -> None:
        """End all of them."""
        for process in [*self._all]:
            self._end(process)

    def kill(self) -> None:
        """Kill all of them, and leave it to those who wait for them to clean up."""
        for process in [*self._all]:
            process.kill()

    def forget(self) -> None:
        """Leave them to the process that this one was forked from."""
        for process in self._all:
            process.close_pipes()
        self.__init__()  # type: ignore[misc]


_processes = _Processes()
atexit.register(_processes.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_processes.forget)


def _write(pipe: IO[bytes] | None, content: bytes) -> None:
    """Write all of it: a pipe without a buffer may take a part."""
    assert pipe
    left = memoryview(content)
    while left:
        left = left[pipe.write(left) :]


def _read(pipe: IO[bytes] | None, count: int) -> bytearray:
    """Read so many bytes, or raise EOFError where the process has ended."""
    raw = cast(io.FileIO, pipe)  # it has no buffer
    content = bytearray(count)
    left = memoryview(content)
    while left:
        read = raw.readinto(left)
        if not read:
            raise EOFError
        left = left[read:]
    return content
