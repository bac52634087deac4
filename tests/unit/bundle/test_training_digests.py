"""Which pictures a model was trained on is told by a few bytes of each one's digest."""

import hashlib

import pytest

from kilat.bundle.training_digests import are_among, pack, unpack
from kilat.errors import ModelFileError

DIGESTS = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(2000)]


def test_pictures_that_were_packed_are_found_and_others_are_not():
    starts = unpack(pack(DIGESTS[:1000]), "here")
    assert are_among(DIGESTS, starts).tolist() == [True] * 1000 + [False] * 1000
    assert are_among(["", "f" * 64], starts).tolist() == [False, False]
    assert not are_among(DIGESTS, unpack(pack([]), "here")).any()
    assert are_among([], starts).tolist() == []


def test_the_first_and_the_last_digest_there_can_be():
    ends = ["0" * 64, "f" * 64]
    assert are_among([*ends, "1" * 64], unpack(pack(ends), "here")).tolist() == [True, True, False]


def test_the_text_is_the_same_in_any_order_and_has_seven_characters_a_picture():
    text = pack(DIGESTS)
    assert text == pack(DIGESTS[::-1] + DIGESTS[:5])
    assert len(text) <= 7 * len(DIGESTS)


@pytest.mark.parametrize("text", ["AAAA", "A", "AAAAAAA", "AAAA AAA", "\N{SNOWMAN}AAAAAA", "AAAAAAA=AAAAAAA="])
def test_a_damaged_text_is_refused(text):
    with pytest.raises(ModelFileError, match="here has damaged digests of its training pictures"):
        unpack(text, "here")
