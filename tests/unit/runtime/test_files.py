"""Files are whole or not there, whatever happens while they are written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kilat.errors import RunError
from kilat.runtime.files import cache_home, write_file, write_json

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
