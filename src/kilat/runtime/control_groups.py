"""Control groups of Linux: how containers and the jobs of a cluster are limited."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def own_groups(kind: str, root: Path = Path("/")) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, those around them after each.

    Args:
        kind: what is limited, such as ``memory`` or ``cpu``; in version 1 each kind has folders of its own.
        root: of the file system with ``proc`` and ``sys``.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, kinds, inner = line.split(":", 2)
            if kinds and kind not in kinds.split(","):
                continue
            top = root / "sys/fs/cgroup" / (kind if kinds else "")
            group = top / inner.lstrip("/")
            while group.is_relative_to(top):
                yield group
                group = group.parent
