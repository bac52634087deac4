"""How large a recipe may be: what would fill the memory or run for ever is refused with a sentence."""

from pathlib import Path
from typing import Any

import pytest

from kilat.errors import RecipeError
from kilat.recipe import load, parse_override


def refused(recipe: Any, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(RecipeError) as caught:
        load(recipe, overrides)
    assert len(str(caught.value)) < 20_000
    return caught.value.message


def shared(levels: int) -> list[Any]:
    values: list[Any] = [0] * 9
    for _level in range(levels):
        values = [values] * 9
    return values


def inside_itself() -> dict[str, Any]:
    document: dict[str, Any] = {}
    document["fit"] = document
    return document


def nested(levels: int) -> list[Any]:
    values: list[Any] = []
    for _level in range(levels):
        values = [values]
    return values


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"model": {"layers": shared(12)}}, "more values than a recipe can have"),
        ({"model": {"layers": ["relu"] * 30_000}}, "more values than a recipe can have"),
        (inside_itself(), "nested too deeply"),
        ({"model": {"layers": nested(5_000)}}, "nested too deeply"),
        ({"fit": {"epochs": 10**5_000}}, "a number of 16,610 bits, which is too large"),
        ({"features": {"backbone": "x" * 1_000_000}}, "a value of 1,000,000 characters"),
        ({"fit": {10**5_000: 1}}, "neither text nor a number: 10**5000"),
        ({(1, 2): 3}, "neither text nor a number: (1, 2)"),
    ],
)
def test_documents_from_python(document: dict[Any, Any], reason: str) -> None:
    assert reason in refused(document)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"fit.epochs": shared(12)}, "more values than a recipe can have"),
        ({"a." * 500_000: 1}, "a.a.a"),
        ({"fit." + "a." * 190 + "b": 1}, "unknown option"),
        ({f"zz{number}": 1 for number in range(10_000)}, "10,000 options were given"),
        ({"model.layers.²": 3}, "no item '²'"),
        ({"model.layers." + "9" * 300: 3}, "no item '999"),
        ({"runtime.time_limit": "1" * 9_000 + "x"}, "must be a time"),
        ({"fit.optimizer": "f(" * 3_000}, "fit.optimizer"),
        ({"fit.optimizer": "a." * 4_000 + "b"}, "fit.optimizer"),
        ({"fit.optimizer": {"class_name": "Adam", "config": [1]}}, "fit.optimizer"),
        ({"model.layers.0": "Dense(1/1e-320, 1.2.3%)"}, "model.layers.0"),
        ({"head.l2": "1.2.3,4"}, "head"),
    ],
)
def test_options(overrides: dict[str, Any], reason: str) -> None:
    assert reason in refused("vgg-cifar", overrides)


@pytest.mark.parametrize(
    ("option", "value", "most"),
    [
        ("fit.epochs", 10**18, "at most 1000000"),
        ("fit.batch", 10**12, "at most 1000000"),
        ("fit.min_steps", 10**18, "at most 1000000000"),
        ("fit.phases", [{"epochs": 1}] * 101, "at most 100 items"),
        ("fit.optimizer.learning_rate", float("inf"), "a finite number"),
        ("fit.class_weight", {"cat": float("nan")}, "a finite number"),
        ("augment.crop", 10**9, "at most 1024"),
        ("augment.zoom", [1.0, float("inf")], "a finite number"),
        ("runtime.devices", 10**9, "at most 1024"),
        ("runtime.time_limit", float("inf"), "a finite number"),
        ("model.layers.0.conv.filters", 10**9, "at most 1000000"),
        ("model.layers.0", {"whiten": 30}, "at most 16"),
        ("model.layers.0", {"repeat": {"times": 1000, "layers": [{"repeat": {"times": 1000, "layers": ["flatten"]}}]}},
         "at most 5,000 layers; with those that are repeated these are"),
    ],
)  # fmt: skip
def test_numbers_that_no_machine_suffices_for(option: str, value: Any, most: str) -> None:
    assert most in refused("vgg-cifar", {option: value})


def test_many_backbones() -> None:
    assert "at most 10 backbones" in refused({"features": {"backbone": "+".join(["efficientnet_lite0"] * 300)}})


def test_of_many_problems_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    lines = refused({"fit": {f"epochz{number}": 1 for number in range(4_000)}}).split("\n")
    assert len(lines) < 40
    assert lines[-1] == "  and 3,970 other problems"
    foreign = refused({"model": {"layers": [{"Conv2D": {"filterz": 32}}] * 700}}).split("\n")
    assert "model.layers.9 and 690 more" in foreign[1]


class TestFiles:
    def test_what_is_no_file_is_not_opened(self, tmp_path: Path) -> None:
        (tmp_path / "zero.yaml").symlink_to("/dev/zero")
        for name in (tmp_path / "zero.yaml", tmp_path, "a" * 5_000, "a\0b", "\ud800"):
            assert "neither a built-in one nor a file" in refused(name)

    def test_what_is_too_large_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.yaml"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        assert "it has 1,099,511,627,776 bytes; at most 1,024,000 are read" in refused(path)


class TestValuesOnTheCommandLine:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("x=" + "[" * 200, "groups are nested too deeply"),
            ("x=[" + "1," * 130_000 + "]", "more values than a recipe can have"),
            ("x=[&a [1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a]" + ", *b" * 500 + "]", "until there are more values"),
            ("x=" + "9" * 9_000, "looks like a date or a number and is none"),
            ("x=" + "9" * 3_000, "a number of 9,966 bits, which is too large"),
            ("x=0x" + "f" * 9_000, "a number of 36,000 bits"),
            ("x=" + "1:" * 4_000 + "1", "a number of 23,628 bits"),
            ("x=!!bool maybe", "looks like a date or a number and is none"),
            ("x=!!timestamp never", "looks like a date or a number and is none"),
            ("x=!!int ''", "looks like a date or a number and is none"),
            ("x=!!set a", "a tag (!) that a recipe has no use for"),
            ("x=!!binary aGk=", "a tag (!) that a recipe has no use for"),
            ("epochs=010", "YAML reads 010 as 8"),
            ("time_limit=1:30", "YAML reads 1:30 as 90"),
            ("class_weight={no: 2}", "YAML reads the name no as false: quote it"),
        ],
    )  # fmt: skip
    def test_they_have_the_bounds_of_a_recipe(self, text: str, reason: str) -> None:
        with pytest.raises(RecipeError) as caught:
            parse_override(text)
        assert reason in caught.value.message
        assert len(caught.value.message) < 300
