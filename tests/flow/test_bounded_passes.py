"""Passes over pictures of which some do harm: the others are answered, and few bytes are in hand at a time."""

import io
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kilat
from kilat.bundle.prediction import RefusedPicture
from kilat.data.catalog import Entry
from kilat.data.source import PathsSource, open_source
from kilat.features.extract import Extractor
from kilat.features.pixels import read_pixels
from kilat.features.processing import Preprocessor, Processing
from kilat.runtime.array_types import Pixels
from kilat.runtime.cores import available_cores
from kilat.verbs.predict import predict

MIB = 1 << 20


def png(width: int, height: int, rows: int | None = None) -> bytes:
    """A grey PNG of 1 bit a pixel, black; of ``rows`` rows where it claims more than it has."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + (width + 7) // 8) * (height if rows is None else rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def noise() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


SHAPES = {"wide.png": png(100_000, 1), "high.png": png(1, 100_000), "tiny.png": png(3, 1), "dot.png": png(1, 1)}
REFUSED = {
    "claims.png": (png(178_000_000, 1, rows=0), {"too_much_memory"}),
    "cut.png": (noise()[:-999], {"truncated", "undecodable", "damaged"}),
    "none.jpg": (b"", {"empty_file"}),
    "words.jpg": (b"no picture", {"not_an_image"}),
}


@pytest.fixture
def harmful(photos: Path, tmp_path: Path) -> Path:
    """Class folders with photos, pictures of extreme shapes, and what is refused; nodes that are no files."""
    folder = tmp_path / "sights"
    for label in ("temple", "flower"):
        (folder / label).mkdir(parents=True)
        for photo in sorted((photos / label).iterdir())[:8]:
            (folder / label / photo.name).write_bytes(photo.read_bytes())
    contents = SHAPES | {name: content for name, (content, _codes) in REFUSED.items()}
    for name, content in contents.items():
        (folder / "temple" / name).write_bytes(content)
    if hasattr(os, "mkfifo"):
        (folder / "flower" / "zero.jpg").symlink_to("/dev/zero")
        os.mkfifo(folder / "flower" / "pipe.jpg")
        (folder / "flower" / "itself").symlink_to(folder)
        with (folder / "flower" / "sparse.jpg").open("wb") as file:
            file.truncate(1 << 40)
    return folder


def refusals(table: Any) -> dict[str, str]:
    return {Path(path).name: code for path, code in zip(table["path"], table["code"], strict=True) if code}


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_every_shape_is_fitted_and_the_model_answers_it(resize: str, photos_run: Any) -> None:
    preprocess = Preprocessor(32, resize)  # type: ignore[arg-type]
    for content in SHAPES.values():
        assert preprocess(content).shape == (32, 32, 3)
    if resize == photos_run.classifier.manifest.resize:
        assert len(photos_run.classifier.predict(list(SHAPES.values()))) == len(SHAPES)


def test_a_training_goes_on_and_accounts_for_every_picture(harmful: Path, tmp_path: Path) -> None:
    run = kilat.train(harmful, runs=tmp_path / "runs", size=32)
    found = refusals(run.catalog)
    for name, (_content, codes) in REFUSED.items():
        assert found.pop(name) in codes
    if hasattr(os, "mkfifo"):
        assert [found.pop(name) for name in ("zero.jpg", "pipe.jpg")] == ["not_a_regular_file"] * 2
        assert found.pop("sparse.jpg") == "too_large"
    assert not found
    assert run.metrics.data.used == 16 + len(SHAPES)


def test_predictions_go_on_with_the_next_picture(harmful: Path, photos_run: Any, kilat_here: Any) -> None:
    answers = {Path(one.path).name: one for one in predict(photos_run.folder, harmful)}
    assert {name for name, one in answers.items() if isinstance(one, RefusedPicture)} == {
        *REFUSED,
        *(["zero.jpg", "pipe.jpg", "sparse.jpg"] if hasattr(os, "mkfifo") else []),
    }
    assert kilat_here("predict", photos_run.folder, harmful / "temple").returncode == 1


def test_a_folder_of_them_alone_is_a_sentence(photos_run: Any, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for name, (content, _codes) in REFUSED.items():
        (tmp_path / "bad" / name).write_bytes(content)
    assert all(isinstance(one, RefusedPicture) for one in predict(photos_run.folder, tmp_path / "bad"))
    with pytest.raises(kilat.KilatError, match="too few pictures"):
        kilat.drift(photos_run.folder, tmp_path / "bad")


class Failing:
    """A source whose second picture cannot be read for want of memory, and that counts the bytes that are not freed."""

    name = "failing"

    def __init__(self, contents: list[bytes]) -> None:
        self.contents, self.skipped, self.notes = contents, dict[str, int](), []
        self.entries = [Entry(f"{number}.png", "a") for number in range(len(contents))]

    def read(self, index: int) -> bytes:
        if index == 1:
            raise MemoryError
        return self.contents[index]

    def link(self, index: int) -> str | None:
        return None


def test_want_of_memory_while_a_file_is_read_is_the_refusal_of_that_picture() -> None:
    source = Failing([png(20 + number, 20) for number in range(4)])
    found = read_pixels(source, np.ones(4, bool), size=16, resize="crop", keep=True)
    assert {row: refusal.code for row, refusal in found.refusals.items()} == {1: "out_of_memory"}


class Large:
    """A source of large files, equal in nothing, that says how many of them are in memory at most."""

    name = "large"

    def __init__(self, count: int, size: int) -> None:
        self.size, self.skipped, self.notes, self.most = size, dict[str, int](), [], 0
        self.entries = [Entry(f"{number}.jpg", "a") for number in range(count)]
        self.alive = 0

    def read(self, index: int) -> Any:
        picture = np.zeros((self.size // 300, 100, 3), np.uint8).view(_Counted)
        picture[0] = index
        picture.source = self
        self.alive += picture.nbytes
        self.most = max(self.most, self.alive)
        return picture

    def link(self, index: int) -> str | None:
        return None


class _Counted(np.ndarray[Any, Any]):
    source: Large | None = None

    def __del__(self) -> None:
        if self.source is not None:
            self.source.alive -= self.nbytes


def test_bytes_in_hand_follow_from_the_cores_not_from_the_number_of_pictures() -> None:
    source = Large(24, 8 * MIB)
    read_pixels(source, np.ones(24, bool), size=32, resize="crop", keep=False, image_stats=False)
    assert source.most <= (32 * available_cores() + 16 + 16 + 3 * 8) * MIB


class KillsOn:
    """A transform that kills the worker process in which it meets a dark picture."""

    batch, portable = 4, True

    def __init__(self) -> None:
        self.process = os.getpid()

    def __call__(self, pixels: Pixels) -> Any:
        if os.getpid() != self.process and (pixels.max(axis=(1, 2, 3)) == 0).any():
            os._exit(9)
        return pixels.reshape(len(pixels), -1)[:, :8].astype(np.float32)


@pytest.mark.skipif(sys.platform == "win32", reason="needs processes that end at once")
def test_what_a_worker_died_of_costs_no_other_picture(tmp_path: Path) -> None:
    paths = []
    for number in range(60):
        pixels = np.full((20, 20, 3), 0 if number == 30 else 3 + number, np.uint8)
        paths.append(tmp_path / f"{number:02}.png")
        Image.fromarray(pixels).save(paths[-1])
    source, vectors = PathsSource(paths, ["a"] * 60), np.zeros((60, 8), np.float32)
    processing = Processing(Preprocessor(32, "crop"), KillsOn())
    used = np.ones(60, bool)
    found = Extractor(source, used, processing, vectors, lambda done, total: None, processes=2).run()
    assert found.refusals == {}
    assert vectors[:, 0].tolist() == [0 if number == 30 else 3 + number for number in range(60)]
    assert [note.code for note in found.notes] == ["worker_died"]


def test_what_exceeds_the_budget_is_refused_and_the_rest_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KILAT_DECODE_MEMORY", "40MB")
    file = io.BytesIO()
    Image.new("RGB", (2_500, 2_500)).save(file, "PNG")
    contents = [png(20, 20), file.getvalue(), png(30, 20)]
    with zipfile.ZipFile(tmp_path / "three.zip", "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"a/{number}.png", content)
    source = open_source(tmp_path / "three.zip", one_class=True)
    found = read_pixels(source, np.ones(3, bool), size=16, resize="crop", keep=True)
    assert {row: refusal.code for row, refusal in found.refusals.items()} == {1: "too_much_memory"}
