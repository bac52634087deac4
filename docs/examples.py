"""Runs the commands that README and the guides show, and writes what they print; with --check only compares.

An example is a command in a block ```console, `$ kilat …`, with the output that follows it; a command without output is
run only where it makes a file for those that follow. The examples of a page run in their order in one folder, where
`flowers/` are those pictures under $KILAT_DATA, `five.png`, `daisy.jpg`, `rose.jpg`, `bud.jpg` and
`frog.png` some of them, and where the recipes of the course lie. A line `…` stands for any number of lines. Pages below
`docs/LANGUAGE/` show the output in that language.

Notebooks are run as well; their outputs are written, and with --check it is enough that no cell fails.

Lessons of the course show whole trainings, which other processors may end with other sentences: with --check they are
compared only where they are named. Numbers are not compared: other machines print other seconds, and other processors
other accuracies; what else follows from a training, such as the mistakes to look at, is left out of other pages by `…`.
Examples whose pictures are not here stay as they are, which is said.

    python docs/examples.py --check                     every page but the lessons
    python docs/examples.py guide/networks.md           one of them, written
    python docs/examples.py id/course/03-convolution.md
    python docs/examples.py notebooks/first-classifier.ipynb
"""

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
LANGUAGES = ("", *sorted(page.parts[-3] for page in HERE.glob("*/course/index.md")))
"""The folders of pages below docs/: English at its root, and every other language."""

PAGES = [
    *sorted(HERE.parent.glob("README*.md")),
    *(
        page
        for language in LANGUAGES
        for folder in ("guide", "course")
        for page in sorted((HERE / language / folder).glob("*.md"))
    ),
    *sorted(HERE.glob("notebooks/*.ipynb")),
]

BLOCK = re.compile(r"(?<!-->\n)^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""What is run; commands of experiments, behind a comment, are for docs/course.py."""

_NUMBER = re.compile(r"[~+-]?\d[\d.,]*(e-\d+)?")
_ELLIPSIS = "…"
_STAGES = re.compile(r"^\w[^:\n]*(:| \.+) ((.*/\w+|[\d.,]+ [^\W\d]\w*), )?[\d.,]+ [^\W\d]\w*( \w+)?\n", re.MULTILINE)
_WRITES = re.compile(r" > |sed -i|^\$ python ")
_NEEDS_FLOWERS = re.compile(r"\bflowers(?!-)|daisy\.jpg")
"""What commands for flowers alone name; flowers-dense is a recipe."""
_PHOTOS = {
    "daisy.jpg": "daisy/100080576_f52e8ee070_n.jpg", "rose.jpg": "roses/1485142251_ca89254442.jpg",
    "bud.jpg": "tulips/13857267684_d2a4b2630f_n.jpg",
}  # fmt: skip
"""Files of flowers, by the names that they have in examples."""


@dataclass(frozen=True)
class Example:
    """A command and its output, as a page shows them.

    Args:
        command: as it is typed.
        shown: the lines of its output.
    """

    command: str
    shown: list[str]

    def abridge(self, printed: list[str]) -> list[str]:
        """Return lines with a part left out where the page leaves one out."""
        if _ELLIPSIS not in self.shown:
            return printed
        shown = self.shown if self.shown[-1] else self.shown[:-1]
        before = shown.index(_ELLIPSIS)
        after = len(shown) - before - 1
        return [*printed[:before], _ELLIPSIS, *printed[len(printed) - after :]]

    def is_current(self, lines: list[str]) -> bool:
        """Return whether the page shows these lines, but for their numbers."""
        return [_NUMBER.sub("#", line) for line in self.shown] == [_NUMBER.sub("#", line) for line in lines]


def examples(block: str) -> list[Example]:
    """Return the commands of a block with what follows each."""
    found: list[Example] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Example(line, []))
        else:
            found[-1].shown.append(line)
    return found


def rewrite(text: str, folder: Path, language: str, *, check: bool) -> str:
    """Return a page with the output of its examples as it is today; only checked, with its own numbers."""

    def run(match: re.Match[str]) -> str:
        lines = []
        for example in examples(match[1]):
            is_run = any(example.shown) or _WRITES.search(example.command)
            printed = output(example, folder, language) if is_run else example.shown
            lines += [example.command, *(example.shown if check and example.is_current(printed) else printed)]
        return "\n".join(["```console", *lines, "```"])

    return BLOCK.sub(run, text)


def language_of(page: Path) -> str:
    """Return the code of the language of a page: that of its folder below docs/, or in its name, README.id.md."""
    return next(
        (code for code in LANGUAGES[1:] if (HERE / code) in page.parents or page.suffixes[0] == f".{code}"), "en"
    )


def output(example: Example, folder: Path, language: str) -> list[str]:
    """Run an example, and return its output, or what is shown where the pictures are not here."""
    if _NEEDS_FLOWERS.search(example.command) and not (folder / "flowers").exists():
        print(f"  not run, without flowers: {example.command}")
        return example.shown
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
        "KILAT_CACHE": str(folder / "cache"),
        "NO_COLOR": "1",
        "KILAT_LANG": language,
    }
    command = example.command.removeprefix("$ ")
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    printed = (done.stdout or without_stages(done.stderr)).rstrip("\n").splitlines()
    print(f"  {example.command}", flush=True)
    gap = [""] if example.shown[-1:] == [""] else []  # between two commands
    return [*example.abridge(printed), *gap]


def without_stages(text: str) -> str:
    """Return what a command wrote to standard error, without the lines that say how far it is."""
    return _STAGES.sub("", text)


def execute(notebook: str, folder: Path) -> str:
    """Run the cells of a notebook in a folder, and return it with their outputs; a cell that fails raises."""
    cells = nbformat.reads(notebook, as_version=4)
    os.environ["KILAT_CACHE"] = str(folder / "cache")
    NotebookClient(cells, record_timing=False, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in cells.cells:
        for found in cell.get("outputs", []):  # progress is of no interest once it is over
            found.get("metadata", {}).clear()
    written: str = nbformat.writes(cells)
    return written.rstrip("\n") + "\n"


def lay_out(folder: Path) -> None:
    """Put the pictures that examples use into a folder."""
    shutil.copytree(HERE / "course" / "recipes", folder, dirs_exist_ok=True)
    digits = load_digits()
    five = digits.images[int(np.flatnonzero(digits.target == 5)[1])]
    Image.fromarray((five * 15).astype(np.uint8)).save(folder / "five.png")
    root = os.environ.get("KILAT_DATA")
    if root and (Path(root) / "flowers").is_dir():
        shutil.copytree(Path(root) / "flowers", folder / "flowers")
        for name, path in _PHOTOS.items():
            shutil.copy(folder / "flowers" / path, folder / name)
    if root and (Path(root) / "cifar10").is_dir():
        frog = min((Path(root) / "cifar10" / "test" / "frog").iterdir())
        Image.open(frog).resize((256, 256), Image.Resampling.BICUBIC).save(folder / "frog.png")


def main() -> int:
    """Write the pages, or compare them; 1 if one is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="below docs/, or README.md; all by default")
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args()
    stale = False
    every = [page for page in PAGES if not (args.check and page.parent.name == "course")]
    for page in [HERE / name for name in args.pages] or every:
        old = page.read_text("utf-8")
        print(page.relative_to(HERE.parent), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder))
            is_notebook = page.suffix == ".ipynb"
            new = (
                execute(old, Path(folder))
                if is_notebook
                else rewrite(old, Path(folder), language_of(page), check=args.check)
            )
        if not args.check:
            page.write_text(new, "utf-8")
        elif new != old and not is_notebook:
            stale = True
            sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), page.name, "today"))
            print(f"{page.name} is stale: run `make docs`.", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
