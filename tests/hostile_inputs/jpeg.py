"""JPEG files that claim, repeat or scan without measure.

They are written by hand, with Huffman tables of one symbol: a grey block of nothing takes two bits, and a progressive
scan over 16,384 blocks of nothing fifteen.
"""

import io
import struct
from functools import partial

from PIL import Image

from hostile_inputs.case import MIB, Corpus, Sparse

JPEG = Corpus()

START, END = b"\xff\xd8", b"\xff\xd9"
BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, ARITHMETIC, PROGRESSIVE_ARITHMETIC = 0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def frame(
    width: int, height: int, components: int, kind: int = BASELINE, sampling: int = 0x11, depth: int = 8
) -> bytes:
    """Return the header of a frame; the first component has the sampling, the others 1 × 1."""
    each = b"".join(bytes((number + 1, 0x11 if number else sampling, 0)) for number in range(components))
    return segment(kind, struct.pack(">BHHB", depth, height, width, components) + each)


def scan(components: int, first: int = 0, last: int = 63, bits: int = 0) -> bytes:
    each = b"".join(bytes((number + 1, 0)) for number in range(components))
    return segment(0xDA, bytes((components,)) + each + bytes((first, last, bits)))


def table(kind: int, symbol: int) -> bytes:
    """Return a Huffman table of one symbol, whose code is one bit, 0."""
    return segment(0xC4, bytes((kind, 1)) + bytes(15) + bytes((symbol,)))


QUANTIZATION = segment(0xDB, b"\0" + b"\1" * 64)
TABLES = QUANTIZATION + table(0x00, 0) + table(0x10, 0)


def flat(
    width: int, height: int, components: int = 1, sampling: int = 0x11, *before: bytes, data: bool = True
) -> bytes:
    """Return a baseline picture of one grey; without data it only claims to be one, and ends at once."""
    side = 8 * (sampling & 15) if components > 1 else 8
    blocks = -(-width // side) * -(-height // side) * ((sampling & 15) * (sampling >> 4) + components - 1)
    entropy = bytes(blocks * 2 // 8 + 1 if data else 1)
    header = b"".join(before) + TABLES + frame(width, height, components, sampling=sampling)
    return START + header + scan(components) + entropy + END


def progressive(width: int, height: int, components: int = 1, scans: int = 0, *, data: bool = True) -> bytes:
    """Return a progressive picture of one grey, with so many scans of nothing behind the first.

    Each goes over all blocks of the first component, in runs of 16,384 blocks.
    """
    blocks = -(-width // 8) * -(-height // 8)
    first = table(0x00, 0) + scan(components, 0, 0) + bytes(blocks * components // 8 + 1 if data else 1)
    again = scan(1, 1, 63) + bytes((-(-blocks // 16_384) * 15 + 7) // 8)
    header = QUANTIZATION + frame(width, height, components, PROGRESSIVE) + table(0x10, 0xE0)
    return START + header + first + again * scans + END


def photo(side: int = 64, **options: object) -> bytes:
    """Return a good picture."""
    image = Image.radial_gradient("L").resize((side, side)).convert("RGB")
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


for name, size in {
    "claims-65500.jpg": (65_500, 65_500),
    "claims-178-megapixels.jpg": (13_377, 13_377),
    "claims-a-row.jpg": (65_500, 2),
    "claims-a-column.jpg": (1, 65_500),
    "claims-a-strip.jpg": (65_500, 2_700),
}.items():
    JPEG.add(name, quick=size[0] * size[1] < MIB)(partial(flat, *size, 3, data=False))

JPEG.add("scan-of-178-megapixels.jpg", may="used")(partial(flat, 13_377, 13_377, 3, 0x22))
JPEG.add("scan-of-400-megapixels.jpg", may="used")(partial(flat, 20_000, 20_000, 3, 0x22))
JPEG.add("grey-scan-of-400-megapixels.jpg", may="used")(partial(flat, 20_000, 20_000))
JPEG.add("scan-of-4-gigapixels.jpg")(partial(flat, 65_500, 65_500))
JPEG.add("scan-of-a-column.jpg", may="used", quick=True)(partial(flat, 8, 65_500))
JPEG.add("odd-sampling.jpg", quick=True)(partial(flat, 64, 64, 3, 0x42, data=True))
JPEG.add("four-colours-of-178-megapixels.jpg")(partial(flat, 13_377, 13_377, 4))
JPEG.add("progressive-178-megapixels.jpg")(partial(progressive, 13_377, 13_377, 3))
JPEG.add("progressive-400-megapixels.jpg")(partial(progressive, 20_000, 20_000, 3))
JPEG.add("progressive-claims-65500.jpg")(partial(progressive, 65_500, 65_500, 3, data=False))
JPEG.add("progressive-claims-178-megapixels.jpg")(partial(progressive, 13_377, 13_377, 3, data=False))
JPEG.add("progressive-3000-scans.jpg")(partial(progressive, 3_000, 3_000, 1, 3_000))
JPEG.add("progressive-20000-scans-of-little.jpg")(partial(progressive, 500, 500, 1, 20_000))
JPEG.add("progressive-200-scans-of-13377.jpg")(partial(progressive, 13_377, 13_377, 1, 200))
JPEG.add("progressive-a-million-scans-of-one-block.jpg")(partial(progressive, 8, 8, 1, 1_000_000))


@JPEG.add("turned-178-megapixels.jpg")
def _turned() -> bytes:
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    return flat(13_377, 13_377, 3, 0x11, segment(0xE1, exif))


@JPEG.add("inverted-four-colours.jpg")
def _adobe() -> bytes:
    return flat(12_000, 12_000, 4, 0x11, segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 2)))


for name, kind in {
    "lossless.jpg": LOSSLESS,
    "arithmetic.jpg": ARITHMETIC,
    "progressive-arithmetic.jpg": PROGRESSIVE_ARITHMETIC,
    "hierarchical.jpg": 0xC5,
}.items():
    JPEG.add(name)(
        partial(lambda kind: START + TABLES + frame(13_377, 13_377, 3, kind) + scan(3) + bytes(9_000) + END, kind)
    )


@JPEG.add("twelve-bits.jpg")
def _twelve() -> bytes:
    return START + TABLES + frame(13_377, 13_377, 3, EXTENDED, depth=12) + scan(3) + bytes(9_000) + END


@JPEG.add("sixteen-components.jpg", may="refused", quick=True)
def _components() -> bytes:
    return START + TABLES + frame(1_000, 1_000, 16) + scan(4) + bytes(9_000) + END


@JPEG.add("no-height.jpg", may="refused", quick=True)
def _no_height() -> bytes:
    return START + TABLES + frame(64, 0, 1) + scan(1) + bytes(20) + segment(0xDC, b"\0\x40") + END


@JPEG.add("two-frames.jpg")
def _two_frames() -> bytes:
    """The first frame is small, the second is large."""
    return START + TABLES + frame(64, 64, 1) + frame(13_377, 13_377, 3) + scan(3) + bytes(9_000) + END


@JPEG.add("frame-after-the-scan.jpg", quick=True)
def _late_frame() -> bytes:
    return START + TABLES + frame(64, 64, 1) + scan(1) + bytes(20) + frame(60_000, 60_000, 1) + bytes(20) + END


@JPEG.add("frame-that-changes-between-scans.jpg", quick=True)
def _changing() -> bytes:
    first = QUANTIZATION + frame(64, 64, 1, PROGRESSIVE) + table(0x00, 0) + scan(1, 0, 0) + bytes(9)
    return START + first + frame(30_000, 30_000, 1, PROGRESSIVE) + scan(1, 0, 0) + bytes(9) + END


@JPEG.add("million-comments.jpg")
def _comments() -> bytes:
    return START + segment(0xFE, b"") * 1_000_000 + photo()[2:]


@JPEG.add("million-application-segments.jpg")
def _applications() -> bytes:
    return START + segment(0xE5, b"x") * 1_000_000 + photo()[2:]


@JPEG.add("thousand-largest-segments.jpg")
def _large_segments() -> bytes:
    return START + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(65_500)) * 1_000 + photo()[2:]


@JPEG.add("profile-in-255-parts.jpg", quick=True)
def _profile() -> bytes:
    parts = (b"ICC_PROFILE\0" + bytes((number, 255)) + bytes(65_500) for number in range(1, 256))
    return START + b"".join(segment(0xE2, part) for part in parts) + photo()[2:]


@JPEG.add("photoshop-blocks.jpg")
def _photoshop() -> bytes:
    block = b"8BIM\x03\xed\0\0" + bytes(4)
    return START + segment(0xED, b"Photoshop 3.0\0" + block * 5_000) * 100 + photo()[2:]


@JPEG.add("filled-with-ff.jpg")
def _filled() -> bytes:
    """Ten million bytes FF between two segments, which are allowed there."""
    return START + b"\xff" * 10_000_000 + photo()[3:]


@JPEG.add("million-restarts.jpg")
def _restarts() -> bytes:
    restart = segment(0xDD, b"\0\1")
    data = b"".join(b"\0" + bytes((0xFF, 0xD0 + number % 8)) for number in range(8)) * 125_000
    return START + TABLES + restart + frame(8_000, 8_000, 1) + scan(1) + data + END


@JPEG.add("wrong-restarts.jpg")
def _wrong_restarts() -> bytes:
    """Every restart marker is the wrong one, and the decoder looks for the right one."""
    restart = segment(0xDD, b"\0\1")
    return START + TABLES + restart + frame(8_000, 8_000, 1) + scan(1) + b"\0\xff\xd5" * 1_000_000 + END


@JPEG.add("never-ends.jpg")
def _never_ends() -> Sparse:
    return Sparse(photo()[:-2], 255 * MIB)


@JPEG.add("scan-that-goes-on.jpg")
def _goes_on() -> Sparse:
    """A small picture, and 255 MiB of entropy-coded zeros."""
    return Sparse(START + TABLES + frame(64, 64, 1) + scan(1), 255 * MIB)


@JPEG.add("pictures-in-pictures.jpg", quick=True)
def _mpo() -> bytes:
    """Says that four billion more pictures follow."""
    entries = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 0xFFFFFFFF)
    entries += struct.pack(">HHII", 0xB002, 7, 0xFFFFFFF0, 50)
    index = b"MPF\0MM\0*\0\0\0\x08" + struct.pack(">H", 3) + entries + bytes(4)
    return START + segment(0xE2, index) + photo()[2:]


@JPEG.add("exif-of-65535-entries.jpg", quick=True)
def _exif_entries() -> bytes:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + struct.pack(">HHII", 0x0100, 2, 65_000, 8) * 5_400
    return START + segment(0xE1, exif) + photo()[2:]


@JPEG.add("exif-of-itself.jpg", quick=True)
def _exif_loop() -> bytes:
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005))
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 3) + entries + struct.pack(">I", 8)
    return START + segment(0xE1, exif) + photo()[2:]


@JPEG.add("cut-in-the-header.jpg", may="refused", quick=True)
def _cut() -> bytes:
    return photo()[:100]


@JPEG.add("no-tables.jpg", may="refused", quick=True)
def _no_tables() -> bytes:
    return START + frame(64, 64, 3) + scan(3) + bytes(100) + END


@JPEG.add("wrong-table.jpg", quick=True)
def _wrong_table() -> bytes:
    return START + QUANTIZATION + segment(0xC4, b"\0" + b"\xff" * 16 + bytes(200)) + frame(64, 64, 1) + scan(1) + END
