"""A lab: twelve heads in five folds and three repeats, the same with one and two processes, and after ten kills.

Claimed: 12 head variants x 5 folds x 3 repeats on the features of flowers that are cached take at most 60 s on two
cores, of a whole process; `lab.json` without its timings is the same, byte for byte, with one and two processes, and
after ten SIGKILLs at random moments, each followed by `kilat lab resume`.

The flowers need their data set (`KILAT_DATA`); networks are trained on scikit-learn's handwritten digits.
"""

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import _measure as measure

HEADS = (
    "head.l2=[2e-4],[4e-5],[1e-5],[2e-6],[4e-7],[2e-4,4e-5,1e-5,2e-6]",
    "head.class_weight=none,balanced",
)
HEAD_SECONDS = 60.0
TINY = """
input: {size: 8, colour: grey}
model:
  activation: relu
  layers:
    - conv: {filters: 8, padding: same}
    - max_pool
    - flatten
    - dropout: 0.2
    - dense: classes
fit: {epochs: 4, batch: 64, optimizer: adam, checkpoint: 0}
"""
OPTIMIZERS = "fit.optimizer=sgd,nesterov,adam"


def main() -> None:
    """Measure what the arguments leave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("heads", "processes", "kills"))
    parser.add_argument("--flowers", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    measure.print_header(__doc__, *measure.PACKAGES, "torch")
    with tempfile.TemporaryDirectory() as workdir:
        folder = Path(workdir)
        recipe = folder / "small.yaml"
        recipe.write_text(TINY, "utf-8")
        if args.only in (None, "processes"):
            compare_processes(folder, recipe)
        if args.only in (None, "kills"):
            compare_with_kills(folder, recipe, args.kills, random.Random(args.seed))
        if args.only in (None, "heads"):
            time_heads(folder, measure.dataset_folder("flowers", args.flowers), args.rounds)


def time_heads(folder: Path, flowers: Path, rounds: int) -> None:
    """Time whole labs of heads whose features are cached."""
    vary = [part for option in HEADS for part in ("--vary", option)]
    cache = {"KILAT_CACHE": str(folder / "cache")}
    command = [measure.KILAT, "lab", str(flowers), *vary, "--folds", "5", "--repeats", "3", "--json", "--quiet"]
    runs = [
        measure.run([*command, "--labs", str(folder / f"heads-{number}")], environment=cache)
        for number in range(rounds + 1)
    ][1:]  # the first one extracts the features
    seconds, peaks = [one.seconds for one in runs], [one.peak / 1e6 for one in runs]
    results = runs[-1].document["results"]
    print(
        f"heads     {len(results['variants'])} variants, {results['folds']} folds, {results['planned_seeds']} repeats,"
    )
    print(f"          {results['pictures']:,} pictures: {measure.summary(seconds)}, peak {max(peaks):,.0f} MB")
    measure.verdict(f"at most {HEAD_SECONDS:.0f} s", measure.summary(seconds), max(seconds) <= HEAD_SECONDS)


def compare_processes(folder: Path, recipe: Path) -> None:
    """Compare the results with one process and with two."""
    seconds = {}
    for workers in ("1", "2"):
        began = time.perf_counter()
        finish(trained(folder / workers, recipe, "--workers", workers))
        seconds[workers] = time.perf_counter() - began
    is_equal = results(folder / "1") == results(folder / "2")
    print(f"processes one {seconds['1']:.1f} s, two {seconds['2']:.1f} s (n=1)")
    measure.verdict("the same bytes with 1 and 2 processes", "equal" if is_equal else "different", is_equal)


def compare_with_kills(folder: Path, recipe: Path, kills: int, rng: random.Random) -> None:
    """Compare the results of a lab that runs through with those of one that is killed and gone on with."""
    began = time.perf_counter()
    finish(trained(folder / "whole", recipe))
    latest = time.perf_counter() - began
    lab = folder / "killed" / "digits"
    command, done = trained(folder / "killed", recipe), []
    for number in range(kills):
        process = start(command)
        # Before the lab is begun there is nothing to go on with, and the last kill leaves something to do.
        wait = 0.2 + rng.random() * latest / 3
        end = time.perf_counter() + wait
        while time.perf_counter() < end and process.poll() is None:
            time.sleep(0.005)
        was_running = process.poll() is None
        process.kill()
        process.wait()
        done.append(was_running)
        if (lab / "plan.json").exists():
            command = ["lab", "resume", str(lab), "--quiet"]
        else:  # there is nothing to go on with
            shutil.rmtree(lab, ignore_errors=True)
        print(f"          kill {number + 1} after {wait:.1f} s: {finished_trials(lab)} trials finished")
    finish(command)
    is_equal = results(folder / "whole") == results(folder / "killed")
    claim = f"the same bytes after {sum(done)} kills"
    measure.verdict(claim, "equal" if is_equal else "different", is_equal)


def trained(labs: Path, recipe: Path, *options: str) -> list[str]:
    """Return the command of a lab of small networks."""
    own = ["--recipe", str(recipe), "--vary", OPTIMIZERS, "--seeds", "5", "--labs", str(labs), "--quiet"]
    return ["lab", "digits", *own, *options]


def results(labs: Path) -> str:
    """Return the results of the lab in a folder of labs, without their timings."""
    document = json.loads((labs / "digits" / "lab.json").read_text("utf-8"))
    del document["timing"]
    return json.dumps(document)


def finished_trials(lab: Path) -> int:
    """Return how many trials of a lab are finished."""
    return len(list(lab.glob("trials/*/metrics.json")))


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start the command line in a process of its own."""
    return subprocess.Popen([measure.KILAT, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(command: list[str]) -> None:
    """Run the command line to its end."""
    assert start(command).wait() == 0, command


if __name__ == "__main__":
    main()
