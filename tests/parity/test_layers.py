"""Layers of recipes against the layers of Keras 3 that they are named after: the same weights, the same outputs.

Both compute in float64, so that results do not depend on the kernels of a processor. Keras on PyTorch takes means and
matrix products in float32 all the same: the sums of up to 384 values of size 1, which any order of adding rounds by
about the square root of that times float32's epsilon, 2e-6. ``TOLERANCE`` is five times as much.
"""

import os
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("timm", reason="the extra torch is not installed")
os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported
keras = pytest.importorskip("keras", reason="the extra keras is not installed")

from kilat import recipe  # noqa: E402 - after the checks for extras
from kilat.model import initializers, layers  # noqa: E402

CHANNELS = 6
TOLERANCE = 1e-5
GRIDS = [(size, kernel, stride, padding) for size, kernel, stride, padding in product(
    (7, 8), (2, 3, (1, 5)), (1, 2, 3, (3, 1)), ("same", "valid")
)]  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    for choose in (keras.config.set_floatx, keras.config.set_dtype_policy):
        choose("float64")
    yield
    for choose in (keras.config.set_floatx, keras.config.set_dtype_policy):
        choose("float32")


def network(*given, size=8, channels=CHANNELS, classes=5, **choices):
    document = {"layers": list(given), **choices}
    return layers.build(recipe.Network.model_validate(document), channels=channels, size=size, classes=classes, seed=3)


def first(layer, size=8, *, units=False):
    """Return the module of one layer, in a network that goes on to logits; for units it comes after a flatten."""
    built = network(*["flatten"] * units, layer, "flatten", {"dense": "classes"}, size=size).layers
    return perturbed(built[int(units)])


def perturbed(module):
    """Return the module with every parameter and statistic unlike its first value."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(torch.rand(value.shape, generator=generator) / 2 + 0.25)
            value.mul_(1 - 2 * (torch.rand(value.shape, generator=generator) < 0.3) * (value.ndim > 1))
    return module.double().eval()


def noise(size=8, count=3, channels=CHANNELS):
    return np.random.default_rng(1).standard_normal((count, size, size, channels))


def ours(module, pixels, training=False):
    """Return the output of a module for ``[n, h, w, c]`` or ``[n, units]``, channels last again."""
    module.train(training)
    values = torch.from_numpy(pixels)
    values = values.permute(0, 3, 1, 2) if values.ndim == 4 else values
    with torch.no_grad():
        output = module(values)
    return (output.permute(0, 2, 3, 1) if output.ndim == 4 else output).numpy()


def theirs(module, pixels, training=False):
    with torch.no_grad():
        return np.asarray(module(pixels, training=training).detach())


def copy(layer, reference, shape):
    """Copy the weights of a layer into Keras's layer for inputs of a shape."""
    if not reference.built:
        reference.build((None, *shape))
    weights = [
        value.detach() for value in (getattr(layer, "weight", None), getattr(layer, "bias", None)) if value is not None
    ]
    if layer.kind == "conv":
        weights[0] = weights[0].permute(2, 3, 1, 0)
    elif layer.kind == "depthwise_conv":
        kernel = weights[0]
        weights[0] = kernel.reshape(shape[-1], -1, *kernel.shape[2:]).permute(2, 3, 0, 1)
    elif layer.kind == "dense":
        weights[0] = weights[0].T
    elif layer.kind == "batch_norm":
        weights += [layer.running_mean, layer.running_var]
    reference.set_weights([value.numpy() for value in weights])
    return reference


def assert_same(layer, reference, pixels, training=False):
    found, wanted = ours(layer, pixels, training), theirs(reference, pixels, training)
    assert found.shape[1:] == layer.output_shape
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("size", [7, 8])
def test_convolutions(size):
    pixels = noise(size)
    for _, kernel, stride, padding in GRIDS[: len(GRIDS) // 2]:
        choices = {"kernel": kernel, "stride": stride, "padding": padding}
        known = {"kernel_size": kernel, "strides": stride, "padding": padding}
        layer = first({"conv": {"filters": 4, **choices}}, size)
        assert_same(layer, copy(layer, keras.layers.Conv2D(4, **known), pixels.shape[1:]), pixels)
        layer = first({"depthwise_conv": {"multiplier": 2, **choices}}, size)
        known["depth_multiplier"] = 2
        assert_same(layer, copy(layer, keras.layers.DepthwiseConv2D(**known), pixels.shape[1:]), pixels)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [2, (1, 3)])
def test_dilated_and_grouped_convolutions(size, padding, dilation):
    pixels = noise(size)
    layer = first({"conv": {"filters": 9, "padding": padding, "dilation": dilation, "groups": 3, "bias": False}}, size)
    reference = keras.layers.Conv2D(9, 3, padding=padding, dilation_rate=dilation, groups=3, use_bias=False)
    assert_same(layer, copy(layer, reference, pixels.shape[1:]), pixels)
    layer = first({"depthwise_conv": {"padding": padding, "dilation": dilation}}, size)
    reference = keras.layers.DepthwiseConv2D(3, padding=padding, dilation_rate=dilation)
    assert_same(layer, copy(layer, reference, pixels.shape[1:]), pixels)


def pooled(pixels, kernel, stride, padding, reduce):
    """Pooling by its definition: every window is cut to the map before it is reduced."""
    size, positions = pixels.shape[1], []
    for width, distance in zip(kernel, stride, strict=True):
        count = -(-size // distance) if padding == "same" else (size - width) // distance + 1
        start = max((count - 1) * distance + width - size, 0) // 2 if padding == "same" else 0
        positions.append([slice(max(i * distance - start, 0), i * distance - start + width) for i in range(count)])
    rows = [np.stack([reduce(pixels[:, row, column], (1, 2)) for column in positions[1]], 1) for row in positions[0]]
    return np.stack(rows, 1)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), GRIDS)
def test_pooling(size, kernel, stride, padding):
    """Keras on PyTorch counts copies of the edge into odd-sided means, on TensorFlow it does not; nor do we."""
    pixels = noise(size)
    choices = {"size": kernel, "stride": stride, "padding": padding}
    known = {"pool_size": kernel, "strides": stride, "padding": padding}
    layer = first({"max_pool": choices}, size)
    assert_same(layer, keras.layers.MaxPooling2D(**known), pixels)
    layer = first({"avg_pool": choices}, size)
    wanted = pooled(pixels, *((x, x) if isinstance(x, int) else x for x in (kernel, stride)), padding, np.mean)
    np.testing.assert_allclose(ours(layer, pixels), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    if layer.window.is_symmetric:
        assert_same(layer, keras.layers.AveragePooling2D(**known), pixels)


def test_pooling_windows_lie_side_by_side():
    pixels = noise(7)
    assert_same(first({"max_pool": 3}, 7), keras.layers.MaxPooling2D(3), pixels)
    assert_same(first("avg_pool", 7), keras.layers.AveragePooling2D(2), pixels)


def test_layers_without_weights():
    pixels = noise()
    assert_same(first("flatten"), keras.layers.Flatten(), pixels)
    assert_same(first("global_avg_pool"), keras.layers.GlobalAveragePooling2D(), pixels)
    assert_same(first({"rescale": {"scale": 0.5, "offset": -1}}), keras.layers.Rescaling(0.5, -1), pixels)


def test_dense_layers():
    pixels = noise()
    layer = first({"dense": 7})
    assert_same(layer, copy(layer, keras.layers.Dense(7), pixels.shape[1:]), pixels)
    units = pixels.reshape(len(pixels), -1)
    layer = first({"dense": {"units": 7, "bias": False}}, units=True)
    assert_same(layer, copy(layer, keras.layers.Dense(7, use_bias=False), units.shape[1:]), units)


@pytest.mark.parametrize("units", [False, True])
def test_layer_and_group_normalisation(units):
    pixels = noise(4) * 3 + 1
    pixels = pixels.reshape(len(pixels), -1) if units else pixels
    layer = first({"layer_norm": {"epsilon": 1e-2}}, 4, units=units)
    assert_same(layer, copy(layer, keras.layers.LayerNormalization(epsilon=1e-2), pixels.shape[1:]), pixels)
    layer = first({"group_norm": 3}, 4, units=units)
    assert_same(layer, copy(layer, keras.layers.GroupNormalization(3), pixels.shape[1:]), pixels)


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("momentum", [0.99, 0.5])
def test_batch_normalisation_and_its_running_statistics(units, momentum):
    pixels = noise(3, 4) * 3 + 1
    pixels = pixels.reshape(len(pixels), -1) if units else pixels
    layer = first({"batch_norm": {"momentum": momentum}}, 3, units=units)
    reference = copy(layer, keras.layers.BatchNormalization(momentum=momentum), pixels.shape[1:])
    assert_same(layer, reference, pixels)
    for batch in (pixels, pixels[1:] * 2, pixels[:2] - 1, pixels[:1]):
        assert_same(layer, reference, batch, training=True)
    np.testing.assert_allclose(layer.running_mean, np.asarray(reference.moving_mean), rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(layer.running_var, np.asarray(reference.moving_variance), rtol=TOLERANCE, atol=TOLERANCE)
    assert_same(layer, reference, pixels)


def test_a_batch_norm_that_is_not_trained_infers_while_training():
    pixels = noise(4)
    layer = first({"batch_norm": {"trainable": False}}, 4)
    reference = copy(layer, keras.layers.BatchNormalization(trainable=False), pixels.shape[1:])
    assert_same(layer, reference, pixels, training=True)
    np.testing.assert_array_equal(layer.running_mean, np.asarray(reference.moving_mean))


@pytest.mark.parametrize("name", ["relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softmax"])
@pytest.mark.parametrize("units", [False, True])
def test_activations(name, units):
    pixels = noise(4) * 3
    pixels = pixels.reshape(len(pixels), -1) if units else pixels
    assert_same(first({"activation": name}, 4, units=units), keras.layers.Activation(name), pixels)


@pytest.mark.parametrize("units", [False, True])
def test_leaky_relu(units):
    pixels = noise(4) if not units else noise(4).reshape(3, -1)
    assert_same(first({"activation": "leaky_relu"}, 4, units=units), keras.layers.LeakyReLU(0.2), pixels)
    assert_same(first({"activation": {"leaky_relu": 0.01}}, 4, units=units), keras.layers.LeakyReLU(0.01), pixels)


@pytest.mark.parametrize(("shared", "axes"), [(False, None), (True, [1, 2])])
def test_prelu(shared, axes):
    pixels = noise(4)
    layer = first({"activation": {"name": "prelu", "shared": shared}}, 4)
    reference = keras.layers.PReLU(shared_axes=axes)
    reference.build((None, 4, 4, CHANNELS))
    reference.set_weights([layer.function.alpha.detach().numpy()])
    assert_same(layer, reference, pixels)
    units = pixels.reshape(3, -1)
    layer, reference = first({"activation": {"name": "prelu", "shared": shared}}, 4, units=True), keras.layers.PReLU()
    reference.build(units.shape)
    reference.set_weights([layer.function.alpha.detach().numpy()])
    assert_same(layer, reference, units)


@pytest.mark.parametrize(
    ("kind", "choices", "reference"),
    [
        ("dropout", {}, keras.layers.Dropout(0.3)),
        ("dropout", {"activation": "selu"}, keras.layers.AlphaDropout(0.3)),
        ("spatial_dropout", {}, keras.layers.SpatialDropout2D(0.3)),
    ],
)
def test_dropout(kind, choices, reference):
    """Which values are dropped differs; what becomes of both kinds does not."""
    pixels = np.ones((20, 5, 5, 8), np.float32)  # as the reference, which was made before float64 was chosen
    layer = network({"conv": 2}, {kind: 0.3}, "flatten", {"dense": "classes"}, **choices).layers[1]
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    found, wanted = ours(layer, pixels, training=True), theirs(reference, pixels, training=True)
    np.testing.assert_allclose(np.unique(found), np.unique(wanted), rtol=1e-5, atol=1e-6)
    assert abs(np.isclose(found, found.min()).mean() - 0.3) < (0.03 if kind == "dropout" else 0.15)
    is_whole = (found == found[:, :1, :1]).all()
    assert is_whole == (kind == "spatial_dropout") == (wanted == wanted[:, :1, :1]).all()
    np.testing.assert_array_equal(ours(layer, pixels), pixels)


@pytest.mark.parametrize("size", [7, 8])
def test_a_residual_with_a_projection(size):
    pixels = noise(size)
    body = [
        {"conv": {"filters": 4, "stride": 2, "padding": "same", "activation": "relu"}},
        {"conv": {"filters": 8, "padding": "same"}},
    ]
    layer = first({"residual": body}, size)
    entry = keras.Input(pixels.shape[1:])
    inner = [keras.layers.Conv2D(4, 3, 2, "same", activation="relu"), keras.layers.Conv2D(8, 3, padding="same")]
    shortcut = keras.layers.Conv2D(8, 1, 2)
    model = keras.Model(entry, keras.layers.Add()([shortcut(entry), inner[1](inner[0](entry))]))
    copy(layer.body[0], inner[0], pixels.shape[1:])
    copy(layer.body[1], inner[1], layer.body[0].output_shape)
    copy(layer.shortcut, shortcut, pixels.shape[1:])
    assert_same(layer, model, pixels)


def vgg_in_keras():
    """The network of the recipe vgg-cifar as it is written in Keras."""
    penalty, stack = keras.regularizers.L2(1e-4), [keras.Input((32, 32, 3))]
    for filters, rate in ((32, 0.2), (64, 0.3), (128, 0.4), (256, 0.5)):
        for _ in range(2):
            stack.append(keras.layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=penalty))
            stack.append(keras.layers.BatchNormalization())
        stack += [keras.layers.MaxPooling2D(), keras.layers.Dropout(rate)]
    return keras.Sequential([*stack, keras.layers.Flatten(), keras.layers.Dense(10)])


def test_the_whole_of_vgg_cifar():
    model = vgg_in_keras()
    choices = recipe.load("vgg-cifar").model
    found = layers.build(choices, channels=3, size=32, classes=10, seed=0)
    count = sum(parameter.numel() for parameter in found.parameters())
    assert (count, count + sum(value.numel() for value in found.buffers())) == (1_184_426, 1_186_346)
    assert model.count_params() == 1_186_346
    assert [layer.output_shape for layer in found.layers] == [reference.output.shape[1:] for reference in model.layers]
    kinds = {"Conv2D": "conv", "BatchNormalization": "batch_norm", "MaxPooling2D": "max_pool"}
    names = [kinds.get(type(reference).__name__, type(reference).__name__.lower()) for reference in model.layers]
    assert [layer.kind for layer in found.layers] == names
    with torch.no_grad():  # statistics as after some training, so that signals keep their size
        for layer in found.layers:
            if layer.kind == "batch_norm":
                layer.running_mean.uniform_(-0.1, 0.5, generator=torch.Generator().manual_seed(1))
                layer.running_var.uniform_(0.2, 0.6, generator=torch.Generator().manual_seed(2))
    shape = (32, 32, 3)
    for layer, reference in zip(found.layers, model.layers, strict=True):
        if reference.weights:
            copy(layer, reference, shape)
        shape = layer.output_shape
    pixels = noise(32, 4, 3)
    # Nine layers one after the other, of up to 2,304 products each.
    logits = ours(found.double(), pixels)
    np.testing.assert_allclose(logits, theirs(model, pixels), rtol=10 * TOLERANCE, atol=10 * TOLERANCE)
    found.float()
    np.testing.assert_allclose(ours(found, pixels.astype(np.float32)), logits, rtol=10 * TOLERANCE, atol=10 * TOLERANCE)
    penalty = sum(
        layer.l2 * float(layer.weight.detach().square().sum()) for layer in found.layers if layer.kind == "conv"
    )
    assert penalty == pytest.approx(float(sum(model.losses).detach()), rel=1e-5)
    assert found.layers[-1].l2 == 0


@pytest.mark.parametrize("name", [*recipe.network.INITS])
@pytest.mark.parametrize("shape", [(3, 3, 16, 64), (300, 40), (40, 300), (5, 3, 64, 2)])
def test_first_weights_are_distributed_as_keras_draws_them(name, shape):
    found = initializers.draw(name, shape, torch.Generator().manual_seed(0)).numpy()
    wanted = np.asarray(keras.initializers.get({"class_name": name, "config": {"seed": 1}})(shape).detach())
    assert found.shape == wanted.shape
    deviation = wanted.std()
    assert found.std() == pytest.approx(deviation, rel=0.05)
    assert abs(found.mean()) < 5 * deviation / found.size**0.5
    if name == "orthogonal":
        for kernel in (found, wanted):
            matrix = kernel.reshape(-1, shape[-1])
            matrix = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-5)
    else:
        quantiles = np.linspace(0.02, 0.98, 13)
        np.testing.assert_allclose(np.quantile(found, quantiles), np.quantile(wanted, quantiles), atol=0.15 * deviation)
        assert np.abs(found).max() == pytest.approx(np.abs(wanted).max(), rel=0.02)
