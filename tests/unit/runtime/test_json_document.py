"""JSON documents: what is wrong with one is a sentence, found before it fills the memory."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from kilat.runtime.json_document import DocumentError, parse_json, read_json, read_typed


class Person(BaseModel):
    name: str
    age: int


def test_a_sound_document_is_what_it_holds() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, -2.5e-3, true, null, "x\\u00e9]"], "b": {}}') == {
        "a": [1, -0.0025, True, None, "xé]"],
        "b": {},
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON, from line 1, column 1 on"),
        (b'{"a":\n 1,}', "not valid JSON, from line 2"),
        (b"\xff", "not text in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'["]", ' * 100_000, "nested too deeply"),  # brackets inside of strings close nothing
        (b'"' + b'\\"' * 500_000, "not valid JSON"),  # a string that is never closed is looked at once
        (b"[0" + b"9" * 2_000_000, "a number of|not valid JSON"),  # digits without end, too
        (b"[" + b"0," * 10_000_001 + b"0]", "more than 10,000,000 values"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice in one group"),
        (b"[NaN]", "not finite: NaN"),
        (b"[-Infinity]", "not finite: -Infinity"),
        (b"[1e999]", "not finite: 1e999"),
        (b"[" + b"9" * 5_000 + b"]", "a number of 5,000 digits"),
        (b"[1" + b"0" * 400 + b".5]", "not finite: 1000"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(content)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: None])
def test_only_files_are_read(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "run.json"
    make(path)
    with pytest.raises(DocumentError, match=r"run\.json cannot be read: "):
        read_json(path)


def test_a_file_that_says_to_be_huge_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(DocumentError, match="at most 1,048,576 are read"):
        read_json(path)


def test_a_type_is_checked_and_the_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "person.json"
    path.write_text('{"name": "Ada", "age": 36}')
    assert read_typed(Person, path) == Person(name="Ada", age=36)
    path.write_text('{"name": "Ada", "age": "' + "x" * 10_000 + '"}')
    with pytest.raises(DocumentError, match="its age is missing or not valid") as caught:
        read_typed(Person, path)
    assert "xxx" not in str(caught.value)
