"""A training that is killed again and again ends with the same bytes as one that runs through.

Claimed for twenty SIGKILLs, at least five of them while a checkpoint was being written: weights, their averages,
optimizer and best weights, the model file, the predictions and the history (timings apart) are the same, byte for byte.

A small network with batch norm, dropout, augmentation, averaged weights and a schedule that follows validation is
trained on scikit-learn's handwritten digits on the CPU, and saves after every step. A third of the kills come at a
random step, a third at a random moment of the process, and a third in a save. For the last kind the process is halted
(SIGSTOP) as soon as a checkpoint's temporary file appears, and killed only if that file is still there, that is during
a save.
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import _measure as measure

EPOCHS, STEPS_PER_EPOCH = 8, 16
RECIPE = f"""
data: {{test: 0.3, validation: 0.2}}
input: {{size: 8, colour: grey}}
augment: {{rotation: 10, width_shift: 0.1, cutout: 2}}
model:
  layers:
    - conv: {{filters: 8, padding: same}}
    - batch_norm
    - max_pool
    - flatten
    - dense: 16
    - dropout: 0.2
    - dense: classes
fit:
  epochs: {EPOCHS}
  batch: 64
  optimizer: adam
  ema: 0.95
  checkpoint: 0
  schedule: {{name: performance, patience: 1, factor: 0.5}}
"""
TIMINGS = ("seconds", "pictures_per_second")


def main() -> None:
    """Train once without and once with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    measure.print_header(__doc__, *measure.PACKAGES, "torch")
    with tempfile.TemporaryDirectory() as workdir:
        recipe = Path(workdir, "small.yaml")
        recipe.write_text(RECIPE, "utf-8")
        first = ["train", "digits", "--recipe", str(recipe), "--runs", workdir, "--name"]
        began = time.perf_counter()
        finish([*first, "reference"])
        latest = 0.4 * (time.perf_counter() - began)
        reference, killed = Path(workdir, "reference"), Path(workdir, "killed")
        kinds = train_with_kills([*first, "killed"], killed, args.kills, random.Random(args.seed), latest)
        finish(["train", "--resume", str(killed)])
        compared = {name: read(reference) == read(killed) for name, read in COMPARED.items()}
    print(f"kills {len(kinds)}, of which during a save {kinds.count('save')}, at a random step {kinds.count('step')},")
    print(f"at a random moment {kinds.count('moment')}; {EPOCHS} epochs of {STEPS_PER_EPOCH} steps")
    for name, equal in compared.items():
        print(f"{name:44} {'equal' if equal else 'DIFFERENT'}")
    print(json.dumps({"kills": len(kinds), "during_a_save": kinds.count("save"), "equal": all(compared.values())}))


def train_with_kills(command: list[str], folder: Path, kills: int, rng: random.Random, latest: float) -> list[str]:
    """Start a training, kill it and resume it, ``kills`` times; return the kind of each kill.

    Args:
        command: starts it.
        folder: of its run.
        kills: how many.
        rng: draws the moments.
        latest: seconds after the start by which kills at a random moment come; they come earlier where a random step
            is reached, so that a training that runs faster than the reference is killed before it ends.
    """
    goals = sorted(rng.sample(range(EPOCHS * STEPS_PER_EPOCH - 10), kills))
    kinds = [("save", "step", "moment")[number % 3] for number in range(kills)]
    for goal, kind in zip(goals, kinds, strict=True):
        process = start(command)
        if kind == "moment":
            end = time.perf_counter() + rng.random() * latest
            wait_until(lambda goal=goal, end=end: time.perf_counter() > end or last_step(folder) >= goal, process)  # type: ignore[misc]
        else:
            wait_until(lambda goal=goal: last_step(folder) >= goal, process)  # type: ignore[misc]
        if kind == "save":
            pause_during_save(process, folder)
        process.kill()
        process.wait()
        assert not (folder / "metrics.json").exists(), "it finished before it was killed"
        if (folder / "run.json").exists():
            command = ["train", "--resume", str(folder)]
    return kinds


def pause_during_save(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Stop a training (SIGSTOP) in the middle of writing a checkpoint."""
    while True:
        wait_until(lambda: is_saving(folder), process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.02)  # until it has stopped
        if is_saving(folder):
            return
        process.send_signal(signal.SIGCONT)


def is_saving(folder: Path) -> bool:
    """Return whether a checkpoint is being written: its temporary file exists."""
    return any((folder / "checkpoints").glob(".step-*.partial"))


def last_step(folder: Path) -> int:
    """Return the step of the newest checkpoint; -1 before there is any."""
    return max((int(file.stem[5:]) for file in (folder / "checkpoints").glob("step-*.json")), default=-1)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for something to happen while a process runs."""
    while not happened():
        assert process.poll() is None, f"it ended by itself with exit code {process.returncode}"
        time.sleep(0.0005)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start the command line in a process of its own."""
    return subprocess.Popen([measure.KILAT, *command], stdout=subprocess.DEVNULL)


def finish(command: list[str]) -> None:
    """Run the command line to its end."""
    assert start(command).wait() == 0, command


def tensors(folder: Path) -> tuple[str, bytes]:
    """Return name and bytes of the newest checkpoint's tensors: weights, averages, optimizer, best weights."""
    file = max((folder / "checkpoints").glob("*.safetensors"))
    return file.name, file.read_bytes()


def history(folder: Path) -> list[dict[str, str]]:
    """Return the history without its timings."""
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in TIMINGS} for row in csv.DictReader(file)]


def metrics(folder: Path) -> dict[str, object]:
    """Return the content of ``metrics.json`` without timings."""
    document: dict[str, object] = json.loads((folder / "metrics.json").read_text("utf-8"))
    return {key: value for key, value in document.items() if key != "timing"}


COMPARED: dict[str, Callable[[Path], object]] = {
    "weights, averages, optimizer and best weights": tensors,
    "model.onnx": lambda folder: (folder / "model.onnx").read_bytes(),
    "predictions.csv": lambda folder: (folder / "predictions.csv").read_bytes(),
    "history.csv without timings": history,
    "metrics.json without timings": metrics,
}

if __name__ == "__main__":
    main()
