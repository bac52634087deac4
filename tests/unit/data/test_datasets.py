"""Named data sets: the embedded digits, copies in every layout, and downloads that are resumed and checked."""

import gzip
import hashlib
import io
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from kilat.data.binary_formats import CifarSource, read_idx
from kilat.data.datasets import DATASETS, NamedDataset, data_home, download, list_datasets, open_dataset
from kilat.data.download import RemoteFile, fetch
from kilat.data.source import FolderSource, open_source
from kilat.errors import SourceError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "data"


class Server(ThreadingHTTPServer):
    """Serves one file; can end connections early, and ignore ranges."""

    content = CONTENT
    cut_after: int | None = None
    ranges = True

    def __init__(self):
        self.ranges_requested: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/set.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers["Range"]
        self.server.ranges_requested.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start and start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


class TestDownload:
    def test_complete_with_progress_and_only_once(self, tmp_path, server):
        reported = []
        wanted = RemoteFile(server.address, len(CONTENT), SHA256)
        path = fetch(wanted, tmp_path / "x", lambda done, total, note="": reported.append((done, total)))
        assert path.read_bytes() == CONTENT
        assert reported[-1] == (len(CONTENT), len(CONTENT))
        assert reported == sorted(reported)
        assert fetch(wanted, tmp_path / "x") == path
        assert server.ranges_requested == [None]
        assert [each.name for each in path.parent.iterdir()] == ["set.bin"]

    def test_resumed_where_an_earlier_run_was_cut_off(self, tmp_path, server):
        (tmp_path / "set.bin.part").write_bytes(CONTENT[:1_234_567])
        assert fetch(RemoteFile(server.address, len(CONTENT), SHA256), tmp_path).read_bytes() == CONTENT
        assert server.ranges_requested == ["bytes=1234567-"]

    def test_resumed_within_one_run(self, tmp_path, server):
        server.cut_after = 1_000_000
        assert fetch(RemoteFile(server.address, len(CONTENT), SHA256), tmp_path).read_bytes() == CONTENT
        assert server.ranges_requested == [None, "bytes=1000000-", "bytes=2000000-"]

    def test_a_server_without_ranges_starts_over(self, tmp_path, server):
        server.ranges = False
        (tmp_path / "set.bin.part").write_bytes(CONTENT[:1000])
        assert fetch(RemoteFile(server.address, len(CONTENT), SHA256), tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("part", [b"of another file", CONTENT + b"more", bytes(len(CONTENT))])
    def test_a_part_that_does_not_belong_is_replaced(self, tmp_path, server, part):
        (tmp_path / "set.bin.part").write_bytes(part)
        assert fetch(RemoteFile(server.address, len(CONTENT), SHA256), tmp_path).read_bytes() == CONTENT

    def test_another_checksum_is_refused_and_deleted(self, tmp_path, server):
        with pytest.raises(SourceError, match="is not the known one: its SHA-256 is not 0000"):
            fetch(RemoteFile(server.address, len(CONTENT), "0" * 64), tmp_path)
        assert not list(tmp_path.glob("set*"))

    def test_a_server_that_never_sends_it_all(self, tmp_path, server):
        server.content, wanted = CONTENT[:1000], RemoteFile(server.address, len(CONTENT), SHA256)
        with pytest.raises(SourceError, match="could not be downloaded"):
            fetch(wanted, tmp_path)
        assert not (tmp_path / "set.bin").exists()

    def test_a_server_that_sends_nothing(self, tmp_path, server):
        server.content = b""
        with pytest.raises(SourceError, match="the connection ended after 0 of 3,000,000 bytes"):
            fetch(RemoteFile(server.address, len(CONTENT), SHA256), tmp_path)

    def test_a_folder_that_cannot_be_written(self, tmp_path, server):
        (tmp_path / "file").touch()
        with pytest.raises(SourceError, match="cannot be written") as caught:
            fetch(RemoteFile(server.address, len(CONTENT), SHA256), tmp_path / "file" / "x")
        assert "KILAT_CACHE" in caught.value.hint

    def test_without_a_network_the_hint_says_what_to_do(self, tmp_path):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{closed.getsockname()[1]}/set.bin"
            wanted = NamedDataset("x", "", 1, ("a",), 9, "", address, (RemoteFile(address, 9, SHA256),))
            with pytest.raises(SourceError, match="could not be downloaded") as caught:
                download(wanted, tmp_path)
        assert "Connect to the network" in caught.value.hint
        assert "--root FOLDER, with one of these in FOLDER: set.bin" in caught.value.hint

    def test_progress_runs_over_all_files(self, tmp_path, server):
        reported = []
        files = tuple(RemoteFile(server.address.replace("set", name), len(CONTENT), SHA256) for name in ("a", "b"))
        download(
            NamedDataset("x", "", 1, (), 2 * len(CONTENT), "", "", files),
            tmp_path,
            lambda done, total, note="": reported.append((done, total)),
        )
        assert reported == sorted(reported)
        assert reported[-1] == (2 * len(CONTENT), 2 * len(CONTENT))
        assert {path.name for path in tmp_path.glob("*.bin")} == {"a.bin", "b.bin"}


def test_data_home(tmp_path, monkeypatch, home):
    assert data_home() == home
    monkeypatch.delenv("KILAT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data_home().is_relative_to(tmp_path)
    assert data_home().parts[-2:] == ("kilat", "data")


def test_digits():
    source = open_source("digits")
    assert (source.name, len(source.entries)) == ("digits", 1797)
    assert {entry.label for entry in source.entries} == set("0123456789")
    pixels = np.stack([source.read(i) for i in range(1797)])
    assert (pixels.dtype, pixels.shape, pixels.min(), pixels.max()) == (np.uint8, (1797, 8, 8), 0, 255)
    assert source.entries[0].label == "0"
    assert pixels[0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]


def test_descriptions(home, tmp_path):
    described = {each.name: each for each in list_datasets()}
    assert list(described) == ["digits", "flowers", "cifar10", "fashion-mnist"]
    assert [each.available for each in described.values()] == [True, False, False, False]
    assert described["flowers"].download_bytes == 228_813_984
    assert [len(each.classes) for each in described.values()] == [10, 5, 10, 10]
    assert all(len(file.sha256) == 64 and file.size > 0 for each in DATASETS.values() for file in each.files)
    class_folders(tmp_path / "flowers", DATASETS["flowers"].classes)
    assert [each.available for each in list_datasets(tmp_path)] == [True, True, False, False]


def class_folders(root: Path, classes) -> Path:
    for label in classes:
        (root / label).mkdir(parents=True)
        (root / label / "1.jpg").write_bytes(b"\xff\xd8\xff")
    return root


def flowers_archive(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for label in DATASETS["flowers"].classes:
            info = tarfile.TarInfo(f"flower_photos/{label}/1.jpg")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"\xff\xd8\xff"))


@pytest.mark.parametrize("place", ["", "flowers", "flower_photos", "flowers/flower_photos"])
def test_flowers_from_class_folders(tmp_path, place):
    class_folders(tmp_path / "copies" / place, DATASETS["flowers"].classes)
    source = open_source("flowers", root=tmp_path / "copies")
    assert (source.name, len(source.entries)) == ("flowers", 5)
    assert source.link(0) is not None


@pytest.mark.parametrize("place", ["", "flowers"])
def test_flowers_from_the_official_archive(tmp_path, place):
    folder = tmp_path / "copies" / place
    folder.mkdir(parents=True)
    flowers_archive(folder / "flower_photos.tgz")
    source = open_source("flowers", root=tmp_path / "copies")
    assert source.name == "flowers"
    assert sorted(entry.label for entry in source.entries) == sorted(DATASETS["flowers"].classes)


def test_what_was_downloaded_before_needs_no_network(home):
    (home / "flowers").mkdir(parents=True)
    flowers_archive(home / "flowers" / "flower_photos.tgz")
    assert len(open_source("flowers").entries) == 5
    assert list_datasets()[1].available


def test_a_root_of_other_things_is_refused(tmp_path):
    for name in ("cifar10", "fashion-mnist", "flowers", "b", "c"):
        class_folders(tmp_path / name, ["x", "y"])
    with pytest.raises(SourceError, match="No copy of flowers in") as caught:
        open_source("flowers", root=tmp_path)
    assert "flower_photos.tgz; its pictures in class folders" in caught.value.hint


def test_a_root_needs_a_name(tmp_path):
    with pytest.raises(SourceError, match="There is no data set named 'flower'") as caught:
        open_source("flower", root=tmp_path)
    assert caught.value.hint == "Did you mean 'flowers'?"


def test_cifar10_from_class_folders_keeps_its_split(tmp_path):
    for split in ("train", "test"):
        class_folders(tmp_path / "cifar10" / split, DATASETS["cifar10"].classes)
    source = open_source("cifar10", root=tmp_path)
    assert isinstance(source, FolderSource)
    assert sorted(entry.split for entry in source.entries) == ["test"] * 10 + ["train"] * 10


def batches(folder: Path) -> np.ndarray:
    """Six batches of three records; the pixels of each count up through its planes."""
    folder.mkdir(parents=True)
    records = np.random.default_rng(0).integers(0, 256, (6, 3, 3073), np.uint8)
    records[:, :, 0] %= 10
    for name, batch in zip(CifarSource.BATCHES, records, strict=True):
        (folder / name).write_bytes(batch.tobytes())
    return records


def assert_is_cifar(source, records):
    assert len(source.entries) == 18
    assert [entry.split for entry in source.entries] == ["train"] * 15 + ["test"] * 3
    assert source.entries[4].label == DATASETS["cifar10"].classes[records[1, 1, 0]]
    assert source.entries[4].path == "data_batch_2.bin[1]"
    pixels = source.read(4)
    assert pixels.shape == (32, 32, 3)
    assert pixels[5, 7].tolist() == [records[1, 1, 1 + plane * 1024 + 5 * 32 + 7] for plane in range(3)]


def test_cifar10_from_its_batches(tmp_path):
    records = batches(tmp_path / "cifar10" / "cifar-10-batches-bin")
    assert_is_cifar(open_source("cifar10", root=tmp_path), records)


def test_cifar10_from_the_official_archive(tmp_path, home):
    records = batches(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "copies").mkdir()
    with tarfile.open(tmp_path / "copies" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
        archive.addfile(tarfile.TarInfo("../../escaped.bin"))
    assert_is_cifar(open_source("cifar10", root=tmp_path / "copies"), records)
    assert {path.name for path in (home / "cifar10" / "cifar-10-batches-bin").iterdir()} == set(CifarSource.BATCHES)
    assert not list(tmp_path.rglob("escaped.bin"))
    assert_is_cifar(open_source("cifar10"), records)


def test_cifar10_that_is_damaged(tmp_path):
    batches(tmp_path / "cifar10")
    (tmp_path / "cifar10" / "data_batch_3.bin").write_bytes(bytes(3000))
    with pytest.raises(SourceError, match="is cut off"):
        open_source("cifar10", root=tmp_path)
    (tmp_path / "cifar10" / "data_batch_3.bin").write_bytes(bytes([77]) * 3073)
    with pytest.raises(SourceError, match="it has label 77"):
        open_source("cifar10", root=tmp_path)


def test_a_cut_off_cifar10_archive_leaves_no_half_batch(tmp_path, home):
    batches(tmp_path / "whole")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "whole", "cifar-10-batches-bin")
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="cannot be unpacked"):
        open_source("cifar10", root=tmp_path)
    left = list((home / "cifar10" / "cifar-10-batches-bin").iterdir())
    assert len(left) < 6
    assert {each.stat().st_size for each in left} <= {3 * CifarSource.RECORD}


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes())


def fashion(folder: Path) -> np.ndarray:
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8)
    labels = (np.arange(30) % 10).astype(np.uint8)
    names = [file.filename for file in DATASETS["fashion-mnist"].files]
    for name, array in zip(names, (images[:20], labels[:20], images[20:], labels[20:]), strict=True):
        (folder / name).write_bytes(idx(array))
    return images


@pytest.mark.parametrize("place", ["", "fashion-mnist"])
def test_fashion_mnist_from_idx_files(tmp_path, place):
    images = fashion(tmp_path / "copies" / place)
    source = open_dataset("fashion-mnist", root=tmp_path / "copies")
    assert [entry.split for entry in source.entries] == ["train"] * 20 + ["test"] * 10
    assert source.entries[19].label == "Ankle boot"
    assert np.array_equal(source.read(25), images[25])


def test_fashion_mnist_from_class_folders(tmp_path):
    classes = [name.replace("/", "-") for name in DATASETS["fashion-mnist"].classes]
    for split in ("train", "test"):
        class_folders(tmp_path / "fashion-mnist" / split, classes)
    assert len(open_source("fashion-mnist", root=tmp_path).entries) == 20


def test_idx_files_that_are_damaged(tmp_path):
    path = tmp_path / "x.gz"
    good = idx(np.zeros((5, 4, 4), np.uint8))
    path.write_bytes(good)
    assert read_idx(path, 3).shape == (5, 4, 4)
    for content in (
        good[:-9],
        b"no gzip",
        idx(np.zeros(5, np.uint8)),
        gzip.compress(bytes((0, 0, 8, 3)) + b"\xff" * 12 + b"x"),
    ):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"IDX|cut off|damaged"):
            read_idx(path, 3)


def test_idx_files_that_do_not_belong_together(tmp_path):
    fashion(tmp_path / "fashion-mnist")
    (tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(SourceError, match="do not belong together"):
        open_source("fashion-mnist", root=tmp_path)
