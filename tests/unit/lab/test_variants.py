"""The variants of a lab: values as they are written, every combination, and what is refused before anything runs."""

import pytest

from kilat.errors import RecipeError
from kilat.lab.variants import check, grid, parse_vary, vary_of


def candidates(recipe, overrides=None, **vary):
    return check(grid(recipe, {name.replace("__", "."): values for name, values in vary.items()}), overrides or {})


class TestValues:
    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("fit.optimizer=sgd,adam", ["sgd", "adam"]),
            ("fit.batch=32, 64", [32, 64]),
            ("augment.horizontal_flip=true,false,auto", [True, False, "auto"]),
            ("model.normalisation=none,{batch_norm: before}", ["none", {"batch_norm": "before"}]),
            ("head.l2=[1e-4, 1e-5],[1e-6]", [["1e-4", "1e-5"], ["1e-6"]]),
            ("fit.optimizer=[sgd, adam]", ["sgd", "adam"]),
            ("fit.optimizer={name: sgd, learning_rate: 0.1},adam", [{"name": "sgd", "learning_rate": 0.1}, "adam"]),
        ],
    )
    def test_are_yaml(self, text, values):
        assert parse_vary(text) == (text.partition("=")[0], values)

    @pytest.mark.parametrize("text", ["fit.optimizer", "fit.optimizer=", "=sgd", "fit.optimizer={a", "fit.batch=[1,2"])
    def test_that_are_none_are_refused(self, text):
        with pytest.raises(RecipeError):
            parse_vary(text)

    def test_from_python_may_be_text_as_well(self):
        assert [one.name for one in grid("small-cnn", {"fit.batch": "8,16"})] == ["batch=8", "batch=16"]

    @pytest.mark.parametrize("values", [[], 8, None, True])
    def test_from_python_are_a_list(self, values):
        with pytest.raises(RecipeError, match="no list of values"):
            grid("small-cnn", {"fit.batch": values})

    @pytest.mark.parametrize("text", ["a=1..2", "a=1e-4..1e-1(log)", "a=.5 .. 1."])
    def test_in_a_range_are_for_a_search(self, text):
        with pytest.raises(RecipeError, match="kilat search"):
            parse_vary(text)

    def test_of_one_option_are_given_at_once(self):
        with pytest.raises(RecipeError, match=r"fit\.optimizer is varied twice"):
            vary_of(["fit.optimizer=sgd", "fit.optimizer=adam"])
        with pytest.raises(RecipeError, match=r"fit\.optimizer is varied twice"):
            grid("small-cnn", {"fit.optimizer": ["sgd"], "optimizer": ["adam"]})

    def test_none_means_that_an_option_is_absent(self):
        without, with_it = candidates("small-cnn", fit__early_stopping=["none", 3])
        assert without.recipe.fit.early_stopping is None
        assert with_it.recipe.fit.early_stopping.patience == 3


class TestGrid:
    def test_every_combination_is_a_variant_and_the_first_values_come_first(self):
        found = candidates("small-cnn", model__normalisation=["none", "batch_norm"], fit__optimizer=["sgd", "adam"])
        assert [one.name for one in found] == [
            "normalisation=none, optimizer=sgd",
            "normalisation=none, optimizer=adam",
            "normalisation=batch_norm, optimizer=sgd",
            "normalisation=batch_norm, optimizer=adam",
        ]
        assert found[-1].recipe.fit.optimizer.name == "adam"
        assert dict(found[-1].options) == {"model.normalisation": "batch_norm", "fit.optimizer": "adam"}

    def test_short_forms_get_their_full_path(self):
        assert {path for one in candidates("small-cnn", optimizer=["sgd", "adam"]) for path in one.options} == {
            "fit.optimizer"
        }

    def test_names_tell_options_apart_that_end_alike(self):
        first, *_others = candidates("small-cnn", model__l2=[0, 1e-4], fit__optimizer__name=["sgd", "adam"])
        assert first.name == "l2=0, optimizer=sgd"

    def test_a_layer_is_named_with_its_list(self):
        found = candidates("small-cnn", model__layers__2=["max_pool", "avg_pool"])
        assert [one.name for one in found] == ["layers.2=max_pool", "layers.2=avg_pool"]

    def test_names_of_files_are_all_different(self):
        values = [[1e-4, n * 1e-6] for n in range(1, 12)]
        found = candidates("transfer", head__l2=values)
        assert len({one.slug.casefold() for one in found}) == len({one.name for one in found}) == len(values)

    def test_the_command_trains_with_the_same_recipe(self):
        one = candidates("small-cnn", {"fit.epochs": 2}, fit__optimizer=["sgd", "adam"])[1]
        assert one.arguments == ("--recipe", "small-cnn", "--set", "fit.epochs=2", "--set", "fit.optimizer=adam")


class TestRefused:
    def test_all_problems_of_all_variants_are_named(self):
        with pytest.raises(RecipeError) as refused:
            candidates("small-cnn", fit__optimizer=["sgd", "adma"], fit__epochs=[0, 3], fit__bach=[8])
        assert "4 of 4 variants" in str(refused.value)
        for part in ("Did you mean 'adamax' or 'adam'", "fit.epochs: must be at least 1", "fit.bach"):
            assert part in str(refused.value)

    @pytest.mark.parametrize(
        ("recipe", "vary", "part"),
        [
            ("small-cnn", {"fit.optimizer": ["sgd"]}, "nothing to compare it with"),
            ("small-cnn", {"fit.batch": [32, 32]}, "are the same recipe"),
            ("small-cnn", {"model.normalisation": ["batch_norm", {"batch_norm": "before"}]}, "are the same recipe"),
            ("small-cnn", {"runtime.seed": [1, 2]}, "--seeds"),
            ("small-cnn", {"seed": [1, 2]}, "--seeds"),
            ("small-cnn", {"data.test": [0.1, 0.2]}, "data.test"),
            ("transfer", {"trust.coverage": [0.8, 0.9]}, "trust.coverage"),
            ("transfer", {"head.folds": [3, 5]}, "--folds"),
        ],
    )
    def test_what_cannot_be_compared(self, recipe, vary, part):
        with pytest.raises(RecipeError, match=part.replace(".", r"\.")):
            check(grid(recipe, vary), {})
