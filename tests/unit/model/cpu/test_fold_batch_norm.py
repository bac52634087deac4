"""Networks made faster to train: the same outputs, gradients, parameters and model file as before.

Gradients are compared in float64, where a rounding does not decide on which side of zero a ReLU's input lies.
"""

import copy

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from torch import nn  # noqa: E402 - comes with the extra

from kilat.model import to_onnx  # noqa: E402
from kilat.model.cpu.fold_batch_norm import folded_batch_norms, fuse, unfuse  # noqa: E402

SIZE = 64
NORMS = {"tf_efficientnet_lite0": 49, "resnet18": 20, "mobilenetv2_100": 52, "regnetx_002": 44, "convnext_atto": 0}


def drawn(name: str):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3).to(memory_format=torch.channels_last).eval()
    for norm in norms(network):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    return network


def norms(network):
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


def planes(count: int = 3):
    noise = torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return noise.to(memory_format=torch.channels_last)


def output_and_gradients(network, *, half: bool = False):
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = network(planes().to(next(network.parameters()).dtype))
    (output.float() if half else output).square().sum().backward()
    return output.detach(), [parameter.grad.clone() for parameter in network.parameters()]


def distance(found, expected) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module", params=NORMS)
def pair(request):
    network = drawn(request.param)
    return request.param, network, copy.deepcopy(network)


def test_outputs_gradients_and_parameters_are_those_of_the_plain_network(pair):
    name, network, folded = pair
    assert fuse(folded, planes(1)) == NORMS[name]
    expected, found = output_and_gradients(network.double()), output_and_gradients(folded.double())
    assert distance(found[0], expected[0]) < 1e-9
    assert max(map(distance, found[1], expected[1])) < 1e-9
    # In float32, over 50 convolutions that sum up to 1,152 products each: 50 × √1,152 × half of float32's epsilon.
    assert distance(output_and_gradients(folded.float())[0], expected[0]) < 1e-4
    network.float()
    assert [*folded.state_dict()] == [*network.state_dict()]
    assert [key for key, _ in folded.named_parameters()] == [key for key, _ in network.named_parameters()]
    assert str(folded) == str(network)


def test_in_half_precision_it_is_as_near_to_the_truth_as_the_plain_network(pair):
    _, network, folded = pair
    fuse(folded, planes(1))
    exact = output_and_gradients(network)
    plain, found = output_and_gradients(network, half=True), output_and_gradients(folded, half=True)
    expected, of_plain, of_fused = (torch.cat([value.flatten() for value in each[1]]) for each in (exact, plain, found))
    assert distance(of_fused, expected) < 1.2 * distance(of_plain, expected) + 0.01


def test_equal_steps_give_equal_bits_also_from_a_copy():
    folded = drawn("tf_efficientnet_lite0")
    fuse(folded, planes(1))
    again = copy.deepcopy(folded)
    one, other = output_and_gradients(folded, half=True), output_and_gradients(again, half=True)
    assert torch.equal(one[0], other[0])
    assert all(map(torch.equal, one[1], other[1]))


def test_a_copy_folds_its_own_batch_norms():
    folded = drawn("resnet18").double()
    fuse(folded, planes(1).double())
    again = copy.deepcopy(folded)
    for norm in norms(folded):
        nn.init.zeros_(norm.weight)
    with torch.no_grad():
        expected = drawn("resnet18").double()(planes().double())
        assert distance(again(planes().double()), expected) < 1e-9
        assert distance(folded(planes().double()), expected) > 0.1


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18"])
def test_batch_norms_that_train_are_left_alone(name):
    network = drawn(name).double()
    folded = copy.deepcopy(network)
    fuse(folded, planes(1).double())
    expected, found = output_and_gradients(network.train()), output_and_gradients(folded.train())
    assert distance(found[0], expected[0]) < 1e-9
    for one, other in zip(norms(network), norms(folded), strict=True):
        assert one.num_batches_tracked == other.num_batches_tracked == 1
        assert distance(other.running_var, one.running_var) < 1e-9


def test_fusing_changes_no_mode_and_no_statistic():
    network = drawn("mobilenetv2_100").train()
    norms(network)[3].eval()
    before = copy.deepcopy(network.state_dict())
    modes = [part.training for part in network.modules()]
    fuse(network, planes(1))
    assert [part.training for part in network.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_batch_norm_that_does_not_read_alone_is_left():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.twice, self.shared = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, values):
            convolved = self.conv(values)
            forked = self.norm(convolved) + convolved
            return self.shared(self.twice(forked)) + self.shared(self.twice(forked.relu()))

    torch.manual_seed(0)
    network = Forked()
    assert fuse(network, planes(1)) == 0
    assert type(network.conv) is nn.Conv2d


def test_unfusing_leaves_the_plain_classes():
    network, plain = drawn("tf_efficientnet_lite0"), drawn("tf_efficientnet_lite0")
    fuse(network, planes(1))
    unfuse(network)
    assert [type(part) for part in network.modules()] == [type(part) for part in plain.modules()]
    assert not any(folded_batch_norms(part) for part in network.modules())


class Pixels(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        return self.network(pixels.permute(0, 3, 1, 2).float() / 255)


def test_the_model_file_is_that_of_the_plain_network():
    network = Pixels(drawn("tf_efficientnet_lite0"))
    plain = to_onnx.to_onnx(network, size=SIZE)
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    assert fuse(network, torch.from_numpy(pixels)) == 49
    folded = to_onnx.to_onnx(network, size=SIZE)
    assert folded == plain
    (logits,) = ort.InferenceSession(folded).run(["logits"], {"pixels": pixels})
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)).numpy()
    assert np.abs(logits - expected).max() <= to_onnx.TOLERANCE * np.abs(expected).max()  # what the export promises
