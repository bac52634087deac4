"""Streams that unpack to a great many zeros, made without ever holding the zeros."""

import zlib

_BLOCK = 1 << 20


def deflated_zeros(count: int, *, head: bytes = b"", raw: bool = False) -> bytes:
    """Return a zlib stream (or a raw deflate stream) of some bytes and then so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)  # stands for itself, so it can be repeated
    blocks, rest = divmod(count, _BLOCK)
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = b"".join(
        (
            first.compress(head) + first.flush(zlib.Z_FULL_FLUSH),
            block * blocks,
            last.compress(bytes(rest)) + last.flush(),
        )
    )
    if raw:
        return stream
    checksum = zlib.adler32(head)
    low = checksum & 0xFFFF
    high = ((checksum >> 16) + low * count) % 65521  # zeros leave the first sum as it is, and add it to the second
    return b"\x78\xda" + stream + ((high << 16) | low).to_bytes(4, "big")
