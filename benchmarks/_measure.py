"""How every benchmark here measures and speaks: whole processes timed from outside, peers in turn, medians with ranges.

The scripts are run by ``make bench``, or one by one; each says in its docstring what is claimed and how it is measured.
They report and do not judge: a claim that a machine misses is printed as missed, and the script ends well all the same.
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

from kilat.runtime.cores import threads

HERE = Path(__file__).resolve().parent
KILAT = str(Path(sysconfig.get_path("scripts")) / "kilat")
"""The command as it was installed beside this interpreter."""

PACKAGES = ("kilat", "numpy", "pillow", "onnxruntime", "scikit-learn")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_PLACES = (os.environ.get("KILAT_DATA", ""), str(Path.home() / ".cache" / "kilat-shared-data"))


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end.

    Args:
        seconds: from before it was started until it was gone.
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


def whole(command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Finished:
    """Runs a program to its end, timed from outside; a program that fails ends the benchmark with what it said.

    Args:
        command: the program and its arguments.
        cwd: where it runs.
        environment: variables that it gets besides those of this process.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"LANGUAGE": "en", **(environment or {})}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=complained, cwd=cwd, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{complained.read()[-4000:]}")
        return Finished(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), said.read())


def train(data: str | Path, runs: Path, cache: Path, *options: str) -> Finished:
    """A whole `kilat train` on the CPU; `--json` is said, so that its last line is a document."""
    command = [KILAT, "train", str(data), "--device", "cpu", "--runs", str(runs), "--json", *options]
    return whole(command, environment={"KILAT_CACHE": str(cache)})


def in_turn(rounds: int, rivals: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measures rivals in turn, A B A B and so on, so that whatever the machine does meanwhile meets them all alike."""
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, measure in rivals.items():
            taken[name].append(measure())
    return taken


def opening(doc: str | None, *packages: str) -> None:
    """Prints what is measured, on which machine, and the versions of what is compared."""
    print((doc or "").partition("\n\n")[0].replace("\n", " "))
    print(f"machine   {machine()}")
    print(f"versions  Python {platform.python_version()}, {versions(packages or PACKAGES)}")


def machine() -> str:
    """Processor, cores that this process may use, memory and operating system, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{_processor()}; {threads()} cores; {memory:.1f} GiB; {platform.platform()}"


def versions(packages: Sequence[str]) -> str:
    """The installed versions of some packages, in a line."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in packages)


def spread(values: Sequence[float], unit: str = "s", digits: int = 2) -> str:
    """Median, minimum, maximum and count."""
    low, high, middle = min(values), max(values), statistics.median(values)
    return f"{middle:,.{digits}f} {unit} ({low:,.{digits}f}–{high:,.{digits}f}, n={len(values)})"


def ratio(first: Sequence[float], second: Sequence[float]) -> tuple[float, str]:
    """The ratio of two medians; and in words, with the range that single pairs show."""
    middle = statistics.median(first) / statistics.median(second)
    pairs = [a / b for a, b in zip(first, second, strict=True)]
    return middle, f"{middle:.2f} (pairs {min(pairs):.2f}–{max(pairs):.2f})"


def verdict(claim: str, measured: str, holds: bool) -> None:
    """Prints a claim, what was measured, and whether the claim holds."""
    print(f"claim     {claim}: measured {measured}: {'holds' if holds else 'MISSED'}")


def skip(reason: str) -> NoReturn:
    """Ends the script well, saying why there is nothing to measure here."""
    print(f"skipped: {reason}")
    sys.exit(0)


def pictures_of(name: str, given: Path | None = None) -> Path:
    """The folder of a data set: the one that was given, else below ``$KILAT_DATA`` or the usual cache; else skips."""
    if given is not None:
        return given.resolve() if given.is_dir() else skip(f"there is no folder {given}")
    for place in filter(None, _PLACES):
        if (folder := Path(place) / name).is_dir():
            return folder.resolve()
    skip(f"the pictures '{name}' are not here: name their folder, or set KILAT_DATA to the folder that holds {name}/")


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in the class folders, sorted."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())


def read_once(files: Sequence[Path]) -> None:
    """Reads files, so that the disk is as quick for whoever comes first as for the others."""
    for file in files:
        file.read_bytes()


def thin(folder: Path, count: int, target: Path) -> Path:
    """A folder with links to ``count`` of the pictures in class folders, spread evenly; the folder itself if 0."""
    if not count:
        return folder
    files = pictures_below(folder)
    if count > len(files):
        sys.exit(f"{folder} holds {len(files):,} pictures, fewer than {count:,}.")
    for index in range(count):
        file = files[index * len(files) // count]
        link = target / folder.name / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return target / folder.name


def on_disk(folder: Path) -> int:
    """Bytes that a folder takes on the disk, a file with several names counted once."""
    seen: dict[tuple[int, int], int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            about = (Path(where) / name).lstat()
            seen[about.st_dev, about.st_ino] = about.st_blocks * 512
    return sum(seen.values())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
