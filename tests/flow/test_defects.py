"""A folder with planted defects of every kind trains, and the catalog names each with its reason."""

import csv
import io
import os
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import kilat

NFC, NFD = "café", "cafe\N{COMBINING ACUTE ACCENT}"

Pixels = np.ndarray


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A PNG whose header promises 60,000 × 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    packed = struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + packed + encoded(Image.new("RGB", (4, 4)), "PNG")[33:]


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", exif=exif.tobytes())


def animated(one: Image.Image, other: Image.Image) -> bytes:
    return encoded(one, "GIF", save_all=True, append_images=[other], duration=100)


class Planted:
    """The folder, and what is expected of every file in it: used, the code of its refusal with detail, or skipped."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.expected: dict[str, str] = {}
        self.skipped: list[str] = []
        self.pieces = self._pieces()

    def _pieces(self) -> Callable[[str], Image.Image]:
        photos = dict(zip(("temple", "flower"), load_sample_images().images, strict=True))
        random = np.random.default_rng(5)

        def piece(label: str) -> Image.Image:
            left, top = int(random.integers(0, 560)), int(random.integers(0, 350))
            width, height = (int(side) for side in random.integers(40, 72, 2))
            return Image.fromarray(photos[label][top : top + height, left : left + width])

        return piece

    def add(self, path: str, content: bytes | Image.Image, status: str = "used") -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else encoded(content, "JPEG", quality=92))
        self.expected[path] = status

    def skip(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.skipped.append(path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    made = Planted(tmp_path_factory.mktemp("planted") / "set")
    piece = made.pieces
    for label in ("temple", "flower"):
        for i in range(110):
            made.add(f"{label}/{i:03}.jpg", piece(label))
    good = encoded(piece("temple"), "JPEG")
    made.add(f"{NFC}/one.jpg", piece("flower").rotate(90))
    made.add(f"{NFD}/two.jpg", piece("flower").rotate(90))
    made.add(f"{NFC}/{unicodedata.normalize('NFD', 'señor')}.jpg", piece("flower").rotate(90))
    made.add("single/only.png", encoded(piece("temple").rotate(180), "PNG"))
    made.add("temple/deep/er/still/nested.jpg", piece("temple"))
    made.add("temple/really-png.jpg", encoded(piece("temple"), "PNG"))
    made.add("temple/really-jpeg.png", piece("temple"))
    made.add("temple/no-ending", piece("temple"))
    made.add("temple/odd.ending", piece("temple"))
    made.add("temple/CAPITALS.JPG", piece("temple"))
    made.add(
        "temple/16-bit.png", encoded(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16), "PNG")
    )
    made.add("temple/cmyk.jpg", encoded(piece("temple").convert("CMYK"), "JPEG"))
    rgba = piece("temple").convert("RGBA")
    rgba.putalpha(128)
    made.add("temple/rgba.png", encoded(rgba, "PNG"))
    made.add("flower/palette.gif", encoded(piece("flower").convert("P"), "GIF"))
    made.add("flower/animated.gif", animated(piece("flower").convert("P"), piece("temple").convert("P")))
    made.add("flower/turned.jpg", turned(piece("flower").resize((60, 40))))
    made.add("temple/empty.jpg", b"", "empty_file")
    made.add("temple/truncated.jpg", good[: len(good) // 2], "truncated: Truncated File Read")
    made.add("temple/text.jpg", b"this is no picture\n" * 20, "not_an_image")
    made.add("temple/huge.png", huge_png(), "too_much_memory: 14.4 GB > ")
    made.add("loose.jpg", piece("temple"), "no_class_folder")
    copy = encoded(piece("flower"), "JPEG")
    made.add("flower/a-copy.jpg", copy)
    made.add("flower/b-copy.jpg", copy, "duplicate: flower/a-copy.jpg")
    torn = encoded(piece("flower"), "JPEG")
    made.add("flower/torn.jpg", torn, "label_conflict: temple/torn.jpg")
    made.add("temple/torn.jpg", torn, "label_conflict: flower/torn.jpg")
    for junk in (".DS_Store", "temple/Thumbs.db", "temple/._001.jpg", "flower/.ipynb_checkpoints", "desktop.ini"):
        made.skip(junk, good)
    made.skip("temple/notes.txt", good)
    made.skip("labels.csv", b"path,label\n")
    (made.root / "empty class").mkdir()
    return made


@pytest.fixture(scope="module")
def linked(planted: Planted) -> Planted:
    """The same folder with what an archive or a table does not carry: links."""
    (planted.root / "temple" / "loop").symlink_to(planted.root)
    (planted.root / "temple" / "broken.jpg").symlink_to(planted.root / "gone.jpg")
    return planted


@pytest.fixture(scope="module")
def run(linked: Planted, tmp_path_factory: pytest.TempPathFactory) -> kilat.Run:
    return kilat.train(linked.root, runs=tmp_path_factory.mktemp("runs"), size=32)


def catalog_of(run: kilat.Run) -> pd.DataFrame:
    return pd.read_csv(run.folder / "catalog.csv", dtype=str, keep_default_na=False)


def test_at_least_a_twentieth_is_defective(planted):
    assert len(planted.expected) >= 200
    refused = sum(status != "used" for status in planted.expected.values())
    assert (refused + len(planted.skipped)) / len(planted.expected) >= 0.05


def statuses(catalog: pd.DataFrame) -> dict[str, str]:
    """``used``, or the code of the refusal with its detail, by path."""
    assert set(catalog["status"]) <= {"used", "refused"}
    return {
        path: "used" if status == "used" else f"{code}: {detail}" if detail else code
        for path, status, code, detail in catalog[["path", "status", "code", "detail"]].itertuples(index=False)
    }


def test_the_catalog_names_each_with_its_refusal(run, linked):
    expected = linked.expected | {"temple/broken.jpg": "broken_link"}
    found = statuses(catalog_of(run))
    assert found.keys() == expected.keys()
    wrong = {path: found[path] for path, status in expected.items() if not found[path].startswith(status)}
    assert not wrong
    assert all(found[path] == "used" for path, status in expected.items() if status == "used")


def test_nothing_is_unaccounted_for(run, linked):
    files = {str(path.relative_to(linked.root)) for path in linked.root.rglob("*") if not path.is_dir()}
    files = {path for path in files if not path.startswith("temple/loop/")}
    assert files == set(catalog_of(run)["path"]) | set(linked.skipped)
    html = (run.folder / "report.html").read_text("utf-8")
    for note in (
        "5 hidden or helper files were skipped.",
        "2 files that are not pictures were skipped.",
        "One folder that leads back to itself was skipped.",
        "One class folder without pictures was skipped.",
    ):
        assert note in html


def test_counts_agree(run):
    data, catalog = run.metrics.data, catalog_of(run)
    assert data.used == (catalog["status"] == "used").sum()
    assert data.used + data.refused == len(catalog)
    assert data.train + data.validation + data.test == data.used
    assert run.metrics.test.n + run.metrics.validation.n == data.used - 1  # the single one is trained on


def test_both_spellings_are_one_class(run):
    assert run.classifier.classes == (NFC, "flower", "single", "temple")


def test_sizes_are_those_of_the_upright_picture(run):
    row = catalog_of(run).set_index("path").loc["flower/turned.jpg"]
    assert (row["width"], row["height"]) == ("40", "60")


def test_byte_identical_pictures_share_a_group(run):
    groups = catalog_of(run).set_index("path")["group"]
    assert groups["flower/a-copy.jpg"] == groups["flower/b-copy.jpg"] != "-1"
    assert groups["flower/torn.jpg"] == groups["temple/torn.jpg"] != groups["flower/a-copy.jpg"]
    assert (groups == "-1").sum() == len(groups) - 6


def test_near_duplicates_share_a_group_and_a_side(run):
    """Two of the planted pieces happen to show nearly the same place."""
    table = catalog_of(run)
    copies = table[table["path"].isin(["flower/025.jpg", "flower/076.jpg"])]
    assert copies["group"].nunique() == copies["split"].nunique() == 1
    (group,) = copies["group"].unique()
    assert (table["group"] == group).sum() == 2
    assert (copies["status"] == "used").all()


def as_zip(planted: Planted, file: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as box:
        for path in [*planted.expected, *planted.skipped]:
            box.write(planted.root / path, path)
    return file


def as_tar(planted: Planted, file: Path) -> Path:
    with tarfile.open(file, "w:gz") as box:
        for path in [*planted.expected, *planted.skipped]:
            box.add(planted.root / path, path)
    return file


def as_table(planted: Planted, file: Path) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        for path in planted.expected:
            label = path.split("/")[0] if "/" in path else ""
            rows.writerow([os.path.relpath(planted.root / path, file.parent), label])
    return file


@pytest.mark.parametrize(("name", "pack"), [("set.zip", as_zip), ("set.tar.gz", as_tar), ("set.csv", as_table)])
def test_packed_in_another_way_the_same_pictures_are_used_and_tested(run, planted, tmp_path, name, pack):
    other = kilat.train(pack(planted, tmp_path / name), runs=tmp_path / "runs", size=32)
    assert other.classifier.classes == run.classifier.classes
    before, after = catalog_of(run), catalog_of(other)
    assert len(after) == len(planted.expected)

    def sides(catalog: pd.DataFrame) -> set[tuple[str, str, str]]:
        used = catalog[catalog["status"] == "used"]
        return set(zip(used["digest"], used["label"], used["split"], strict=True))

    assert sides(after) == sides(before)
    assert other.metrics.data.used == run.metrics.data.used


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_and_folder_are_named(make_photos, tmp_path):
    folder = make_photos(tmp_path / "set", temple=8, flower=8)
    (folder / "temple" / "temple-000.jpg").chmod(0)
    (folder / "flower" / "shut").mkdir(mode=0)
    run = kilat.train(folder, runs=tmp_path / "runs", size=32)
    found = statuses(catalog_of(run))
    assert found["temple/temple-000.jpg"] == "unreadable: permission denied"
    assert found["flower/shut"] == "folder_unreadable: permission denied"
