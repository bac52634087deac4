"""The pass with worker processes: the same bytes however many there are, and nothing lost when one dies."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kilat.data.source import PathsSource
from kilat.features import lite
from kilat.features.extract import Extraction, Extractor
from kilat.features.processing import OnnxRunner, Preprocessor, Processing
from kilat.runtime.array_types import Floats, Pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes, three of them not to be decoded and two of them equal."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(150):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number % 3, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    for number in (7, 60, 149):
        (folder / f"{number:03}.png").write_bytes(b"no picture")
    (folder / "100.png").write_bytes((folder / "001.png").read_bytes())
    return folder


class Bound:
    """A transform that lives in this process alone, such as one that holds a GPU."""

    batch, portable = 5, False

    def __init__(self) -> None:
        self.process = os.getpid()

    def __call__(self, pixels: Pixels) -> Floats:
        assert os.getpid() == self.process
        return pixels.reshape(len(pixels), -1)[:, :16].astype(np.float32)


class Deadly:
    """A transform that kills the worker process which does it."""

    batch, portable = 5, True

    def __init__(self) -> None:
        self.process = os.getpid()

    def __call__(self, pixels: Pixels) -> Floats:
        if os.getpid() != self.process:
            os.kill(os.getpid(), signal.SIGKILL)
        return pixels.reshape(len(pixels), -1)[:, :16].astype(np.float32)


def extract(folder: Path, transform: Any, width: int, processes: int) -> Extraction:
    paths = sorted(folder.iterdir())
    source, vectors = PathsSource(paths, ["a"] * len(paths)), np.zeros((len(paths), width), np.float32)
    processing = Processing(Preprocessor(32, "crop"), transform)
    used = np.ones(len(paths), bool)
    return Extractor(source, used, processing, vectors, lambda done, total: None, processes=processes).run()


def everything(extraction: Extraction) -> tuple[Any, ...]:
    return (
        extraction.features.tobytes(),
        extraction.image_stats.tobytes(),
        list(extraction.digests),
        dict(extraction.refusals),
    )


def test_the_result_is_the_same_with_any_number_of_processes(folder: Path) -> None:
    backbone = lite.build(32)
    results = [extract(folder, OnnxRunner(backbone), backbone.width, processes) for processes in (0, 1, 2, 5)]
    assert [everything(result) for result in results[1:]] == [everything(results[0])] * 3
    assert set(results[0].refusals) == {7, 60, 149}
    assert results[0].features.any(axis=1).sum() == 147
    assert [result.notes for result in results] == [[]] * 4


def test_a_transform_that_is_bound_to_this_process_is_done_here(folder: Path) -> None:
    alone, shared = (extract(folder, Bound(), 16, processes) for processes in (0, 2))
    assert everything(alone) == everything(shared)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_worker_that_dies_is_said_and_costs_no_picture(folder: Path) -> None:
    alone, shared = (extract(folder, Deadly(), 16, processes) for processes in (0, 2))
    assert everything(alone) == everything(shared)
    assert [note.code for note in shared.notes] == ["worker_died"]
    assert "A worker process died" in shared.notes[0].sentence()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux to name a process's children")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(folder: Path, number: int) -> None:
    """The program is read from standard input and has no ``if __name__ == "__main__"``, as in a notebook."""
    program = f"""
    import os, signal, numpy as np
    from pathlib import Path
    from kilat.data.source import PathsSource
    from kilat.features.extract import Extractor
    from kilat.features.processing import Preprocessor, Processing, Untransformed

    signal.signal(signal.SIGINT, signal.default_int_handler)
    paths = sorted(Path({str(folder)!r}).iterdir())

    def end(done, total):
        print(Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read_text(), flush=True)
        os.kill(os.getpid(), {int(number)})

    processing = Processing(Preprocessor(32, "crop"), Untransformed())
    vectors = np.zeros((len(paths), 32, 32, 3), np.uint8)
    source, used = PathsSource(paths, ["a"] * len(paths)), np.ones(len(paths), bool)
    Extractor(source, used, processing, vectors, end, processes=2).run()
    """
    ran = subprocess.run(
        [sys.executable, "-"], input=textwrap.dedent(program), capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == (-number if number == signal.SIGKILL else -signal.SIGINT)
    children = [int(one) for one in ran.stdout.split()]
    for child in children:
        wait_for_the_end_of(child)


def wait_for_the_end_of(process: int) -> None:
    """Return when a process is gone, however long the machine takes; pytest's own limit ends a test that hangs."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            os.sched_yield()
