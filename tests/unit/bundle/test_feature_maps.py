"""What layers of a model file give is what PyTorch's hooks see, under the names of the layer table."""

import numpy as np
import onnx
import pytest

from kilat.bundle.assemble import assemble_network
from kilat.bundle.feature_maps import look_inside
from kilat.bundle.graph_layers import graph_layers
from kilat.bundle.predictor import Classifier
from kilat.errors import PictureError, RecipeError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from dataclasses import replace  # noqa: E402

from torch import nn  # noqa: E402

from kilat import recipe as recipes  # noqa: E402
from kilat.fit.prepare import build_network  # noqa: E402
from kilat.model.image_model import PixelNetwork  # noqa: E402
from kilat.model.to_onnx import to_onnx  # noqa: E402

SIDE = 12
PICTURE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
LAYERS = [
    {"conv": {"filters": 4, "normalisation": {"batch_norm": "before"}}},
    {"conv": {"filters": 4, "activation": "tanh"}},
    "batch_norm",
    {"residual": {"layers": [
        {"conv": {"filters": 6, "padding": "same"}}, {"conv": {"filters": 6, "padding": "same", "activation": "none"}},
    ]}},
    "max_pool", {"dropout": 0.2}, "flatten",
    {"dense": {"units": 5, "activation": "gelu", "normalisation": "layer_norm"}}, {"dense": "classes"},
]  # fmt: skip


class Somebodys(nn.Module):
    """A network that kilat did not build, with activation functions of several operators."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 3)

    def forward(self, planes):
        maps = nn.functional.silu(self.second(nn.functional.relu(self.first(planes))))
        return self.last(maps.mean((2, 3)))


def outputs(network, modules, pixels):
    """What modules give for a picture, channels last, by their names."""
    found = {}

    def hook(name):
        def keep(_module, _inputs, output):
            found.setdefault(name, output[0])  # of the first call: the picture itself, not its mirror image

        return keep

    for name, module in modules.items():
        module.register_forward_hook(hook(name))
    with torch.inference_mode():
        network.eval()(torch.from_numpy(pixels)[None])
    return {name: (one.movedim(0, -1) if one.ndim == 3 else one).numpy() for name, one in found.items()}


@pytest.fixture(scope="module")
def classifier_of(manifest_of):
    def make(network, recipe, **views):
        model = PixelNetwork(network, SIDE, (100.0,), (50.0,), **views)
        graph = to_onnx(model, size=SIDE)
        return model, Classifier(
            assemble_network(graph, size=SIDE, resize="crop", temperature=1.5, manifest=manifest_of(recipe))
        )

    return make


@pytest.fixture(scope="module")
def manifest_of(manifest):
    return lambda recipe: replace(manifest, size=SIDE, recipe=recipe.model_dump(mode="json"))


@pytest.fixture(scope="module", params=[{}, {"flip_average": True, "shift_average": 1}], ids=["one view", "several"])
def built(request, classifier_of):
    """A network of a recipe with running statistics of its own, and its model file."""
    recipe = recipes.load({"model": {"layers": LAYERS, "activation": "relu"}})
    network = build_network(recipe, SIDE, 3)
    torch.manual_seed(1)
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network, *classifier_of(network, recipe, **request.param)


class TestOfARecipe:
    def test_every_layer_gives_what_its_module_gives(self, built):
        network, model, classifier = built
        modules = {module.label: module for module in network.modules() if getattr(module, "label", "")}
        expected = outputs(model, modules, PICTURE)
        names = [one.name for one in graph_layers(onnx.load_from_string(classifier.content), classifier.manifest, {})]
        found = look_inside(classifier, PICTURE, names)
        assert {part for name in names for part in name.split("+")} == modules.keys() - {"dropout"}
        for layer in found.layers:
            same = expected[layer.name.split("+")[-1]]  # with its batch norm, where that was folded into it
            np.testing.assert_allclose(layer.values, same, rtol=1e-4, atol=1e-5, err_msg=layer.name)
        assert np.array_equal(found.pixels, PICTURE)

    def test_those_of_the_layer_table_come_by_themselves(self, built):
        _network, _model, classifier = built
        found = look_inside(classifier, PICTURE)
        assert [one.name for one in found.layers] == [
            "conv+batch_norm", "activation", "conv_1", "batch_norm_1", "residual", "max_pool", "flatten", "dense",
            "layer_norm", "activation_1", "dense_1",
        ]  # fmt: skip
        assert found.prediction.probabilities == classifier.predict(PICTURE)[0].probabilities
        filters = {one.name: one.filters for one in found.layers if one.filters is not None}
        assert filters["conv+batch_norm"].shape == (4, 3, 3, 3)
        assert found["batch_norm"].shape == found["conv"].shape == (10, 10, 4)

    @pytest.mark.parametrize("name", ["conv_2", "conv2d_2", "batch_normalization_1", "residual"])
    def test_names_of_keras_and_layers_within_others(self, built, name):
        (layer,) = look_inside(built[2], PICTURE, [name]).layers
        assert layer.inside == ("residual" if name.endswith("_2") else "")

    def test_an_unknown_one_is_refused_with_the_nearest(self, built):
        with pytest.raises(RecipeError, match="no layer 'conv_22'") as error:
            look_inside(built[2], PICTURE, ["conv_22"])
        assert "'conv_2'" in error.value.hint

    def test_a_picture_that_cannot_be_read(self, built):
        with pytest.raises(PictureError):
            look_inside(built[2], b"no picture")


class TestOfOthers:
    def test_layers_are_numbered_as_in_the_table_and_have_their_functions(self, classifier_of):
        torch.manual_seed(0)
        network = Somebodys()
        recipe = recipes.load({"model": {"module": "tests.Somebodys", "layers": []}})
        model, classifier = classifier_of(network, recipe)
        expected = outputs(model, {"conv": network.first, "depthwise_conv": network.second}, PICTURE)
        found = look_inside(classifier, PICTURE)
        assert [one.name for one in found.layers] == ["conv", "depthwise_conv", "dense"]
        np.testing.assert_allclose(found["conv"], np.maximum(expected["conv"], 0), rtol=1e-4, atol=1e-5)
        second = expected["depthwise_conv"]
        np.testing.assert_allclose(found["depthwise_conv"], second / (1 + np.exp(-second)), rtol=1e-4, atol=1e-5)

    def test_a_dense_layer_on_the_picture_has_a_picture_for_each_unit(self, classifier_of):
        recipe = recipes.load({"model": {"layers": ["flatten", {"dense": 4}, {"dense": "classes"}]}})
        network = build_network(recipe, SIDE, 3)
        _model, classifier = classifier_of(network, recipe)
        first, last = look_inside(classifier, PICTURE, ["dense", "dense_1"]).layers
        weights = network.layers[1].weight.detach().numpy()
        np.testing.assert_array_equal(first.filters, weights.reshape(4, SIDE, SIDE, 3))
        assert last.filters is None

    def test_statistics(self, built):
        (layer,) = look_inside(built[2], PICTURE, ["activation"]).layers
        numbers = layer.statistics
        assert numbers["shape"] == [10, 10, 4]
        assert numbers["zero_share"] == np.mean(layer.values == 0)
        assert numbers["zero_channels"] == sum((layer.values[..., i] == 0).all() for i in range(4))
        assert numbers["mean"] == pytest.approx(layer.values.mean(), rel=1e-5)
