"""A frozen backbone with its head as a network that learns on: where it starts, what opens, how it is divided."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

import onnxruntime as ort  # noqa: E402
from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit.stages import Staged, depths  # noqa: E402
from kilat.model.cpu.fold_batch_norm import fuse  # noqa: E402
from kilat.model.feature_extractor import FeatureExtractor  # noqa: E402
from kilat.model.feature_extractor import create as eye  # noqa: E402
from kilat.model.finetuned import FineTuned  # noqa: E402
from kilat.model.to_onnx import to_onnx  # noqa: E402
from kilat.probe import Head  # noqa: E402

SIZE, CLASSES = 64, 3


def pixels(count=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    return torch.from_numpy(values)


def planes(count=3):
    return pixels(count).permute(0, 3, 1, 2).float()


def frozen(name):
    torch.manual_seed(0)
    return FeatureExtractor(timm.create_model(name, num_classes=0), SIZE)


def head_for(eyes):
    """As if fitted: features standardised by what random pictures show."""
    with torch.inference_mode():
        features = torch.cat([eye(pixels(8, 1)) for eye in eyes], 1).numpy()
    random = np.random.default_rng(0)
    weight = 0.05 * random.standard_normal((features.shape[1], CLASSES))
    scale = 1 / (features.std(0) + 1e-2)
    bias = random.standard_normal(CLASSES)
    return Head(features.mean(0), *(part.astype(np.float32) for part in (scale, weight, bias)))


def make(*names, flip_average=False, norms=False):
    eyes = [frozen(name) for name in names or ("test_resnet",)]
    return FineTuned(eyes, head_for(eyes), flip_average=flip_average, norms=norms)


def close(found, wanted):
    return torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def opened(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


class TestStart:
    @pytest.mark.parametrize("names", [("test_resnet",), ("test_resnet", "test_efficientnet")])
    def test_answers_are_those_of_the_head(self, names):
        eyes = [frozen(name) for name in names]
        head = head_for(eyes)
        with torch.inference_mode():
            features = torch.cat([eye(pixels()) for eye in eyes], 1).numpy()
            wanted = head.logits(features)
            network = FineTuned(eyes, head, flip_average=False, norms=False)
            assert np.allclose(network(pixels()).numpy(), wanted, atol=1e-5)
            assert np.allclose(network.see(planes()).numpy(), wanted, atol=1e-5)

    def test_with_mirror_they_are_for_the_mean_of_both_sides(self):
        network = make(flip_average=True)
        (sight,) = network.eyes
        with torch.inference_mode():
            features = (sight(pixels()) + sight(pixels().flip(2))) / 2
            wanted = network._answer(features)
            assert close(network(pixels()), wanted)
            assert close(network(pixels().flip(2)), wanted)
            assert not close(network.see(planes()), wanted)

    def test_the_embedded_backbone_sees_what_its_graph_sees(self):
        sight = eye("efficientnet_lite0", SIZE, None)
        network = FineTuned([sight], head_for([sight]), flip_average=False, norms=False)
        assert sum(block.width for block in sight.blocks) == len(network.mean)
        assert network.stages == ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"]


class TestOpening:
    def test_the_head_alone_at_first(self):
        network = make()
        assert opened(network) == {"weight", "bias"}
        assert isinstance(network, Staged)

    def test_from_the_top(self):
        network = make()
        before = opened(network)
        for count, name in enumerate(reversed(network.stages), 1):
            assert network.unfreeze(count) == network.stages[-count:]
            found = opened(network)
            assert before < found
            assert any(f".{name}." in each for each in found - before) or name == "act1"
            before = found
        assert opened(network) == {name for name, _ in network.named_parameters()}
        network.unfreeze(0)
        assert opened(network) == {"weight", "bias"}

    def test_of_two_backbones_at_once(self):
        network = make("test_resnet", "test_efficientnet")
        network.unfreeze(1)
        assert {name.rpartition(".network.")[0] for name in opened(network)} == {"", "eyes.0", "eyes.1"}

    def test_more_stages_than_there_are(self):
        with pytest.raises(RecipeError, match="unfreeze 6: the backbone has 5 stages"):
            make().unfreeze(6)

    def test_depths(self):
        found = depths(make())
        assert found["weight"] == found["bias"] == 0
        assert found["eyes.0.network.layer4.0.conv1.weight"] == 1
        assert found["eyes.0.network.layer1.0.conv1.weight"] == 4
        assert found["eyes.0.network.conv1.0.weight"] == 5

    @pytest.mark.parametrize("norms", [False, True])
    def test_only_what_is_open_trains(self, norms):
        network = make(norms=norms)
        network.unfreeze(1)
        network.train()
        modes = {name: part.training for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)}
        top = {name for name in modes if ".layer4." in name}
        assert {name for name, mode in modes.items() if mode} == (top if norms else set())
        assert network.eyes[0].network.layer4[0].training
        network.eval()
        assert not any(part.training for part in network.modules())


@pytest.mark.parametrize("flip_average", [False, True])
def test_exported(flip_average):
    network = make(flip_average=flip_average)
    network.unfreeze("all")
    network.eval()
    session = ort.InferenceSession(to_onnx(network, size=SIZE), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels().numpy()})
    with torch.inference_mode():
        assert np.allclose(found, network(pixels()).numpy(), atol=1e-4)


class TestDivided:
    @pytest.mark.parametrize("names", [("test_resnet",), ("test_efficientnet", "test_convnext")])
    @pytest.mark.parametrize("stages", [0, 1, 3])
    def test_in_two_steps_logits_are_the_same(self, names, stages):
        network = make(*names)
        network.unfreeze(stages)
        assert network.is_divided
        rows = network.lower(planes())
        assert rows.dtype == torch.float32
        assert rows.ndim == 2
        assert not rows.requires_grad
        assert close(network.see_upper(rows), network.see(planes()))

    def test_below_nothing_that_is_open_changes_nothing(self):
        network = make()
        network.unfreeze(2)
        before = network.lower(planes())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 if parameter.requires_grad else 0.0)
        assert torch.equal(network.lower(planes()), before)
        assert close(network.see_upper(before), network.see(planes()))

    def test_gradients_are_the_same(self):
        network = make(norms=True)
        network.unfreeze(2)
        rows = network.lower(planes(6))
        found = []
        for see, value in ((network.see, planes(6)), (network.see_upper, rows)):
            network.train()
            network.zero_grad()
            see(value).square().sum().backward()
            found.append({name: each.grad for name, each in network.named_parameters() if each.grad is not None})
        assert found[0].keys() == found[1].keys() == opened(network)
        for name, gradient in found[0].items():
            assert torch.allclose(found[1][name], gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max()), name

    @pytest.mark.parametrize("flip_average", [False, True])
    def test_answers(self, flip_average):
        network = make(flip_average=flip_average)
        network.unfreeze(1)
        sides = [planes(), planes().flip(3)][: 1 + flip_average]
        with torch.inference_mode():
            rows = torch.stack([network.lower(side) for side in sides], 1)
            assert close(network.answer_upper(rows), network(pixels()))

    def test_rows_stay_as_they_are(self):
        """VGG's parts write over what they get."""
        torch.manual_seed(0)
        sight = FeatureExtractor(timm.create_model("vgg11", num_classes=0, mlp_ratio=0.05), SIZE)
        network = FineTuned([sight], head_for([sight]), flip_average=False, norms=False)
        network.unfreeze(1)
        rows = network.lower(planes(2))
        before = rows.clone()
        network.see_upper(rows)
        assert torch.equal(rows, before)

    def test_with_convolutions_that_do_the_work_of_batch_norms(self):
        network = make(norms=True)
        wanted = network.see(planes())
        assert fuse(network.eyes[0].network, torch.zeros(1, 3, SIZE, SIZE)) > 0
        for stages in range(5):
            network.unfreeze(stages)
            network.eval()
            assert close(network.see_upper(network.lower(planes())), wanted)

    def test_where_nothing_is_frozen_or_the_network_is_no_sequence(self):
        network = make()
        network.unfreeze("all")
        assert not network.is_divided
        assert not make("test_mambaout").is_divided

    def test_asking_leaves_modes_as_they_are(self):
        network = make()
        network.unfreeze(1)
        network.train()
        before = [part.training for part in network.modules()]
        assert network.is_divided
        assert [part.training for part in network.modules()] == before
