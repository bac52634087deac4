"""A recipe is checked as a whole: every problem is named with its path, and nothing given is silently dropped."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kilat.errors import RecipeError
from kilat.recipe import Features, Recipe, built_in, load, parse_override
from kilat.recipe.renamed import RENAMED


def problems(recipe: Any = "transfer", overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(recipe, overrides)
    first, *rest = caught.value.message.split("\n")
    assert first == "The recipe has problems:"
    lines = [re.sub(r"^  (.*\.yaml:\d+:\d+: )?", "", line) for line in rest]
    return [
        line for line in lines if not re.match(r" *\d* \| ", line)
    ]  # without lines of the file, and marks below them


def file(folder: Path, text: str) -> Path:
    path = folder / "my recipe.yaml"
    path.write_text(text, "utf-8")
    return path


class TestWhereFrom:
    def test_the_built_in_recipe_states_the_defaults(self) -> None:
        assert "transfer" in built_in()
        assert load() == load("transfer") == Recipe() == load({})

    def test_the_built_in_file_writes_every_option_out(self) -> None:
        import kilat

        text = (Path(kilat.__file__).parent / "recipe" / "built_in" / "transfer.yaml").read_text("utf-8")
        assert list(yaml.safe_load(text)) == list(Recipe().model_dump())
        for section, choices in Recipe().model_dump().items():
            assert list(yaml.safe_load(text)[section]) == list(choices)

    def test_a_file_says_only_what_differs(self, tmp_path: Path) -> None:
        path = file(tmp_path, "features:\n  size: 96\nhead: {l2: [1e-2, 0.5]}\n")
        for given in (path, str(path)):
            recipe = load(given)
            assert (recipe.features.size, recipe.head.l2) == (96, (0.01, 0.5))
            assert recipe.runtime == Recipe().runtime

    def test_an_empty_file_is_all_defaults(self, tmp_path: Path) -> None:
        assert load(file(tmp_path, "# nothing yet\n")) == Recipe()

    def test_dictionaries_and_recipes(self) -> None:
        given = {"data": {"test": 0.3}}
        recipe = load(given, {"seed": 4})
        assert given == {"data": {"test": 0.3}}
        assert (recipe.data.test, recipe.runtime.seed) == (0.3, 4)
        again = load(recipe, {"test": 0.4})
        assert (again.data.test, again.runtime.seed, recipe.data.test) == (0.4, 4, 0.3)

    def test_a_section_that_is_a_model_keeps_its_other_choices(self) -> None:
        recipe = load({"features": Features(resize="pad")}, {"features.size": 64})
        assert (recipe.features.resize, recipe.features.size) == ("pad", 64)

    @pytest.mark.parametrize(
        ("name", "hint"), [("transfr", "Did you mean 'transfer'?"), ("zzz", "Valid names: "), (".", "")]
    )
    def test_an_unknown_name(self, name: str, hint: str) -> None:
        with pytest.raises(RecipeError) as caught:
            load(name)
        assert caught.value.message == f"There is no recipe '{name}': neither a built-in one nor a file."
        assert hint in caught.value.hint

    @pytest.mark.parametrize("text", ["- features\n- head\n", "just words", "3", "true"])
    def test_yaml_that_does_not_consist_of_sections(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(RecipeError, match=r"does not consist of sections\.") as caught:
            load(file(tmp_path, text))
        assert caught.value.hint == "Sections: data, features, head, input, augment, model, fit, trust, runtime."

    @pytest.mark.parametrize(
        "text", ["features: [1", "a: b: c", "features: !!python/object/apply:os.getcwd []", "\tx: 1", "x: 2024-13-45"]
    )
    def test_invalid_yaml(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(RecipeError, match="is not valid YAML"):
            load(file(tmp_path, text))

    def test_a_binary_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_bytes(b"features: \xff\xfe")
        with pytest.raises(RecipeError, match="cannot be read"):
            load(path)


class TestProblems:
    def test_all_are_reported_together_with_paths_and_nearest_names(self, tmp_path: Path) -> None:
        text = (
            "features: {szie: 96, resize: sqsh, size: 8}\n"
            "haed: {folds: 3}\n"
            "head: {folds: 1, l2: [1e-3, -1]}\n"
            "data: {test: 1.5}\n"
        )
        assert problems(file(tmp_path, text), {"runtime.sead": 1, "seed": -1}) == [
            "data.test: must be less than 1 (given: 1.5)",
            "features.size: must be 'auto' or 16 to 1024 pixels (given: 8)",
            "features.resize: must be 'crop', 'squash' or 'pad' (given: 'sqsh'). Did you mean 'squash'?",
            "features.szie: unknown option. Did you mean 'size'?",
            "head.l2: every penalty must be above 0 and below 1000 (given: ['1e-3', -1])",
            "head.folds: must be at least 2 (given: 1)",
            "runtime.seed: must be at least 0 (given: -1)",
            "runtime.sead: unknown option. Did you mean 'seed'?",
            "haed: unknown section. Did you mean 'head'?",
        ]

    @pytest.mark.parametrize(
        ("document", "path"),
        [
            ({"features": {"size": "big"}}, "features.size"),
            ({"features": {"size": 5000}}, "features.size"),
            ({"features": {"size": 96.5}}, "features.size"),
            ({"features": {"precision": "fp8"}}, "features.precision"),
            ({"features": {"backbone": 5}}, "features.backbone"),
            ({"features": 5}, "features"),
            ({"features": None}, "features"),
            ({"head": {"l2": []}}, "head.l2"),
            ({"head": {"l2": [float("nan")]}}, "head.l2.0"),
            ({"head": {"l2": [1e-3, "much"]}}, "head.l2.1"),
            ({"head": {"class_weight": "equal"}}, "head.class_weight"),
            ({"data": {"test": float("nan")}}, "data.test"),
            ({"data": {"test": 1}}, "data.test"),
            ({"runtime": {"seed": 1.5}}, "runtime.seed"),
            ({"runtime": {"seed": 2**32}}, "runtime.seed"),
            ({"runtime": {"device": "tpu"}}, "runtime.device"),
            ({"zzz": {}}, "zzz"),
            ({"features": {"zzz": 1}}, "features.zzz"),
            ({1: 2}, "1"),
            ({"fea[ures": {}}, "fea[ures"),
            ({"a[b]": {}}, "a[b]"),
            ({"features": {"a[b]": 1}}, "features"),
        ],
    )
    def test_impossible_values_are_named_by_their_path(self, document: dict[Any, Any], path: str) -> None:
        found = problems(document)
        assert {line.partition(": ")[0] for line in found} == {path}

    @pytest.mark.parametrize(
        ("document", "line"),
        [
            ({"features": {"size": "big"}}, "features.size: must be a whole number or 'auto' (given: 'big')"),
            (
                {"features": {"size": "atuo"}},
                "features.size: must be a whole number or 'auto' (given: 'atuo'). Did you",
            ),
            ({"features": {"backbone": 5}}, "features.backbone: must be text (given: 5)"),
            ({"features": {"flip_average": 3}}, "features.flip_average: must be true or false (given: 3)"),
            ({"head": {"l2": []}}, "head.l2: must have at least 1 item (given: [])"),
            ({"head": {"l2": 5}}, "head.l2: write l2: [5]"),
            ({"head": {"l2": "much"}}, "head.l2: must be a list (given: 'much')"),
            ({"features": {"weights": 5}}, "features.weights: must be a path (given: 5)"),
            ({"head": {"l2": ["much"]}}, "head.l2.0: must be a number (given: 'much')"),
            ({"data": {"test": 0.3, "validation": 0}}, "data.validation: must be greater than 0 (given: 0)"),
            ({"runtime": {"seed": 2**32}}, "runtime.seed: must be less than 4294967296 (given: 4294967296)"),
            (
                {"trust": {"unknown": "knn+auto"}},
                "trust.unknown: 'auto' cannot be combined with other methods (given: ",
            ),
            ({"trust": {"unknown": "kn"}}, "trust.unknown: unknown method 'kn'. Did you mean 'knn'?"),
        ],
    )
    def test_the_line_says_what_should_be_there(self, document: dict[str, Any], line: str) -> None:
        (found,) = problems(document)
        assert found.startswith(line)

    def test_a_value_that_is_no_section_is_not_papered_over(self) -> None:
        assert problems({"features": 5}, {"features.size": 64})[0].startswith("features: ")


class TestOverrides:
    def test_by_path_or_by_last_name(self) -> None:
        recipe = load("transfer", {"features.size": 192, "seed": 7, "class_weight": "balanced"})
        assert (recipe.features.size, recipe.runtime.seed, recipe.head.class_weight) == (192, 7, "balanced")

    def test_they_win_over_the_file(self, tmp_path: Path) -> None:
        path = file(tmp_path, "features: {size: 96, resize: pad}\n")
        recipe = load(path, {"size": 64})
        assert (recipe.features.size, recipe.features.resize) == (64, "pad")

    @pytest.mark.parametrize(
        ("key", "near"),
        [
            ("sise", "'size'"),
            ("features.sizes", "'size'"),
            ("head.zzz", "Valid names: l2, folds, components, class_weight."),
            ("features.zzz", "Valid names: backbone, weights, size, resize, precision, flip_average, small_network."),
            ("", "Valid names"),
        ],
    )
    def test_unknown_ones_get_the_nearest(self, key: str, near: str) -> None:
        (found,) = problems("transfer", {key: 1})
        assert found.startswith(f"{key}: unknown option. ")
        assert near in found

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("epohs", "Did you mean 'epochs'?"),
            ("batch_sise", "Did you mean 'batch"),
            ("feature.sise", "Did you mean 'features.size' or 'features.resize' or 'features'?"),
            ("agument", "Did you mean 'augment'?"),
        ],
    )
    @pytest.mark.parametrize("recipe", ["transfer", "vgg-cifar"])
    def test_the_nearest_name_of_any_section_is_said(self, recipe: str, key: str, meant: str) -> None:
        """Also that of an option which the recipe does not use, such as ``epochs`` of a frozen backbone."""
        (found,) = problems(recipe, {key: 1})
        assert found.startswith(f"{key}: unknown option. {meant}")

    def test_a_last_name_that_several_sections_have(self) -> None:
        (found,) = problems("vgg-cifar", {"patience": 3})
        assert found.startswith("patience: several options have this name; write one in full: ")

    def test_a_last_name_means_the_section_that_counts(self) -> None:
        assert load("transfer", {"precision": "int8"}).features.precision == "int8"
        assert load("vgg-cifar", {"precision": "fp32"}).fit.precision == "fp32"

    def test_a_whole_section(self) -> None:
        recipe = load({"features": {"resize": "pad", "size": 96}}, {"features": {"size": 64}})
        assert recipe.features == Features(size=64)
        (found,) = problems("transfer", {"features": 1})
        assert found == (
            "features: must be a group of options: backbone, weights, size, resize, precision, flip_average, "
            "small_network (given: 1)"
        )

    @pytest.mark.parametrize(
        ("text", "path", "value"),
        [
            ("features.size=256", "features.size", 256),
            ("size=auto", "size", "auto"),
            ("head.l2=[1e-3, 0.5]", "head.l2", ["1e-3", 0.5]),
            ("class_weight=null", "class_weight", None),
            ("class_weight=", "class_weight", None),
            ("weights=/a=b/c.pt", "weights", "/a=b/c.pt"),
            (" seed =3", "seed", 3),
            ("backbone=bunga_é", "backbone", "bunga_é"),
            ("x='a: b'", "x", "a: b"),
        ],
    )
    def test_from_the_command_line(self, text: str, path: str, value: Any) -> None:
        assert parse_override(text) == (path, value)

    def test_from_the_command_line_into_the_recipe(self) -> None:
        recipe = load("transfer", dict(map(parse_override, ["l2=[1e-3, 0.5]", "data.test=0", "size=auto"])))
        assert (recipe.head.l2, recipe.data.test, recipe.features.size) == ((0.001, 0.5), 0.0, "auto")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("features.size", "'features.size' sets no option."),
            ("=5", "'=5' sets no option."),
            ("", "'' sets no option."),
            ("seed=[1", "The value in 'seed=[1' is not valid YAML: a list is not closed: "),
            (
                "seed=a: b: c",
                "The value in 'seed=a: b: c' is not valid YAML: a second colon with a blank after it in one",
            ),
            ("seed=2024-13-45", "The value in 'seed=2024-13-45' is not valid YAML: looks like a date or a number and"),
        ],
    )
    def test_what_cannot_be_parsed(self, text: str, message: str) -> None:
        with pytest.raises(RecipeError) as caught:
            parse_override(text)
        assert caught.value.message.startswith(message)
        assert "PATH=" in caught.value.hint


class TestRenamed:
    @pytest.mark.parametrize(("old", "new"), RENAMED.items())
    def test_an_old_name_gets_the_new_one(self, tmp_path: Path, old: str, new: str) -> None:
        section, leaf = old.split(".")
        written = file(tmp_path, f"{section}: {{{leaf}: 1}}\n")
        for found in (problems(written), problems({section: {leaf: 1}}), problems("transfer", {old: 1})):
            assert f"{old}: now called {new}" in found
        for recipe in ("transfer", "vgg-cifar"):
            assert problems(recipe, {leaf: 1}) == [f"{leaf}: now called {new}"]

    @pytest.mark.parametrize("new", RENAMED.values())
    def test_the_new_names_exist(self, new: str) -> None:
        section, leaf = new.split(".")
        assert leaf in Recipe.model_fields[section].default.__class__.model_fields

    def test_of_old_names_all_are_said_together(self) -> None:
        document = {"features": {"mirror": True}, "head": {"strengths": [0.1]}, "data": {"test": 2}}
        assert problems(document) == [
            "data.test: must be less than 1 (given: 2)",
            "features.mirror: now called features.flip_average",
            "head.strengths: now called head.l2",
        ]


class TestWritten:
    def test_what_is_written_is_read_again_as_the_same(self, tmp_path: Path) -> None:
        recipe = load(
            {
                "data": {"test": 0.123456789},
                "features": {"weights": "bobot/bunga é 花.safetensors", "size": 96, "resize": "squash"},
                "head": {"l2": [3e-4, 1e-300], "class_weight": "balanced"},
                "runtime": {"seed": 2**32 - 1},
            }
        )
        assert load(file(tmp_path, recipe.to_yaml())) == recipe
        assert "bunga é 花" in recipe.to_yaml()

    def test_every_option_is_written_out(self) -> None:
        document = yaml.safe_load(Recipe().to_yaml())
        assert {section: set(choices) for section, choices in document.items()} == {
            section: set(choices) for section, choices in Recipe().model_dump().items()
        }

    def test_a_recipe_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Recipe().features.size = 5
