"""Files that are called pictures and are something else: pipes, links, devices, folders, other formats."""

import os
from pathlib import Path

from hostile_inputs.case import MIB, Corpus, Sparse, make_socket
from hostile_inputs.jpeg import photo

ODD = Corpus()


@ODD.add("pipe.jpg", may="refused", quick=True)
def _pipe(path: Path) -> None:
    os.mkfifo(path)


@ODD.add("link-to-zeros.jpg", may="refused", quick=True)
def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@ODD.add("link-to-noise.png", may="refused", quick=True)
def _noise(path: Path) -> None:
    path.symlink_to("/dev/urandom")


@ODD.add("link-to-terminal.png", may="refused", quick=True)
def _terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


@ODD.add("link-to-itself.jpg", may="refused", quick=True)
def _itself(path: Path) -> None:
    path.symlink_to(path.name)


@ODD.add("link-to-nothing.jpg", may="refused", quick=True)
def _nothing(path: Path) -> None:
    path.symlink_to("nowhere.jpg")


@ODD.add("link-to-a-pipe.jpg", may="refused", quick=True)
def _linked_pipe(path: Path) -> None:
    target = path.parent / ".pipe"
    os.mkfifo(target)
    path.symlink_to(target)


@ODD.add("link-to-memory.jpg", may="refused", quick=True)
def _memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


@ODD.add("link-to-the-kernel.jpg", may="refused", quick=True)
def _kernel(path: Path) -> None:
    """A file of the kernel says that it has no bytes, and gives as many as one reads."""
    path.symlink_to("/proc/kmsg" if os.access("/proc/kmsg", os.R_OK) else "/proc/self/maps")


@ODD.add("socket.jpg", may="refused", quick=True)
def _socket(path: Path) -> None:
    make_socket(path)


@ODD.add("unreadable.jpg", quick=True)
def _unreadable(path: Path) -> None:
    path.write_bytes(photo())
    path.chmod(0)


@ODD.add("empty.jpg", may="refused", quick=True)
def _empty() -> bytes:
    return b""


@ODD.add("zeros.jpg", may="refused", quick=True)
def _zero_bytes() -> bytes:
    return bytes(1_000)


@ODD.add("hundred-gigabytes.jpg", may="refused", quick=True)
def _hundred() -> Sparse:
    return Sparse(photo(), 100_000 * MIB)


@ODD.add("page.jpg", may="refused", quick=True)
def _page() -> bytes:
    return b"<!doctype html><html>" + b"<a>" * 1_000_000


@ODD.add("drawing-of-entities.jpg", may="refused", quick=True)
def _entities() -> bytes:
    entities = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    return f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a0 "a">{entities}]><svg>&a9;</svg>'.encode()


@ODD.add("postscript.jpg", may="refused", quick=True)
def _postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%touch /tmp/owned) (w) file\n"


@ODD.add("icon-of-a-picture.png", may="refused", quick=True)
def _icon() -> bytes:
    return b"\0\0\1\0\xff\xff" + bytes(1_000)


@ODD.add("brands-of-4-gib.jpg", may="refused", quick=True)
def _brands() -> bytes:
    return b"\xff\xff\xff\xffftypmif1" + bytes(1_000)
