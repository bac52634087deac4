"""A run's folder is its own, whatever it is called and whoever else starts; what goes on with it stands in it."""

import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import kilat
from kilat import recipe as recipes
from kilat.data.reading import Reading
from kilat.errors import KilatError, RecipeError, RunError
from kilat.runtime.file_lock import Holder
from kilat.runtime.files import write_file
from kilat.verbs.run_folder import Start, begin, hold, holder, new_folder


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
            ("-rf", "rf"),
            ("dots and blanks . . ", "dots-and-blanks"),
            ("NUL", "run-NUL"),
            ("aux.flowers", "run-aux.flowers"),
            ("com1", "run-com1"),
            ("console", "console"),
            ("\u202eexe\x1b[2J", "exe-2J"),
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

    @pytest.mark.parametrize("name", ["x" * 256, "é" * 128])
    def test_it_is_refused_before_the_data_is_read(self, tmp_path: Path, name: str) -> None:
        for verb in (kilat.train, kilat.check):
            with pytest.raises(RunError, match=r"cannot be made: file name too long\."):
                verb(tmp_path / "no data", name=name)
        with pytest.raises(RecipeError, match=r"cannot be made: .*test_run_folder\.py is not a folder\."):
            kilat.train(tmp_path / "no data", runs=Path(__file__) / "runs")
        with pytest.raises(RecipeError, match=r"cannot be made: .*test_run_folder\.py is not a folder\."):
            kilat.check(tmp_path / "no data", out=__file__)

    def test_a_long_name_has_room_for_its_number(self, tmp_path: Path) -> None:
        assert [started(tmp_path, "é" * 127).name for _ in range(2)] == ["é" * 127, "é" * 126 + "-2"]

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
                write_file(folder / "history.csv", "half a run")
                (folder / ".model.onnx.kilat.partial").write_text("half a model")
                (folder / "checkpoints").mkdir()
                write_file(folder / "checkpoints" / "step-00000001.safetensors", "half a checkpoint")
                raise error

        with pytest.raises(error):
            run()
        assert list((tmp_path / "runs").iterdir()) == []
        assert started(tmp_path / "runs", "pilot").name == "pilot"

    def test_a_model_is_kept_whatever_came_after(self, tmp_path: Path) -> None:
        def run() -> None:
            with new_folder(tmp_path, "pilot") as folder:
                write_file(folder / "model.onnx", b"model")
                write_file(folder / "gone" / "report.html", "report")

        with pytest.raises(RunError):
            run()
        assert [path.name for path in (tmp_path / "pilot").iterdir()] == ["model.onnx"]

    def test_what_somebody_put_there_stays(self, tmp_path: Path) -> None:
        def run() -> None:
            with new_folder(tmp_path, "pilot") as folder:
                write_file(folder / "history.csv", "half a run")
                (folder / "my notes.txt").write_text("mine")
                raise KeyError

        with pytest.raises(KeyError):
            run()
        assert [path.name for path in (tmp_path / "pilot").iterdir()] == ["my notes.txt"]

    def test_removing_it_follows_no_link(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "photo.jpg").write_text("mine")

        def run() -> None:
            with new_folder(tmp_path / "runs", "pilot") as folder:
                (folder / "history.csv").symlink_to(mine)
                raise KeyError

        with pytest.raises(KeyError):
            run()
        assert not (tmp_path / "runs" / "pilot").exists()
        assert (mine / "photo.jpg").read_text() == "mine"

    def test_where_no_folder_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for runs in (tmp_path / "file", tmp_path / "file" / "runs"):
            with pytest.raises(RunError, match=r"(is not a folder|cannot be made: not a directory)"):
                started(runs, "pilot")


class TestHeld:
    def test_a_second_one_is_told_who_works_in_it(self, tmp_path: Path) -> None:
        with new_folder(tmp_path, "pilot") as folder:
            assert holder(folder) == Holder(os.getpid(), platform.node())
            with pytest.raises(KilatError, match=f"pilot is in use: process {os.getpid()} works in it"), hold(folder):
                pass
        assert holder(folder) is None
        assert list(folder.iterdir()) == []
        with hold(folder):
            pass

    def test_a_folder_that_cannot_be_held_is_a_sentence(self, tmp_path: Path) -> None:
        with (
            pytest.raises(RunError, match=r"\.lock cannot be written: no such file or directory\."),
            hold(tmp_path / "x"),
        ):
            pass
        (tmp_path / ".lock").symlink_to(tmp_path / "mine")
        with pytest.raises(RunError, match=r"\.lock cannot be written: "), hold(tmp_path):
            pass
        assert not (tmp_path / "mine").exists()

    def test_a_run_that_is_held_is_not_resumed(self, tmp_path: Path) -> None:
        begin(tmp_path, recipes.load("transfer", {}), Start("digits", None, "transfer"))
        with hold(tmp_path), pytest.raises(KilatError, match="is in use: process"):
            kilat.train(resume=tmp_path)
        with hold(tmp_path), pytest.raises(RunError, match="is not the folder of a finished run") as refused:
            kilat.Run.open(tmp_path)
        assert refused.value.hint == f"It still trains (process {os.getpid()}); wait until it is done."


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
