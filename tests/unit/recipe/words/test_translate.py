"""A recipe in the words of Keras, PyTorch, fastai or Ultralytics is refused with the very line to write instead."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from kilat.errors import RecipeError
from kilat.recipe import load, parse_override

Problems = Callable[..., list[str]]


def lines_for_layer(problems: Problems, text: str) -> list[str]:
    layers = [*yaml.safe_load(text), "flatten", {"dense": "classes"}]
    return problems({"model": {"layers": layers}})


class TestLayers:
    @pytest.mark.parametrize(
        ("given", "line"),
        [
            ("- Conv2D: {filters: 32, kernel_size: 3, activation: relu}",
             "- conv: {filters: 32, kernel: 3, activation: relu}"),
            ("- Conv2D: 32", "- conv: 32"),
            ("- Conv2D(32, (3, 3), strides=2, padding='same')",
             "- conv: {filters: 32, kernel: 3, stride: 2, padding: same}"),
            ("- keras.layers.Conv2D(8, 3, kernel_regularizer=l2(0.01))", "- conv: {filters: 8, kernel: 3, l2: 0.01}"),
            ("- Conv2D: {filters: 8, kernel_regularizer: {L1L2: {l1: 0.1, l2: 0.2}}}",
             "- conv: {filters: 8, l1: 0.1, l2: 0.2}"),
            ("- Conv2D: {filters: 8, kernel_constraint: max_norm(3)}", "- conv: {filters: 8, max_norm: 3}"),
            ("- conv: {filters: 32, kernel_size: 3, use_bias: false}", "- conv: {filters: 32, kernel: 3, bias: false}"),
            ("- {class_name: Conv2D, config: {filters: 8, name: c1}}", "- conv: 8"),
            ("- {type: Conv2D, filters: 8}", "- conv: 8"),
            ("- conv:\n  filters: 8\n  kernel: 5", "- conv: {filters: 8, kernel: 5}"),
            ("- nn.Conv2d(3, 32, kernel_size=3, padding=1, bias=False)",
             "- conv: {filters: 32, kernel: 3, padding: same, bias: false}"),
            ("- Conv2d: {in_channels: 3, out_channels: 8, kernel_size: 5}", "- conv: {filters: 8, kernel: 5}"),
            ("- Conv2d: 32", "- conv: 32"),
            ("- Linear(128, 64)", "- dense: 64"),
            ("- nn.Linear: 64", "- dense: 64"),
            ("- Dense: {units: 64, activation: swish, kernel_initializer: HeNormal}",
             "- dense: {units: 64, activation: silu, init: he_normal}"),
            ("- Dense: num_classes", "- dense: classes"),
            ("- BatchNormalization", "- batch_norm"),
            ("- BatchNorm2d: 64", "- batch_norm: {momentum: 0.9, epsilon: 1.0e-05}"),
            ("- BatchNorm2d: {num_features: 64, momentum: 0.2}", "- batch_norm: {momentum: 0.8, epsilon: 1.0e-05}"),
            ("- MaxPooling2D", "- max_pool"),
            ("- MaxPooling2D: [2, 2]", "- max_pool: 2"),
            ("- MaxPool2d(3, 2)", "- max_pool: {size: 3, stride: 2}"),
            ("- GlobalAveragePooling2D", "- global_avg_pool"),
            ("- AdaptiveAvgPool2d: 1", "- global_avg_pool"),
            ("- Flatten", "- flatten"),
            ("- Dropout: 0.3", "- dropout: 0.3"),
            ("- nn.Dropout(p=0.3)", "- dropout: 0.3"),
            ("- SpatialDropout2D: 0.3", "- spatial_dropout: 0.3"),
            ("- ReLU", "- activation: relu"),
            ("- LeakyReLU: {alpha: 0.1}", "- activation: {name: leaky_relu, slope: 0.1}"),
            ("- Activation: elu", "- activation: elu"),
            ("- activation: ELU", "- activation: elu"),
            ("- Rescaling(0.5)", "- rescale: 0.5"),
            ("- residual: [{Conv2D: 8}, {conv: {filters: 8, kernel_size: 3}}]", "- conv: 8"),
            ("- SeparableConv2D: {filters: 8, kernel_size: 5}",
             "- depthwise_conv: {kernel: 5, bias: false} and - conv: {filters: 8, kernel: 1}"),
        ],
    )  # fmt: skip
    def test_get_their_line(self, problems: Problems, given: str, line: str) -> None:
        found = lines_for_layer(problems, given)[0]
        assert found.startswith("model.layers.0")
        assert found.partition(": write ")[2].partition(" (")[0] == line

    def test_what_is_shown_for_a_layer_is_a_layer(self) -> None:
        recipe = load(
            {"model": {"layers": [{"conv": {"filters": 8, "kernel": 3, "l2": 0.01}}, "flatten", {"dense": 2}]}}
        )
        assert recipe.model is not None

    def test_the_size_of_the_input_is_no_option_of_a_layer(self, problems: Problems) -> None:
        (found,) = lines_for_layer(problems, "- Conv2D: {filters: 8, input_shape: [28, 28, 1]}")
        assert found == "model.layers.0: write - conv: 8; under input, write size: 28"

    def test_augmentation_among_the_layers_belongs_elsewhere(self, problems: Problems) -> None:
        (found,) = lines_for_layer(problems, "- RandomFlip: horizontal")
        assert found == "model.layers.0: under augment, write horizontal_flip: true"

    def test_what_has_no_counterpart_is_said_to_have_none(self, problems: Problems) -> None:
        first, second = lines_for_layer(problems, "- LSTM: 64\n- Reshape: 3")
        assert first.startswith(
            "model.layers.0: leave it out (there is no such layer: kilat's networks are for pictures"
        )
        assert second == "model.layers.1: leave it out (there is no such layer)"

    def test_all_other_problems_are_reported_beside_it_at_their_places(self, problems: Problems) -> None:
        network = {"layers": ["Flatten", {"LSTM": 3}, {"Dense": {"units": -1}}, {"dense": "classes"}]}
        found = problems({"model": network, "fit": {"epoch": 0}})
        assert [line.partition(":")[0] for line in found] == [
            "model.layers.0", "model.layers.1", "model.layers.2", "fit.epoch",
            "model.layers.2.dense.units", "fit.epochs",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("model", "line"),
        [
            ([{"Conv2D": 8}, "Flatten", {"Dense": 2}], "layers: [{conv: 8}, flatten, {dense: 2}]"),
            ({"layers": {"conv": 8, "flatten": None, "dense": 2}}, "layers: [{conv: 8}, flatten, {dense: 2}]"),
            ("Sequential([Conv2D(8), Flatten(), Dense(2)])", "layers: [{conv: 8}, flatten, {dense: 2}]"),
            ({"layers": ["model.add(Conv2D(8)),"]}, "- conv: 8"),
            ("resnet18", "backbone: resnet18"),
        ],
    )
    def test_a_network_that_is_not_a_list_below_layers(self, problems: Problems, model: Any, line: str) -> None:
        (found,) = problems({"model": model})
        assert found.endswith(f"write {line}")


class TestOptions:
    @pytest.mark.parametrize(
        ("fit", "line"),
        [
            ({"lr": 0.1}, "fit.lr: write optimizer: {learning_rate: 0.1}"),
            ({"optimizer": "sgd", "lr": 0.1}, "fit.lr: write optimizer: {name: sgd, learning_rate: 0.1}"),
            ({"optimizer": "Adam"}, "fit.optimizer: write optimizer: adam"),
            ({"optimizer": {"AdamW": {"lr": 0.1}}},
             "fit.optimizer: write optimizer: {name: adamw, learning_rate: 0.1}"),
            ({"optimizer": "SGD(lr=0.1, momentum=0.9, nesterov=True)"},
             "fit.optimizer: write optimizer: {name: nesterov, learning_rate: 0.1, momentum: 0.9}"),
            ({"optimizer": {"name": "sgd", "momentum": 0.9}},
             "fit.optimizer: write optimizer: {name: momentum, momentum: 0.9}"),
            ({"optimizer": {"name": "adam", "betas": [0.9, 0.99]}},
             "fit.optimizer: write optimizer: {name: adam, beta_1: 0.9, beta_2: 0.99}"),
            ({"optimizer": {"name": "adam", "clipnorm": 1}},
             "fit.optimizer: write optimizer: adam and clip: {norm: 1}"),
            ({"batch_size": 32}, "fit.batch_size: write batch: 32"),
            ({"loss": "sparse_categorical_crossentropy"}, "fit.loss: write loss: cross_entropy"),
            ({"schedule": "CosineAnnealingLR"}, "fit.schedule: write schedule: cosine"),
            ({"schedule": {"name": "ReduceLROnPlateau", "patience": 3, "min_lr": 0.001}},
             "fit.schedule: write schedule: {name: performance, patience: 3, floor: 0.001}"),
            ({"schedule": {"MultiStepLR": {"milestones": [2, 4], "gamma": 0.5}}},
             "fit.schedule: write schedule: {name: piecewise, boundaries: [2, 4], factors: [1.0, 0.5, 0.25]}"),
            ({"early_stopping": {"patience": 3, "restore_best_weights": True}},
             "fit.early_stopping.restore_best_weights: write keep: best"),
            ({"callbacks": ["EarlyStopping(monitor='val_accuracy', patience=3)"]},
             "fit.callbacks.0: write early_stopping: {patience: 3, monitor: accuracy}"),
            ({"validation_split": 0.2}, "fit.validation_split: under data, write validation: 0.2"),
            ({"kernel_initializer": "he_uniform"}, "fit.kernel_initializer: under model, write init: he_uniform"),
            ({"l2": 0.1}, "fit.l2: under model, write l2: 0.1"),
            ({"precision": "mixed_float16"}, "fit.precision: write precision: fp16"),
            ({"class_weight": "None"}, "fit.class_weight: write class_weight: null"),
            ({"verbose": 1},
             "fit.verbose: leave it out (progress is always shown; the option --quiet of the command leaves it out)"),
            ("epochs:3", "fit: write epochs: 3"),
            ("epochs = 3, batch = 8", "fit: write epochs: 3 and batch: 8"),
        ],
    )  # fmt: skip
    def test_of_training(self, problems: Problems, fit: Any, line: str) -> None:
        assert problems({"model": {"layers": ["flatten", {"dense": "classes"}]}, "fit": fit})[0] == line

    def test_several_that_belong_into_one_line_get_it_once(self, problems: Problems) -> None:
        fit = {"optimizer": "SGD", "lr": 0.1, "momentum": 0.9}
        (found,) = problems({"model": {"layers": ["flatten", {"dense": 2}]}, "fit": fit})
        line = "write optimizer: {name: momentum, momentum: 0.9, learning_rate: 0.1}"
        assert found == f"fit.optimizer, fit.lr, fit.momentum: {line}"

    @pytest.mark.parametrize(
        ("augment", "line"),
        [
            ({"RandomRotation": 0.1}, "write rotation: 36"),
            ({"rotation_range": 20}, "write rotation: 20"),
            ({"fliplr": 0.5}, "write horizontal_flip: true"),
            ({"fliplr": 0.0}, "write horizontal_flip: false"),
            ({"RandomFlip": {"mode": "vertical"}}, "write vertical_flip: true"),
            ({"RandomFlip": None}, "write horizontal_flip: true and vertical_flip: true"),
            ({"channel_shift_range": 51}, "write channel_shift: 0.2"),
            ({"RandAugment": {"num_ops": 3}}, "write randaugment: {operations: 3}"),
            ({"translate": 0.1}, "write width_shift: 0.1 and height_shift: 0.1"),
            ({"mosaic": 1.0}, "leave it out (there is no such augmentation)"),
        ],
    )
    def test_of_augmentation(self, problems: Problems, augment: dict[str, Any], line: str) -> None:
        found = problems({"model": {"layers": ["flatten", {"dense": 2}]}, "augment": augment})
        assert [one.partition(": ")[2] for one in found] == [line]

    def test_beside_the_sections(self, problems: Problems) -> None:
        model = {"model": {"layers": ["flatten", {"dense": 2}]}}
        assert problems({**model, "learning_rate": 0.1, "imgsz": 64, "train": {"epochs": 3}}) == [
            "learning_rate: under fit, write optimizer: {learning_rate: 0.1}",
            "imgsz: under input, write size: 64",
            "train.epochs: under fit, write epochs: 3",
        ]

    def test_a_word_deep_inside_is_not_taken_for_one_of_the_same_name_elsewhere(self, problems: Problems) -> None:
        network = {"layers": ["flatten", {"dense": 2}], "normalisation": {"group_norm": {"momentum": 0.9}}}
        (found,) = problems({"model": network})
        assert "unknown option" in found


class TestOverrides:
    @pytest.mark.parametrize(
        ("given", "options"),
        [
            ("lr=0.1", "--set fit.optimizer.learning_rate=0.1"),
            ("fit.lr=0.1", "--set fit.optimizer.learning_rate=0.1"),
            ("fit.optimizer.lr=0.1", "--set fit.optimizer.learning_rate=0.1"),
            ("batch_size=32", "--set fit.batch=32"),
            ("optimizer=Adam", "--set fit.optimizer=adam"),
            ("fit.optimizer.name=Adam", "--set fit.optimizer.name=adam"),
            ("optimizer=SGD(0.1, momentum=0.9)",
             "--set 'fit.optimizer={name: momentum, learning_rate: 0.1, momentum: 0.9}'"),
            ("betas=[0.9, 0.99]", "--set fit.optimizer.beta_1=0.9 --set fit.optimizer.beta_2=0.99"),
            ("EarlyStopping=5", "--set 'fit.early_stopping={patience: 5}'"),
            ("RandomFlip=horizontal", "--set augment.horizontal_flip=true"),
            ("augment.fliplr=0.5", "--set augment.horizontal_flip=true"),
            ("imgsz=64", "--set input.size=64"),
            ("input.size=(64, 64)", "--set input.size=64"),
            ("data.validation_split=20%", "--set data.validation=0.2"),
            ("betas=(0.9, 0.95)", "--set fit.optimizer.beta_1=0.9 --set fit.optimizer.beta_2=0.95"),
            ("augment=[RandomFlip]", "--set 'augment={horizontal_flip: true, vertical_flip: true}'"),
            ("model.normalisation={BatchNormalization: after}", "--set 'model.normalisation={batch_norm: after}'"),
            ("fit.optimizer={name: sgd, nesterov: true, momentum: 0.8}",
             "--set 'fit.optimizer={name: nesterov, momentum: 0.8}'"),
            ("fit.resolution=0.75", "--set 'fit.resolution=[0.75]'"),
            ("augment.zoom=0.8,1.2", "--set 'augment.zoom=[0.8, 1.2]'"),
            ("model.layers.0.conv.kernel_size=5", "--set model.layers.0.conv.kernel=5"),
            ("model.layers.0.Conv2D.filters=8", "--set model.layers.0.conv.filters=8"),
            ("model.layers.0.filters=8", "--set model.layers.0.conv.filters=8"),
            ("model.layers.1=Conv2D(8, 3)", "--set 'model.layers.1={conv: {filters: 8, kernel: 3}}'"),
            ("kernel_size=5", "--set model.layers.0.conv.kernel=5"),
            ("device=gpu", "--set runtime.device=cuda"),
        ],
    )  # fmt: skip
    def test_get_the_option_to_write_and_it_is_taken(self, problems: Problems, given: str, options: str) -> None:
        (found,) = problems("vgg-cifar", dict([parse_override(given)]))
        assert found.partition(": write ")[2].removesuffix(" (or of another layer)") == options
        written = [one.strip("' ") for one in options.split("--set ")[1:]]
        load("vgg-cifar", dict(map(parse_override, written)))

    @pytest.mark.parametrize("given", ["trust.alpha=0.1", "head.epsilon=1", "model.layers.0.conv.momentum=0.9"])
    def test_an_option_of_the_same_name_elsewhere_may_be_another_thing(self, problems: Problems, given: str) -> None:
        recipe = "transfer" if given.startswith("head") else "vgg-cifar"
        (found,) = problems(recipe, dict([parse_override(given)]))
        assert "unknown option" in found

    def test_an_empty_group_is_nothing(self, problems: Problems) -> None:
        assert problems("vgg-cifar", {"fit.callbacks": []}) == ["fit.callbacks: leave it out"]

    def test_a_layer_is_for_the_list_in_the_file(self, problems: Problems) -> None:
        assert problems("vgg-cifar", {"nn.Linear": 10}) == ["nn.Linear: under model.layers, write - dense: 10"]

    def test_for_a_frozen_backbone_it_is_said_what_would_take_it(self, problems: Problems) -> None:
        (found,) = problems("transfer", {"lr": 0.1})
        assert found.startswith("lr: write --set fit.optimizer.learning_rate=0.1, which is only for networks that are")

    def test_of_the_command_line_in_a_file_of_another_kind(self, problems: Problems) -> None:
        document = {"model": {"layers": [{"Conv2D": 8}, "flatten", {"dense": 2}]}}
        assert problems(document, {"fit.loss": "CrossEntropyLoss"}) == [
            "model.layers.0: write - conv: 8",
            "fit.loss: write --set fit.loss=cross_entropy",
        ]


def test_own_words_are_never_read_otherwise() -> None:
    """Momentum of 0.1 is PyTorch's usual one and Keras's unusual one: what is valid is what it says."""
    recipe = load({"model": {"layers": [{"batch_norm": {"momentum": 0.1}}, "flatten", {"dense": 2}]}})
    assert recipe.model is not None
    assert recipe.model.model_dump()["layers"][0] == {"batch_norm": {"momentum": 0.1}}


def test_the_given_recipe_stays_as_it_is() -> None:
    given = {"model": {"layers": [{"Conv2D": {"filters": 8}}, "flatten", {"dense": 2}]}, "fit": {"lr": 0.1}}
    copy = yaml.safe_load(yaml.safe_dump(given))
    with pytest.raises(RecipeError):
        load(given)
    assert given == copy
