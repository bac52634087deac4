"""The section ``fit``: optimizers, schedules and losses, short and long; switching one for another; time limits."""

from typing import Any

import pytest

from kilat.recipe import Recipe, built_in, load
from kilat.recipe.fit import SCHEDULES, Constant, Cosine, EarlyStopping, Exponential, Loss, Phase
from kilat.recipe.optimizer import OPTIMIZERS, Optimizer

LAYERS = {"layers": ["flatten", {"dense": "classes"}]}
LENGTHS: dict[str, dict[str, Any]] = {
    "power": {"steps": 100},
    "exponential": {"epochs": 15},
    "piecewise": {"boundaries": [3, 6], "factors": [1, 0.1, 0.01]},
}


def fitted(**choices: Any) -> Recipe:
    return load({"model": LAYERS, "fit": choices})


class TestWriting:
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_an_optimizer_by_its_name_alone(self, name: str) -> None:
        optimizer = fitted(optimizer=name).fit.optimizer
        assert optimizer == fitted(optimizer={"name": name}).fit.optimizer
        assert optimizer.rate > 0

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_a_schedule_by_its_name_and_choices(self, name: str) -> None:
        choices = LENGTHS.get(name, {})
        recipe = fitted(schedule={"name": name, **choices})
        assert isinstance(recipe.fit.schedule, SCHEDULES[name])
        if not choices:
            assert fitted(schedule=name) == recipe

    @pytest.mark.parametrize(
        ("short", "full"),
        [
            ({"loss": "focal"}, {"loss": {"name": "focal", "gamma": 2.0, "alpha": 0.25}}),
            ({"early_stopping": 7}, {"early_stopping": {"patience": 7, "monitor": "loss"}}),
            ({}, {"epochs": None, "optimizer": "adam", "schedule": "constant", "phases": []}),
        ],
    )
    def test_short_and_long_mean_the_same(self, short: dict[str, Any], full: dict[str, Any]) -> None:
        assert fitted(**short) == fitted(**full)

    def test_as_python_objects(self) -> None:
        given = {"optimizer": Optimizer(name="lion"), "schedule": Cosine(warmup=2), "loss": Loss(name="focal")}
        recipe = fitted(**given)
        assert recipe == fitted(optimizer="lion", schedule={"name": "cosine", "warmup": 2}, loss="focal")
        assert load(recipe, {"fit.schedule.warmup": 3}).fit.schedule == Cosine(warmup=3)

    @pytest.mark.parametrize("name", built_in())
    def test_every_built_in_recipe_is_read_again_as_it_was_written(self, name: str, tmp_path: Any) -> None:
        recipe = load(name)
        (tmp_path / "again.yaml").write_text(recipe.to_yaml(), "utf-8")
        assert load(tmp_path / "again.yaml") == recipe == load(recipe) == load(recipe.model_dump())


class TestDefaults:
    @pytest.mark.parametrize(
        ("name", "choice", "value"),
        [
            ("sgd", "learning_rate", 0.01),
            ("momentum", "momentum", 0.9),
            ("rmsprop", "momentum", 0.0),
            ("adam", "beta_2", 0.999),
            ("lion", "beta_2", 0.99),
            ("adamw", "weight_decay", 0.004),
            ("adam", "weight_decay", 0.0),
            ("muon", "learning_rate", 0.02),
        ],
    )
    def test_are_each_optimizers_own(self, name: str, choice: str, value: float) -> None:
        assert fitted(optimizer=name).fit.optimizer.value(choice) == value

    def test_length(self) -> None:
        assert fitted().fit.all_phases == (Phase(epochs=20),)
        assert fitted(epochs=3).fit.all_phases == (Phase(epochs=3),)
        assert fitted(phases=[{"epochs": 2}, {"epochs": 1}]).fit.all_phases == (Phase(epochs=2), Phase(epochs=1))


class TestSwitching:
    def test_another_optimizer_keeps_the_options_that_it_knows(self) -> None:
        before = load("vgg-cifar").fit.optimizer
        after = load("vgg-cifar", {"fit.optimizer.name": "nadam"}).fit.optimizer
        assert (after.name, after.learning_rate) == ("nadam", before.learning_rate)

    def test_and_loses_those_that_it_does_not(self) -> None:
        optimizer = load("vgg16-binary", {"fit.optimizer.name": "sgd"}).fit.optimizer
        assert optimizer == Optimizer(name="sgd", learning_rate=0.001)

    def test_another_schedule(self) -> None:
        assert load("vgg-cifar", {"fit.schedule.name": "cosine"}).fit.schedule == Cosine()
        assert load("vgg-cifar", {"fit.schedule": "cosine"}).fit.schedule == Cosine()
        exponential = load("vgg-cifar", {"schedule.name": "exponential", "fit.schedule.epochs": 5}).fit.schedule
        assert exponential == Exponential(factor=0.5, epochs=5)

    def test_from_one_that_was_written_short(self) -> None:
        assert load("small-cnn", {"fit.schedule.name": "constant"}).fit.schedule == Constant()
        document = {"model": LAYERS, "fit": {"optimizer": "adam", "schedule": "cosine", "early_stopping": 5}}
        overrides = {"fit.optimizer.beta_1": 0.8, "fit.schedule.end": 0.1, "fit.early_stopping.monitor": "accuracy"}
        fit = load(document, overrides).fit
        assert fit.optimizer == Optimizer(name="adam", beta_1=0.8)
        assert fit.schedule == Cosine(end=0.1)
        assert fit.early_stopping == EarlyStopping(patience=5, monitor="accuracy")
        assert document["fit"] == {"optimizer": "adam", "schedule": "cosine", "early_stopping": 5}

    @pytest.mark.parametrize("first", ["name", "warmup"])
    def test_options_belong_to_the_new_one_in_whichever_order_they_are_given(self, first: str) -> None:
        given = {"fit.schedule.name": "cosine", "fit.schedule.warmup": 3}
        ordered = dict(sorted(given.items(), key=lambda choice: not choice[0].endswith(first)))
        assert load("vgg-cifar", ordered).fit.schedule == Cosine(warmup=3)

    def test_a_whole_group_comes_before_its_members(self) -> None:
        optimizer = load("vgg-cifar", {"fit.optimizer.momentum": 0.5, "optimizer": "nesterov"}).fit.optimizer
        assert optimizer == Optimizer(name="nesterov", momentum=0.5)

    @pytest.mark.parametrize("name", [["cosine"], {"cosine": 1}, None, 5])
    def test_an_invalid_name(self, problems: Any, name: Any) -> None:
        (found,) = problems("vgg-cifar", {"fit.schedule.name": name})
        assert found.startswith("fit.schedule: unknown schedule.")

    def test_no_option_that_was_given_is_lost(self, problems: Any) -> None:
        given = {"fit.schedule.patience": 3, "fit.schedule.name": "cosine"}
        assert problems("vgg-cifar", given) == ["fit.schedule.patience: unknown option. Valid names: warmup, end."]

    @pytest.mark.parametrize(
        ("key", "value"), [("optimizer", "nadam"), ("loss", "focal"), ("early_stopping", 5), ("factor", 0.3)]
    )
    def test_the_end_of_a_path_is_enough(self, key: str, value: Any) -> None:
        paths = {"factor": "fit.schedule.factor"}
        assert load("vgg-cifar", {key: value}) == load("vgg-cifar", {paths.get(key, f"fit.{key}"): value})

    def test_unless_several_options_have_that_name(self, problems: Any) -> None:
        assert problems("vgg-cifar", {"patience": 3}) == [
            (
                "patience: several options have this name; write one in full: "
                "--set fit.schedule.patience=3 or --set fit.early_stopping.patience=3"
            )
        ]


class TestTime:
    @pytest.mark.parametrize(
        ("given", "seconds"),
        [(90, 90), ("90", 90), ("90s", 90), ("20m", 1200), ("20 min", 1200), ("1.5h", 5400), ("1h 30m 5s", 5405)],
    )
    def test_limits(self, given: Any, seconds: float) -> None:
        assert load("vgg-cifar", {"time_limit": given}).runtime.time_limit == seconds

    @pytest.mark.parametrize("given", ["", "soon", "1..5h", "h", "5d", "30m1h", "-5m"])
    def test_an_invalid_time(self, problems: Any, given: str) -> None:
        (found,) = problems("vgg-cifar", {"time_limit": given})
        assert found.startswith("runtime.time_limit: must be a time such as 90s, 20m or 1h30m")

    @pytest.mark.parametrize("given", [0, "0s", -1])
    def test_no_time_at_all(self, problems: Any, given: Any) -> None:
        (found,) = problems("vgg-cifar", {"time_limit": given})
        assert found.startswith("runtime.time_limit: must be greater than 0")


class TestProblems:
    def test_all_are_reported_together_with_paths_and_nearest_names(self, problems: Any) -> None:
        fit = {
            "optimizer": {"name": "adm", "learning_rat": 1},
            "schedule": {"name": "cosin", "warmup": 1},
            "loss": {"name": "focal", "gama": 1},
            "clip": 1,
            "batch": 0,
            "epocs": 3,
        }
        assert problems({"model": LAYERS, "fit": fit}) == [
            "fit.batch: must be at least 1 (given: 0)",
            (
                "fit.optimizer.name: must be 'sgd', 'momentum', 'nesterov', 'adagrad', 'rmsprop', 'adam', "
                "'adamw', 'nadam', 'adamax', 'lion' or 'muon' (given: 'adm'). Did you mean 'adam'?"
            ),
            "fit.optimizer.learning_rat: unknown option. Did you mean 'learning_rate'?",
            "fit.schedule: unknown schedule. Did you mean 'cosine'? (given: {'name': 'cosin', 'warmup': 1})",
            "fit.loss.gama: unknown option. Did you mean 'gamma'?",
            "fit.clip: must be a group of options: value, norm, global_norm (given: 1)",
            "fit.epocs: unknown option. Did you mean 'epochs'?",
        ]

    @pytest.mark.parametrize(
        ("fit", "sentence"),
        [
            ({"schedule": {"name": "cosine", "warmpu": 3}}, "fit.schedule.warmpu: unknown option. Did you mean 'warm"),
            ({"schedule": {"warmup": 3}}, "fit.schedule: unknown schedule. Valid names: constant, power, "),
            ({"schedule": "exponential"}, "fit.schedule: needs a length, either in epochs or in steps"),
            ({"schedule": {"name": "power", "epochs": 1, "steps": 1}}, "fit.schedule: needs a length, either in"),
            (
                {"schedule": {"name": "piecewise", "boundaries": [3], "factors": [1]}},
                "fit.schedule: needs one more factor than boundaries",
            ),
            (
                {"schedule": {"name": "piecewise", "boundaries": [3, 3], "factors": [3, 2, 1]}},
                "fit.schedule: boundaries must increase",
            ),
            (
                {"optimizer": {"name": "adam", "momentum": 0.9}},
                (
                    "fit.optimizer: adam has no momentum; its options: decay, weight_decay, learning_rate, beta_1, "
                    "beta_2, epsilon (given: "
                ),
            ),
            (
                {"clip": {"norm": 1, "value": 1}},
                "fit.clip: takes value, norm or global_norm, but only one of them",
            ),
            ({"loss": "wavelet"}, "fit.loss.name: must be 'cross_entropy', 'binary_cross_entropy' or 'focal'"),
            ({"class_weight": {"rose": -1}}, "fit.class_weight"),
            (
                {"class_weight": "equal"},
                "fit.class_weight: must be 'balanced' or a mapping of names to values (given: 'equal')",
            ),
            ({"swa_epochs": 3, "ema": 0.9}, "fit: takes either ema or swa_epochs: both average the weights"),
            ({"unfreeze": 3, "phases": [{"epochs": 1}]}, "fit: takes either unfreeze or phases, each with an unfreeze"),
            ({"phases": [{"epochs": 0}]}, "fit.phases.0.epochs: must be at least 1"),
            ({"min_steps": 9, "phases": [{"epochs": 1}]}, "fit: takes either min_steps or phases"),
            (
                {"optimizer_groups": {"bias": "adam"}},
                "fit.optimizer_groups.bias: unknown option. Did you mean 'biases'?",
            ),
            (
                {"optimizer_groups": {"last_kernel": {"name": "sgd", "beta_1": 0.5}}},
                "fit.optimizer_groups.last_kernel: sgd has no beta_1",
            ),
            *(
                ({"resolution": [side]}, "fit.resolution.0: must be 16 to 1024 pixels, or a share of the input's side")
                for side in (8, 0.1, 1.5, 2000, 32.5, 0)
            ),
        ],
    )
    def test_one_thing_wrong(self, problems: Any, fit: dict[str, Any], sentence: str) -> None:
        assert problems({"model": LAYERS, "fit": fit})[0].startswith(sentence)

    def test_few_pictures_make_more_epochs(self) -> None:
        fit = load({"model": LAYERS, "fit": {"epochs": 3, "min_steps": 250}}).fit
        (phase,) = fit.all_phases
        assert [fit.epochs_of(phase, steps) for steps in (1000, 84, 83, 10, 1)] == [3, 3, 4, 25, 250]
        assert load({"model": LAYERS, "fit": {"epochs": 3}}).fit.epochs_of(phase, 1) == 3

    def test_optimizers_of_parts_can_be_set_one_by_one(self) -> None:
        given = {"fit.optimizer_groups.biases": "nesterov", "fit.optimizer_groups.biases.learning_rate": 0.3}
        groups = load("vgg-cifar", given).fit.optimizer_groups
        assert groups.biases == Optimizer(name="nesterov", learning_rate=0.3)
        assert groups.last_kernel is None
        again = load(load("vgg-cifar", given), {"fit.optimizer_groups.biases.name": "adam"}).fit.optimizer_groups
        assert again.biases == Optimizer(name="adam", learning_rate=0.3)
        assert load("vgg-cifar", {"learning_rate": 0.1}).fit.optimizer.learning_rate == 0.1

    def test_epochs_for_a_recipe_with_phases(self, problems: Any) -> None:
        (found,) = problems("xception-fashion", {"epochs": 3})
        assert found == (
            "fit: takes either epochs or phases, each with epochs of its own. Set those of a phase "
            "(fit.phases.0.epochs=3), or leave one of the two out (fit.phases=[] or fit.epochs=null)"
        )
        assert load("xception-fashion", {"fit.phases.0.epochs": 3}).fit.all_phases[0].epochs == 3
        assert load("xception-fashion", {"fit.phases": [], "epochs": 3}).fit.all_phases == (Phase(epochs=3),)

    def test_unknown_options_of_a_phase(self, problems: Any) -> None:
        assert problems("xception-fashion", {"fit.phases.1.epohs": 3}) == [
            "fit.phases.1.epohs: unknown option. Did you mean 'epochs'?"
        ]
        assert problems("xception-fashion", {"fit.phases.1.epoch": 3}) == [
            "fit.phases.1.epoch: write --set fit.phases.1.epochs=3"
        ]
