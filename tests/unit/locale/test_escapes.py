"""Foreign text: nothing in it moves, turns, hides or breaks what is shown; letters of every script stay as they are."""

import shutil
import subprocess

import pytest

from hostile_texts import HOSTILE, MARKUP, ORDINARY, controls_of
from kilat.errors import KilatError, PictureError, SourceError
from kilat.locale import _, ngettext
from kilat.locale.escapes import Shown, shell_command, shell_word, shown, visible
from kilat.locale.notes import Note


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_shown_escaped(text):
    escaped = visible(text)
    assert not controls_of(escaped)
    assert "\n" not in escaped
    assert "\\" in escaped
    escaped.encode("utf-8")
    assert visible(escaped) == escaped


@pytest.mark.parametrize("text", [*ORDINARY, *MARKUP.values()])
def test_ordinary_text_stays_as_it_is(text):
    assert visible(text) == text


def test_what_escapes_look_like():
    assert visible("b\nok\x1b[0m\u202e\x85\udcff\ud800\U000e0064") == (
        "b\\nok\\x1b[0m\\u202e\\u0085\\xff\\ud800\\U000e0064"
    )


def test_a_few_marks_are_letters_and_many_a_flood():
    assert visible("a" + "\u0301" * 4) == "a" + "\u0301" * 4
    assert visible("a" + "\u0301" * 500).count("\u0301") < 10
    assert visible("\u0301a") == "\\u0301a"


@pytest.mark.parametrize("language", ["en", "id"])
def test_a_sentence_keeps_its_own_line_breaks_and_escapes_foreign_ones(monkeypatch, language):
    monkeypatch.setenv("KILAT_LANG", language)
    sentence = _("To run it again:\n  {command}").format(command="a\nb\x1b[31m")
    assert sentence.endswith("\n  a\\nb\\x1b[31m")
    assert sentence.count("\n") == 1
    around = _("Error: {error}").format(error=sentence)
    assert around.endswith(f": {sentence}")


@pytest.mark.parametrize("language", ["en", "id"])
def test_numbers_and_quotes_are_filled_in_as_ever(monkeypatch, language):
    monkeypatch.setenv("KILAT_LANG", language)
    assert "{a!r} {b:>4} {c:.1f}".format(a="x", b=1, c=2.5) in Shown("'x'    1 2.5")
    problem = _("There is no folder, table, archive or data set {name!r}.").format(name="b\nc\u202e")
    assert "'b\\nc\\u202e'" in problem
    assert "1" in ngettext("{count:,} picture", "{count:,} pictures", 1).format(count=1)


def test_what_is_put_together_by_hand_counts_as_foreign():
    assert shown("a\nb") == "a\\nb"
    assert shown(Shown("a\nb")) == "a\nb"
    assert shown(f"{Shown('a')}\n") == "a\\n"
    assert Shown("\n").join(["a\r", Shown("b\nc")]) == "a\\r\nb\nc"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_errors_and_notes_hold_no_foreign_controls(text):
    errors = [
        KilatError(f"{text} is wrong", hint=text),
        SourceError(_("{path} cannot be read: {reason}.").format(path=text, reason=OSError(2, text))),
        PictureError("undecodable", text, path=text),
        PictureError("damaged_in_archive", text),
    ]
    for error in errors:
        assert not controls_of(str(error))
        assert "\n" not in error.message
    note = Note("refused", {"count": 1, "code": "undecodable", "detail": text})
    assert not controls_of(note.sentence())
    assert "\n" not in note.sentence()


def test_an_error_shows_its_hint_on_a_line_of_its_own():
    error = KilatError(_("Stopped by {signal}.").format(signal="a\nb"), hint="c")
    assert str(error) == "Stopped by a\\nb.\nc"
    assert _("Error: {error}").format(error=error) == "Error: Stopped by a\\nb.\nc"


def test_commands_can_be_pasted():
    words = [text for text in (*HOSTILE.values(), *ORDINARY, *MARKUP.values()) if not set(text) & {"\x00", "\ud800"}]
    assert shell_command("kilat", "check", "my flowers") == "kilat check 'my flowers'"
    assert not controls_of(shell_command(*HOSTILE.values()))
    if shell := shutil.which("bash"):
        script = "".join(f"printf '%s\\0' {shell_word(word)}\n" for word in words)
        environment = {"LC_ALL": "C.UTF-8"}
        done = subprocess.run([shell], input=script.encode(), env=environment, capture_output=True, check=True)
        assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1] == words
