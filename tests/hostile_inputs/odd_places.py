"""Every place where a command takes a file, filled with things that are no files, or files of no end.

A pipe blocks whoever opens it, a device never ends, a file of the kernel says that it is empty and is not, a sparse
file is larger than any memory.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hostile_inputs.case import MIB, make_socket
from hostile_inputs.jpeg import photo

Put = Callable[[Path], None]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 100_000 * MIB)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _kernel(path: Path) -> None:
    path.symlink_to("/proc/kmsg")


def _itself(path: Path) -> None:
    path.symlink_to(path.name)


def _noise(path: Path) -> None:
    path.write_bytes(bytes((7 * n * n + 3 * n) & 255 for n in range(5_000)))


def _controls(path: Path) -> None:
    path.write_text('\x1b[2J\x07{"a\u202e": [\x00\n' * 50, "utf-8")


ODD_FILES: dict[str, Put] = {
    "pipe": _pipe,
    "socket": make_socket,
    "zeros": _zeros,
    "kernel": _kernel,
    "itself": _itself,
    "sparse": _sparse,
    "empty": Path.touch,
    "folder": Path.mkdir,
    "noise": _noise,
    "controls": _controls,
}
"""What is put where a file is expected, by name."""


@dataclass(frozen=True)
class OddPlace:
    """A place where a command takes a file.

    Args:
        name: of the place.
        file: the path that is exchanged for something odd, below the working folder.
        command: that reads it, with paths below the working folder.
        codes: exit codes that are right.
    """

    name: str
    file: str
    command: tuple[str, ...]
    codes: tuple[int, ...] = (2,)

    @property
    def is_quick(self) -> bool:
        """Whether the command ends at once where the file cannot be read."""
        return self.codes == (2,)


_DONE = (0, 2)  # an empty recipe is one of defaults, and a missing table is not shown
_LISTED = (0,)

PLACES = (
    OddPlace("table", "odd.csv", ("train", "odd.csv")),
    OddPlace("table-of-lines", "odd.jsonl", ("check", "odd.jsonl")),
    OddPlace("table-of-columns", "odd.parquet", ("eval", "run", "odd.parquet")),
    OddPlace("zip", "odd.zip", ("train", "odd.zip")),
    OddPlace("tar", "odd.tar", ("drift", "run", "odd.tar")),
    OddPlace("packed-tar", "odd.tar.gz", ("predict", "run", "odd.tar.gz"), (1, 2)),
    OddPlace("model", "odd.onnx", ("predict", "odd.onnx", "data")),
    OddPlace("model-of-a-run", "copy/model.onnx", ("eval", "copy", "data")),
    OddPlace("model-of-a-drift", "copy/model.onnx", ("drift", "copy", "data")),
    OddPlace("model-inside", "odd.onnx", ("activations", "odd.onnx", "data/a/0.jpg")),
    OddPlace("picture-inside", "odd.jpg", ("activations", "run", "odd.jpg"), (1, 2)),
    OddPlace("recipe", "odd.yaml", ("train", "data", "--recipe", "odd.yaml"), _DONE),
    OddPlace("recipe-of-a-lab", "odd.yaml", ("lab", "data", "--recipe", "odd.yaml", "--vary", "head.l2=1,2"), _DONE),
    OddPlace("recipe-of-a-preview", "odd.yaml", ("preview", "data", "--recipe", "odd.yaml"), _DONE),
    OddPlace("recipe-of-a-summary", "odd.yaml", ("summary", "odd.yaml"), _DONE),
    OddPlace("recipe-of-a-schedule", "odd.yaml", ("schedule", "odd.yaml"), _DONE),
    OddPlace("corrections", "odd.csv", ("train", "data", "--labels", "odd.csv")),
    OddPlace("corrections-of-a-check", "odd.csv", ("check", "data", "--labels", "odd.csv")),
    OddPlace("weights", "odd.safetensors", ("train", "data", "--weights", "odd.safetensors")),
    OddPlace("weights-of-pickle", "odd.pth", ("train", "data", "--weights", "odd.pth", "--backbone", "resnet18")),
    OddPlace("keras", "odd.keras", ("import", "odd.keras", "--classes", "a,b")),
    OddPlace("keras-h5", "odd.h5", ("import", "odd.h5", "--classes", "a,b")),
    OddPlace("class-names", "odd.txt", ("import", "odd.keras", "--classes", "odd.txt")),
    OddPlace("class-names-of-json", "odd.json", ("import", "odd.keras", "--classes", "odd.json")),
    OddPlace("resumed-start", "copy/run.json", ("train", "--resume", "copy")),
    OddPlace("report-metrics", "copy/metrics.json", ("report", "copy")),
    OddPlace("report-catalog", "copy/catalog.csv", ("report", "copy"), _DONE),
    OddPlace("report-predictions", "copy/predictions.csv", ("report", "copy"), _DONE),
    OddPlace("report-recipe", "copy/recipe.yaml", ("report", "copy")),
    OddPlace("report-illustrations", "copy/report.json", ("report", "copy")),
    OddPlace("report-history", "copy/history.csv", ("report", "copy"), _DONE),
    OddPlace("report-page", "copy/report.html", ("report", "copy"), (0, 1, 2)),
    OddPlace("runs-metrics", "copies/copy/metrics.json", ("runs", "copies"), _LISTED),
    OddPlace("runs-start", "copies/copy/run.json", ("runs", "copies"), _LISTED),
    OddPlace("compare-metrics", "copy/metrics.json", ("compare", "run", "copy")),
    OddPlace("compare-predictions", "copy/predictions.csv", ("compare", "run", "copy"), _DONE),
    OddPlace("lab-document", "lab/lab.json", ("lab", "resume", "lab")),
    OddPlace("lab-recipe", "lab/lab.yaml", ("lab", "report", "lab")),
)


def prepare(folder: Path, run: Path) -> None:
    """Make a folder in which the commands of all places work: data, and a finished run."""
    (folder / "run").symlink_to(run)
    for label in "ab":
        (folder / "data" / label).mkdir(parents=True)
        for number in range(6):
            (folder / "data" / label / f"{number}.jpg").write_bytes(photo(24 + number + 6 * (label == "b")))


def fill(folder: Path, run: Path, place: OddPlace, put: Put) -> None:
    """Put something odd at a place, beside everything else that its command needs."""
    for copy in ("copy", "copies/copy"):
        if place.file.startswith(copy):
            shutil.copytree(run, folder / copy, dirs_exist_ok=True)
    path = folder / place.file
    path.parent.mkdir(parents=True, exist_ok=True)
    clear(path)
    put(path)


def clear(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def odd_places() -> Iterator[tuple[OddPlace, str, Put]]:
    """Yield every place with every odd thing."""
    for place in PLACES:
        for name, put in ODD_FILES.items():
            yield place, name, put
