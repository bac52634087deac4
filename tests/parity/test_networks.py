"""The networks of the recipes against the same networks written in Keras 3: the same weights, the same logits.

Both compute in float64, so that results do not depend on the kernels of a processor. Keras on PyTorch takes means and
matrix products in float32 all the same, and our logits are rounded to float32: ``TOLERANCE`` allows for the rounding of
sums of up to 2,048 values of size 1, the square root of that times float32's epsilon, twice over.
"""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("timm", reason="the extra torch is not installed")
os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported
keras = pytest.importorskip("keras", reason="the extra keras is not installed")

from keras import layers as k  # noqa: E402 - after the checks for extras

from kilat import recipe  # noqa: E402
from kilat.model.layers import build  # noqa: E402

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _float64():
    for choose in (keras.config.set_floatx, keras.config.set_dtype_policy):
        choose("float64")
    yield
    for choose in (keras.config.set_floatx, keras.config.set_dtype_policy):
        choose("float32")


def network(name, size, channels, classes):
    """Return the network of a recipe, every weight and statistic moved a little, so that each of them counts."""
    document = {**recipe.load(name).model.model_dump(mode="json"), "weights": "none"}
    found = build(recipe.Network.model_validate(document), channels=channels, size=size, classes=classes, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in weighted(found.layers):
            for value in layer.state_dict().values():
                value.add_(0.1 * torch.rand(value.shape, generator=generator) * (1 if value.ndim == 1 else 0))
    return found.double().eval()


def weighted(layers):
    """Yield all layers with weights but a backbone, those of residuals one by one."""
    for layer in layers:
        if layer.kind == "residual":
            yield from weighted(layer.body)
        elif layer.kind != "backbone" and layer.state_dict():
            yield layer


def kernel(layer):
    """Return a layer's kernel as Keras lays it out."""
    return layer.weight.permute(2, 3, 1, 0) if layer.kind == "conv" else layer.weight.T


def copy(layers, model):
    """Copy weights into a model of Keras, layer by layer in the order in which each was made."""
    layers, theirs = list(weighted(layers)), [layer for layer in model.layers if layer.weights]
    assert len(layers) == len(theirs)
    for layer, reference in zip(layers, theirs, strict=True):
        if layer.kind == "batch_norm":
            values = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        else:
            values = [kernel(layer), layer.bias]
        reference.set_weights([value.detach().numpy() for value in values])


def outputs(found, model, shape, layers=None, count=3):
    """Return what both give for noise in a shape with the channels last, ``layers`` alone or the whole network."""
    pixels = np.random.default_rng(3).standard_normal((count, *shape))
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with torch.no_grad():
        ours = found(values) if layers is None else torch.nn.Sequential(*layers)(values)
        theirs = model(pixels, training=False)
    return ours.numpy(), np.asarray(theirs.detach())


def assert_same(name, model, shape, classes=10):
    found = network(name, shape[0], shape[-1], classes)
    copy(found.layers, model)
    assert sum(value.numel() for value in found.state_dict().values()) == model.count_params()
    ours, theirs = outputs(found, model, shape)
    assert theirs.std() > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_strided_cnn():
    stack = [keras.Input((32, 32, 3))]
    for filters in (32, 64, 128):
        for stride in (1, 2):
            stack += [k.Conv2D(filters, 3, stride, "same", activation="relu"), k.BatchNormalization()]
        stack.append(k.Dropout(0.25))
    stack += [k.Flatten(), k.Dense(128, "relu"), k.BatchNormalization(), k.Dropout(0.25), k.Dense(10)]
    assert_same("strided-cnn", keras.Sequential(stack), (32, 32, 3))


def test_flowers_dense():
    stack = [keras.Input((24, 24, 3)), k.Flatten(), k.Dense(500, "relu"), k.Dense(50, "relu"), k.Dense(5)]
    assert_same("flowers-dense", keras.Sequential(stack), (24, 24, 3), classes=5)


def test_mlp_bn():
    stack = [keras.Input((28, 28, 1)), k.Flatten(), k.BatchNormalization()]
    for units in (300, 100):
        stack += [k.Dense(units, "elu"), k.BatchNormalization()]
    assert_same("mlp-bn", keras.Sequential([*stack, k.Dense(10)]), (28, 28, 1))


def test_mlp_dropout():
    stack = [keras.Input((28, 28, 1)), k.Flatten(), k.Dropout(0.2)]
    for units in (300, 100):
        stack += [k.Dense(units, "elu"), k.Dropout(0.2)]
    assert_same("mlp-dropout", keras.Sequential([*stack, k.Dense(10)]), (28, 28, 1))


def test_mlp_leaky_relu():
    stack = [keras.Input((28, 28, 1)), k.Flatten()]
    for units in (300, 100):
        stack += [k.Dense(units), k.LeakyReLU(negative_slope=0.2)]
    assert_same("mlp-leaky-relu", keras.Sequential([*stack, k.Dense(10)]), (28, 28, 1))


def test_mlp_selu():
    stack = [keras.Input((28, 28, 1)), k.Flatten(), k.Dense(300, "selu"), k.Dense(100, "selu"), k.Dense(10)]
    assert_same("mlp-selu", keras.Sequential(stack), (28, 28, 1))


def test_small_cnn():
    stack = [keras.Input((28, 28, 1))]
    for filters, ending in ((32, k.MaxPooling2D()), (64, k.MaxPooling2D()), (128, k.GlobalAveragePooling2D())):
        for _ in range(2):
            stack += [k.Conv2D(filters, 3, padding="same"), k.BatchNormalization(), k.ReLU()]
        stack += [ending, k.Dropout(0.1)]
    assert_same("small-cnn", keras.Sequential([*stack, k.Dense(10)]), (28, 28, 1))


def test_the_whole_of_vgg16_binary():
    """timm's VGG-16 is that of ``keras.applications`` to the last layer, so that it is compared from the picture on."""
    size = 32
    found = network("vgg16-binary", size, 3, 2)
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(size, size, 3))
    convolutions = [module for module in found.backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    theirs = [layer for layer in base.layers if layer.weights]
    generator = torch.Generator().manual_seed(4)
    for module, layer in zip(convolutions, theirs, strict=True):
        # First weights of which signals keep their size through 13 layers, as they do through trained ones.
        torch.nn.init.kaiming_normal_(module.weight, generator=generator)
        layer.set_weights([module.weight.detach().permute(2, 3, 1, 0).numpy(), module.bias.detach().numpy()])
    head = keras.Sequential(
        [keras.Input(base.output.shape[1:]), k.Flatten(), k.Dense(1024, "relu"), k.Dropout(0.5), k.Dense(1)]
    )
    copy(found.layers, head)
    ours, wanted = outputs(found, keras.Sequential([base, head]), (size, size, 3), count=4)
    assert ours.shape == (4, 1)
    assert wanted.std() > 0.01
    np.testing.assert_allclose(ours, wanted, rtol=TOLERANCE, atol=TOLERANCE)


# The backbones of the recipes below are timm's, with the weights that timm has for them. Those of keras.applications
# differ in detail (ResNet50 strides in another convolution of its blocks, MobileNetV2 and Xception pad strided maps on
# other sides, batch norms have another epsilon), so what a recipe puts on top is compared on the backbone's own map.


def assert_same_head(name, size, head, classes):
    found = network(name, size, 3, classes)
    backbone, *layers = found.layers
    entry = keras.Input(backbone.output_shape)
    model = keras.Model(entry, head(entry))
    copy(layers, model)
    ours, theirs = outputs(found, model, backbone.output_shape, layers)
    assert ours.shape == (3, classes)
    assert theirs.std() > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
    # And the network is its backbone with these layers behind it.
    planes = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        maps = backbone.network.forward_features(planes).permute(0, 2, 3, 1).numpy()
        wanted = np.asarray(model(maps, training=False).detach())
        np.testing.assert_allclose(found(planes).numpy(), wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_head_of_residual_head():
    def block(values, filters):
        inner = k.ReLU()(k.BatchNormalization()(k.Conv2D(filters, 3, padding="same")(values)))
        inner = k.BatchNormalization()(k.Conv2D(filters, 3, padding="same")(inner))
        return k.ReLU()(k.Add()([values, inner]))

    def head(values):
        for filters in (64, 128):
            values = k.ReLU()(k.BatchNormalization()(k.Conv2D(filters, 3, padding="same")(values)))
            values = block(values, filters)
        values = k.Flatten()(k.MaxPooling2D()(values))
        values = k.ReLU()(k.BatchNormalization()(k.Dense(256)(values)))
        return k.Dense(10)(values)

    assert_same_head("residual-head", 64, head, 10)


def test_the_head_of_flowers_mobilenet():
    assert_same_head("flowers-mobilenet", 64, lambda values: k.Dense(5)(k.Flatten()(values)), 5)


def test_the_head_of_xception_fashion():
    assert_same_head("xception-fashion", 96, lambda values: k.Dense(10)(k.GlobalAveragePooling2D()(values)), 10)
