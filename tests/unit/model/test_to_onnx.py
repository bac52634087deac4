"""Networks in PyTorch as ONNX: the same logits for any batch, the same bytes, and refusals that say why."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402 - comes with the extra

from kilat.bundle.assemble import assemble_network  # noqa: E402
from kilat.bundle.manifest import Manifest  # noqa: E402
from kilat.bundle.predictor import Classifier  # noqa: E402
from kilat.errors import RunError  # noqa: E402
from kilat.evaluate.calibration import apply_temperature  # noqa: E402
from kilat.features.resize_graph import OPSET, Resizer  # noqa: E402
from kilat.model.to_onnx import KerasAdapter, to_onnx  # noqa: E402

SIZE = 12
ROUNDING = 1e-5
"""Of logits of size 1 that sum 216 products in float32: 216 half epsilons, which is 1.3e-5, if all rounded one way."""


class Small(nn.Module):
    """Convolutions with batch norms, a residual, dropout: what differs between training and evaluation."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.GELU())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1, groups=6), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6 * 36, classes))

    def forward(self, pixels):
        values = self.first(pixels.permute(0, 3, 1, 2).to(self.head[2].weight.dtype) / 255)
        return self.head(values + self.second(values))


def small(classes: int = 3) -> Small:
    torch.manual_seed(0)
    network = Small(classes)
    with torch.no_grad():
        network(torch.from_numpy(noise(16)))  # in training: moves the statistics of the batch norms
    return network


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def run(model: bytes, pixels: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["logits"], {"pixels": pixels})[0]


def logits_of(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(pixels)).float().numpy()


@pytest.mark.parametrize("classes", [1, 3])
def test_the_logits_are_those_of_the_network(classes):
    network = small(classes)
    model = to_onnx(network, size=SIZE)
    network.eval()
    for count in (1, 2, 9):
        np.testing.assert_allclose(run(model, noise(count)), logits_of(network, noise(count)), atol=ROUNDING)


def test_the_contract_of_the_graph():
    graph = onnx.load_from_string(to_onnx(small(), size=SIZE))
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type, pixels.shape) == ("pixels", "tensor(uint8)", ["batch", SIZE, SIZE, 3])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 3])
    assert graph.opset_import[0].version == OPSET
    kinds = [node.op_type for node in graph.graph.node]
    assert "BatchNormalization" not in kinds
    assert "Dropout" not in kinds


def test_equal_networks_give_equal_bytes():
    assert to_onnx(small(), size=SIZE) == to_onnx(small(), size=SIZE)


def test_the_network_itself_stays_as_it_is():
    network = small()
    network.first.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_onnx(network, size=SIZE)
    assert [part.training for part in (network, network.first, network.head)] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_half_precision_becomes_float32():
    network = small().to(torch.bfloat16)
    model = to_onnx(network, size=SIZE)
    np.testing.assert_allclose(run(model, noise(3)), logits_of(network.float().eval(), noise(3)), atol=ROUNDING)
    types = {tensor.data_type for tensor in onnx.load_from_string(model).graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in types


def test_channels_last_changes_nothing():
    assert to_onnx(small().to(memory_format=torch.channels_last), size=SIZE) == to_onnx(small(), size=SIZE)


def test_the_finished_file_gives_the_networks_probabilities():
    network = small()
    manifest = Manifest(("a", "b", "c"), SIZE, {"name": "small"}, {}, {}, {}, {}, {})
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in ((1, 1), (7, 31), (SIZE, SIZE), (90, 45))]
    for resize in ("crop", "pad", "squash"):
        model = to_onnx(network, size=SIZE)
        file = assemble_network(model, size=SIZE, resize=resize, temperature=0.6, manifest=manifest)
        resized = np.stack([Resizer(SIZE, resize)(picture) for picture in pictures])
        expected = apply_temperature(logits_of(small().eval(), resized), 0.6)
        np.testing.assert_allclose(Classifier(file).predict_proba(pictures), expected, atol=ROUNDING)


def test_one_unit_in_the_finished_file():
    network = small(1)
    manifest = replace(Manifest(("a",), SIZE, {"name": "small"}, {}, {}, {}, {}, {}), classes=("no", "yes"))
    file = assemble_network(to_onnx(network, size=SIZE), size=SIZE, resize="crop", temperature=0.6, manifest=manifest)
    yes = 1 / (1 + np.exp(-logits_of(network.eval(), noise(4)) / 0.6))
    np.testing.assert_allclose(Classifier(file).predict_proba(list(noise(4))), np.hstack([1 - yes, yes]), atol=ROUNDING)


class Depends(nn.Module):
    """Depends on the size of the batch, which tracing takes for a constant."""

    def forward(self, pixels):
        return pixels.float().mean((1, 2)) * int(pixels.shape[0])


class Foreign(nn.Module):
    """An operator that ONNX has no counterpart for."""

    def forward(self, pixels):
        return torch.special.bessel_j0(pixels.float()).mean((1, 2))


class Broken(nn.Module):
    """Gives NaN."""

    def forward(self, pixels):
        return pixels.float().mean((1, 2)) * float("nan")


@pytest.mark.parametrize(
    ("network", "message"),
    [(Depends(), "differs from PyTorch"), (Foreign(), "bessel_j0"), (Broken(), "differs from PyTorch by nan")],
)
def test_what_cannot_be_exported_is_refused(network, message, capfd):
    with pytest.raises(RunError, match=message):
        to_onnx(network, size=SIZE)
    assert capfd.readouterr() == ("", "")


def test_a_network_that_fits_no_file_is_refused_before_it_is_copied():
    with pytest.raises(RunError, match="too large for one ONNX file"):
        to_onnx(nn.Linear(50_000, 50_000, device="meta"), size=SIZE)


class Nothing(nn.Module):
    """Returns its input."""

    def forward(self, values, *, training):
        return values


def test_grey_is_that_of_pillow():
    every = np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3), np.uint8)
    adapted = KerasAdapter(Nothing(), factor=(1.0,), offset=(0.0,), reverse=False, grey=True, log=False)
    wanted = np.asarray(Image.fromarray(every[0]).convert("L"))
    np.testing.assert_array_equal(logits_of(adapted, every)[0, :, :, 0], wanted)
