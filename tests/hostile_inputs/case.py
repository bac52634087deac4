"""What a hostile input is: how it is written to disk, and what may come of it."""

import inspect
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MIB = 1 << 20

Outcome = Literal["refused", "used", "either"]


@dataclass(frozen=True)
class Sparse:
    """A file that takes no room on the disk: bytes at its start, then zeros up to its size."""

    head: bytes
    size: int


@dataclass(frozen=True)
class Hostile:
    """A hostile input.

    Args:
        name: of its file, unlike all others.
        content: makes what stands in the file; or writes the file at a path that is given, and returns nothing.
        may: what may come of it: it is refused with a reason, it is used, or either of them.
        is_quick: whether writing it and refusing it take milliseconds and hardly any memory.
    """

    name: str
    content: Callable[[], bytes | Sparse] | Callable[[Path], None]
    may: Outcome
    is_quick: bool

    def write(self, folder: Path) -> Path:
        """Write it into a folder and return its path."""
        path = folder / self.name
        if "path" in inspect.signature(self.content).parameters:
            self.content(path)  # type: ignore[call-arg]
            return path
        content = self.content()  # type: ignore[call-arg]
        head = content.head if isinstance(content, Sparse) else content
        path.write_bytes(head)
        if isinstance(content, Sparse):
            os.truncate(path, content.size)
        return path


Maker = Callable[[], bytes | Sparse] | Callable[[Path], None]


class Corpus(dict[str, Hostile]):
    """Hostile inputs by the names of their files."""

    def add(
        self, *names: str, may: Outcome = "either", quick: bool = False
    ) -> Callable[[Callable[..., object]], Callable[..., object]]:
        """Return a decorator that adds a function that makes a file's content, under one name or several."""

        def keep(make: Callable[..., object]) -> Callable[..., object]:
            for name in names:
                assert name not in self, name
                self[name] = Hostile(name, make, may, quick)  # type: ignore[arg-type]
            return make

        return keep


def make_socket(path: Path) -> None:
    """Leave a socket that nobody listens on."""
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)
