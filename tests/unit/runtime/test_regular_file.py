"""Files of a kind and a size that may be read, and everything else that a path can lead to."""

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from kilat.runtime.regular_file import (
    NotRegularFileError,
    TooLargeFileError,
    open_regular_file,
    read_regular_file,
)


@pytest.mark.parametrize("size", [0, 1, 70_000, 300_000])
def test_a_file_comes_whole(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert read_regular_file(tmp_path / "file", size) == content
    with open_regular_file(tmp_path / "file", size) as file:
        assert file.read() == content


def test_a_link_to_a_file_is_that_file(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(str(tmp_path / "link"), 100) == b"content"


def test_a_larger_one_is_refused_with_both_numbers_before_it_is_read(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLargeFileError) as refused:
        read_regular_file(tmp_path / "sparse", 1 << 20)
    assert refused.value.strerror == "it has 1,099,511,627,776 bytes; at most 1,048,576 are read"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_a_device_is_no_file_nor_a_link_to_one(tmp_path, device):
    (tmp_path / "link").symlink_to(device)
    for path in (device, tmp_path / "link"):
        with pytest.raises(NotRegularFileError, match="a pipe, a socket or a device"):
            read_regular_file(path, 1 << 20)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegularFileError):
        open_regular_file(tmp_path / "pipe", 100)


def test_a_socket_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its name has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(NotRegularFileError):
            read_regular_file("socket", 100)


def test_a_folder_and_a_missing_file_are_said_as_the_system_does(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        read_regular_file(tmp_path, 100)
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "missing", 100)


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(OSError, match="Invalid argument"):
        read_regular_file(f"{tmp_path}/a\0b", 100)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs files that do not say their size")
def test_a_file_that_does_not_say_its_size_is_read_up_to_the_limit():
    assert b"VmPeak" in read_regular_file("/proc/self/status", 1 << 20)
    with pytest.raises(TooLargeFileError):
        read_regular_file("/proc/self/status", 10)


def test_a_pipe_that_comes_into_the_place_of_a_file_is_found_out(tmp_path):
    """What was opened decides, whatever was there before."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    os.mkfifo(tmp_path / "pipe")
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            (tmp_path / "link").unlink(missing_ok=True)
            (tmp_path / "link").symlink_to("pipe")
            (tmp_path / "link").unlink()
            (tmp_path / "link").symlink_to("file")

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _attempt in range(200):
            with contextlib.suppress(NotRegularFileError, FileNotFoundError):
                assert read_regular_file(tmp_path / "link", 100) == b"content"
    finally:
        done.set()
        thread.join()
