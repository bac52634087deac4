"""timm's networks by name: weights from files and the hub, and errors that name a way out."""

import os
import urllib.error
import urllib.request

import numpy as np
import pytest

from kilat.errors import BackboneError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from safetensors.torch import save_file  # noqa: E402 - comes with the extra

from kilat.model import backbones, feature_extractor, input_size, timm_networks  # noqa: E402

NAME, SIZE = "mobilenetv3_small_050", 64


def noise(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def checkpoints(network) -> dict[str, object]:
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
    torch.save(checkpoints(network)[wrapping], path)
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
    [
        (NAME, 100, "Take 96 or 128."),
        ("vit_tiny_patch16_224", 100, "Take 96 or 112."),
        ("resnet18", 16, "Take 32."),
    ],
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


def test_weights_that_the_hub_does_not_have_are_not_here(home, monkeypatch):
    """The hub's client remembers files that do not exist as well, by an object instead of a path."""
    monkeypatch.setattr(timm_networks.huggingface_hub, "try_to_load_from_cache", lambda *_: object())
    assert not timm_networks.has_weights("resnet18")
    monkeypatch.setattr(timm_networks.huggingface_hub, "try_to_load_from_cache", lambda *_: "/cache/model.safetensors")
    assert timm_networks.has_weights("resnet18")


def test_weights_from_an_address_are_here_once_downloaded(home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(home))
    assert not timm_networks.has_weights("legacy_seresnet18.in1k")
    address = timm.get_pretrained_cfg("legacy_seresnet18.in1k").url
    (home / "hub" / "checkpoints").mkdir(parents=True)
    (home / "hub" / "checkpoints" / address.rpartition("/")[2]).touch()
    assert timm_networks.has_weights("legacy_seresnet18.in1k")


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 224), ("efficientnet_lite0", 224), ("efficientnet_lite2", 256)]
)
def test_default_sizes(name, size):
    assert input_size.own_size(name) == size


def test_a_download_that_breaks_off(home, monkeypatch):
    def broken(name, *, pretrained=False, **_):
        raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(timm_networks, "has_weights", lambda name: True)
    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(BackboneError, match="could not be downloaded: connection reset by peer"):
        backbones.load("resnet18")


def test_networks_that_nobody_trained(home):
    with pytest.raises(BackboneError, match="no trained weights for 'efficientnet_b8'"):
        backbones.load("efficientnet_b8")
