"""The embedded backbones against timm's ``tf_efficientnet_lite0`` to ``2`` with the same weights, on real pictures.

Measured with Lite0 in fp32 on 123 flowers at 224 pixels: a feature vector is at most 1.7e-5 of its length away from
timm's, an element of the last features at most 1.7e-5 of itself and the mean. Single blocks stay below 6e-6, but for
the first stage's: there 12,544 positions are summed one after the other in float32, mean 5e-5, log variance 1.2e-4.

Measured in int8, the mean over all features of their correlation with fp32 over pictures: 0.960 at 224 and at 96
pixels on those flowers; 0.922 and 0.938 on the crops, which show two scenes only, so that there is less to agree on.
Lite1 and Lite2 agree a little better with themselves: 0.965 and 0.974 on flowers, 0.939 and 0.943 on the crops.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from kilat.features import lite
from kilat.features.backbone import Backbone
from kilat.features.weights import read_lite, weights_file

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

SIZES = (224, 96)


@pytest.fixture(scope="module", params=lite.NAMES)
def name(request):
    if weights_file(request.param) is None:
        pytest.skip("the extra weights is not installed")
    return request.param


@pytest.fixture(scope="module")
def network(name):
    """timm's own network, classifier and all, with the tensors in the file's order."""
    network = timm.create_model(f"tf_{name}").eval()
    tensors = zip(network.state_dict(), read_lite(name).values(), strict=True)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors})
    return network


def crops(size: int) -> np.ndarray:
    """Return both of scikit-learn's photos, whole and in three by four overlapping crops: uint8 [26, size, size, 3]."""
    pixels = []
    for photo in map(Image.fromarray, load_sample_images().images):
        boxes = [(x, y, x + 240, y + 240) for x in (0, 133, 266, 400) for y in (0, 93, 187)]
        pixels += [photo.resize((size, size), Image.Resampling.BILINEAR, box) for box in [None, *boxes]]
    return np.stack([np.asarray(picture) for picture in pixels])


def photos(folder: Path, size: int) -> np.ndarray:
    """Return every thirtieth of the flowers."""
    paths = sorted(folder.rglob("*.jpg"))[::30]
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((size, size))) for path in paths])


def reference(network, pixels: np.ndarray) -> np.ndarray:
    """Return the features by their definition, by hooks on timm's stages."""
    maps = []
    hooks = [stage.register_forward_hook(lambda _, __, output: maps.append(output)) for stage in network.blocks]
    with torch.inference_mode():
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        last = network.forward_head(network.forward_features((planes - 0.5) / 0.5), pre_logits=True)
        parts = []
        for value in maps:
            parts += [value.mean((2, 3)), torch.log(value.var((2, 3), correction=0) + 1e-3)]
    for hook in hooks:
        hook.remove()
    return torch.cat([*parts, last], 1).numpy()


def features_of(backbone: Backbone, pixels: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(backbone.model, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"pixels": pixels})[0]


def blocks(backbone: Backbone, features: np.ndarray) -> dict[str, np.ndarray]:
    edges = np.cumsum([block.width for block in backbone.blocks])[:-1]
    return dict(zip([block.name for block in backbone.blocks], np.split(features, edges, axis=1), strict=True))


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest distance of a picture's vector, as a share of the vector's length."""
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def check_fp32(name: str, network, pixels: np.ndarray) -> None:
    backbone = lite.build(pixels.shape[1], "fp32", name)
    found, expected = features_of(backbone, pixels), reference(network, pixels)
    assert distance(found, expected) <= 1e-4
    found_in, expected_in = blocks(backbone, found), blocks(backbone, expected)
    for block, vectors in expected_in.items():
        assert distance(found_in[block], vectors) <= 1e-4, block
    last = expected_in["last"]
    np.testing.assert_allclose(found_in["last"], last, rtol=1e-4, atol=1e-4 * float(last.mean()))


def correlation(name: str, pixels: np.ndarray) -> float:
    """Return the correlation of features in int8 and fp32 over the pictures, the mean over those that vary at all."""
    fp32, int8 = (features_of(lite.build(pixels.shape[1], precision, name), pixels) for precision in ("fp32", "int8"))
    varying = fp32.std(0) > 1e-3
    standardised = [(f - f.mean(0)) / (f.std(0) + 1e-9) for f in (fp32[:, varying], int8[:, varying])]
    return float((standardised[0] * standardised[1]).mean())


@pytest.mark.parametrize("size", SIZES)
def test_fp32_features_equal_timms(name, network, size):
    check_fp32(name, network, crops(size))


@pytest.mark.parametrize("size", SIZES)
def test_int8_features_stay_close(name, size):
    assert correlation(name, crops(size)) > 0.9


@pytest.mark.data
@pytest.mark.parametrize("size", SIZES)
def test_fp32_features_equal_timms_on_flowers(name, network, flowers, size):
    check_fp32(name, network, photos(flowers, size))


@pytest.mark.data
@pytest.mark.parametrize("size", SIZES)
def test_int8_features_stay_close_on_flowers(name, flowers, size):
    assert correlation(name, photos(flowers, size)) > 0.95
