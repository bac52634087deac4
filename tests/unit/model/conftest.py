"""What tests of networks share: a small network of timm's with random weights, in a file, and pictures of noise."""

from pathlib import Path

import pytest

NAME, SIZE = "mobilenetv3_small_050", 64


@pytest.fixture(scope="module")
def network():
    """A network of timm's with first weights."""
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    timm = pytest.importorskip("timm", reason="the extra torch is not installed")
    torch.manual_seed(0)
    return timm.create_model(NAME).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory) -> Path:
    """A file of its weights."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
