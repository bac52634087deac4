"""timm networks as backbones: the same features as in PyTorch, exported once, and refusals that say what to do."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from kilat.errors import BackboneError
from kilat.features import lite
from kilat.features.weights import weights_file

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from safetensors.torch import save_file  # noqa: E402 - comes with the extra

from kilat.model import backbones, feature_extractor, gpu, timm_networks  # noqa: E402

NAME, SIZE = "mobilenetv3_small_050", 64


@pytest.fixture(scope="module")
def network():
    return untrained(NAME)


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def untrained(name: str, **options):
    torch.manual_seed(0)
    return timm.create_model(name, **options).eval()


def saved(name: str, folder: Path) -> Path:
    path = folder / f"{name}.safetensors"
    save_file(untrained(name).state_dict(), path)
    return path


def noise(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def features_of(backbone, pixels: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(backbone.model, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"pixels": pixels})[0]


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> bool:
    return float(np.abs(found - expected).max()) <= tolerance * float(np.abs(expected).max())


def test_features_are_those_of_the_network(network, weights, home):
    backbone = backbones.load(NAME, weights=weights, size=SIZE)
    pixels = noise(SIZE)
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        planes = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
        last, maps = network.forward_intermediates(planes)
        parts = [p for v in maps for p in (v.mean((2, 3)), torch.log(v.var((2, 3), correction=0) + 1e-3))]
        expected = torch.cat([*parts, network.forward_head(last, pre_logits=True)], 1).numpy()
    assert close(features_of(backbone, pixels), expected)
    names = [f"stage{n}.{what}" for n in range(1, 6) for what in ("mean", "log_variance")]
    assert [block.name for block in backbone.blocks] == [*names, "last"]
    assert (backbone.size, backbone.precision, backbone.width) == (SIZE, "fp32", expected.shape[1])


def test_the_graph_can_be_composed(weights, home):
    graph = onnx.load_from_string(backbones.load(NAME, weights=weights, size=SIZE).model).graph
    values = [name for node in graph.node for name in node.output] + [value.name for value in graph.initializer]
    nodes = [node.name for node in graph.node]
    assert len({*values}) == len(values)
    assert len({*nodes}) == len(nodes)
    assert not [name for name in values + nodes if name.startswith(("head.", "fit."))]
    assert [value.name for value in (*graph.input, *graph.output)] == ["pixels", "features"]
    assert onnx.load_from_string(backbones.load(NAME, weights=weights, size=SIZE).model).opset_import[0].version == 18


@pytest.mark.parametrize(
    ("name", "size", "stages"), [("resnet18", 64, 5), ("convnext_atto", 64, 4), ("vit_tiny_patch16_224", 64, 4)]
)
def test_families_of_networks(name, size, stages, home, tmp_path):
    network = untrained(name, **({"img_size": size} if name.startswith("vit") else {}))
    path = tmp_path / "w.safetensors"
    save_file(network.state_dict(), path)
    backbone = backbones.load(name, weights=path, size=size)
    with torch.inference_mode():
        expected = feature_extractor.create(name, size, path)(torch.from_numpy(noise(size, 5))).numpy()
    assert close(features_of(backbone, noise(size, 5)), expected)
    assert len(backbone.blocks) == 2 * stages + 1


def test_the_same_network_gives_the_same_bytes(weights, home):
    first = backbones.load(NAME, weights=weights, size=SIZE)
    for file in home.rglob("*.onnx"):
        file.unlink()
    assert backbones.load(NAME, weights=weights, size=SIZE) == first


def test_a_cached_backbone_needs_no_torch(weights, home):
    first = backbones.load(NAME, weights=weights, size=SIZE)
    code = (
        "import json, sys; from pathlib import Path; from kilat.model import backbones\n"
        f"b = backbones.load({NAME!r}, weights=Path({str(weights)!r}), size={SIZE})\n"
        "print(json.dumps([b.digest, [m for m in ('torch', 'timm') if m in sys.modules]]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == [first.digest, []]


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_a_damaged_cache_is_made_anew(weights, home, suffix):
    first = backbones.load(NAME, weights=weights, size=SIZE)
    (file,) = home.rglob(f"*{suffix}")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert backbones.load(NAME, weights=weights, size=SIZE) == first
    assert file.read_bytes() == whole
    assert sorted(path.suffix for path in file.parent.iterdir()) == [".json", ".onnx"]


def test_a_cache_that_cannot_be_written_costs_the_saving_only(weights, home):
    home.write_text("a file where the folder should be")
    assert backbones.load(NAME, weights=weights, size=SIZE).size == SIZE


def wrapped(network) -> dict[str, object]:
    states = network.state_dict()
    return {
        "plain": states,
        "state_dict": {"state_dict": states, "epoch": 3},
        "model": {"model": states, "optimizer": {"lr": 0.1}},
        "module": {"state_dict": {f"module.{key}": value for key, value in states.items()}},
        "headless": {key: value for key, value in states.items() if not key.startswith("classifier")},
        "other head": {**states, "classifier.weight": torch.zeros(7, 1024), "classifier.bias": torch.zeros(7)},
    }


@pytest.mark.parametrize("wrapping", ["plain", "state_dict", "model", "module", "headless", "other head"])
def test_wrappings_of_weights(network, weights, tmp_path, wrapping):
    path = tmp_path / "w.pth"
    torch.save(wrapped(network)[wrapping], path)
    pixels = torch.from_numpy(noise(SIZE))
    assert torch.equal(
        feature_extractor.create(NAME, SIZE, path)(pixels), feature_extractor.create(NAME, SIZE, weights)(pixels)
    )


def test_missing_weights_are_named(network, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({key: value for key, value in network.state_dict().items() if "blocks.0" not in key}, path)
    with pytest.raises(BackboneError, match=r"missing or of another shape: blocks\.0\..* and \d+ more"):
        feature_extractor.create(NAME, SIZE, path)


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed",)


def test_files_that_are_no_weights(tmp_path):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "noise.pt").write_bytes(b"noise" * 100)
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 100)
    (tmp_path / "empty.bin").touch()
    (tmp_path / "w.h5").touch()
    with pytest.raises(BackboneError, match="executes nothing"):
        feature_extractor.create(NAME, SIZE, tmp_path / "evil.pth")
    for name in ("noise.pt", "noise.safetensors", "empty.bin", "w.h5", "absent.pth"):
        with pytest.raises(BackboneError, match=name):
            feature_extractor.create(NAME, SIZE, tmp_path / name)


def test_wrong_names_get_the_nearest(weights, home):
    with pytest.raises(BackboneError, match="There is no backbone 'resnet81'") as caught:
        backbones.load("resnet81", weights=weights)
    assert "'resnet18'" in caught.value.hint
    with pytest.raises(BackboneError, match="no weights 'a1_in1' for 'resnet18'") as caught:
        backbones.load("resnet18.a1_in1", weights=weights)
    assert "'resnet18.a1_in1k'" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "size", "hint"),
    [(NAME, 100, "Take 96 or 128."), ("vit_tiny_patch16_224", 100, "Take 224."), ("resnet18", 16, "Take 32 or 64.")],
)
def test_sizes_that_do_not_fit(weights, home, name, size, hint):
    with pytest.raises(BackboneError, match="cannot take pictures of") as caught:
        backbones.load(name, weights=weights, size=size)
    assert caught.value.hint == hint


def test_without_a_hub_it_fails_at_once(home, monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(timm_networks.huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(timm_networks.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(BackboneError, match=r"cannot be reached: .*Name or service not known") as caught:
        backbones.load("resnet18")
    assert "--weights FILE" in caught.value.hint
    assert "efficientnet_lite0" in caught.value.hint
    assert "kilat backbones --here" in caught.value.hint
    with pytest.raises(BackboneError, match=r"github\.com.* cannot be reached: .*Name or service not known"):
        backbones.load("gcvit_tiny")  # from its authors' page, not from the hub
    monkeypatch.setattr(timm_networks.hub, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE forbids"):
        backbones.load("resnet18")


def test_what_the_hub_has_not_is_not_here(home, monkeypatch):
    """The hub's client remembers files that do not exist as well, by an object instead of a path."""
    monkeypatch.setattr(timm_networks.huggingface_hub, "try_to_load_from_cache", lambda *_: object())
    assert not timm_networks.has_weights("resnet18")
    monkeypatch.setattr(timm_networks.huggingface_hub, "try_to_load_from_cache", lambda *_: "/cache/model.safetensors")
    assert timm_networks.has_weights("resnet18")


def test_weights_from_an_address_are_here_once_fetched(home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(home))
    assert not timm_networks.has_weights("legacy_seresnet18.in1k")
    address = timm.get_pretrained_cfg("legacy_seresnet18.in1k").url
    (home / "hub" / "checkpoints").mkdir(parents=True)
    (home / "hub" / "checkpoints" / address.rpartition("/")[2]).touch()
    assert timm_networks.has_weights("legacy_seresnet18.in1k")


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", 224), ("efficientnet_lite0", 224), ("efficientnet_lite2", 256)]
)
def test_usual_sides(name, side):
    assert timm_networks.default_size(name) == side


def test_a_hub_that_breaks_off(home, monkeypatch):
    def broken(name, *, pretrained=False, **_):
        raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(timm_networks, "has_weights", lambda name: True)
    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(BackboneError, match="could not be downloaded: connection reset by peer"):
        backbones.load("resnet18")


def test_networks_that_nobody_trained(home):
    with pytest.raises(BackboneError, match="no trained weights for 'efficientnet_b8'"):
        backbones.load("efficientnet_b8")


@pytest.mark.parametrize("name", [NAME, *lite.NAMES])
def test_the_torch_runner_gives_the_same_features(weights, home, name):
    embedded = name in lite.NAMES
    if embedded and weights_file(name) is None:
        pytest.skip("the extra weights is not installed")
    file = None if embedded else weights
    backbone = lite.build(SIZE, "fp32", name) if embedded else backbones.load(name, weights=file, size=SIZE)
    runner = gpu.TorchRunner(name, SIZE, file, device="cpu", batch=4)
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


def test_half_precision_and_tracing_stay_close(weights):
    network = feature_extractor.create(NAME, SIZE, weights)
    pixels = torch.from_numpy(noise(SIZE, 4))
    expected = network(pixels).numpy()
    network.network.to(torch.bfloat16)
    found = gpu.traced(network, pixels)(pixels).numpy()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.gpu
def test_the_gpu_gives_nearly_the_same_features():
    assert gpu.is_usable()
    pixels = noise(SIZE, 5)
    found = gpu.TorchRunner(lite.NAME, SIZE, None)(pixels)
    assert np.corrcoef(found.ravel(), features_of(lite.build(SIZE, "fp32"), pixels).ravel())[0, 1] > 0.99


def test_a_machine_without_gpu_is_not_usable(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not gpu.is_usable()
