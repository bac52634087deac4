"""Pictures in memory and streamed pictures are the same bytes in the same order."""

import contextlib
import gc
import io
import os
import signal
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.data.catalog import Catalog  # noqa: E402
from kilat.data.source import ArraySource, open_source  # noqa: E402
from kilat.errors import RunError  # noqa: E402
from kilat.features.pixels import read_pixels  # noqa: E402
from kilat.fit.augment import colour  # noqa: E402
from kilat.fit.loader import InMemory, Streaming, epoch_batches  # noqa: E402


def noise(count, side=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def files():
    """Forty pictures, and three that cannot be decoded among them."""
    made = {}
    for number, one in enumerate(noise(40, 20)):
        file = io.BytesIO()
        Image.fromarray(one[: 12 + number % 8]).save(file, "JPEG" if number % 3 else "PNG")
        made[f"{'ab'[number % 2]}/{number:02}.{'jpg' if number % 3 else 'png'}"] = file.getvalue()
    return made | {"a/03.jpg": b"no picture", "b/17x.png": b"", "b/05.jpg": made["a/08.jpg"][:50]}


def packed(kind: str, folder: Path) -> Path:
    path = folder / f"data{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files().items():
                archive.writestr(name, content)
    elif kind.startswith(".tar"):
        with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as archive:
            for name, content in files().items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        for name, content in files().items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def stream_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kilat-stream")]


class Counting(ArraySource):
    """Records what is read, and never by two threads at once."""

    def __init__(self, images):
        super().__init__(images, ["a"] * len(images), "x")
        self.rows, self.reader = [], threading.Lock()

    def read(self, index):
        assert self.reader.acquire(blocking=False), "two threads read at once"
        try:
            self.rows.append(index)
            return super().read(index)
        finally:
            self.reader.release()


class TestBothLoaders:
    @pytest.mark.parametrize("kind", ["", ".zip", ".tar", ".tar.gz"])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_the_same_bytes_in_the_same_order(self, tmp_path, kind, workers):
        source = open_source(packed(kind, tmp_path))
        catalog = Catalog.from_entries(source.entries)
        decoded = read_pixels(source, catalog.used, size=16, resize="crop", keep=True)
        catalog.record_pictures(decoded)
        rows = np.flatnonzero(catalog.used)
        assert len(rows) == 39
        in_memory, streaming = InMemory(decoded.pixels, "cpu"), Streaming(source, 16, "crop", "cpu", workers)
        for epoch in (0, 1):
            batches = epoch_batches(rows, 7, seed=3, epoch=epoch)
            one, other = list(in_memory.batches(batches)), list(streaming.batches(batches))
            assert len(one) == len(other) == len(batches)
            for wanted, a, b in zip(batches, one, other, strict=True):
                assert a.dtype == b.dtype == torch.uint8
                np.testing.assert_array_equal(a, decoded.pixels[wanted])
                np.testing.assert_array_equal(a, b)

    def test_a_batch_may_be_changed_in_place(self):
        images = noise(6, 16)
        rows = [np.arange(3)]
        for pictures in (InMemory(images.copy(), "cpu"), Streaming(Counting(images), 16, "crop", "cpu")):
            next(pictures.batches(rows)).zero_()
            np.testing.assert_array_equal(next(pictures.batches(rows)), images[:3])

    @pytest.mark.gpu
    def test_on_a_gpu(self):
        images = noise(600, 32)
        batches = epoch_batches(np.arange(600), 64, seed=0, epoch=0)
        for pictures in (InMemory(images, "cuda"), Streaming(Counting(images), 32, "crop", "cuda")):
            got = list(pictures.batches(batches))
            assert all(batch.device.type == "cuda" for batch in got)
            for wanted, batch in zip(batches, got, strict=True):
                np.testing.assert_array_equal(batch.cpu(), images[wanted])


class TestStreaming:
    @pytest.mark.parametrize(("batch", "most"), [(50, 3 * 50), (1, 8)])
    def test_only_so_much_is_decoded_ahead(self, batch, most):
        source = Counting(noise(1000, 32))
        rows = [np.arange(start, start + batch) for start in range(0, 1000, batch)]
        stream = Streaming(source, 32, "crop", "cpu", workers=4).batches(rows)
        for taken in range(1, 8):
            next(stream)
            assert len(source.rows) <= (taken - 1) * batch + most
        stream.close()

    def test_closed_early_its_threads_end_and_nothing_more_is_read(self):
        source = Counting(noise(1000, 32))
        stream = Streaming(source, 32, "crop", "cpu", workers=2).batches([np.arange(0, 400), np.arange(400, 1000)])
        next(stream)
        assert stream_threads()
        stream.close()
        read = len(source.rows)
        assert not stream_threads()
        assert read < 1000
        assert len(source.rows) == read

    def test_abandoned_its_threads_end(self):
        stream = Streaming(Counting(noise(100)), 16, "crop", "cpu").batches([np.arange(100)] * 5)
        next(stream)
        del stream
        assert not stream_threads()

    def test_to_the_end_its_threads_end(self):
        assert len(list(Streaming(Counting(noise(9)), 16, "crop", "cpu").batches([np.arange(9)] * 5))) == 5
        assert not stream_threads()

    @pytest.mark.parametrize(
        ("harm", "why"), [(Path.unlink, "file not found"), (lambda path: path.write_bytes(b"x"), "not a picture")]
    )
    def test_a_picture_that_is_gone_is_named(self, tmp_path, harm, why):
        source = open_source(packed("", tmp_path))
        row = [entry.path for entry in source.entries].index("b/07.jpg")
        harm(tmp_path / "data" / "b/07.jpg")
        stream = Streaming(source, 16, "crop", "cpu")
        with pytest.raises(RunError, match=r"b/07\.jpg could be read when the run began, but no longer can") as caught:
            list(stream.batches([np.array([0, row, 1])]))
        assert why in caught.value.message
        assert caught.value.hint
        assert not stream_threads()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux to name a process's children")
class TestWorkerProcesses:
    """Streams whose pictures are decoded by worker processes."""

    IMAGES = noise(60, 24)
    BATCHES = [*np.arange(60).reshape(-1, 5)] * 2

    def stream(self, processes):
        return Streaming(Counting(self.IMAGES), 16, "crop", "cpu", workers=2, processes=processes)

    def pixels(self, processes):
        return torch.cat(list(self.stream(processes).batches(self.BATCHES)))

    def children(self):
        own = os.getpid()
        found = {int(one) for one in Path(f"/proc/{own}/task/{own}/children").read_text().split()}
        return {one for one in found if b"loky" in Path(f"/proc/{one}/cmdline").read_bytes()}

    def wait_for_the_end_of(self, processes):
        """Return when they are gone, however long the machine takes; pytest's own limit ends a test that hangs."""
        for process in processes:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    os.sched_yield()

    def test_the_same_bytes(self):
        assert torch.equal(self.pixels(5), self.pixels(0))

    def test_one_that_dies_is_said_and_costs_no_picture_and_the_others_end_with_the_stream(self):
        before, expected = self.children(), self.pixels(0)
        streaming = self.stream(2)
        batches = streaming.batches(self.BATCHES)
        got = [next(batches)]
        processes = self.children() - before
        assert len(processes) >= 2
        assert streaming.notes == []
        os.kill(min(processes), signal.SIGKILL)
        got += list(batches)
        got += list(streaming.batches(self.BATCHES))
        assert torch.equal(torch.cat(got), torch.cat([expected, expected]))
        assert [note.code for note in streaming.notes] == ["worker_died"]
        del streaming, batches
        gc.collect()
        self.wait_for_the_end_of(processes)

    def test_a_picture_that_is_gone_is_named(self, tmp_path):
        source = open_source(packed("", tmp_path))
        row = [entry.path for entry in source.entries].index("b/07.jpg")
        (tmp_path / "data" / "b/07.jpg").write_bytes(b"x")
        stream = Streaming(source, 16, "crop", "cpu", processes=1)
        with pytest.raises(RunError, match=r"b/07\.jpg could be read when the run began, but no longer can"):
            list(stream.batches([np.array([0, row, 1])]))


class TestOrder:
    ROWS = np.arange(100, 200)

    @pytest.mark.parametrize(("count", "batch"), [(100, 10), (100, 32), (97, 32), (5, 64), (1, 4), (1, 1), (4, 1)])
    def test_every_picture_once_in_batches(self, count, batch):
        batches = epoch_batches(self.ROWS[:count], batch, seed=0, epoch=0)
        assert sorted(np.concatenate(batches)) == list(range(100, 100 + count))
        assert all(len(one) == batch for one in batches[:-2])
        assert all(len(one) > 1 for one in batches) or batch == 1 or count == 1

    def test_a_single_picture_left_over_joins_the_batch_before(self):
        assert [len(one) for one in epoch_batches(self.ROWS[:97], 32, seed=0, epoch=0)] == [32, 32, 33]
        assert [len(one) for one in epoch_batches(self.ROWS[:98], 32, seed=0, epoch=0)] == [32, 32, 32, 2]
        assert [len(one) for one in epoch_batches(self.ROWS[:3], 1, seed=0, epoch=0)] == [1, 1, 1]
        assert epoch_batches(self.ROWS[:0], 4, seed=0, epoch=0) == []

    def test_it_follows_from_seed_and_epoch(self):
        def drawn(seed, epoch):
            return tuple(np.concatenate(epoch_batches(self.ROWS, 8, seed=seed, epoch=epoch)))

        assert drawn(1, 2) == drawn(1, 2)
        assert len({drawn(seed, epoch) for seed in range(5) for epoch in range(5)}) == 25

    def test_every_position_is_as_likely(self):
        first = [epoch_batches(np.arange(5), 5, seed=0, epoch=epoch)[0][0] for epoch in range(2000)]
        assert np.bincount(first).min() > 330  # of 400; below this by chance once in ten thousand

    def test_it_stays_the_same_between_versions(self):
        found = np.concatenate(epoch_batches(np.arange(10), 4, seed=7, epoch=1))
        assert found.tolist() == [8, 7, 1, 9, 5, 3, 4, 0, 6, 2]


def test_grey_is_pillows_before_rounding():
    images = noise(2, 40)
    grey = colour.grey(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    assert grey.shape == (2, 1, 40, 40)
    assert grey.dtype == torch.float32
    for one, image in zip(grey[:, 0].numpy(), images, strict=True):
        assert np.abs(one - np.asarray(Image.fromarray(image).convert("L"), np.float32)).max() < 0.51
