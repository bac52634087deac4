"""Whole verbs whose output nobody gets: the work is done all the same, and the exit code says what was lost."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from hostile_texts import HOSTILE, controls_of
from kilat import Run

pytestmark = pytest.mark.slow

KILAT = [sys.executable, "-c", "from kilat.cli import run; run()"]


def shell(line: str, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of bash in which ``"$@"`` is kilat with its arguments."""
    command = ["bash", "-o", "pipefail", "-c", line, "bash", *KILAT, *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=240, check=False)


@pytest.mark.parametrize("line", ['"$@" >/dev/full', '"$@" >&- 2>&- <&-', '"$@" | true', '"$@" --json >/dev/full'])
def test_a_run_is_finished_where_its_words_are_lost(line, photos, tmp_path):
    done = shell(line, "train", photos, "--name", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert Run.open(tmp_path / "runs" / "run").metrics.test.accuracy is not None


def test_answers_that_nobody_reads_are_not_made_unless_a_table_takes_them(photos, photos_run, tmp_path):
    done = shell('"$@" | head -1', "predict", photos_run.folder, photos, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
    done = shell('"$@" | head -1', "predict", photos_run.folder, photos, "--csv", "all.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert len((tmp_path / "all.csv").read_text("utf-8").splitlines()) == 101


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252:strict", "utf-8:strict"])
@pytest.mark.parametrize("columns", [1, 80])
def test_a_terminal_gets_no_foreign_control(encoding, columns, photos_run, tmp_path):
    for number, text in enumerate(HOSTILE.values()):
        if not set(text) & {"/", "\0"} and "\ud800" not in text:
            (tmp_path / "new" / text).mkdir(parents=True)
            Image.new("RGB", (32, 32), (number, 99, 9)).save(tmp_path / "new" / text / "1.png")
    environment = {"PYTHONIOENCODING": encoding, "COLUMNS": str(columns), "KILAT_CACHE": os.environ["KILAT_CACHE"]}
    printed = in_terminal(["check", "new"], tmp_path, environment)
    assert "Traceback" not in printed
    own = {"\x1b", "\r", "\t"}  # bars move the cursor
    assert not controls_of(printed) - own
    assert "\x1b[2J" not in printed
    assert "\x1b]" not in printed
    assert "\nok.png: dog" not in printed


def in_terminal(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Return what kilat writes on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*KILAT, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env={**os.environ, **environment}
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # its other end is closed
        pass
    process.wait(timeout=240)
    os.close(ours)
    return b"".join(parts).decode("utf-8", "replace")
