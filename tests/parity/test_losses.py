"""Losses and their gradients against ``keras.losses``; class weights, penalties and bounds as well."""

import os

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

os.environ["KERAS_BACKEND"] = "torch"
torch = pytest.importorskip("torch", reason="the extra torch is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

from kilat.fit import losses  # noqa: E402
from kilat.fit.regularizers import Regularizer  # noqa: E402
from kilat.recipe import Network  # noqa: E402
from kilat.recipe import fit as recipe  # noqa: E402


def given(classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and soft labels of which the first few are one-hot."""
    random = np.random.default_rng(seed)
    targets = random.dirichlet(np.ones(classes), 12)
    targets[:6] = np.eye(classes)[random.integers(classes, size=6)]
    logits = torch.from_numpy(3 * random.normal(size=(12, classes)).astype(np.float32))
    return logits, torch.from_numpy(targets.astype(np.float32))


def assert_same(ours: losses.Loss, theirs, logits: torch.Tensor, targets: torch.Tensor, truth: torch.Tensor) -> None:
    results = []
    for loss, truths in ((ours, targets), (lambda z, y: theirs(y, z), truth)):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, truths)
        value.backward()
        results.append((value.item(), leaf.grad.numpy()))
    (found, found_grad), (wanted, wanted_grad) = results
    assert found == pytest.approx(wanted, rel=2e-6)
    np.testing.assert_allclose(found_grad, wanted_grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 5])
def test_cross_entropy(classes, smoothing):
    logits, targets = given(classes)
    wanted = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    assert_same(losses.Loss(recipe.Loss(label_smoothing=smoothing), classes, None), wanted, logits, targets, targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy(smoothing):
    logits, targets = given(2)
    wanted = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    ours = losses.Loss(recipe.Loss(name="binary_cross_entropy", label_smoothing=smoothing), 2, None)
    assert_same(ours, wanted, logits[:, :1], targets, targets[:, 1:])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_focal(gamma, smoothing):
    choices = recipe.Loss(name="focal", gamma=gamma, alpha=0.4, label_smoothing=smoothing)
    logits, targets = given(5)
    options = {"gamma": gamma, "from_logits": True, "label_smoothing": smoothing}
    wanted = keras.losses.CategoricalFocalCrossentropy(alpha=0.4, **options)
    assert_same(losses.Loss(choices, 5, None), wanted, logits, targets, targets)
    logits, targets = given(2)
    wanted = keras.losses.BinaryFocalCrossentropy(**options)
    assert_same(losses.Loss(choices, 2, None), wanted, logits[:, :1], targets, targets[:, 1:])


def test_class_weights_as_in_fit():
    weights = {0: 0.5, 1: 2.0, 2: 3.0}
    logits, targets = given(3)
    labels = torch.nn.functional.one_hot(targets.argmax(1), 3).float()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "linear", False, "identity")])
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    wanted = model.train_on_batch(logits.numpy(), labels.numpy(), class_weight=weights)
    loss = losses.Loss(recipe.Loss(), 3, torch.tensor(list(weights.values())))
    assert loss(logits, labels).item() == pytest.approx(float(wanted), rel=1e-6)


def test_balanced_as_in_scikit_learn():
    labels = np.repeat(["a", "b", "c"], [3, 10, 1])
    wanted = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    np.testing.assert_allclose(losses.class_weights("balanced", ["a", "b", "c"], [3, 10, 1]), wanted, rtol=1e-6)


def networks() -> tuple[torch.nn.Module, list[keras.Variable]]:
    """A convolution and a dense layer, and the same kernels as Keras lays them out."""
    torch.random.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.Flatten(), torch.nn.Linear(4, 5))
    kernels = network[0].weight.detach().permute(2, 3, 1, 0), network[2].weight.detach().T
    return network, [keras.Variable(kernel.numpy()) for kernel in kernels]


def test_penalties():
    network, kernels = networks()
    regularizer = Regularizer(network, Network(layers=["flatten"], l1=0.01, l2=0.1))
    penalty = keras.regularizers.L1L2(0.01, 0.1)
    wanted = sum(penalty(kernel) for kernel in kernels)
    assert regularizer.penalty().item() == pytest.approx(wanted.item(), rel=1e-6)


def test_max_norm():
    network, (conv, dense) = networks()
    Regularizer(network, Network(layers=["flatten"], max_norm=0.6)).constrain()
    wanted = keras.constraints.MaxNorm(0.6, axis=[0, 1, 2])(conv).detach().permute(3, 2, 0, 1)
    np.testing.assert_allclose(network[0].weight.detach(), wanted, rtol=1e-6)
    wanted = keras.constraints.MaxNorm(0.6, axis=0)(dense).detach().T
    np.testing.assert_allclose(network[2].weight.detach(), wanted, rtol=1e-6)
