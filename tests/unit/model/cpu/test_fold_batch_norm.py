"""Networks made faster to train: the same answers, gradients, parameters and model file as before."""

import copy

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from torch import nn  # noqa: E402 - comes with the extra

from kilat.model import to_onnx  # noqa: E402
from kilat.model.cpu.fold_batch_norm import fuse, unfuse  # noqa: E402

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


def learnt(network, *, half: bool = False):
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        answer = network(planes().to(next(network.parameters()).dtype))
    (answer.float() if half else answer).square().sum().backward()
    return answer.detach(), [parameter.grad.clone() for parameter in network.parameters()]


def distance(found, wanted) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module", params=NORMS)
def pair(request):
    network = drawn(request.param)
    return request.param, network, copy.deepcopy(network)


def test_answers_gradients_and_parameters_are_those_of_the_plain_network(pair):
    name, network, fused = pair
    assert fuse(fused, planes(1)) == NORMS[name]
    for precision, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-3)):  # in single precision a ReLU may tip
        wanted, found = learnt(network.to(precision)), learnt(fused.to(precision))
        assert distance(found[0], wanted[0]) < min(tolerance, 1e-5)
        assert max(map(distance, found[1], wanted[1])) < tolerance
    assert [*fused.state_dict()] == [*network.state_dict()]
    assert [key for key, _ in fused.named_parameters()] == [key for key, _ in network.named_parameters()]
    assert str(fused) == str(network)


def test_in_half_precision_it_is_as_near_to_the_truth_as_the_plain_network(pair):
    _, network, fused = pair
    fuse(fused, planes(1))
    exact = learnt(network)
    plain, found = learnt(network, half=True), learnt(fused, half=True)
    wanted, near, nearer = (torch.cat([value.flatten() for value in each[1]]) for each in (exact, plain, found))
    assert distance(nearer, wanted) < 1.2 * distance(near, wanted) + 0.01


def test_equal_steps_give_equal_bits_also_from_a_copy():
    fused = drawn("tf_efficientnet_lite0")
    fuse(fused, planes(1))
    again = copy.deepcopy(fused)
    one, other = learnt(fused, half=True), learnt(again, half=True)
    assert torch.equal(one[0], other[0])
    assert all(map(torch.equal, one[1], other[1]))


def test_a_copy_folds_its_own_batch_norms():
    fused = drawn("resnet18")
    fuse(fused, planes(1))
    again = copy.deepcopy(fused)
    for norm in norms(fused):
        nn.init.zeros_(norm.weight)
    with torch.no_grad():
        wanted = drawn("resnet18")(planes())
        assert distance(again(planes()), wanted) < 1e-5
        assert distance(fused(planes()), wanted) > 0.1


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18"])
def test_batch_norms_that_train_are_left_alone(name):
    network = drawn(name)
    fused = copy.deepcopy(network)
    fuse(fused, planes(1))
    wanted, found = learnt(network.train()), learnt(fused.train())
    assert distance(found[0], wanted[0]) < 1e-3  # other kernels of oneDNN, over fifty batch norms of three pictures
    for one, other in zip(norms(network), norms(fused), strict=True):
        assert one.num_batches_tracked == other.num_batches_tracked == 1
        assert distance(other.running_var, one.running_var) < 1e-4


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
            seen = self.conv(values)
            forked = self.norm(seen) + seen
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
    assert all("_followers" not in vars(part) for part in network.modules())


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
    fused = to_onnx.to_onnx(network, size=SIZE)
    assert fused == plain
    (logits,) = ort.InferenceSession(fused).run(["logits"], {"pixels": pixels})
    with torch.no_grad():
        assert np.allclose(logits, network(torch.from_numpy(pixels)).numpy(), atol=1e-4)
