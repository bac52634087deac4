"""The YAML of a recipe: what is wrong in it is said with its line and column, and nothing in it is silently dropped."""

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kilat.errors import RecipeError
from kilat.recipe import built_in, load, text
from kilat.recipe.written import MAX_CHARACTERS, read_yaml


def refused(content: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read_yaml(content, "my.yaml")
    return caught.value.message


@pytest.mark.parametrize("name", built_in())
def test_valid_yaml_is_what_pyyaml_reads(name: str) -> None:
    assert read_yaml(text(name), "")[0] == yaml.safe_load(text(name))


def test_anchors_and_merged_groups_are_what_pyyaml_reads() -> None:
    content = "a: &one {x: 1, y: [1, 2.5, ~, yes]}\nb: {<<: *one, x: 2}\nc: {<<: [*one, {z: 3}], y: 0}\nd: *one\n"
    document, written = read_yaml(content, "my.yaml")
    assert document == yaml.safe_load(content)
    assert written.place(("b", "x")) == (1, 14)  # its own, not the merged one
    assert written.place(("b", "y"), of_name=False) == (0, 18)


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ("fit:\n\tepochs: 3\n", "2:1", "a tab stands where YAML needs spaces"),
        ("fit:\n  epochs: 3\n\tbatch: 3\n", "3:1", "a tab"),
        ("fit:\n  epochs: 3\n    batch: 32\n", "3:5", "indented deeper than the line above, which has its value"),
        ("fit:\n    epochs: 3\n  batch: 32\n", "3:3", "indented otherwise than the lines that it belongs to"),
        ("model:\n  layers:\n    - flatten\n   - flatten\n", "4:4", "indented otherwise"),
        ("fit:\n  epochs:3\n  batch: 2\n", "2:10", "a blank must stand after the colon"),
        ("features:\n  weights: C: x\n", "2:13", "a second colon"),
        ("head:\n  l2: [1, 2\ndata: {test: 0.1}\n", "3:5", "a list is not closed"),
        ("fit: {epochs: 3\nbatch: 3\n", "2:6", "a group is not closed"),
        ("features:\n  backbone: 'lite\n  size: 3\n", "2:13", "a quote is opened and never closed"),
        ("features:\n  backbone: *x\n", "2:13", "quote it"),
        ("features:\n  backbone: @x\n", "2:13", "quote it"),
        ('features:\n  weights: "C:\\data"\n', "2:16", "use single quotes, or /"),
        ("fit: {epochs: 3}\n---\ndata: {}\n", "2:1", "a second document begins here"),
        ("features: !!python/object/apply:os.getcwd []", "1:11", "a tag"),
        ("features: !mine {a: 1}", "1:11", "a tag"),
        ("data:\n  test: 2024-13-45", "2:9", "quote it"),
        ("fit: {epochs: \x00}", "1:15", "a character that cannot be printed"),
        ("fit:\n\u00a0\u00a0epochs: 3\n", "2:1", "a blank that belongs to the name (U+00A0)"),
        ("fit:\n  epochs: 3\n  batch: 2\n  epochs: 4\n", "4:3", "'epochs' stands twice in one group, first in line 2"),
        ("fit: {epochs: 3}\nfit: {batch: 3}\n", "2:1", "'fit' stands twice in one group, first in line 1"),
        ("? [a, b]\n: 3\n", "1:3", "a name must stand before the colon"),
        ("fit: &a {epochs: *a}\n", "1:6", "stands inside of its own anchor"),
        ("fit: {<<: 3}\n", "1:11", "<< needs a group"),
        ("x: " + "[" * 3000, "1:103", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_line_and_column_and_shown(content: str, place: str, reason: str) -> None:
    first, located, *shown = refused(content).split("\n")
    assert first == "The recipe my.yaml is not valid YAML:"
    assert located.startswith(f"  my.yaml:{place}: ")
    assert reason in located
    line, column = map(int, place.split(":"))
    number, bar, excerpt = shown[0].strip().partition(" | ")
    assert (number, bar) == (str(line), " | ")
    assert excerpt.strip("… ") in content.splitlines()[line - 1].replace("\t", "→").replace("\x00", "�")
    if column <= 100:  # of a longer line the part around it is shown
        mark = shown[1].index("^") - shown[0].index(" | ") - 3
        assert mark == column - 1


def test_an_anchor_bomb_is_refused_at_once() -> None:
    """Nine levels of nine aliases stand for 387 million values."""
    levels = "abcdefghi"
    content = "a: &a [" + ",".join("x" * 9) + "]\n"
    content += "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise(levels))
    begun = time.process_time()
    assert "aliases (*) repeat anchors (&)" in refused(content)
    assert time.process_time() - begun < 10  # counting to 20,000 values, not to 387 million


def test_what_is_too_long_for_a_recipe_is_not_parsed() -> None:
    assert "more than a recipe can have" in refused("#" * (MAX_CHARACTERS + 1))


class TestProblemsInAFile:
    @pytest.fixture
    def located(self, tmp_path: Path) -> Any:
        """Returns what is reported: line, column and option of each problem, and the lines that are shown."""

        def report(content: str, overrides: dict[str, Any] | None = None) -> tuple[list[str], list[str]]:
            path = tmp_path / "my.yaml"
            path.write_text(content, "utf-8")
            with pytest.raises(RecipeError) as caught:
                load(path, overrides)
            lines = [line.strip().removeprefix(f"{path}:") for line in caught.value.message.split("\n")[1:]]
            places = [re.sub(r"^(\d+:\d+: [\w.]+|[\w.]+): .*", r"\1", line) for line in lines if " | " not in line[:10]]
            return [place for place in places if "^" not in place], [
                line for line in lines if re.match(r"\d+ \| ", line)
            ]

        return report

    def test_a_name_and_a_value_are_pointed_at(self, located: Any) -> None:
        places, shown = located("features:\n  size: 8\n  szie: 96\nhead: {folds: 1}\nhaed: {}\n")
        assert places == ["2:9: features.size", "3:3: features.szie", "4:15: head.folds", "5:1: haed"]
        assert shown[:2] == ["2 |   size: 8", "3 |   szie: 96"]

    def test_layers_are_found_in_their_list(self, located: Any) -> None:
        content = "model:\n  layers:\n    - conv: {filters: 8, kernel: 0}\n    - Flatten\n    - dense\n"
        places, _shown = located(content)
        assert places == [
            "4:7: model.layers.1", "3:34: model.layers.0.conv.kernel.0", "3:34: model.layers.0.conv.kernel.1",
            "5:7: model.layers.2.dense.units",
        ]  # fmt: skip

    def test_what_is_wrong_about_several_sections_stands_at_the_first(self, located: Any) -> None:
        assert located("data: {test: 0.3}\nfit:\n  epochs: 3\n")[0] == ["2:1: fit"]

    def test_of_the_command_line_no_place_in_the_file_is_said(self, located: Any) -> None:
        places, shown = located("features:\n  size: 64\n", {"features.size": 8, "seed": -1})
        assert places == ["features.size", "runtime.seed"]
        assert shown == []

    def test_a_byte_order_mark_is_no_part_of_it(self, tmp_path: Path) -> None:
        (tmp_path / "bom.yaml").write_text("\ufefffeatures: {size: 64}\n", "utf-8")
        assert load(tmp_path / "bom.yaml").features.size == 64

    def test_a_recipe_that_comes_with_kilat_has_none(self) -> None:
        with pytest.raises(RecipeError) as caught:
            load("vgg-cifar", {"epochs": 0})
        assert caught.value.message.split("\n")[1:] == ["  fit.epochs: must be at least 1 (given: 0)"]
