"""Zip and tar archives that unpack, nest, repeat or claim without measure, each with good pictures of two classes."""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hostile_inputs.case import MIB, Corpus, Sparse
from hostile_inputs.deflated import deflated_zeros
from hostile_inputs.jpeg import photo
from hostile_inputs.png import small

ZIP = Corpus()
TAR = Corpus()

STORED, DEFLATED, DEFLATE64, BZIP2, LZMA, ZSTD, XZ, PPMD = 0, 8, 9, 12, 14, 93, 95, 98


@dataclass(frozen=True)
class Part:
    """A member of a zip archive: its data and what the two headers say of it.

    Args:
        name: as it is written.
        data: packed.
        size: that it unpacks to, as its headers say.
        method: of compression.
        flags: general purpose bits.
        mode: of the file, as UNIX has it.
        crc: of the unpacked data.
    """

    name: bytes
    data: bytes
    size: int
    method: int = STORED
    flags: int = 0x800
    mode: int = 0o100644
    crc: int = 0


def stored(name: str, content: bytes) -> Part:
    return Part(name.encode(), content, len(content), crc=zlib.crc32(content))


def good() -> list[Part]:
    """Return ten good pictures of two classes."""
    return [stored(f"pictures/{label}/{number}.jpg", photo(24 + number)) for label in "ab" for number in range(5)]


def zipped(parts: Sequence[Part], *, repeats: int = 0, comment: bytes = b"", claimed: int | None = None) -> bytes:
    """Return a zip archive.

    Args:
        parts: its members.
        repeats: how many more entries of the directory share the data of the last member.
        comment: at its end.
        claimed: how many members it says that it has.
    """
    body, directory, count = bytearray(), bytearray(), 0
    for part in parts:
        local = struct.pack(
            "<4sHHHHHIIIHH", b"PK\3\4", 20, part.flags, part.method, 0, 33, part.crc, len(part.data), part.size,
            len(part.name), 0,
        )  # fmt: skip
        at = len(body)
        body += local + part.name + part.data
        for number in range(1 + (repeats if part is parts[-1] else 0)):
            name = part.name if not number else part.name.replace(b"0", b"%06d" % number)
            directory += struct.pack(
                "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x0314, 20, part.flags, part.method, 0, 33, part.crc,
                len(part.data), part.size, len(name), 0, 0, 0, 0, part.mode << 16, at,
            ) + name  # fmt: skip
            count += 1
    said = min(count if claimed is None else claimed, 0xFFFF)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, said, said, len(directory), len(body), len(comment))
    if count > 0xFFFF:
        at = len(body) + len(directory)
        end = (
            struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), len(body))
            + struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
            + end
        )
    return bytes(body + directory) + end + comment


def bomb(mebibytes: int, head: bytes = b"", name: str = "pictures/b/bomb-0.png") -> Part:
    """Return a member that unpacks to zeros behind some first bytes."""
    data = deflated_zeros(mebibytes * MIB - len(head), head=head, raw=True)
    crc = zlib.crc32(head)
    for _ in range(mebibytes):
        crc = zlib.crc32(bytes(MIB), crc)
    return Part(name.encode(), data, mebibytes * MIB, DEFLATED, crc=crc)


def with_part(part: Part, repeats: int = 0, comment: bytes = b"") -> bytes:
    return zipped([*good(), part], repeats=repeats, comment=comment)


PNG_HEAD = small()[:33]

for name, make in {
    "60-members-of-250-mib.zip": lambda: with_part(bomb(250), 59),
    "60-pictures-of-250-mib.zip": lambda: with_part(bomb(250, PNG_HEAD), 59),
    "says-ten-bytes-unpacks-to-a-gibibyte.zip": lambda: with_part(
        Part(b"pictures/b/bomb.png", deflated_zeros(1024 * MIB, head=PNG_HEAD, raw=True), 10, DEFLATED)
    ),
    "says-250-mib-unpacks-to-ten-bytes.zip": lambda: with_part(
        Part(b"pictures/b/bomb.png", deflated_zeros(10, raw=True), 250 * MIB, DEFLATED)
    ),
    "stored-beyond-the-end.zip": lambda: with_part(Part(b"pictures/b/long.png", b"ab", 250 * MIB)),
    "wrong-checksum.zip": lambda: with_part(Part(b"pictures/b/wrong.jpg", photo(), len(photo()), crc=7)),
    "encrypted.zip": lambda: with_part(Part(b"pictures/b/secret.jpg", photo(), len(photo()), flags=0x801)),
    "link.zip": lambda: with_part(Part(b"pictures/b/link.jpg", b"/etc/passwd", 11, mode=0o120777)),
    "pipe.zip": lambda: with_part(Part(b"pictures/b/pipe.jpg", b"", 0, mode=0o010644)),
    "device.zip": lambda: with_part(Part(b"pictures/b/device.jpg", b"", 0, mode=0o020644)),
    "outside.zip": lambda: with_part(stored("../../outside.jpg", photo())),
    "absolute.zip": lambda: with_part(stored("/etc/outside.jpg", photo())),
    "drive.zip": lambda: with_part(stored("C:\\outside.jpg", photo())),
    "no-name.zip": lambda: with_part(stored("", photo())),
    "name-of-65535-bytes.zip": lambda: with_part(stored("pictures/b/" + "n" * 65_000 + ".jpg", photo())),
    "name-of-32767-folders.zip": lambda: with_part(stored("a/" * 32_000 + "b.jpg", photo())),
    "thousand-names-of-32767-folders.zip": lambda: zipped(
        [
            *good(),
            *(stored("pictures/b/" + f"{number}/" * 8_000 + "b.jpg", b"") for number in range(10, 110)),
        ]
    ),
    "name-with-nul.zip": lambda: with_part(stored("pictures/b/a\0b.jpg", photo())),
    "name-with-controls.zip": lambda: with_part(stored("pictures/b/\x1b[2J\r\n\u202egpj.\u200b.jpg", photo())),
    "name-in-no-encoding.zip": lambda: with_part(Part(b"pictures/b/\xff\xfe\x80.jpg", photo(), len(photo()), flags=0)),
    "folder-is-a-file.zip": lambda: zipped([*good(), stored("pictures/b", photo()), stored("pictures/b/", b"")]),
    "says-65535-members.zip": lambda: zipped(good(), claimed=0xFFFF),
    "says-no-members.zip": lambda: zipped(good(), claimed=0),
    "200-thousand-empty-members.zip": lambda: with_part(stored("pictures/b/0.png", b""), 200_000),
    "200-thousand-members-of-one-name.zip": lambda: with_part(stored("pictures/b/x.png", b""), 200_000),
    "200-thousand-classes.zip": lambda: with_part(stored("pictures/0/x.png", b""), 200_000),
    "comment-of-65535-bytes.zip": lambda: with_part(good()[0], comment=bytes(0xFFFF)),
    "archive-in-an-archive.zip": lambda: with_part(stored("pictures/b/inner.zip", zipped(good()))),
    "cut.zip": lambda: zipped(good())[:-40],
    "nothing.zip": lambda: b"",
    "text.zip": lambda: b"no archive at all",
    "only-its-end.zip": lambda: b"PK\5\6" + b"\xff" * 18,
    "directory-of-4-gib.zip": lambda: (
        zipped(good())[:-22] + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 10, 10, 0xFFFFFFF0, 0xFFFFFFF0, 0)
    ),
    "extra-fields.zip": lambda: b"".join(
        (
            struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 5, 0) + b"a.jpg",
            struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0, 0, 0, 5, 65_535, 0, 0, 0, 0, 0),
            b"a.jpg" + b"\1\0\1\0" * 16_383 + bytes(3),
            struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 46 + 5 + 65_535, 35, 0),
        )
    ),
}.items():
    ZIP.add(name)(make)

for number in (BZIP2, LZMA, ZSTD, XZ, PPMD, DEFLATE64, 1, 6, 99):
    ZIP.add(f"method-{number}.zip")(
        partial(lambda method: with_part(Part(b"pictures/b/odd.png", bz2.compress(bytes(MIB)), MIB, method)), number)
    )


@ZIP.add("zip64-of-2-to-the-63.zip")
def _zip64() -> bytes:
    """A member whose size stands in an extra field, and is 2⁶³."""
    extra = struct.pack("<HHQQ", 1, 16, 1 << 63, 1 << 63)
    name = b"pictures/b/huge.jpg"
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra))
    entry = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    body, directory = local + name + extra, entry + name + extra
    return body + directory + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(body), 0)


def tar_header(
    name: bytes, size: int, kind: bytes = b"0", *, link: bytes = b"", fields: dict[int, bytes] | None = None
) -> bytes:
    """Return the header of a member; a size over eight gigabytes or below 0 is written in base 256."""
    octal = b"%011o\0" % size if 0 <= size < 8**11 else b"\x80" + size.to_bytes(11, "big", signed=size < 0)
    if size < 0:
        octal = b"\xff" + octal[1:]
    block = bytearray(512)
    for at, value in {
        0: name[:100], 100: b"0000644\0", 108: b"0000000\0", 116: b"0000000\0", 124: octal, 136: b"00000000000\0",
        156: kind, 157: link[:100], 257: b"ustar\x0000", **(fields or {}),
    }.items():  # fmt: skip
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str, content: bytes, kind: bytes = b"0") -> bytes:
    return (
        tar_header(name.encode("utf-8", "surrogateescape"), len(content), kind) + content + bytes(-len(content) % 512)
    )


def good_tar() -> bytes:
    """Return ten good pictures of two classes, without the end of an archive."""
    return b"".join(
        member(f"pictures/{label}/{number}.jpg", photo(24 + number)) for label in "ab" for number in range(5)
    )


TAR_END = bytes(1024)


def tarred(*members: bytes) -> bytes:
    return good_tar() + b"".join(members) + TAR_END


def pax(records: dict[str, bytes] | bytes, kind: bytes = b"x") -> bytes:
    """Return a header of further records."""
    if isinstance(records, dict):
        lines = []
        for key, value in records.items():
            rest = b" " + key.encode() + b"=" + value + b"\n"
            length = len(rest) + 1
            while len(str(length)) + len(rest) != length:
                length += 1
            lines.append(str(length).encode() + rest)
        records = b"".join(lines)
    return tar_header(b"pax", len(records), kind) + records + bytes(-len(records) % 512)


def sparse_chain(blocks: int) -> bytes:
    """Return a member of GNU's sparse kind whose map goes on for so many blocks."""
    pair = b"%011o\0%011o\0" % (0, 0)
    first = tar_header(b"pictures/b/sparse.png", 0, b"S", fields={386: pair * 4, 482: b"\1", 483: b"%011o\0" % 100})
    block = (pair * 21 + b"\1").ljust(512, b"\0")
    return first + block * (blocks - 1) + (pair * 21).ljust(512, b"\0")


LAST = member("pictures/b/last.jpg", photo(40))

for name, make in {
    "200-thousand-empty-members.tar": lambda: tarred(
        *(tar_header(b"pictures/b/%d.png" % number, 0) for number in range(200_000))
    ),
    "200-thousand-members-of-one-name.tar": lambda: tarred(tar_header(b"pictures/b/x.png", 0) * 200_000),
    "200-thousand-folders.tar": lambda: tarred(
        *(tar_header(b"pictures/%d/" % number, 0, b"5") for number in range(200_000))
    ),
    "sparse-map-of-50-mib.tar": lambda: tarred(sparse_chain(100_000), LAST),
    "sparse-map-that-never-ends.tar": lambda: good_tar() + sparse_chain(100_000)[:-512],
    "sparse-of-a-terabyte.tar": lambda: tarred(
        pax(
            {
                "GNU.sparse.major": b"1",
                "GNU.sparse.minor": b"0",
                "GNU.sparse.realsize": b"1099511627776",
                "GNU.sparse.name": b"pictures/b/x.png",
            }
        )
        + member("pictures/b/x.png", b"1\n0\n1099511627776\n".ljust(512, b"\0")),
        LAST,
    ),
    "sparse-map-of-a-billion.tar": lambda: tarred(
        pax({"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"9"})
        + member("pictures/b/x.png", b"1000000000\n" + b"0\n1\n" * 5_000_000),
        LAST,
    ),
    "sparse-map-in-a-record.tar": lambda: tarred(
        pax({"GNU.sparse.size": b"9", "GNU.sparse.map": b",".join([b"0"] * 1_000_000)}) + LAST
    ),
    "long-name-of-8-gib.tar": lambda: good_tar() + tar_header(b"././@LongLink", 8**11 - 1, b"L") + bytes(10_000),
    "long-name-of-a-mebibyte.tar": lambda: tarred(member("././@LongLink", b"n" * (MIB - 10), b"L") + LAST),
    "thousand-long-names-of-a-mebibyte.tar": lambda: tarred(
        *[member("././@LongLink", b"pictures/b/" + b"n" * (MIB - 30) + b".png", b"L") + tar_header(b"x", 0)] * 100
    ),
    "100-thousand-long-names.tar": lambda: tarred(member("././@LongLink", b"a/b.jpg\0", b"L") * 100_000, LAST),
    "100-thousand-pax-headers.tar": lambda: tarred(pax({"path": b"pictures/b/y.jpg"}) * 100_000, LAST),
    "100-thousand-global-headers.tar": lambda: tarred(
        *(pax({f"comment.{number}": b"x" * 400}, b"g") for number in range(100_000)), LAST
    ),
    "pax-header-of-a-gibibyte.tar": lambda: good_tar() + tar_header(b"pax", 1 << 30, b"x") + bytes(10_000),
    "pax-record-longer-than-its-header.tar": lambda: tarred(pax(b"999999999 path=x\n"), LAST),
    "pax-record-of-no-length.tar": lambda: tarred(pax(b"0 path=x\n"), LAST),
    "pax-record-without-number.tar": lambda: tarred(pax(b"abc path=x\n"), LAST),
    "pax-size-of-2-to-the-70.tar": lambda: tarred(pax({"size": str(1 << 70).encode()}) + LAST),
    "pax-size-below-0.tar": lambda: tarred(pax({"size": b"-512"}) + LAST),
    "pax-size-no-number.tar": lambda: tarred(pax({"size": b"nan"}) + LAST, LAST),
    "pax-time-of-infinity.tar": lambda: tarred(pax({"mtime": b"inf", "uid": b"1e400"}) + LAST),
    "pax-name-of-lines.tar": lambda: tarred(pax({"path": b"pictures/b/x\n\x1b[31mok.jpg"}) + LAST),
    "pax-name-in-no-encoding.tar": lambda: tarred(pax({"path": b"pictures/b/\xff\xfe.jpg"}) + LAST),
    "pax-name-empty.tar": lambda: tarred(pax({"path": b""}) + LAST),
    "pax-million-records.tar": lambda: tarred(pax(b"8 a=b\n\n\n" * 100_000) + LAST),
    "pax-half-a-mebibyte-of-digits.tar": lambda: tarred(pax(b"1" * 500_000 + b" path=x\n") + LAST),
    "pax-header-charset.tar": lambda: tarred(pax({"hdrcharset": b"BINARY", "path": b"pictures/b/\xff.jpg"}) + LAST),
    "member-of-2-to-the-60.tar": lambda: good_tar() + tar_header(b"pictures/b/x.png", 1 << 60) + bytes(10_000),
    "member-of-2-to-the-88.tar": lambda: good_tar() + tar_header(b"pictures/b/x.png", (1 << 87) + 5) + bytes(10_000),
    "member-below-0.tar": lambda: good_tar() + tar_header(b"pictures/b/x.png", -512) + bytes(10_000),
    "member-far-below-0.tar": lambda: good_tar() + tar_header(b"pictures/b/x.png", -(1 << 40)) + bytes(10_000),
    "wrong-checksum.tar": lambda: good_tar() + tar_header(b"pictures/b/x.png", 0).replace(b"ustar", b"USTAR") + TAR_END,
    "links.tar": lambda: tarred(
        tar_header(b"pictures/b/soft.jpg", 0, b"2", link=b"/etc/passwd"),
        tar_header(b"pictures/b/hard.jpg", 0, b"1", link=b"pictures/a/0.jpg"),
        tar_header(b"pictures/b/itself.jpg", 0, b"1", link=b"pictures/b/itself.jpg"),
    ),
    "devices.tar": lambda: tarred(
        tar_header(b"pictures/b/zero.jpg", 0, b"3", fields={329: b"0000001\0", 337: b"0000005\0"}),
        tar_header(b"pictures/b/block.jpg", 0, b"4"),
        tar_header(b"pictures/b/pipe.jpg", 0, b"6"),
        tar_header(b"pictures/b/strange.jpg", 0, b"Z"),
    ),
    "outside.tar": lambda: tarred(member("../../x.jpg", photo()), member("/etc/x.jpg", photo())),
    "name-with-controls.tar": lambda: tarred(member("pictures/b/\x1b[2J\r\n\u202egpj.\u200b.jpg", photo())),
    "no-end.tar": good_tar,
    "cut.tar": lambda: good_tar()[:-700],
    "nothing.tar": lambda: b"",
    "text.tar": lambda: b"no archive at all" * 100,
    "only-zeros.tar": lambda: bytes(10_240),
    "behind-its-end.tar": lambda: tarred() + good_tar() + TAR_END,
}.items():
    TAR.add(name)(make)


@TAR.add("sparse-file-of-100-gigabytes.tar")
def _hundred() -> Sparse:
    content = tarred(LAST)
    return Sparse(content, 100_000 * MIB)


@TAR.add("member-of-100-gigabytes.tar")
def _member() -> Sparse:
    return Sparse(good_tar() + tar_header(b"pictures/b/x.png", 100_000 * MIB), 100_000 * MIB + (1 << 20))


def endless(size: int = 100_000) -> bytes:
    """Return the start of an archive in which a member of so many mebibytes begins."""
    return good_tar() + tar_header(b"pictures/b/endless.png", size * MIB)


def gzip_of(head: bytes, mebibytes: int) -> bytes:
    """Return a gzip file of some bytes and then zeros, without its end."""
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated_zeros(mebibytes * MIB, head=head, raw=True)


def bzip2_of(head: bytes, mebibytes: int) -> bytes:
    """Return a bzip2 file of streams that follow each other: 45 MB of zeros take 45 bytes."""
    block = 45 * 1000 * 1000
    return bz2.compress(head) + bz2.compress(bytes(block)) * (mebibytes * MIB // block)


def xz_of(head: bytes, mebibytes: int) -> bytes:
    return lzma.compress(head) + lzma.compress(bytes(64 * MIB), preset=0) * (mebibytes // 64)


def _gzip_member(data: bytes, times: int) -> bytes:
    """Return a stream of gzip that repeats some bytes very often, without holding them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    per = max(1, MIB // len(data))
    block = packer.compress(data * per) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (times // per)


def _repeated_gzip(data: bytes, times: int) -> bytes:
    start = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = start.compress(good_tar()) + start.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + _gzip_member(data, times)


def _gzip_sparse() -> bytes:
    chain = sparse_chain(3)
    start = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = start.compress(good_tar() + chain[:512]) + start.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + _gzip_member(chain[512:1024], 2_000_000)


def _zeros_250() -> bytes:
    crc = 0
    for _ in range(250):
        crc = zlib.crc32(bytes(MIB), crc)
    data = deflated_zeros(250 * MIB, raw=True)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + data + struct.pack("<II", crc, 250 * MIB)


def _xz_dictionary() -> bytes:
    """Return an xz file whose one block says that its dictionary has almost four gibibytes."""
    content = bytearray(lzma.compress(tarred()))
    size = (content[12] + 1) * 4
    at = content.index(b"\x21\x01", 12) + 2
    content[at] = 40  # 4 GiB - 1
    content[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(content[12 : 12 + size - 4]))
    return bytes(content)


for name, make in {
    "20-gib-in-a-member.tar.gz": lambda: gzip_of(endless(), 20 * 1024),
    "20-gib-in-a-member.tar.bz2": lambda: bzip2_of(endless(), 20 * 1024),
    "20-gib-in-a-member.tar.xz": lambda: xz_of(endless(), 20 * 1024),
    "empty-members-without-end.tar.gz": lambda: _repeated_gzip(tar_header(b"pictures/b/x.png", 0), 4_000_000),
    "long-names-without-end.tar.gz": lambda: _repeated_gzip(member("././@LongLink", b"a/b.jpg\0", b"L"), 2_000_000),
    "global-headers-without-end.tar.gz": lambda: _repeated_gzip(pax({"comment": b"x" * 300}, b"g"), 1_000_000),
    "sparse-map-without-end.tar.gz": _gzip_sparse,
    "20-thousand-pictures-unpacked-in-turn.tar.gz": lambda: gzip.compress(
        tarred(*(member(f"pictures/b/{number}.png", small()) for number in range(20_000)))
    ),
    "60-members-of-250-mib.tar.gz": lambda: b"".join(
        (
            gzip.compress(good_tar()),
            *(
                gzip.compress(tar_header(b"pictures/b/bomb-%d.png" % number, 250 * MIB)) + _zeros_250()
                for number in range(60)
            ),
            gzip.compress(TAR_END),
        )
    ),
    "million-empty-streams.tar.gz": lambda: gzip.compress(b"") * 1_000_000 + gzip.compress(tarred()),
    "million-empty-streams.tar.xz": lambda: lzma.compress(b"") * 1_000_000 + lzma.compress(tarred()),
    "million-empty-streams.tar.bz2": lambda: bz2.compress(b"") * 1_000_000 + bz2.compress(tarred()),
    "name-of-100-mib.tar.gz": lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * (100 * MIB),
    "cut.tar.gz": lambda: gzip.compress(tarred())[:-100],
    "wrong-sum.tar.gz": lambda: gzip.compress(tarred())[:-8] + bytes(8),
    "rubbish-behind.tar.gz": lambda: gzip.compress(tarred()) + b"rubbish" * 1_000,
    "zeros-behind.tar.gz": lambda: gzip.compress(tarred()) + bytes(100 * MIB),
    "no-tar.tar.gz": lambda: gzip.compress(b"no archive at all"),
    "zip-called-tar.tar.gz": lambda: zipped(good()),
    "dictionary-of-4-gib.tar.xz": _xz_dictionary,
    "blocks-of-nothing.tar.bz2": lambda: bz2.compress(good_tar())[:-10] + b"\x31\x41\x59\x26\x53\x59" + bytes(1_000),
}.items():
    TAR.add(name)(make)
