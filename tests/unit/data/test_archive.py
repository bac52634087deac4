"""Archives are read in place, hold what a folder would hold, and hostile or damaged ones do no harm."""

import io
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from kilat.data.image_file import MAX_BYTES
from kilat.data.layout.layout import HIDDEN, OTHER
from kilat.data.source import open_source
from kilat.errors import PictureError, SourceError

FILES = {f"pets/{label}/{i}.jpg": b"\xff\xd8\xff\xe0" + f"{label}{i}".encode() * 50 for label in "ba" for i in (2, 1)}
TARS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}


def tar(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return path


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(source):
    """The codes of the refusals, by path."""
    return {entry.path: entry.refused.code for entry in source.entries if entry.refused}


def contents(source):
    return {entry.path: source.read(i) for i, entry in enumerate(source.entries) if not entry.refused}


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_an_archive_holds_what_a_folder_would(tmp_path, suffix):
    path = tmp_path / f"animals{suffix}"
    if suffix == ".zip":
        zipped(path, FILES)
    else:
        tar(path, FILES, mode=TARS[suffix])
    before = sorted(tmp_path.iterdir())
    source = open_source(path)
    assert source.name == "animals"
    assert contents(source) == FILES
    assert {(entry.path, entry.label) for entry in source.entries} == {(name, name.split("/")[1]) for name in FILES}
    order = sorted(FILES) if suffix in (".zip", ".tar") else list(FILES)
    assert [entry.path for entry in source.entries] == order
    assert source.link(0) is None
    assert source.read(3) == FILES[order[3]]
    assert source.read(0) == FILES[order[0]]
    assert sorted(tmp_path.iterdir()) == before
    source.close()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_helpers_other_files_splits_and_first_bytes(tmp_path, kind):
    files = {
        "./w/train/a/1.jpg": b"x",
        "./w/train/b/1": b"\x89PNG\r\n\x1a\n...",
        "./w/train/b/words": b"words",
        "./w/val/a/2.jpg": b"y",
        "./w/README.md": b"read me",
        "./__MACOSX/w/train/a/._1.jpg": b"z",
        "./__MACOSX/w/train/b/._1.jpg": b"z",
        "./w/train/a/.DS_Store": b"z",
    }
    source = open_source((zipped if kind == "zip" else tar)(tmp_path / f"data.{kind}", files))
    assert [(entry.path, entry.label, entry.split) for entry in source.entries] == [
        ("w/train/a/1.jpg", "a", "train"),
        ("w/val/a/2.jpg", "a", "validation"),
        ("w/train/b/1", "b", "train"),
    ]
    assert source.skipped == {HIDDEN: 2, OTHER: 2}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_lead_out_are_refused(tmp_path, kind):
    hostile = ("../evil.jpg", "/etc/passwd", "a/../../b.jpg", "..\\up.jpg", "C:/windows/1.jpg")
    files = FILES | dict.fromkeys(hostile, b"evil")
    source = open_source((zipped if kind == "zip" else tar)(tmp_path / f"x.{kind}", files))
    assert refused(source) == dict.fromkeys(hostile, "outside_archive")
    assert contents(source) == FILES
    for index, entry in enumerate(source.entries):
        if entry.refused:
            with pytest.raises(PictureError, match="leads out"):
                source.read(index)


def test_links_and_devices_in_a_tar_are_refused(tmp_path):
    more = (
        special("pets/a/soft.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        special("pets/a/hard.jpg", tarfile.LNKTYPE, "pets/a/1.jpg"),
        special("pets/a/folder", tarfile.SYMTYPE, ".."),
        special("pets/a/device.png", tarfile.CHRTYPE),
        special("pets/a/pipe.png", tarfile.FIFOTYPE),
    )
    assert refused(open_source(tar(tmp_path / "x.tar.gz", FILES, *more, mode="w:gz"))) == {
        "pets/a/soft.jpg": "archive_link",
        "pets/a/hard.jpg": "archive_link",
        "pets/a/folder": "archive_link",
        "pets/a/device.png": "not_a_regular_file",
        "pets/a/pipe.png": "not_a_regular_file",
    }


def test_zip_members_that_are_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", FILES)
    link = zipfile.ZipInfo("pets/a/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("pets/a/bz.jpg", b"x" * 99, zipfile.ZIP_BZIP2)
        archive.writestr("pets/a/secret.jpg", b"x" * 99)
    _set_in_directory(path, b"pets/a/secret.jpg", 8, struct.pack("<H", 1))
    assert refused(open_source(path)) == {
        "pets/a/link.jpg": "archive_link",
        "pets/a/bz.jpg": "compression_method",
        "pets/a/secret.jpg": "encrypted",
    }


def _set_in_directory(path: Path, name: bytes, offset: int, value: bytes) -> None:
    """Overwrites a field of the member's record in the central directory."""
    content = bytearray(path.read_bytes())
    start = content.rindex(name) - 46
    content[start + offset : start + offset + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [(10, "damaged in the archive"), (100_000, "cut off|damaged"), (MAX_BYTES + 1, "larger than 256 MiB")],
)
def test_a_zip_member_that_lies_about_its_size(tmp_path, claimed, reason):
    path = zipped(tmp_path / "x.zip", FILES | {"pets/a/lie.jpg": bytes(50_000)})
    _set_in_directory(path, b"pets/a/lie.jpg", 24, struct.pack("<I", claimed))
    source = open_source(path)
    index = next(i for i, entry in enumerate(source.entries) if entry.path.endswith("lie.jpg"))
    with pytest.raises(PictureError, match=reason):
        source.read(index)
    assert source.read(0) == FILES["pets/a/1.jpg"]


def test_a_bomb_in_a_compressed_tar_is_refused(tmp_path):
    head = special("pets/a/bomb.jpg", tarfile.REGTYPE)
    head.size = MAX_BYTES + 1
    stream = zlib.compressobj(1, wbits=31)
    plain = tar(tmp_path / "plain.tar", FILES).read_bytes()[: 4 * 1024]
    with (tmp_path / "x.tgz").open("wb") as file:
        file.write(stream.compress(plain + head.tobuf()))
        for _ in range(257):
            file.write(stream.compress(bytes(1 << 20)))
        file.write(stream.flush())
    assert refused(open_source(tmp_path / "x.tgz")) == {"pets/a/bomb.jpg": "too_large"}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_a_cut_off_archive_is_an_error(tmp_path, suffix, part):
    noise = random.Random(0)
    files = {f"{label}/{i}.jpg": noise.randbytes(3000) for label in "ab" for i in range(10)}
    path = tmp_path / f"x{suffix}"
    if suffix == ".zip":
        zipped(path, files)
    else:
        tar(path, files, mode=TARS[suffix])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(SourceError, match=r"cut off or damaged|cannot be opened") as caught:
        open_source(path)
    assert "again" in caught.value.hint


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = tar(tmp_path / "x.tar", FILES)
    content = bytearray(path.read_bytes())
    content[2048:2100] = b"\xaa" * 52
    path.write_bytes(content)
    with pytest.raises(SourceError, match="after 2 pictures: the end of the archive is missing"):
        open_source(path)


def test_damaged_content_is_refused_when_read(tmp_path):
    path = zipped(tmp_path / "x.zip", FILES, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(FILES["pets/a/1.jpg"]) + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(PictureError, match="damaged in the archive: Bad CRC-32"):
        open_source(path).read(0)


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"77777777777\0"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_headers_of_impossible_size_end_at_once(tmp_path, size, kind):
    """Negative sizes made tarfile go round for ever (CVE-2025-8194); huge ones would be read into memory."""
    head = bytearray(special("pets/a/x.jpg", kind).tobuf(tarfile.GNU_FORMAT))
    head[124:136] = size
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    plain = tar(tmp_path / "plain.tar", FILES).read_bytes()
    (tmp_path / "x.tar").write_bytes(plain[:4096] + bytes(head) + plain[4096:])
    with pytest.raises(SourceError, match="cut off or damaged"):
        open_source(tmp_path / "x.tar")


def test_a_later_member_replaces_an_earlier_one(tmp_path):
    path = tar(tmp_path / "x.tar", FILES)
    tar(path, {"pets/a/1.jpg": b"newer"}, mode="a")
    source = open_source(path)
    assert list(refused(source).values()) == ["replaced_in_archive"]
    assert contents(source)["pets/a/1.jpg"] == b"newer"


def test_an_empty_member(tmp_path):
    source = open_source(zipped(tmp_path / "x.zip", FILES | {"pets/a/0.jpg": b""}))
    with pytest.raises(PictureError, match=r"^empty file$"):
        source.read(0)


def test_unicode_names_without_the_flag(tmp_path):
    path = zipped(tmp_path / "x.zip", {"xxxx/1.jpg": b"1", "b/1.jpg": b"2"})
    path.write_bytes(path.read_bytes().replace(b"xxxx", "thé".encode()))
    source = open_source(path)
    assert [entry.label for entry in source.entries] == ["b", "thé"]
    assert source.read(1) == b"1"


def test_a_file_that_is_no_archive(tmp_path):
    for name, kind in (("x.zip", "zip"), ("x.tar.gz", "tar")):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(SourceError, match=f"cannot be opened as a {kind} archive"):
            open_source(tmp_path / name)


def test_undecodable_names_in_a_tar(tmp_path):
    source = open_source(tar(tmp_path / "x.tar", {"a/\udcff.jpg": b"1", "b/1.jpg": b"2"}))
    assert [(entry.path, entry.label) for entry in source.entries] == [("a/\\xff.jpg", "a"), ("b/1.jpg", "b")]
    assert source.read(0) == b"1"
