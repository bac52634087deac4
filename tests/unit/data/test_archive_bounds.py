"""Archives that hold more than they seem to, or never end: refused or named, from what their headers say."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from tests.unit.data.test_archive import FILES, TARS, contents, refused, special, tar, zipped

from kilat.data.bounds import DEEPEST, FREE_MEMBER, LONGEST_PATH, MOST_HEADERS
from kilat.data.source import find_source, open_source
from kilat.data.unlabelled import open_unlabelled
from kilat.data.unpacking import UnpackedFile, decompressor_of
from kilat.errors import PictureError, SourceError

END = bytes(1024)


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    info = special(name, kind)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(kind: bytes = tarfile.XHDTYPE, **records: str) -> bytes:
    """An extended header with records of pax."""
    content = b""
    for key, value in records.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(rest) + 1
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        content += str(length).encode() + rest
    return header("pax", kind, len(content)) + padded(content)


def plain(tmp_path: Path) -> bytes:
    """The pictures of FILES as a tar, without its end."""
    return tar(tmp_path / "plain.tar", FILES, mode="w").read_bytes()[: 4 * 1024]


class CountingFile(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.count += len(content)
        return content


class TestZip:
    def test_members_that_share_their_bytes(self, tmp_path):
        path = zipped(tmp_path / "x.zip", FILES)
        with zipfile.ZipFile(path) as archive:
            offsets = {info.filename: info.header_offset for info in archive.infolist()}
        content = bytearray(path.read_bytes())
        entry = content.rindex(b"pets/a/2.jpg") - 46
        content[entry + 42 : entry + 46] = struct.pack("<L", offsets["pets/a/1.jpg"])
        path.write_bytes(content)
        source = open_source(path)
        assert list(refused(source).values()) == ["overlaps_in_archive"]
        assert set(contents(source)) == set(FILES) - set(refused(source))

    @pytest.mark.parametrize(("size", "code"), [(FREE_MEMBER, None), (FREE_MEMBER + 1, "unpacks_too_far")])
    def test_a_member_that_unpacks_to_hundreds_of_times_its_size(self, tmp_path, size, code):
        source = open_source(zipped(tmp_path / "x.zip", FILES | {"pets/a/0.bmp": bytes(size)}))
        assert refused(source).get("pets/a/0.bmp") == code
        assert source.read(1) == FILES["pets/a/1.jpg"]

    def test_a_directory_that_claims_more_than_there_is(self, tmp_path):
        path = zipped(tmp_path / "x.zip", FILES)
        content = bytearray(path.read_bytes())
        content[-10:-6] = struct.pack("<L", 0xFFFFFF00)
        path.write_bytes(content)
        with pytest.raises(SourceError, match="the directory at its end is damaged"):
            open_source(path)

    def test_large_numbers_comments_and_what_stands_before_the_archive(self, tmp_path):
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in FILES.items():
                with archive.open(name, "w", force_zip64=True) as member:
                    member.write(content)
            archive.comment = b"PK\5\6" + b"x" * 60_000
        path.write_bytes(b"#!/bin/sh unpacks itself\n" + path.read_bytes().replace(b"PK\5\6xx", b"PK\5\7xx"))
        assert contents(open_source(path)) == FILES

    def test_a_zip64_directory(self, tmp_path):
        path = zipped(tmp_path / "x.zip", FILES)
        content = path.read_bytes()
        end = content.rindex(b"PK\5\6")
        count, size, offset = struct.unpack("<H2L", content[end + 10 : end + 20])
        large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        small = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        path.write_bytes(content[:end] + large + locator + small)
        assert contents(open_source(path)) == FILES

    def test_names_that_cannot_be_paths(self, tmp_path):
        names = ("a/" * (DEEPEST + 1) + "1.jpg", "a/" + "b" * LONGEST_PATH, "")
        source = open_source(zipped(tmp_path / "x.zip", FILES | dict.fromkeys(names, b"x")))
        assert sorted(refused(source).values()) == ["folders_too_deep", "outside_archive", "path_too_long"]
        assert max(len(entry.path) for entry in source.entries) <= LONGEST_PATH
        assert contents(source) == FILES


class TestTar:
    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_long_names(self, tmp_path, form):
        files = {f"pets/{label}/{'é' * 20}{'x' * 80}/{i}.jpg": b"\xff\xd8\xff" for label in "ab" for i in range(3)}
        if form != tarfile.USTAR_FORMAT:
            files |= {f"pets/a/{'y' * 300}.jpg": b"\xff\xd8\xff"}
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=form) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        assert contents(open_source(tmp_path / "x.tar.gz")) == files

    def test_a_header_for_all_members_says_nothing_of_their_names(self, tmp_path):
        content = pax(tarfile.XGLTYPE, comment="0" * 40, path="elsewhere.jpg") + plain(tmp_path) + END
        (tmp_path / "x.tar").write_bytes(content)
        assert contents(open_source(tmp_path / "x.tar")) == FILES

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
    def test_headers_without_end(self, tmp_path, kind):
        (tmp_path / "x.tar").write_bytes(plain(tmp_path) + pax(kind, comment="x") * (MOST_HEADERS + 1) + END)
        with pytest.raises(SourceError, match="after 4 pictures: a header of impossible size"):
            open_source(tmp_path / "x.tar")

    def test_a_record_of_impossible_length(self, tmp_path):
        content = padded(b"1 path=x\n")
        (tmp_path / "x.tar").write_bytes(plain(tmp_path) + header("pax", tarfile.XHDTYPE, 9) + content + END)
        with pytest.raises(SourceError, match="a header of impossible size"):
            open_source(tmp_path / "x.tar")

    def test_sparse_members_are_refused_and_their_maps_stepped_over(self, tmp_path):
        old = bytearray(header("pets/a/old.jpg", tarfile.GNUTYPE_SPARSE, 512))
        old[482] = 1
        old[148:156] = b" " * 8
        old[148:156] = f"{sum(old):06o}\0 ".encode()
        map_goes_on, map_ends = bytes(504) + b"\1" + bytes(7), bytes(512)
        new = pax(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__name="pets/a/new.jpg")
        content = bytes(old) + map_goes_on * 50 + map_ends + b"x" * 512
        content += new + header("pets/a/GNUSparseFile.0/new.jpg", size=512) + b"1\n" * 256
        (tmp_path / "x.tar").write_bytes(content + plain(tmp_path) + END)
        source = open_source(tmp_path / "x.tar")
        assert refused(source) == dict.fromkeys(("pets/a/new.jpg", "pets/a/old.jpg"), "sparse_file")
        assert contents(source) == FILES

    def test_the_size_of_a_large_member_stands_in_its_extended_header(self, tmp_path):
        content = pax(size="600") + header("pets/a/0.jpg", size=0) + padded(b"x" * 600)
        (tmp_path / "x.tar").write_bytes(content + plain(tmp_path) + END)
        assert contents(open_source(tmp_path / "x.tar")) == FILES | {"pets/a/0.jpg": b"x" * 600}

    def test_a_compressed_tar_that_unpacks_without_end(self, tmp_path):
        """Streams behind each other are one: 64 of 16 MiB of zeros each, 1 GiB in all."""
        zeros = zlib.compressobj(9, wbits=31)
        stream = zeros.compress(bytes(16 << 20)) + zeros.flush()
        begin = zlib.compressobj(9, wbits=31)
        head = begin.compress(plain(tmp_path) + header("pets/a/0.bin", size=(1 << 33) - 512)) + begin.flush()
        (tmp_path / "x.tar.gz").write_bytes(head + stream * 64)
        with pytest.raises(SourceError, match="unpacks to more than 200 times its size") as caught:
            open_source(tmp_path / "x.tar.gz")
        assert "unpack it yourself" in caught.value.hint

    def test_an_xz_stream_that_asks_for_gigabytes(self, tmp_path):
        path = tar(tmp_path / "x.tar.xz", FILES, mode="w:xz")
        content = bytearray(path.read_bytes())
        length = 4 * content[12]
        content[content.index(b"\x21\x01", 12) + 2] = 40  # a dictionary of 4 GiB
        content[12 + length : 16 + length] = struct.pack("<L", zlib.crc32(content[12 : 12 + length]))
        path.write_bytes(content)
        with pytest.raises(SourceError, match="Memory usage limit"):
            open_source(path)

    def test_many_empty_members(self, tmp_path):
        more = [special(f"pets/a/e{i}.jpg", tarfile.REGTYPE) for i in range(3000)]
        source = open_source(tar(tmp_path / "x.tar.bz2", FILES, *more, mode="w:bz2"))
        assert len(source.entries) == 3004
        with pytest.raises(PictureError, match="empty file"):
            source.read(3003)


class TestUnpacking:
    @pytest.mark.parametrize("suffix", sorted(set(TARS) - {".tar", ".tgz"}))
    def test_going_forwards_reads_each_byte_once(self, tmp_path, suffix):
        content = tar(tmp_path / f"x{suffix}", {f"a/{i}": os.urandom(3000) for i in range(200)}, mode=TARS[suffix])
        file = CountingFile(content.read_bytes())
        unpacked = UnpackedFile(file, decompressor_of(file.getvalue()[:6]), "x")
        for block in range(1200):
            unpacked.seek(512 * block)
            unpacked.seek(512 * block + 1)  # a step back stays in what was unpacked last
            assert len(unpacked.read(511)) == 511
        assert file.count <= len(file.getvalue())

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
    def test_streams_behind_each_other_and_going_back(self, pack):
        parts = [os.urandom(70_000) for _ in range(4)]
        file = io.BytesIO(b"".join(map(pack, parts)) + bytes(16))
        unpacked = UnpackedFile(file, decompressor_of(file.getvalue()[:6]), "x")
        assert unpacked.read(10**6) == b"".join(parts)
        unpacked.seek(69_990)
        assert unpacked.read(20) == b"".join(parts)[69_990:70_010]
        unpacked.seek(10**6)
        assert unpacked.read(1) == b""

    def test_progress_is_reported(self):
        file = io.BytesIO(gzip.compress(os.urandom(3 << 20), 1))
        reported = []
        unpacked = UnpackedFile(
            file, decompressor_of(file.getvalue()[:6]), "x", lambda done, total, note="": reported.append((done, total))
        )
        unpacked.seek(3 << 20)
        assert len(reported) == 3
        assert reported[-1][0] <= reported[-1][1] == len(file.getvalue())


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_what_is_no_file_is_not_opened(tmp_path, suffix):
    os.mkfifo(tmp_path / f"x{suffix}")
    with pytest.raises(SourceError, match="a pipe, a socket or a device"):
        open_source(tmp_path / f"x{suffix}")


def test_predictions_have_a_row_for_each_member(tmp_path):
    path = tar(tmp_path / "x.tar", FILES)
    tar(path, {"pets/a/1.jpg": b"newer"}, mode="a")
    pictures = open_unlabelled(path)
    assert pictures.paths.count("pets/a/1.jpg") == 2
    read = list(pictures.read())
    assert len(read) == 5
    assert b"newer" in read
    assert sum(isinstance(one, PictureError) for one in read) == 1


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_mutants(tmp_path, suffix):
    """Of each, whatever is read of it is read, and whatever is not is an error or a refusal."""
    noise = random.Random(0)
    path = tmp_path / f"x{suffix}"
    whole = (zipped(path, FILES) if suffix == ".zip" else tar(path, FILES, mode=TARS[suffix])).read_bytes()
    for _mutant in range(700):
        content = bytearray(whole)
        for _change in range(noise.randint(1, 4)):
            content[noise.randrange(len(content))] ^= 1 << noise.randrange(8)
        path.write_bytes(content)
        with contextlib.suppress(SourceError):
            source = find_source(path)
            for row in range(len(source.entries)):
                with contextlib.suppress(PictureError):
                    source.read(row)
