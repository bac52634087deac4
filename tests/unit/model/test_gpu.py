"""Features from PyTorch: those of the ONNX backbone, from several threads, repeated, and in half precision."""

import threading

import numpy as np
import onnxruntime as ort
import pytest

from kilat.features import lite
from kilat.features.concat import concat
from kilat.features.weights import weights_file

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("timm", reason="the extra torch is not installed")

from kilat.model import backbones, feature_extractor, gpu  # noqa: E402 - comes with the extra

NAME, SIZE = "mobilenetv3_small_050", 64


def noise(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def features_of(backbone, pixels: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(backbone.model, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"pixels": pixels})[0]


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> bool:
    return float(np.abs(found - expected).max()) <= tolerance * float(np.abs(expected).max())


@pytest.mark.parametrize("name", [NAME, *lite.NAMES])
def test_the_torch_runner_gives_the_same_features(weights, home, name):
    embedded = name in lite.NAMES
    if embedded and weights_file(name) is None:
        pytest.skip("the extra weights is not installed")
    file = None if embedded else weights
    backbone = lite.build(SIZE, "fp32", name) if embedded else backbones.load(name, weights=file, size=SIZE)
    runner = gpu.TorchRunner([name], SIZE, file, device="cpu", batch=4)
    pixels = noise(SIZE, 7)
    expected = features_of(backbone, pixels)
    found: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: runner(pixels[n:])})) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start, features in found.items():
        assert features.dtype == np.float32
        assert close(features, expected[start:], 1e-3)


class Repeated:
    """A graph on the CPU: computes again from the same memory to the same memory."""

    recorded = 0

    def run(self, work):
        return work()

    def record(self, work):
        type(self).recorded += 1
        self.work, self.result = work, work().zero_()
        return self.result

    def replay(self):
        self.result.copy_(self.work())


class Failing(Repeated):
    """A graph that cannot be recorded."""

    def record(self, work):
        raise torch.OutOfMemoryError("no room")


class Stuck(Repeated):
    """A graph that does not repeat what it should."""

    def replay(self):
        pass


@pytest.mark.parametrize("graph", [Repeated, Failing, Stuck])
def test_batches_of_one_size_are_repeated_where_that_gives_the_same(weights, graph):
    runner = gpu.TorchRunner([NAME], SIZE, weights, device="cpu", batch=4, make_graph=graph)
    pixels = noise(SIZE, 11)
    plain = gpu.TorchRunner([NAME], SIZE, weights, device="cpu", batch=11)(pixels)
    found: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: runner(pixels[n:])})) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start, features in found.items():
        assert close(features, plain[start:], 1e-4)
    assert Repeated.recorded or graph is not Repeated


@pytest.mark.parametrize("flip_average", [False, True])
def test_several_backbones_side_by_side(weights, home, flip_average):
    backbone = concat([lite.build(SIZE, "fp32"), lite.build(SIZE, "fp32")], flip_average=flip_average)
    names = [lite.NAME, lite.NAME]
    runner = gpu.TorchRunner(names, SIZE, None, device="cpu", flip_average=flip_average, batch=2)
    pixels = noise(SIZE, 3)
    assert close(runner(pixels), features_of(backbone, pixels), 1e-3)


def test_fewer_pictures_at_once_where_memory_does_not_suffice(weights, monkeypatch):
    forward = feature_extractor.FeatureExtractor.forward

    def limited(extractor, pixels):
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("no room")
        return forward(extractor, pixels)

    monkeypatch.setattr(feature_extractor.FeatureExtractor, "forward", limited)
    runner = gpu.TorchRunner([NAME], SIZE, weights, device="cpu", batch=8)
    assert runner.batch == 2
    assert len(runner(noise(SIZE, 5))) == 5


def test_half_precision_stays_close(weights):
    network = feature_extractor.create(NAME, SIZE, weights)
    pixels = torch.from_numpy(noise(SIZE, 4))
    expected = network(pixels).numpy()
    network.network.to(torch.bfloat16)
    assert np.corrcoef(network(pixels).numpy().ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.gpu
def test_the_gpu_gives_nearly_the_same_features():
    assert gpu.is_usable()
    pixels = noise(SIZE, 5)
    found = gpu.TorchRunner([lite.NAME], SIZE, None)(pixels)
    assert np.corrcoef(found.ravel(), features_of(lite.build(SIZE, "fp32"), pixels).ravel())[0, 1] > 0.99


def test_a_machine_without_gpu_is_not_usable(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not gpu.is_usable()
