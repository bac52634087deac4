"""The section ``model``: every layer short and long, single options of layers, and what is refused with which words."""

from typing import Any

import pytest
import yaml

from kilat.errors import RecipeError
from kilat.recipe import Network, Recipe, load
from kilat.recipe.network import KINDS, Activation, Conv, Dense
from kilat.recipe.normalisation import Normalisation, SharedBatchNorm

HEAD = ["flatten", {"dense": "classes"}]
LAYERS: list[tuple[Any, Any]] = [
    ({"conv": 32}, {"conv": {"filters": 32, "kernel": [3, 3], "stride": 1, "padding": "valid"}}),
    ("depthwise_conv", {"depthwise_conv": {"kernel": 3, "multiplier": 1}}),
    ({"depthwise_conv": 5}, {"depthwise_conv": {"kernel": [5, 5]}}),
    ({"dense": 10}, {"dense": {"units": 10, "bias": True}}),
    ({"dense": "classes"}, {"dense": {"units": "classes"}}),
    ("batch_norm", {"batch_norm": {"momentum": 0.99, "epsilon": 1e-3}}),
    ("layer_norm", {"layer_norm": {"epsilon": 1e-3}}),
    ("group_norm", {"group_norm": {"groups": 32}}),
    ({"group_norm": 4}, {"group_norm": {"groups": 4}}),
    ({"activation": "elu"}, {"activation": {"function": {"name": "elu"}}}),
    ({"activation": {"leaky_relu": 0.1}}, {"activation": {"function": {"name": "leaky_relu", "slope": 0.1}}}),
    ("max_pool", {"max_pool": {"size": [2, 2], "stride": None, "padding": "valid"}}),
    ({"avg_pool": 3}, {"avg_pool": {"size": 3}}),
    ("global_avg_pool", {"global_avg_pool": None}),
    ("flatten", {"flatten": {}}),
    ({"dropout": 0.5}, {"dropout": {"rate": 0.5}}),
    ({"spatial_dropout": 0.5}, {"spatial_dropout": {"rate": 0.5}}),
    ({"rescale": 0.25}, {"rescale": {"scale": 0.25, "offset": 0}}),
    ({"whiten": 3}, {"whiten": {"kernel": [3, 3], "trainable": False}}),
    ({"backbone": "resnet50"}, {"backbone": {"name": "resnet50", "trainable": False}}),
    ({"residual": [{"conv": 3}]}, {"residual": {"layers": [{"conv": {"filters": 3}}], "shortcut": "auto"}}),
    ({"repeat": {"times": 2, "layers": ["flatten"]}}, {"repeat": {"layers": [{"flatten": {}}], "times": 2}}),
]
"""Every kind of layer, short and in full."""


def network(*layers: Any, **choices: Any) -> Network:
    model = load({"model": {"layers": [*layers, *HEAD], **choices}}).model
    assert model is not None
    return model


def first(recipe: Recipe) -> Any:
    assert recipe.model is not None
    return recipe.model.layers[0]


class TestWriting:
    @pytest.mark.parametrize(("short", "full"), LAYERS)
    def test_short_and_long_mean_the_same(self, short: Any, full: Any) -> None:
        assert network(short) == network(full)

    def test_every_kind_of_layer_is_among_these(self) -> None:
        assert {next(iter(full)) for _, full in LAYERS} == set(KINDS)

    @pytest.mark.parametrize(
        ("short", "full"),
        [
            ("batch_norm", {"name": "batch_norm", "place": "before"}),
            ({"batch_norm": "after"}, {"name": "batch_norm", "place": "after"}),
            (None, {"name": "none"}),
            (
                {"batch_norm": {"place": "after", "momentum": 0.9}},
                {"name": "batch_norm", "place": "after", "momentum": 0.9},
            ),
            ({"group_norm": {"groups": 8}}, {"name": "group_norm", "groups": 8}),
            ({"layer_norm": None}, {"layer_norm": {"place": "before", "epsilon": 1e-3}}),
        ],
    )
    def test_normalisation_of_the_whole_network(self, short: Any, full: Any) -> None:
        assert network(normalisation=short) == network(normalisation=full)

    @pytest.mark.parametrize(
        ("short", "full"),
        [
            ("gelu", {"name": "gelu"}),
            ({"leaky_relu": 0.3}, {"name": "leaky_relu", "slope": 0.3}),
            ({"name": "prelu", "shared": True}, {"name": "prelu", "shared": True, "slope": 0.2}),
            (None, "none"),
        ],
    )
    def test_activation_of_the_whole_network(self, short: Any, full: Any) -> None:
        assert network(activation=short) == network(activation=full)

    def test_layers_as_python_objects(self) -> None:
        given = (Conv(filters=8), Activation(function="relu"), *HEAD)  # type: ignore[arg-type]
        assert load({"model": {"layers": given}}).model == network({"conv": 8}, {"activation": "relu"})

    def test_layers_are_written_with_the_options_that_were_given(self) -> None:
        model = network({"conv": 8}, "max_pool", {"residual": [{"conv": {"filters": 3, "activation": "none"}}]})
        assert model.model_dump(mode="json")["layers"] == [
            {"conv": {"filters": 8}},
            "max_pool",
            {"residual": {"layers": [{"conv": {"activation": "none", "filters": 3}}]}},
            "flatten",
            {"dense": {"units": "classes"}},
        ]


class TestProblems:
    def test_all_layers_are_checked_and_named_by_their_path(self, problems: Any) -> None:
        layers = [
            {"dens": 3},
            {"dropout": 1.5},
            "flaten",
            {"conv": {"filters": 0, "padding": "sam", "kernl": 3}},
            5,
            {"flatten": 3},
            {"residual": [{"conv": {"filers": 3}}, {"dropot": 1}]},
            {"activation": "rulu"},
            {"dense": 5, "dropout": 0.1},
            {"activation": {"function": {"name": "elu", "slop": 1}}},
        ]
        assert problems({"model": {"layers": layers}}) == [
            "model.layers.0: unknown kind of layer. Did you mean 'dense'? (given: {'dens': 3})",
            "model.layers.1.dropout.rate: must be less than 1 (given: 1.5)",
            "model.layers.2: unknown kind of layer. Did you mean 'flatten'? (given: 'flaten')",
            "model.layers.3.conv.filters: must be at least 1 (given: 0)",
            "model.layers.3.conv.padding: must be 'valid' or 'same' (given: 'sam'). Did you mean 'same'?",
            "model.layers.3.conv.kernl: unknown option. Did you mean 'kernel'?",
            (
                "model.layers.4: unknown kind of layer. Valid names: conv, depthwise_conv, dense, batch_norm, "
                "layer_norm, group_norm, activation, max_pool, avg_pool, global_avg_pool, flatten, dropout, …. "
                "(given: 5)"
            ),
            "model.layers.5.flatten: flatten takes no single value; its options: none (given: {'flatten': 3})",
            "model.layers.6.residual.layers.0.conv.filters: missing (given: {'filers': 3})",
            "model.layers.6.residual.layers.0.conv.filers: unknown option. Did you mean 'filters'?",
            ("model.layers.6.residual.layers.1: unknown kind of layer. Did you mean 'dropout'? (given: {'dropot': 1})"),
            (
                "model.layers.7.activation.function.name: must be 'none', 'relu', 'leaky_relu', 'prelu', "
                "'elu', 'selu', 'gelu', 'silu', 'mish', 'tanh', 'sigmoid' or 'softmax' (given: 'rulu'). "
                "Did you mean 'relu' or 'prelu'?"
            ),
            (
                "model.layers.8: a layer is of one kind, not of several: dense, dropout "
                "(given: {'dense': 5, 'dropout': 0.1})"
            ),
            "model.layers.9.activation.function.slop: unknown option. Did you mean 'slope'?",
        ]

    @pytest.mark.parametrize(
        ("model", "sentence"),
        [
            ({}, "model: a network needs layers"),
            ({"layers": []}, "model: a network needs layers"),
            ({"layers": HEAD, "module": "mine.Net"}, "model: a network has either layers or the class of a module"),
            (
                {"layers": [{"residual": {"layers": [{"conv": 3}], "shortcut": "none", "drop": 0.1}}, *HEAD]},
                "model.layers.0.residual: pictures can skip the layers (drop) only along a shortcut",
            ),
            ({"layers": "flatten"}, "model.layers: must be a list (given: 'flatten')"),
            ({"layers": ["flatten", {"backbone": "resnet50"}]}, "model.layers: a backbone can only be the first layer"),
            ({"layers": ["flatten", "dense"]}, "model.layers.1.dense.units: missing"),
            (
                {"layers": [{"conv": {"filters": 3, "kernel": [1, 2, 3]}}, *HEAD]},
                "model.layers.0.conv.kernel: must have at",
            ),
            ({"layers": HEAD, "l2": -1}, "model.l2: must be at least 0 (given: -1)"),
            ({"layers": HEAD, "normalization": "batch_norm"}, "model.normalization: write normalisation: batch_norm"),
            ({"layers": HEAD, "init": "zeros"}, "model.init: must be 'glorot_uniform'"),
            (5, "model: must be a group of options: layers, module, activation"),
        ],
    )
    def test_one_thing_wrong(self, problems: Any, model: Any, sentence: str) -> None:
        (found,) = problems({"model": model})
        assert found.startswith(sentence)


class TestOverrides:
    @pytest.mark.parametrize("layer", [{"conv": 32}, {"conv": {"filters": 32}}, "conv", {"conv": None}])
    def test_an_option_of_a_layer_however_it_was_written(self, layer: Any) -> None:
        document = {"model": {"layers": [layer, *HEAD]}}
        recipe = load(document, {"model.layers.0.conv.filters": 16, "model.layers.0.conv.kernel": 5})
        assert first(recipe) == Conv(filters=16, kernel=(5, 5))
        assert document == {"model": {"layers": [layer, *HEAD]}}

    def test_a_layer_as_a_whole(self) -> None:
        recipe = load({"model": {"layers": [{"conv": 32}, *HEAD]}}, {"model.layers.0": {"dense": 4}})
        assert first(recipe) == Dense(units=4)

    def test_a_layer_inside_another(self) -> None:
        document = {"model": {"layers": [{"residual": [{"conv": 3}]}, *HEAD]}}
        recipe = load(document, {"model.layers.0.residual.layers.0.conv.padding": "same"})
        assert first(recipe).layers == (Conv(filters=3, padding="same"),)

    def test_of_the_network_however_it_was_written(self) -> None:
        vgg = load("vgg-cifar", {"model.normalisation.place": "before"}).model
        assert vgg is not None
        assert vgg.normalisation == Normalisation(batch_norm=SharedBatchNorm(place="before"))
        mlp = load("mlp-leaky-relu", {"model.activation.name": "elu"}).model
        assert mlp is not None
        assert mlp.activation.name == "elu"
        assert load("vgg-cifar", {"activation": {"leaky_relu": 0.3}}) == load(
            "vgg-cifar", {"model.activation.name": "leaky_relu", "model.activation.slope": 0.3}
        )

    @pytest.mark.parametrize(
        ("before", "overrides", "after"),
        [
            ("none", {"model.normalisation.batch_norm.momentum": 0.9}, {"batch_norm": {"momentum": 0.9}}),
            (
                {"batch_norm": "after"},
                {"batch_norm.momentum": 0.9},
                {"batch_norm": {"place": "after", "momentum": 0.9}},
            ),
            (
                {"batch_norm": {"momentum": 0.9}},
                {"model.normalisation.place": "after"},
                {"batch_norm": {"place": "after", "momentum": 0.9}},
            ),
            ({"batch_norm": {"place": "after", "momentum": 0.9}}, {"normalisation": "layer_norm"}, "layer_norm"),
            (
                {"batch_norm": {"place": "after", "momentum": 0.9}},
                {"model.normalisation.name": "layer_norm"},
                {"layer_norm": "after"},
            ),
        ],
    )
    def test_of_the_shared_normalisation(self, before: Any, overrides: dict[str, Any], after: Any) -> None:
        recipe = load({"model": {"layers": [*HEAD], "normalisation": before}}, overrides)
        assert recipe.model == network(normalisation=after)
        assert load(recipe) == load(yaml.safe_load(recipe.to_yaml())) == recipe

    def test_momentum_alone_is_the_optimizers(self) -> None:
        assert (
            load(
                "vgg-cifar", {"optimizer": "sgd", "optimizer.name": "momentum", "momentum": 0.8}
            ).fit.optimizer.momentum
            == 0.8
        )

    @pytest.mark.parametrize(
        ("normalisation", "sentence"),
        [
            (
                {"group_norm": {"momentum": 0.9}},
                "group_norm.momentum: unknown option. Valid names: place, groups, epsilon.",
            ),
            ({"batch_norm": {"momentm": 0.9}}, "batch_norm.momentm: unknown option. Did you mean 'momentum'?"),
            ({"batch_norm": {"momentum": 1.9}}, "batch_norm.momentum: must be at most 1 (given: 1.9)"),
            (
                {"batch_norm": "afer"},
                "batch_norm.place: must be 'before' or 'after' (given: 'afer'). Did you mean 'after'?",
            ),
            ("batchnrm", "normalisation.batchnrm: unknown option. Did you mean 'batch_norm'?"),
            (
                {"batch_norm": "after", "group_norm": {"groups": 8}},
                "takes one kind, not several: batch_norm, group_norm. To change the kind, set it alone (normalisation=",
            ),
        ],
    )
    def test_what_is_wrong_with_the_shared_normalisation(self, normalisation: Any, sentence: str) -> None:
        with pytest.raises(RecipeError) as error:
            load({"model": {"layers": [*HEAD], "normalisation": normalisation}})
        assert sentence in str(error.value)

    def test_weights_are_the_backbones_in_both_kinds_of_recipe(self) -> None:
        trained, frozen = load("vgg16-binary", {"weights": "none"}), load("transfer", {"weights": "a.safetensors"})
        assert trained.model is not None
        assert trained.model.weights == "none"
        assert str(frozen.features.weights) == "a.safetensors"

    @pytest.mark.parametrize(
        ("key", "sentence"),
        [
            ("model.layers.99.conv.filters", "no item '99': the list has items 0 to 17"),
            ("model.layers.first", "no item 'first': the list has items 0 to 17"),
            ("model.layers.0.conv.filtrs", "unknown option. Did you mean 'filters'?"),
            ("model.l2.kernels", "model.l2 is 0.0001, which has no options"),
            ("model.l3", "unknown option. Did you mean 'l2' or 'l1'?"),
        ],
    )
    def test_an_override_that_fits_nowhere(self, problems: Any, key: str, sentence: str) -> None:
        assert problems("vgg-cifar", {key: 3}) == [f"{key}: {sentence}"]

    def test_a_second_kind_beside_a_layers_own(self, problems: Any) -> None:
        (found,) = problems("vgg-cifar", {"model.layers.0.dense": 5})
        assert found.startswith("model.layers.0: a layer is of one kind, not of several: conv, dense (given: ")


class TestModule:
    def test_a_network_from_python_takes_options_by_the_end_of_their_path(self) -> None:
        recipe = load({}, {"model.module": "mine.Net", "model.layers": (), "epochs": 3, "activation": "relu"})
        assert (recipe.fit.epochs, recipe.model and recipe.model.module) == (3, "mine.Net")


class TestContradictions:
    def test_all_are_reported_together(self, problems: Any) -> None:
        overrides = {
            "input.normalise": "backbone",
            "weights": "mine.safetensors",
            "fit.epochs": None,
            "fit.phases": [{"epochs": 3, "unfreeze": 2}],
            "fit.loss": "binary_cross_entropy",
        }
        assert problems("vgg-cifar", overrides) == [
            "input.normalise: 'backbone' needs a network that starts with a backbone",
            "model.weights: the network has no backbone to load them into",
            "fit.phases: the network has no backbone to unfreeze",
            "fit.loss: binary_cross_entropy needs a network that ends in one unit (dense: 1)",
        ]

    def test_options_for_a_backbone_where_there_is_none(self, problems: Any) -> None:
        overrides = {"fit.unfreeze": "all", "fit.layer_decay": 0.7, "fit.batch_norm": "train"}
        assert problems("vgg-cifar", overrides) == [
            "fit.unfreeze: the network has no backbone to unfreeze",
            "fit.layer_decay: the network has no backbone, whose stages could have rates of their own",
            "fit.batch_norm: only for the batch norms of a backbone; a layer has trainable: false",
        ]
        assert load("xception-fashion", {"fit.layer_decay": 0.7, "fit.batch_norm": "train"}).fit.unfreezes

    def test_grey_and_a_loss_that_does_not_fit_a_backbone_with_one_unit(self, problems: Any) -> None:
        assert problems("vgg16-binary", {"colour": "grey", "fit.loss": "cross_entropy"}) == [
            "input.colour: a backbone takes rgb; grey pictures are converted",
            "fit.loss: a network that ends in one unit needs binary_cross_entropy or focal",
        ]

    def test_sections_that_do_not_count(self, problems: Any) -> None:
        assert problems("vgg-cifar", {"features.size": 96}) == [
            "features: only for frozen backbones; this recipe trains the network of its section model"
        ]
        assert problems({"fit": {"epochs": 3}, "augment": {"rotation": 3}}) == [
            (
                "augment and fit: nothing is trained by gradient; unfreeze the backbone (fit.unfreeze=all, or how many "
                "of its top stages), or describe a network in the section model"
            )
        ]
        (found,) = problems("vgg-cifar", {"backbone": "resnet50"})
        assert found == "backbone: only for frozen backbones; this recipe trains the network of its section model."
        (found,) = problems("transfer", {"epochs": 3})
        assert found.startswith(
            "epochs: only for networks that are trained; this recipe fits a head on a frozen backbone."
        )


class TestPenalties:
    @pytest.mark.parametrize(
        ("layers", "options", "expected"),
        [
            ([{"dense": 3}], {}, False),
            ([{"dense": 3}], {"l2": 0.1}, True),
            ([{"dense": {"units": 3, "l2": 0.0}}], {"l1": 0.0}, False),
            ([{"repeat": {"times": 2, "layers": [{"dense": {"units": 3, "l1": 0.1}}]}}], {}, True),
        ],
    )
    def test_are_those_of_the_kernels(self, layers: list[Any], options: dict[str, Any], expected: bool) -> None:
        assert network(*layers, **options).is_penalised is expected


class TestSelu:
    @pytest.mark.parametrize(
        ("layers", "activation", "expected"),
        [
            ([{"dense": 3}], "selu", True),
            ([{"dense": 3}], "elu", False),
            ([{"dense": 3}, {"activation": "selu"}], "none", True),
            ([{"dense": 3}, {"dense": {"units": 3, "activation": "relu"}}], "selu", False),
            ([], "selu", False),
        ],
    )
    def test_follows_from_the_hidden_layers(self, layers: list[Any], activation: str, expected: bool) -> None:
        assert network(*layers, activation=activation).is_selu is expected
