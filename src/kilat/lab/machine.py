"""The machine that a lab ran on: seconds mean nothing without it."""

import contextlib
import importlib.metadata
import platform
import re
from pathlib import Path

from kilat.runtime.cores import available_cores

_PACKAGES = ("kilat", "numpy", "onnxruntime", "torch")


def describe_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return processor, cores, system and versions, by name.

    Args:
        cpuinfo: where Linux names the processor.
    """
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text("utf-8", "replace"), re.MULTILINE):
            processor = found[1]
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"processor": processor, "cores": str(available_cores()), "system": platform.system(), **versions}
