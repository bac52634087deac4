"""First weights: their spread by the formulas of their papers, and the same bytes for the same seed."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.model import initializers  # noqa: E402 - comes with the extra
from kilat.recipe.network import INITS  # noqa: E402

SHAPE = (3, 3, 20, 50)
VARIANCES = {"glorot": 2 / (180 + 450), "he": 2 / 180, "lecun": 1 / 180}


def draw(name, shape=SHAPE, seed=0):
    return initializers.draw(name, shape, torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("family", VARIANCES)
def test_spread_and_range(family):
    uniform, normal = draw(f"{family}_uniform"), draw(f"{family}_normal")
    for kernel in (uniform, normal):
        assert kernel.var() == pytest.approx(VARIANCES[family], rel=0.03)
        assert kernel.dtype == np.float32
    limit = math.sqrt(3 * VARIANCES[family])
    assert 0.99 * limit < np.abs(uniform).max() <= limit
    cut = 2 * math.sqrt(VARIANCES[family]) / 0.87962566103423978
    assert 0.99 * cut < np.abs(normal).max() <= cut


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (2, 2, 3, 5)])
def test_orthogonal_kernels(shape):
    matrix = draw("orthogonal", shape).reshape(-1, shape[-1])
    matrix = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-6)


def test_fans_of_dense_and_convolution_kernels():
    assert initializers.fans((30, 40)) == (30, 40)
    assert initializers.fans((3, 5, 7, 11)) == (105, 165)


@pytest.mark.parametrize("name", INITS)
def test_the_seed_alone_decides(name):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    kernel = draw(name)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    np.testing.assert_array_equal(draw(name), kernel)
    assert not np.array_equal(draw(name, seed=1), kernel)
