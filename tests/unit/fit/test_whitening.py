"""Whitening: what the first layer gives of training pictures has mean 0 and the identity as its covariance."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit.loader import InMemory  # noqa: E402
from kilat.fit.whitening import fit_whitening  # noqa: E402
from kilat.model import layers  # noqa: E402
from kilat.model.image_model import PixelNetwork  # noqa: E402
from kilat.recipe import Network  # noqa: E402

SIDE, COUNT = 12, 40


def pictures(*, grey=False):
    """Smooth pictures, whose neighbouring pixels and channels are alike; or grey ones in three equal channels."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(COUNT, SIDE + 4, SIDE + 4, 3)).cumsum(1).cumsum(2)[:, 4:, 4:]
    noise = noise[..., [0, 0, 0]] if grey else noise + noise.mean(3, keepdims=True) + random.normal(size=noise.shape)
    return np.clip(128 + 6 * noise, 0, 255).astype(np.uint8)


def fitted(pixels, kernel, colour="rgb", std=60.0):
    channels = 1 if colour == "grey" else 3
    document = {"layers": [{"whiten": kernel}, "global_avg_pool", {"dense": "classes"}]}
    network = layers.build(Network.model_validate(document), channels=channels, size=SIDE, classes=3, seed=0)
    model = PixelNetwork(network, SIDE, (110.0,) * channels, (std,) * channels, colour)
    fit_whitening(network.whiten, model, InMemory(pixels, "cpu"), np.arange(COUNT))
    with torch.no_grad():
        planes = model.normalised(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
        return network.whiten, network.whiten(planes).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()


@pytest.mark.parametrize("std", [60.0, 1.0], ids=["normalised", "as they are"])
@pytest.mark.parametrize(("kernel", "colour"), [(2, "rgb"), (3, "rgb"), ((1, 2), "rgb"), (3, "grey")])
def test_outputs_are_white(kernel, colour, std):
    layer, outputs = fitted(pictures(), kernel, colour, std)
    half = layer.out_channels // 2
    covariance = np.cov(outputs[:, :half].T, bias=True)
    # The floor takes something of the components that hardly vary: no variance is above 1, and none depends on another.
    variances = np.diagonal(covariance)
    assert np.abs(covariance - np.diag(variances)).max() < 1e-3
    assert variances.max() < 1 + 1e-4
    assert variances.min() > 0.8
    assert np.abs(outputs.mean(0)).max() < 1e-3
    np.testing.assert_allclose(outputs[:, half:], -outputs[:, :half], atol=1e-4)


def test_what_does_not_vary_is_left_alone():
    """In grey pictures with three channels, eight of twelve components are nothing but rounding."""
    _layer, outputs = fitted(pictures(grey=True), 2)
    variances = outputs[:, :12].var(0)
    assert (variances[:4] > 0.8).all()
    assert (variances[4:] < 1e-3).all()
    _layer, outputs = fitted(np.full((COUNT, SIDE, SIDE, 3), 7, np.uint8), 2)
    assert np.isfinite(outputs).all()


def test_training_changes_the_filters_only_where_that_is_asked_for():
    for choice in (False, True):
        document = {"layers": [{"whiten": {"trainable": choice}}, "flatten", {"dense": "classes"}]}
        network = layers.build(Network.model_validate(document), channels=3, size=SIDE, classes=3, seed=0)
        assert all(parameter.requires_grad == choice for parameter in network.whiten.parameters())


def test_a_patch_larger_than_the_picture_is_refused():
    with pytest.raises(RecipeError, match=r"layers\.0 \(whiten\): a patch of 13×13 is larger than its input"):
        fitted(pictures(), 13)


def test_it_can_only_be_first():
    with pytest.raises(ValueError, match="whiten can only be the first layer"):
        Network.model_validate({"layers": ["batch_norm", {"whiten": 2}, "flatten", {"dense": "classes"}]})
