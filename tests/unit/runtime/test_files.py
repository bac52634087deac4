"""Files are whole or not there, whatever happens while they are written."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kilat.errors import RecipeError, RunError
from kilat.runtime.files import cache_home, require_folder, require_writable, write_file, write_json

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and limits")


def python(code: str, *args: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_text_bytes_and_what_text_cannot_hold(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_file(file, "first")
    write_file(file, b"\0\xff")
    assert file.read_bytes() == b"\0\xff"
    write_file(file, "bunga é\n\udcff")
    assert file.read_text("utf-8") == "bunga é\n\\udcff"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json(tmp_path: Path) -> None:
    document = {"name": "thé", "values": [1, 0.1, None]}
    write_json(tmp_path / "a.json", document)
    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == document
    assert "thé" in text
    assert text.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"loss": float("nan")})
    assert not (tmp_path / "b.json").exists()


@posix
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, itertools; from kilat.runtime.files import write_file\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "for n in itertools.count():\n"
        "    write_file(file, bytes([n % 256]) * (400_000 + n % 7))\n"
        "    print(n, flush=True)"
    )
    file = tmp_path / "model.onnx"
    for attempt in range(1, 9):
        with python(code, file) as writer:
            assert writer.stdout is not None
            assert [int(writer.stdout.readline()) for _ in range(attempt)] == list(range(attempt))
            writer.send_signal(signal.SIGKILL)
        content = file.read_bytes()
        assert len(set(content)) == 1
        assert len(content) >= 400_000
    write_file(file, "the next run")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@posix
def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_file(file, "old")
    code = (
        "import resource, signal, sys, pathlib; from kilat.errors import RunError\n"
        "from kilat.runtime.files import write_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_file(pathlib.Path(sys.argv[1]), b'x' * 5000)\n"
        "except RunError as error: print(error.message)"
    )
    printed, errors = python(code, file).communicate()
    assert errors == ""
    assert printed == f"{file} cannot be written: File too large.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert file.read_text() == "old"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written: no such file or directory\."):
        write_file(tmp_path / "gone" / "file", "text")


@posix
@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device", "socket"])
def test_what_is_no_file_is_neither_replaced_nor_written_to(tmp_path: Path, kind: str, temporary: bool) -> None:
    place = tmp_path / (".answers.csv.kilat.partial" if temporary else "answers.csv")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(place))
    else:
        place.symlink_to(os.devnull)
    before = place.lstat()
    if temporary:
        write_file(tmp_path / "answers.csv", "new")
        assert (tmp_path / "answers.csv").read_text() == "new"
    else:
        for write in (require_writable, lambda path: write_file(path, "new")):
            with pytest.raises((RecipeError, RunError), match=r"answers\.csv cannot be written: it is a "):
                write(place)
    assert os.path.samestat(place.lstat(), before)


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("report.html", ".model.onnx.kilat.partial"):
        (tmp_path / name).symlink_to(mine)
    for name in ("report.html", "model.onnx"):
        write_file(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert mine.read_text() == "mine"


def test_writers_of_one_file_at_once_write_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"

    def write(letter: str) -> None:
        for _ in range(20):
            write_file(file, letter * 100_000)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, "abcdef"))
    content = file.read_text()
    assert (len(content), len(set(content))) == (100_000, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "-x", "a b", "CON.csv", "...", "\udcff"])
def test_every_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    require_writable(tmp_path / name)
    write_file(tmp_path / name, "new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "nul\0byte", "\ud800", "", ".", "file/name", "gone/name"])
def test_a_place_where_no_file_can_be_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    for write in (require_writable, lambda path: write_file(path, "new")):
        with pytest.raises((RecipeError, RunError), match="cannot be written: "):
            write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_text_overwrites_no_picture(tmp_path: Path) -> None:
    """As where the name of the table was forgotten: kilat predict MODEL --csv photos/*.jpg."""
    photo, table = tmp_path / "photo.jpg", tmp_path / "answers.csv"
    photo.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    table.write_text("path,label\n")
    with pytest.raises(RecipeError, match=r"photo\.jpg cannot be written: it is there already, and is not text\."):
        require_writable(photo)
    require_writable(photo, is_text=False)
    require_writable(table)


@pytest.mark.parametrize("name", ["x" * 256, "nul\0byte", "file", "file/runs", "deep/" * 1000])
def test_a_place_where_no_folder_can_be_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RecipeError, match="cannot be made: "):
        require_folder(tmp_path / name)
    require_folder(tmp_path / "not" / "there" / "yet")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self/mounts").exists() or os.geteuid() != 0, reason="a disk has to be mounted")
def test_a_full_or_read_only_disk_is_found_before_the_work(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        (tmp_path / "full").write_bytes(b"x" * 60_000)
        for refuse in (require_writable, require_folder):
            with pytest.raises(RecipeError, match=r": no space left on device\."):
                refuse(tmp_path / "new")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        for refuse in (require_writable, require_folder):
            with pytest.raises(RecipeError, match=r": read-only file system\."):
                refuse(tmp_path / "new")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_the_cache_is_where_the_user_or_the_platform_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "own"))
    assert cache_home() == tmp_path / "own"
    monkeypatch.setenv("KILAT_CACHE", "~/own")
    assert cache_home() == Path.home() / "own"
    monkeypatch.delenv("KILAT_CACHE")
    for platform, variable in (("linux", "XDG_CACHE_HOME"), ("win32", "LOCALAPPDATA")):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setenv(variable, str(tmp_path))
        assert cache_home() == tmp_path / "kilat"
        monkeypatch.delenv(variable)
        assert cache_home().is_relative_to(Path.home())
        assert cache_home().name == "kilat"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_home() == Path.home() / "Library" / "Caches" / "kilat"
