"""A run's folder is its own, whatever it is called and whoever else starts; what goes on with it stands in it."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kilat import recipe as recipes
from kilat.data.reading import Reading
from kilat.errors import RunError
from kilat.runtime.files import write_file
from kilat.verbs.run_folder import Start, begin, new_folder


def python(code: str, *args: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def started(runs: Path, name: str) -> Path:
    with new_folder(runs, name) as folder:
        return folder


class TestFolder:
    def test_a_name_is_numbered_never_taken_over(self, tmp_path: Path) -> None:
        runs = tmp_path / "deep" / "runs"
        assert [started(runs, "pilot").name for _ in range(3)] == ["pilot", "pilot-2", "pilot-3"]
        (runs / "pilot-2").rmdir()
        assert started(runs, "pilot").name == "pilot-2"
        (runs / "note").write_text("a file of the user's")
        assert started(runs, "note").name == "note-2"
        assert (runs / "note").read_text() == "a file of the user's"

    @pytest.mark.parametrize(
        ("given", "made"),
        [
            ("../x", "x"),
            ("../../etc/passwd", "etc-passwd"),
            ("/etc", "etc"),
            ("a/b", "a-b"),
            ("a\\b", "a-b"),
            ("", "run"),
            (".", "run"),
            ("..", "run"),
            ("...---...", "run"),
            (".hidden", "hidden"),
            ("nul\0byte", "nul-byte"),
            ("two words\nand a line", "two-words-and-a-line"),
            ("bunga-éclair_1.0", "bunga-éclair_1.0"),
            ("花", "花"),
            ("\udcff", "run"),
        ],
    )
    def test_a_hostile_name_stays_inside(self, tmp_path: Path, given: str, made: str) -> None:
        runs = tmp_path / "runs"
        folder = started(runs, given)
        assert folder.parent == runs
        assert [path.name for path in runs.iterdir()] == [folder.name] == [made]
        assert [path.name for path in tmp_path.iterdir()] == ["runs"]

    def test_a_name_that_is_too_long_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"cannot be made: file name too long\."):
            started(tmp_path, "x" * 300)

    def test_many_at_once_get_a_folder_each(self, tmp_path: Path) -> None:
        gate = threading.Barrier(16)

        def claim(_: int) -> str:
            gate.wait()
            return started(tmp_path / "runs", "same").name

        with ThreadPoolExecutor(16) as pool:
            names = list(pool.map(claim, range(16)))
        assert sorted(names) == sorted(["same", *(f"same-{i}" for i in range(2, 17))])

    def test_processes_at_once_get_a_folder_each(self, tmp_path: Path) -> None:
        code = (
            "import sys, pathlib; from kilat.verbs.run_folder import new_folder\n"
            "for _ in range(40):\n"
            "    with new_folder(pathlib.Path(sys.argv[1]) / 'runs', 'same') as folder: print(folder.name)"
        )
        both = [python(code, tmp_path) for _ in range(2)]
        names = [name for one in both for name in one.communicate()[0].split()]
        assert [one.returncode for one in both] == [0, 0]
        assert len(names) == len(set(names)) == 80

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_a_run_that_fails_leaves_no_folder(self, tmp_path: Path, error: type[BaseException]) -> None:
        def run() -> None:
            with new_folder(tmp_path / "runs", "pilot") as folder:
                write_file(folder / "a.txt", "half a run")
                (folder / "deep").mkdir()
                raise error

        with pytest.raises(error):
            run()
        assert list((tmp_path / "runs").iterdir()) == []
        assert started(tmp_path / "runs", "pilot").name == "pilot"

    def test_where_no_folder_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for runs in (tmp_path / "file", tmp_path / "file" / "runs"):
            with pytest.raises(RunError, match=r"(is not a folder|cannot be made: not a directory)"):
                started(runs, "pilot")


class TestGoingOn:
    @pytest.mark.parametrize(
        ("data", "is_module", "command"),
        [
            ("digits", False, "kilat train --resume 'my runs/it'"),
            (None, False, "kilat.train(data, labels=labels, resume='my runs/it')"),
            ("digits", True, "kilat.train(network=network, resume='my runs/it')"),
        ],
    )
    def test_what_goes_on_can_be_pasted(self, data: str | None, is_module: bool, command: str) -> None:
        start = Start(data, None, "small-cnn", is_module=is_module)
        assert start.resume_command(Path("my runs/it")) == command

    def test_a_start_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        start = Start.of("digits", None, tmp_path, "mine", Reading(), is_module=True, track=True)
        begin(tmp_path, recipes.load("transfer", {}), start)
        assert Start.read(tmp_path) == start
