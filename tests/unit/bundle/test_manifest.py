"""The document inside a model file: what goes in comes out, and what is damaged or foreign is refused."""

import json
from dataclasses import replace

import pytest

from kilat.bundle.manifest import MAX_BYTES, SCHEMA, Manifest
from kilat.errors import ModelFileError


def test_what_goes_in_comes_out(manifest):
    odd = replace(manifest, classes=("a,b", "naïve 🌩", "two\nlines", '"'))
    assert Manifest.from_json(odd.to_json(), "here") == odd


def test_the_same_content_gives_the_same_text(manifest):
    turned = replace(manifest, versions=dict(reversed(manifest.versions.items())))
    assert turned.to_json() == manifest.to_json()


def test_what_is_not_finite_cannot_be_written(manifest):
    with pytest.raises(ValueError):
        replace(manifest, measures={"accuracy": float("nan")}).to_json()


def test_a_foreign_file_says_how_to_make_one():
    with pytest.raises(ModelFileError, match=r"here is an ONNX file.*\n.*kilat train"):
        Manifest.from_json(None, "here")


def test_a_newer_schema_asks_for_a_newer_kilat(manifest):
    newer = json.loads(manifest.to_json()) | {"schema": SCHEMA + 1}
    with pytest.raises(ModelFileError, match="newer kilat"):
        Manifest.from_json(json.dumps(newer), "here")


def test_what_later_versions_add_is_passed_over(manifest):
    more = json.loads(manifest.to_json()) | {"added": [1, 2]}
    assert Manifest.from_json(json.dumps(more), "here") == manifest


def test_an_oversized_document_is_refused_before_it_is_parsed():
    with pytest.raises(ModelFileError, match="header"):
        Manifest.from_json("[" * (MAX_BYTES + 1), "here")
    with pytest.raises(ModelFileError, match="header"):
        Manifest.from_json("日" * (MAX_BYTES // 2), "here")


@pytest.mark.parametrize("name", Manifest.__dataclass_fields__)
def test_nothing_may_be_missing(manifest, name):
    document = json.loads(manifest.to_json())
    del document[name]
    with pytest.raises(ModelFileError, match="damaged header"):
        Manifest.from_json(json.dumps(document), "here")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '"text"', "[" * 100_000, "{}", '{"schema": "one"}'])
def test_a_damaged_document_is_refused(text):
    with pytest.raises(ModelFileError, match="damaged header"):
        Manifest.from_json(text, "here")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", []),
        ("classes", 3),
        ("classes", None),
        ("thresholds", None),
        ("thresholds", [1]),
        ("schema", None),
        ("size", "large"),
        ("size", None),
        ("size", -1),
        ("thresholds", {"set": 3}),
        ("thresholds", {"set": {"probability": "high"}}),
        ("classes", "abc"),
    ],
)
def test_a_field_of_another_kind_is_refused(manifest, field, value):
    document = json.loads(manifest.to_json()) | {field: value}
    with pytest.raises(ModelFileError, match="damaged header"):
        Manifest.from_json(json.dumps(document), "here")
