"""Draws the course's figures, runs its experiments, and writes what lessons show of them; with --check only compares.

A lesson is a page of docs/course/ and, under the same name, of docs/LANGUAGE/course/ for every other language. In it

- figures, ``![what is to be seen](images/NAME.svg)``, are drawn by the functions of docs/figures/;
- effects, between ``<!-- lab: NAME -->`` and ``<!-- end -->``, are written from docs/course/results/NAME.json, which
  the experiment NAME of docs/course/experiments.yaml left when it was last run;
- commands with their outputs are run by docs/examples.py; recipes that they name lie in docs/course/recipes/.

    python docs/course.py                    draw the figures, write the effects
    python docs/course.py --measure          run all experiments first; KILAT_DATA names a folder of known data sets
    python docs/course.py --measure NAME     one of them, or several
    python docs/course.py --check            neither draw nor write; 1 if something is not as it would be
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import figures
import yaml
from babel.dates import format_date
from babel.numbers import format_decimal

from kilat.runtime.cores import available_cores

HERE = Path(__file__).resolve().parent
COURSE = HERE / "course"
RESULTS, RECIPES = COURSE / "results", COURSE / "recipes"
PACKAGES = ("kilat", "numpy", "torch", "scipy", "scikit-learn")

_BLOCK = re.compile(r"(<!-- lab: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"!\[[^\]]*\]\(images/([\w-]+)\.svg\)")


@dataclass(frozen=True)
class Experiment:
    """A comparison that a lesson shows.

    Args:
        name: as in the lesson's block.
        command: of ``kilat lab``, as a reader types it.
        needs: the named data set that has to be downloaded first, if any.
        keep: files that the command leaves, to be kept as text beside the effects, for figures.
    """

    name: str
    command: str
    needs: str = ""
    keep: tuple[str, ...] = ()

    @property
    def result(self) -> Path:
        """The file with what was measured."""
        return RESULTS / f"{self.name}.json"


@dataclass(frozen=True)
class Language:
    """A language of the course.

    Args:
        code: such as ``id``.
        folder: of its lessons.
        words: of figures and blocks, by their English ones; none for English.
        missing: those that were needed and are not there.
    """

    code: str
    folder: Path
    words: dict[str, str] | None
    missing: set[str] = field(default_factory=set)

    def __call__(self, text: str) -> str:
        """Return an English word or sentence in this language; as it is where the translation is missing."""
        if self.words is None:
            return text
        if text not in self.words:
            self.missing.add(text)
        return self.words.get(text, text)

    def number(self, value: float, pattern: str = "#,##0.###") -> str:
        """Return a number as this language writes it."""
        return format_decimal(value, pattern, locale=self.code)


def languages() -> Iterator[Language]:
    """Yield English, and every language that has a folder of lessons."""
    yield Language("en", COURSE, None)
    for words in sorted(HERE.glob("*/course/words.yaml")):
        yield Language(words.parts[-3], words.parent, yaml.safe_load(words.read_text("utf-8")))


def experiments() -> dict[str, Experiment]:
    """Return all experiments by their names, in the order of the lessons."""
    listed = yaml.safe_load((COURSE / "experiments.yaml").read_text("utf-8"))
    return {name: Experiment(name, **{**one, "keep": tuple(one.get("keep", ()))}) for name, one in listed.items()}


# ---- measuring


def measure(experiment: Experiment) -> None:
    """Run an experiment and keep what it found, with the machine, the versions, the day and the seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(RECIPES, folder, dirs_exist_ok=True)
        command = _with_data(experiment)
        started = time.monotonic()
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - started
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout}{done.stderr}")
        document = {
            "command": experiment.command,
            "machine": f"{_processor()}, {available_cores()} cores",
            "versions": {package: metadata.version(package) for package in PACKAGES},
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "seconds": round(seconds, 1),
            "files": {kept: (folder / kept).read_text("utf-8") for kept in experiment.keep},
        }
    RESULTS.mkdir(exist_ok=True)
    experiment.result.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def environment(folder: Path) -> dict[str, str]:
    """Return the variables under which commands of the course run: this environment's kilat, its cache in a folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "80", "KILAT_CACHE": str(folder / "cache"), "NO_COLOR": "1"}


def _with_data(experiment: Experiment) -> str:
    """Return the command with the folder of a data set that is already here."""
    root = os.environ.get("KILAT_DATA")
    if experiment.needs and root and (Path(root) / experiment.needs).is_dir():
        return f"{experiment.command} --root {shlex.quote(root)}"
    return experiment.command


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


# ---- writing


def block(experiment: Experiment, say: Language) -> str:
    """Return what a lesson shows of an experiment, as Markdown."""
    if not experiment.result.exists():
        return f"```console\n$ {experiment.command}\n```\n"
    measured = json.loads(experiment.result.read_text("utf-8"))
    return "\n".join(["```console", f"$ {experiment.command}", "```", "", _stamp(measured, say), ""])


def _stamp(measured: dict[str, Any], say: Language) -> str:
    day = format_date(datetime.fromisoformat(measured["date"]), "long", locale=say.code)
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    seconds = say.number(measured["seconds"], "#,##0")
    return f"<small>{say('Measured on')} {day}: {seconds} s, {measured['machine']}; {versions}.</small>"


def written(listed: dict[str, Experiment], say: Language) -> Iterator[tuple[Path, str]]:
    """Yield every file of a language that this script writes, with its text."""
    for name, draw in figures.every_figure().items():
        yield say.folder / "images" / f"{name}.svg", figures.as_file(draw(say))
    for page in sorted(say.folder.glob("*.md")):
        yield (
            page,
            _BLOCK.sub(
                lambda found: f"{found[1]}{block(listed[found[2]], say)}{found[3]}" if found[2] in listed else found[0],
                page.read_text("utf-8"),
            ),
        )


def problems(listed: dict[str, Experiment], say: Language) -> Iterator[str]:
    """Yield what lessons of a language show and is not there, and what is there and no lesson shows."""
    text = "".join(page.read_text("utf-8") for page in sorted(say.folder.glob("*.md")))
    for kind, shown, there in (
        ("figure", set(_FIGURE.findall(text)), set(figures.every_figure())),
        ("experiment", {found[1] for found in _BLOCK.findall(text)}, set(listed)),
    ):
        yield from (
            f"{kind} {name} is not there, and a lesson shows it ({say.code})." for name in sorted(shown - there)
        )
        yield from (f"{kind} {name} is shown by no lesson ({say.code})." for name in sorted(there - shown))
    yield from (f"{say.folder.relative_to(HERE.parent)}/words.yaml: add {word!r}." for word in sorted(say.missing))


def unmeasured(listed: dict[str, Experiment]) -> Iterator[str]:
    """Yield the experiments that were not run as they stand in experiments.yaml."""
    for name, one in listed.items():
        if not one.result.exists() or json.loads(one.result.read_text("utf-8"))["command"] != one.command:
            yield f"experiment {name} was not measured as it stands now: run `make course ONLY={name}`."


def main() -> int:
    """Measure where that is asked for, then write, or compare; 1 if something is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="run these experiments, or all of them")
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args()
    listed = experiments()
    if args.measure is not None:
        chosen = args.measure or list(listed)
        for count, name in enumerate(chosen, 1):
            print(f"[{count}/{len(chosen)}] {name}: {listed[name].command}", flush=True)
            measure(listed[name])
    stale = list(unmeasured(listed))
    for say in languages():
        for path, new in written(listed, say):
            if args.check:
                old = path.read_text("utf-8") if path.exists() else ""
                stale += [f"{path.relative_to(HERE.parent)} is stale: run `make docs`."] if new != old else []
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(new, "utf-8")
        stale += problems(listed, say)
    sys.stderr.writelines(f"{line}\n" for line in stale)
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
