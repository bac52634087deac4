"""Class names as people have them: in a row, or in the files that tools write."""

import json

import pytest

from kilat.data.class_names import parse_class_names
from kilat.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("daisy,rose", ["daisy", "rose"]),
        (" daisy , rose ", ["daisy", "rose"]),
        ('"lily, white",rose', ["lily, white", "rose"]),
        ('rose, "6"" pot"', ["rose", '6" pot']),
        ("one", ["one"]),
        ("a,,b", ["a", "", "b"]),
    ],
)
def test_a_row(text, names):
    assert parse_class_names(text) == names


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("daisy\nrose\n", ["daisy", "rose"]),
        ("\ufeffdaisy\r\n\r\nrose\r\n", ["daisy", "rose"]),
        ("0 daisy\n1 red rose\n", ["daisy", "red rose"]),
        ("1 rose\n0 daisy\n", ["daisy", "rose"]),
        ("1: daisy\n2: rose\n", ["daisy", "rose"]),
        ("names:\n  0: daisy\n  1: rose\n", ["daisy", "rose"]),
        ("index,name\n0,daisy\n1,rose\n", ["daisy", "rose"]),
        ("name,index\ndaisy,1\nrose,0\n", ["rose", "daisy"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("7 up\n8 ball\n", ["7 up", "8 ball"]),
        ('"lily, white"\nrose\n', ["lily, white", "rose"]),
        ("daisy,rose,tulip\n", ["daisy", "rose", "tulip"]),
    ],
)
def test_a_text_file(content, names, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes(content.encode())
    assert parse_class_names(str(path)) == names


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"rose": 1, "daisy": 0}, ["daisy", "rose"]),
        ({"1": "rose", "0": "daisy"}, ["daisy", "rose"]),
        ({"10": "k"} | {str(i): chr(97 + i) for i in range(10)}, [*"abcdefghij", "k"]),
        ({"0": 0, "1": 1}, ["0", "1"]),
        ({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}, ["tench", "goldfish"]),
        (["daisy", "rose"], ["daisy", "rose"]),
        ({"tfjsVersion": "1.7.4", "labels": ["daisy", "rose"], "imageSize": 224}, ["daisy", "rose"]),
    ],
)
def test_a_json_file(document, names, tmp_path):
    path = tmp_path / "class_indices.json"
    path.write_text(json.dumps(document))
    assert parse_class_names(str(path)) == names


@pytest.mark.parametrize("document", [{"daisy": 1, "rose": 2}, {"daisy": 0, "rose": 0}, {"a": "b"}, [], 3, [["a"]], {}])
def test_json_that_names_no_outputs(document, tmp_path):
    path = tmp_path / "class_indices.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RecipeError, match="does not give a name to each output from 0") as caught:
        parse_class_names(str(path))
    assert '{"daisy": 0, "rose": 1}' in caught.value.hint


@pytest.mark.parametrize(("content", "message"), [(b'{"daisy":', "is not valid JSON"), (b"\xff\xfe\x00", "as text")])
def test_files_that_cannot_be_read(content, message, tmp_path):
    path = tmp_path / "names.json"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        parse_class_names(str(path))


def test_a_file_that_is_not_there():
    with pytest.raises(RecipeError, match=r"class names labels\.txt does not exist"):
        parse_class_names("labels.txt")
