"""Refusals are codes with details; their sentences are made when they are shown."""

import pickle
import string

import pytest

from kilat.errors import KilatError, PictureError
from kilat.locale.refusals import REFUSALS, Refusal, refusal_heading, refusal_sentence


@pytest.mark.parametrize("code", REFUSALS)
def test_every_code_has_a_short_sentence(code: str) -> None:
    fields = {name for _, name, _, _ in string.Formatter().parse(REFUSALS[code]) if name is not None}
    assert fields <= {"detail"}
    sentence = refusal_sentence(code, "x.jpg")
    assert sentence == sentence.strip()
    assert not sentence.endswith(".")
    assert ("x.jpg" in sentence) == bool(fields)


def test_the_detail_may_hold_anything() -> None:
    assert refusal_sentence("unreadable", "{0} % {detail}") == "cannot be read: {0} % {detail}"


def test_a_code_of_another_version_speaks_for_itself() -> None:
    assert refusal_sentence("moonlight", "full") == "moonlight: full"
    assert refusal_sentence("moonlight") == "moonlight"


def test_several_refusals_with_one_code_have_one_heading() -> None:
    assert refusal_heading("duplicate", ["a.jpg", "b.jpg"]) == "byte-identical to …, which counts once"
    assert refusal_heading("duplicate", ["a.jpg", "a.jpg"]) == "byte-identical to a.jpg, which counts once"
    assert refusal_heading("empty_file", ["", ""]) == "empty file"


def test_numbers_are_written_as_in_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILAT_LANG", "id")
    assert "3.012 > 1.000" in refusal_sentence("too_many_parts", "3,012 > 1,000")
    assert "3,6 GB > 1,1 GB" in refusal_sentence("too_much_memory", "3.6 GB > 1.1 GB")


def test_an_unknown_code_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match="moonlight"):
        Refusal("moonlight")


class TestPictureError:
    def test_it_says_why(self) -> None:
        error = PictureError("unreadable", "permission denied")
        assert isinstance(error, KilatError)
        assert error.refusal == Refusal("unreadable", "permission denied")
        assert error.message == str(error) == "cannot be read: permission denied"
        assert error.hint == ""

    def test_it_can_name_the_picture(self) -> None:
        assert str(PictureError("empty_file", path="a/1.jpg")) == "a/1.jpg: empty file"

    @pytest.mark.parametrize("error", [PictureError("unreadable", "gone", "a.jpg"), PictureError("empty_file")])
    def test_it_pickles(self, error: PictureError) -> None:
        again = pickle.loads(pickle.dumps(error))
        assert (again.refusal, again.path, str(again)) == (error.refusal, error.path, str(error))

    def test_it_is_translated_when_it_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = PictureError("empty_file")
        monkeypatch.setattr("kilat.locale.refusals._", lambda message: f"<{message}>")
        assert error.message == "<empty file>"
