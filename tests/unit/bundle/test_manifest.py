"""The document inside a model file: what goes in comes out, and what is damaged or foreign is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from kilat.bundle.manifest import MAX_BYTES, SCHEMA, Manifest, pack, unpack
from kilat.errors import ModelFileError


def test_what_goes_in_comes_out(manifest):
    odd = replace(manifest, classes=("a,b", "naïve 🌩", "two\nlines", '"'))
    assert Manifest.from_json(odd.to_json(), "here") == odd


def test_the_same_content_gives_the_same_text(manifest):
    reordered = replace(manifest, versions=dict(reversed(manifest.versions.items())))
    assert reordered.to_json() == manifest.to_json()


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
        ("classes", "abc"),
    ],
)
def test_a_field_of_another_kind_is_refused(manifest, field, value):
    document = json.loads(manifest.to_json()) | {field: value}
    with pytest.raises(ModelFileError, match="damaged header"):
        Manifest.from_json(json.dumps(document), "here")


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 128), (1000, 16)])
def test_packed_embeddings_come_out_as_half_precision(shape):
    embeddings = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = unpack(pack(embeddings), "here")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, embeddings.astype(np.float16))


def test_a_thousand_embeddings_are_a_small_text():
    text = pack(np.ones((1000, 128), np.float32))
    assert text.isascii()
    assert len(text) < 350_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "AAAA",
        "0:AAAA",
        "-1:AAAA",
        "-2:AAAA",
        "1.0:AAAA",
        "3:AAAA",
        "1:AAA",
        "1:AA A",
        "1:AAAA\n",
        "1:\N{SNOWMAN}AAA",
        "\x00:AAAA",
        f"{10**18}:AAAA",
        f"{10**40}:AAAA",
        f"{'9' * 5000}:AAAA",
        "1:" + "A" * MAX_BYTES,
    ],
)
def test_a_text_that_holds_no_embeddings_is_refused(text):
    with pytest.raises(ModelFileError, match="here has damaged reference embeddings"):
        unpack(text, "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_refused(value):
    with pytest.raises(ModelFileError, match="reference embeddings that are not finite"):
        unpack(pack(np.array([[0.5, value]], np.float32)), "here")
