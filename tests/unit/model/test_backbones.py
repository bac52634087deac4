"""timm networks as backbones: the same features as in PyTorch, exported once, then read from the cache."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from safetensors.torch import save_file  # noqa: E402 - comes with the extra

from kilat.model import backbones, feature_extractor  # noqa: E402

NAME, SIZE = "mobilenetv3_small_050", 64


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
    torch.manual_seed(0)
    network = timm.create_model(name, **({"img_size": size} if name.startswith("vit") else {})).eval()
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
