"""The most memory that a piece of work held, as far as the system says."""

import contextlib
import re
from pathlib import Path

_PROCESS = Path("/proc/self")
_FORGET_PEAK = "5"
"""What Linux takes as the request to begin its record of the peak anew (proc(5), ``clear_refs``)."""


class PeakMemory:
    """Records the most memory that this process holds from here on, its interpreter and libraries included.

    Only Linux begins its record anew; elsewhere nothing is known of a part of a process's life.
    """

    def __init__(self, process: Path = _PROCESS) -> None:
        self._process = process
        self._is_known = False
        with contextlib.suppress(OSError):
            (process / "clear_refs").write_text(_FORGET_PEAK, "ascii")
            self._is_known = True

    def read(self) -> int | None:
        """Return the bytes; None where the system does not say."""
        with contextlib.suppress(OSError):
            found = re.search(r"^VmHWM:\s+(\d+) kB", (self._process / "status").read_text("ascii"), re.MULTILINE)
            return int(found[1]) * 1024 if found and self._is_known else None
        return None
