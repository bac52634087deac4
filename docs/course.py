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
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import figures
import yaml
from babel.dates import format_date
from babel.numbers import format_decimal

from kilat.lab.machine import describe_machine
from kilat.report.lab_content import loss, option_names, p_value, points, short_labels, verdict
from kilat.report.lab_results import LabResults

HERE = Path(__file__).resolve().parent
COURSE = HERE / "course"
RESULTS, RECIPES = COURSE / "results", COURSE / "recipes"

_BLOCK = re.compile(r"(<!-- lab: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NUMBER = re.compile(r"(-?\d+\.?\d*)")
_FIGURE = re.compile(r"!\[[^\]]*\]\(images/([\w-]+)\.svg\)")


@dataclass(frozen=True)
class Experiment:
    """What a lesson measures, mostly by ``kilat lab``.

    Args:
        name: as in the lesson's block.
        command: as a reader types it.
        prepare: a command that writes its pictures, if any.
        needs: the known data set that has to be in $KILAT_DATA, if any.
        keep: files that the command leaves, to be kept as text beside the effects, for figures.
    """

    name: str
    command: str
    prepare: str = ""
    needs: str = ""
    keep: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The commands, as a reader types them."""
        return [line for line in (self.prepare, self.command) if line]

    @property
    def result(self) -> Path:
        """The file with what was measured."""
        return RESULTS / f"{self.name}.json"

    @property
    def has_data(self) -> bool:
        """Whether the data set that it needs is here."""
        return not self.needs or (Path(os.environ.get("KILAT_DATA", "")) / self.needs).is_dir()


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
    """Run an experiment, and keep what it found with the day and the seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(RECIPES, folder, dirs_exist_ok=True)
        if experiment.prepare:
            _run(experiment.prepare, folder)
        root = " --root $KILAT_DATA" if experiment.needs and not experiment.prepare else ""
        started = time.monotonic()
        _run(f"{experiment.command}{root}", folder)
        seconds = time.monotonic() - started
        labs = sorted(folder.glob("labs/*/lab.json"))
        document = {
            "commands": experiment.lines,
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "seconds": round(seconds, 1),
            "machine": describe_machine(),
            "lab": json.loads(labs[0].read_text("utf-8")) if labs else None,
            "files": {kept: (folder / kept).read_text("utf-8") for kept in experiment.keep},
        }
    RESULTS.mkdir(exist_ok=True)
    experiment.result.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _run(command: str, folder: Path) -> None:
    """Run a command in a folder with this environment's kilat and an empty cache.

    Raises:
        CalledProcessError: it failed.
    """
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KILAT_CACHE": str(folder / "cache"),
        "KILAT_LANG": "en",
    }
    subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=True)


def measure_all(chosen: list[Experiment]) -> list[str]:
    """Run experiments one after another, and return what went wrong with any of them."""
    problems = []
    for count, experiment in enumerate(chosen, 1):
        print(f"[{count}/{len(chosen)}] {experiment.name}: {'; '.join(experiment.lines)}", flush=True)
        if not experiment.has_data:
            print(f"  not run: {experiment.needs} is not in $KILAT_DATA", flush=True)
            continue
        started = time.monotonic()
        try:
            measure(experiment)
        except subprocess.CalledProcessError as error:
            problems.append(f"experiment {experiment.name} failed:\n{error.stdout}{error.stderr}")
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
    return problems


# ---- writing


def block(experiment: Experiment, say: Language) -> str:
    """Return what a lesson shows of an experiment, as Markdown: commands, effects, machine and day."""
    commands = ["```console", *(f"$ {line}" for line in experiment.lines), "```"]
    if not experiment.result.exists():
        return "\n".join([*commands, ""])
    measured = json.loads(experiment.result.read_text("utf-8"))
    os.environ["KILAT_LANG"] = say.code
    lab = measured["lab"] and LabResults.model_validate(measured["lab"])
    effects = ["", *_table(lab, say), "", verdict(lab)[0]] if lab else []
    return "\n".join([*commands, *effects, "", f"<small>{_stamp(measured, lab, say)}</small>", ""])


def _table(lab: LabResults, say: Language) -> list[str]:
    """Return the variants of a lab with their effects against the first, as a table in Markdown."""
    heads = [say("accuracy"), say("points more (95% interval)"), "log loss", say("more (95% interval)"), "p"]
    rows = []
    for name, label in short_labels(lab.variants).items():
        variant, effect = lab.variant(name), lab.against_reference(name)
        cells = ["–", "–"]
        if variant.accuracy is not None and variant.log_loss is not None:
            cells = [say.number(variant.accuracy, "0.0%"), say.number(variant.log_loss, "0.000")]
        against = [say("reference") if name == lab.reference else "–", "", ""]
        if effect:
            against = [points(effect.accuracy), loss(effect.log_loss), p_value(effect.accuracy.adjusted_p)]
        rows.append([f"`{label}`", cells[0], against[0], cells[1], against[1], against[2]])
    options = ", ".join(option_names(lab.variants))
    lines = [[options, *heads], ["---", *(["---:"] * len(heads))], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _stamp(measured: dict[str, Any], lab: LabResults | None, say: Language) -> str:
    """Return on how much an experiment rests, when it was run, how long it took, and on what machine."""
    machine = dict(measured["machine"])
    processor, cores, _system = machine.pop("processor"), machine.pop("cores"), machine.pop("system")
    ran = say("Measured on {day} in {seconds} s, on {cores} cores of {processor}; {versions}.").format(
        day=format_date(datetime.fromisoformat(measured["date"]), "long", locale=say.code),
        seconds=say.number(measured["seconds"], "#,##0"),
        cores=cores,
        processor=processor,
        versions=", ".join(f"{name} {version}" for name, version in machine.items()),
    )
    return f"{_sample(lab, say)} {ran}" if lab else ran


def _sample(lab: LabResults, say: Language) -> str:
    """Return how many pictures were trained on and measured on, and how often."""
    if lab.kind == "frozen":
        sentence = say("{folds} folds of {pictures} pictures, drawn {seeds} times.")
    else:
        sentence = say("{seeds} seeds, each with {trained} pictures to train on and {held_out} others to measure on.")
    return sentence.format(
        folds=lab.folds,
        seeds=lab.planned_seeds,
        pictures=say.number(lab.pictures),
        trained=say.number(round(lab.train_pictures)),
        held_out=say.number(round(lab.held_out)),
    )


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


def alike(old: str, new: str) -> bool:
    """Return whether two texts are the same, but for numbers of figures in their last place: processors round apart."""
    if old == new:
        return True
    ours, theirs = (_NUMBER.split(text) for text in (old, new))
    if not new.startswith("<svg") or ours[::2] != theirs[::2]:
        return False
    return all(abs(float(one) - float(other)) < 0.15 for one, other in zip(ours[1::2], theirs[1::2], strict=True))


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
        if not one.result.exists() or json.loads(one.result.read_text("utf-8"))["commands"] != one.lines:
            yield f"experiment {name} was not measured as it stands now: run `make course ONLY={name}`."


def main() -> int:
    """Measure where that is asked for, then write, or compare; 1 if something is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="run these experiments, or all of them")
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args()
    listed = experiments()
    failed: list[str] = []
    if args.measure is not None:
        if unknown := set(args.measure) - set(listed):
            parser.error(f"no such experiment: {', '.join(sorted(unknown))}; there are: {', '.join(listed)}")
        failed = measure_all([listed[name] for name in args.measure or listed])
    stale = [*failed, *unmeasured(listed)]
    for say in languages():
        for path, new in written(listed, say):
            if args.check:
                old = path.read_text("utf-8") if path.exists() else ""
                stale += [] if alike(old, new) else [f"{path.relative_to(HERE.parent)} is stale: run `make docs`."]
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(new, "utf-8")
        stale += problems(listed, say)
    sys.stderr.writelines(f"{line}\n" for line in stale)
    return int(bool(failed) or (args.check and bool(stale)))


if __name__ == "__main__":
    sys.exit(main())
