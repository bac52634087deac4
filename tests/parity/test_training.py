"""Training against Keras 3: the same first weights and batches, and every loss, weight and statistic stays the same."""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported
keras = pytest.importorskip("keras", reason="the extra keras is not installed")

from keras import layers as k  # noqa: E402 - after the checks for extras

from kilat.data.split import Part  # noqa: E402
from kilat.fit.checkpoint import Checkpoints  # noqa: E402
from kilat.fit.loader import InMemory, epoch_batches  # noqa: E402
from kilat.fit.loop import Trainer  # noqa: E402
from kilat.fit.train_state import TrainSpec  # noqa: E402
from kilat.model.image_model import PixelNetwork  # noqa: E402
from kilat.model.layers import build  # noqa: E402
from kilat.recipe import Recipe  # noqa: E402

SIZE, BATCH, EPOCHS, SEED = 8, 16, 5, 3
TRAIN, VALIDATION = 60, 30  # 4 batches an epoch, the last one shorter: 20 updates
MEAN, STD = 120.0, 70.0
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def pictures(classes):
    """Noise with a pattern of the class in it, so that training has a signal; the classes differ in size."""
    draws = np.random.default_rng(0)
    truth = np.minimum(draws.integers(0, classes + 1, TRAIN + VALIDATION), classes - 1)
    patterns = draws.integers(0, 100, (classes, SIZE, SIZE, 3))
    pixels = draws.integers(0, 156, (len(truth), SIZE, SIZE, 3)) + patterns[truth]
    return pixels.astype(np.uint8), truth


def part(rows, truth):
    names = rows.astype(str).astype(object)
    return Part(rows, truth[rows], names, np.zeros(len(rows), bool), names)


def trained(folder, model, fit, classes=3):
    """A trained network of kilat, its initial weights, and the loss before every update."""
    document = {
        "model": {"classes": classes, **model},
        "fit": {
            "epochs": EPOCHS,
            "batch": BATCH,
            "schedule": "constant",
            "keep": "last",
            "precision": "fp32",
            "precise_batch_norm": False,
            **fit,
        },
        "runtime": {"seed": SEED},
    }
    chosen = Recipe.model_validate(document)
    network = build(chosen.model, channels=3, size=SIZE, classes=classes, seed=SEED)
    first = [weights_of(layer) for layer in network.layers if layer.state_dict()]
    pixels, truth = pictures(classes)
    rows = np.arange(TRAIN + VALIDATION)
    model = PixelNetwork(network, SIZE, (MEAN,) * 3, (STD,) * 3)
    names = [f"class{number}" for number in range(classes)]
    parts = part(rows[:TRAIN], truth), part(rows[TRAIN:], truth)
    spec = TrainSpec(model, InMemory(pixels, "cpu"), *parts, names, chosen, "cpu")
    sums = []
    trainer = Trainer(spec, Checkpoints(folder))
    trainer.advance = lambda *_: sums.append((trainer.state.loss, trainer.state.pictures))
    trainer.run()
    return trainer, first, list(update_losses(sums))


def update_losses(sums):
    """The loss of every update, from the sums of losses and pictures of its epoch after each."""
    for (loss, count), (loss_before, count_before) in zip(sums, [(0.0, 0), *sums[:-1]], strict=True):
        is_first = count <= count_before
        yield loss / count if is_first else (loss - loss_before) / (count - count_before)


def weights_of(layer):
    """The weights of a layer as Keras lays them out."""
    if layer.kind == "batch_norm":
        values = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
    else:
        kernel = layer.weight.permute(2, 3, 1, 0) if layer.weight.ndim == 4 else layer.weight.T
        values = [kernel, layer.bias]
    return [value.detach().numpy().copy() for value in values]


def assert_same_training(trainer, first, found, model, class_weight=None):
    """Train a compiled model of Keras on the same batches, and compare losses, measures and weights."""
    theirs = [layer for layer in model.layers if layer.weights]
    for layer, weights in zip(theirs, first, strict=True):
        layer.set_weights(weights)
    classes = len(trainer.spec.classes)
    pixels, truth = pictures(classes)
    x = (pixels.astype(np.float32) - MEAN) / STD
    y = truth[:, None].astype(np.float32) if model.output_shape[1] == 1 else np.eye(classes, dtype=np.float32)[truth]
    losses = []
    for epoch in range(EPOCHS):
        for rows in epoch_batches(np.arange(TRAIN), BATCH, seed=SEED, epoch=epoch):
            model.reset_metrics()
            losses.append(model.train_on_batch(x[rows], y[rows], class_weight=class_weight)[0])
        loss, accuracy = model.evaluate(x[TRAIN:], y[TRAIN:], batch_size=VALIDATION, verbose=0)
        row = trainer.state.history[epoch]
        np.testing.assert_allclose(row["validation_loss"], loss, rtol=1e-4)
        assert row["validation_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert len(found) == 20
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    assert losses[-1] < losses[0]
    ours = [layer for layer in trainer.network.network.layers if layer.state_dict()]
    for layer, own, before in zip(theirs, ours, first, strict=True):
        for values, wanted, start in zip(weights_of(own), layer.get_weights(), before, strict=True):
            np.testing.assert_allclose(values, wanted, **CLOSE)
            assert np.abs(wanted - start).max() > 10 * CLOSE["atol"]  # it has changed


VGG = [
    {"conv": {"filters": 8, "padding": "same", "activation": "relu"}},
    {"batch_norm": {"momentum": 0.9}},
    {"conv": {"filters": 8, "padding": "same", "activation": "relu"}},
    {"batch_norm": {"momentum": 0.9}},
    "max_pool",
    {"dropout": 0.0},
    {"conv": {"filters": 16, "padding": "same", "activation": "relu"}},
    {"batch_norm": {"momentum": 0.9}},
    "max_pool",
    "flatten",
    {"dense": "classes"},
]


def vgg_in_keras():
    """The same with the penalties of the course's VGG."""
    stack = [keras.Input((SIZE, SIZE, 3))]
    for filters, ends in ((8, False), (8, True), (16, True)):
        penalty = keras.regularizers.L2(1e-4)
        stack.append(k.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=penalty))
        stack.append(k.BatchNormalization(momentum=0.9))
        stack += [k.MaxPooling2D(), k.Dropout(0.0)] if ends else []
    output = k.Dense(3, kernel_regularizer=keras.regularizers.L2(1e-4))
    return keras.Sequential([*stack, k.Flatten(), output])


def compiled(model, optimizer, smoothing=0.0):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def mlp_in_keras():
    stack = [keras.Input((SIZE, SIZE, 3)), k.Flatten(), k.BatchNormalization()]
    for units in (30, 10):
        stack += [k.Dense(units, "elu"), k.BatchNormalization()]
    return keras.Sequential([*stack, k.Dense(3)])


MLP = {
    "activation": "elu",
    "init": "he_normal",
    "layers": ["flatten", "batch_norm", {"dense": 30}, "batch_norm", {"dense": 10}, "batch_norm", {"dense": "classes"}],
}


def test_convolutions_with_batch_norms_and_penalties_by_adam(tmp_path):
    found = trained(tmp_path, {"l2": 1e-4, "layers": VGG}, {"optimizer": {"name": "adam", "learning_rate": 1e-3}})
    assert_same_training(*found, compiled(vgg_in_keras(), keras.optimizers.Adam(1e-3)))


def test_momentum_with_all_gradients_clipped_together(tmp_path):
    """At a rate at which float32's rounding stays rounding: five times as fast, it has grown to 0.5 % by the end."""
    fit = {
        "optimizer": {"name": "momentum", "learning_rate": 0.01, "momentum": 0.9},
        "clip": {"global_norm": 0.5},
    }
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=0.5)
    assert_same_training(*trained(tmp_path, {"l2": 1e-4, "layers": VGG}, fit), compiled(vgg_in_keras(), optimizer))


def test_dense_layers_with_batch_norms_by_nadam(tmp_path):
    found = trained(tmp_path, MLP, {"optimizer": {"name": "nadam", "learning_rate": 1e-3}})
    assert_same_training(*found, compiled(mlp_in_keras(), keras.optimizers.Nadam(1e-3)))


def test_smoothed_labels(tmp_path):
    fit = {
        "optimizer": {"name": "sgd", "learning_rate": 0.05},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
    }
    assert_same_training(*trained(tmp_path, MLP, fit), compiled(mlp_in_keras(), keras.optimizers.SGD(0.05), 0.1))


def test_one_sigmoid_unit_with_weighted_classes(tmp_path):
    hidden, last = {"units": 12, "activation": "relu"}, {"units": 1, "activation": "sigmoid"}
    fit = {
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "loss": "binary_cross_entropy",
        "class_weight": {"class0": 2.5, "class1": 0.75},
    }
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), k.Flatten(), k.Dense(12, "relu"), k.Dense(1)])
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.0)  # of logits
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True), metrics=[accuracy])
    found = trained(tmp_path, {"layers": ["flatten", {"dense": hidden}, {"dense": last}]}, fit, classes=2)
    assert_same_training(*found, model, {0: 2.5, 1: 0.75})
