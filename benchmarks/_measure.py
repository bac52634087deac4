"""What all benchmarks share: whole processes timed from outside, peers in turn, medians with ranges.

The scripts are run by ``make bench``, or one by one; each says in its docstring what is claimed and how it is measured.
A claim that a machine misses is printed as missed, and the script ends with success all the same.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from kilat.runtime.cores import available_cores

HERE = Path(__file__).resolve().parent
KILAT = str(Path(sysconfig.get_path("scripts")) / "kilat")
"""The command as it was installed beside this interpreter."""

PACKAGES = ("kilat", "numpy", "pillow", "onnxruntime", "scikit-learn")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_ROOTS = (os.environ.get("KILAT_DATA", ""), str(Path.home() / ".cache" / "kilat-shared-data"))


@dataclass(frozen=True)
class Finished:
    """A program that has ended.

    Args:
        seconds: from before it was started until it had ended.
        peak: the most memory that it held at once, in bytes.
        output: what it wrote to standard output.
    """

    seconds: float
    peak: int
    output: str

    @property
    def document(self) -> Any:
        """The JSON document in the last line of the output."""
        return json.loads(self.output.splitlines()[-1])


def run(command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end, timed from outside; a program that fails ends the benchmark with its error.

    Args:
        command: the program and its arguments.
        cwd: where it runs.
        environment: variables besides those of this process.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"KILAT_LANG": "en", **(environment or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=cwd, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-4000:]}")
        return Finished(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), output.read())


def train(data: str | Path, runs: Path, cache: Path, *options: str) -> Finished:
    """Run `kilat train` on the CPU with `--json`, so that the last line of its output is a document."""
    command = [KILAT, "train", str(data), "--device", "cpu", "--runs", str(runs), "--json", *options]
    return run(command, environment={"KILAT_CACHE": str(cache)})


def interleave(rounds: int, rivals: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure rivals in turn, A B A B and so on, so that whatever else the machine does slows all of them alike."""
    samples: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, measure in rivals.items():
            samples[name].append(measure())
    return samples


def print_header(doc: str | None, *packages: str) -> None:
    """Print what is measured, on which machine, and the versions of what is compared."""
    print((doc or "").partition("\n\n")[0].replace("\n", " "))
    print(f"machine   {machine()}")
    print(f"versions  Python {platform.python_version()}, {versions(packages or PACKAGES)}")


def machine() -> str:
    """Return processor, cores that this process may use, memory and operating system, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{_processor()}; {available_cores()} cores; {memory:.1f} GiB; {platform.platform()}"


def versions(packages: Sequence[str]) -> str:
    """Return the installed versions of some packages, in a line."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in packages)


def summary(values: Sequence[float], unit: str = "s", digits: int = 2) -> str:
    """Return median, minimum, maximum and count, in words."""
    low, high, middle = min(values), max(values), statistics.median(values)
    return f"{middle:,.{digits}f} {unit} ({low:,.{digits}f}–{high:,.{digits}f}, n={len(values)})"


def ratio(first: Sequence[float], second: Sequence[float]) -> tuple[float, str]:
    """Return the ratio of two medians; and in words, with the range of the ratios of single pairs."""
    middle = statistics.median(first) / statistics.median(second)
    pairs = [a / b for a, b in zip(first, second, strict=True)]
    return middle, f"{middle:.2f} (pairs {min(pairs):.2f}–{max(pairs):.2f})"


def verdict(claim: str, measured: str, holds: bool) -> None:
    """Print a claim, what was measured, and whether the claim holds."""
    print(f"claim     {claim}: measured {measured}: {'holds' if holds else 'MISSED'}")


def skip(reason: str) -> NoReturn:
    """End the script with success and say why there is nothing to measure here."""
    print(f"skipped: {reason}")
    sys.exit(0)


def dataset_folder(name: str, folder: Path | None = None) -> Path:
    """Return the folder of a data set: ``folder``, or one below ``$KILAT_DATA`` or the cache; skip if there is none."""
    if folder is not None:
        return folder.resolve() if folder.is_dir() else skip(f"there is no folder {folder}")
    for root in filter(None, _ROOTS):
        if (found := Path(root) / name).is_dir():
            return found.resolve()
    skip(f"data set '{name}' not found: give its folder, or set KILAT_DATA to the folder that holds {name}/")


def list_pictures(folder: Path) -> list[Path]:
    """Return all pictures in the class folders, sorted."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())


def warm_disk_cache(files: Sequence[Path]) -> None:
    """Read files, so that whatever is measured first finds them in memory like the others."""
    for file in files:
        file.read_bytes()


def subsample(folder: Path, count: int, target: Path) -> Path:
    """Return a folder with links to ``count`` of the pictures, evenly spaced; the folder itself if ``count`` is 0."""
    if not count:
        return folder
    files = list_pictures(folder)
    if count > len(files):
        sys.exit(f"{folder} holds {len(files):,} pictures, fewer than {count:,}.")
    for index in range(count):
        file = files[index * len(files) // count]
        link = target / folder.name / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return target / folder.name


def disk_usage(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk, a file with several names counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            stat = (Path(where) / name).lstat()
            sizes[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(sizes.values())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
