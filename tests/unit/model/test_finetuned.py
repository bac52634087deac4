"""Frozen backbones with their head as a network to train on: where it starts, what unfreezes, how it is split.

The backbones compute in float64, so that what is compared does not depend on the kernels of a processor: features,
activations at a split and logits are float32, and their rounding is all that differs.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

import onnxruntime as ort  # noqa: E402
from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit.stages import Staged, parameter_depths  # noqa: E402
from kilat.model.cpu.fold_batch_norm import fuse  # noqa: E402
from kilat.model.feature_extractor import FeatureExtractor  # noqa: E402
from kilat.model.feature_extractor import create as create_extractor  # noqa: E402
from kilat.model.finetuned import FineTuned  # noqa: E402
from kilat.model.to_onnx import TOLERANCE, to_onnx  # noqa: E402
from kilat.probe import Head  # noqa: E402

SIZE, CLASSES = 64, 3


def pixels(count=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    return torch.from_numpy(values)


def planes(count=3):
    return pixels(count).permute(0, 3, 1, 2).float()


def extractor(name, **options):
    torch.manual_seed(0)
    created = FeatureExtractor(timm.create_model(name, num_classes=0, **options), SIZE)
    created.network.double()
    return created


def head_for(backbones):
    """Return a head as if fitted: features are standardised by their statistics over random pictures."""
    with torch.inference_mode():
        features = torch.cat([backbone(pixels(8, 1)) for backbone in backbones], 1).numpy()
    random = np.random.default_rng(0)
    weight = 0.05 * random.standard_normal((features.shape[1], CLASSES))
    scale = 1 / (features.std(0) + 1e-2)
    bias = random.standard_normal(CLASSES)
    return Head(features.mean(0), *(part.astype(np.float32) for part in (scale, weight, bias)))


def make(*names, flip_average=False, train_batch_norms=False):
    backbones = [extractor(name) for name in names or ("test_resnet",)]
    return FineTuned(backbones, head_for(backbones), flip_average=flip_average, train_batch_norms=train_batch_norms)


def close(found, expected):
    """Equal logits but for float32's rounding.

    Features of size 7 are rounded by 4e-7, standardised by at most 100 times that, and weighted by 0.05: a logit is the
    sum of some hundred such roundings, of either sign.
    """
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def unfrozen(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


class TestStart:
    @pytest.mark.parametrize("names", [("test_resnet",), ("test_resnet", "test_efficientnet")])
    def test_logits_are_those_of_the_head(self, names):
        backbones = [extractor(name) for name in names]
        head = head_for(backbones)
        with torch.inference_mode():
            features = torch.cat([backbone(pixels()) for backbone in backbones], 1).numpy()
            network = FineTuned(backbones, head, flip_average=False, train_batch_norms=False)
            expected = torch.from_numpy(head.logits(features))
            assert close(network(pixels()), expected)
            assert close(network.logits(planes()), expected)

    def test_with_flip_average_they_are_for_the_mean_of_both_sides(self):
        backbone = extractor("test_resnet")
        head = head_for([backbone])
        network = FineTuned([backbone], head, flip_average=True, train_batch_norms=False)
        with torch.inference_mode():
            features = (backbone(pixels()) + backbone(pixels().flip(2))) / 2
            expected = torch.from_numpy(head.logits(features.numpy()))
            assert close(network(pixels()), expected)
            assert close(network(pixels().flip(2)), expected)
            assert not close(network.logits(planes()), expected)

    def test_the_embedded_backbone_has_the_features_of_its_graph(self):
        backbone = create_extractor("efficientnet_lite0", SIZE, None)
        network = FineTuned([backbone], head_for([backbone]), flip_average=False, train_batch_norms=False)
        assert sum(block.width for block in backbone.blocks) == len(network.mean)
        assert network.stages == ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"]


class TestUnfreezing:
    def test_the_head_alone_at_first(self):
        network = make()
        assert unfrozen(network) == {"weight", "bias"}
        assert isinstance(network, Staged)

    def test_from_the_top(self):
        network = make()
        before = unfrozen(network)
        for count, name in enumerate(reversed(network.stages), 1):
            assert network.unfreeze(count) == network.stages[-count:]
            found = unfrozen(network)
            assert before < found
            assert any(f".{name}." in each for each in found - before) or name == "act1"
            before = found
        assert unfrozen(network) == {name for name, _ in network.named_parameters()}
        network.unfreeze(0)
        assert unfrozen(network) == {"weight", "bias"}

    def test_of_two_backbones_at_once(self):
        network = make("test_resnet", "test_efficientnet")
        network.unfreeze(1)
        assert {name.rpartition(".network.")[0] for name in unfrozen(network)} == {"", "backbones.0", "backbones.1"}

    def test_more_stages_than_there_are(self):
        with pytest.raises(RecipeError, match="unfreeze 6: the backbone has 5 stages"):
            make().unfreeze(6)

    def test_depths(self):
        found = parameter_depths(make())
        assert found["weight"] == found["bias"] == 0
        assert found["backbones.0.network.layer4.0.conv1.weight"] == 1
        assert found["backbones.0.network.layer1.0.conv1.weight"] == 4
        assert found["backbones.0.network.conv1.0.weight"] == 5

    @pytest.mark.parametrize("norms", [False, True])
    def test_only_unfrozen_stages_train(self, norms):
        network = make(train_batch_norms=norms)
        network.unfreeze(1)
        network.train()
        modes = {name: part.training for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)}
        top = {name for name in modes if ".layer4." in name}
        assert {name for name, mode in modes.items() if mode} == (top if norms else set())
        assert network.backbones[0].network.layer4[0].training
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
        expected = network(pixels()).numpy()
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()  # what the export promises


class TestDivided:
    @pytest.mark.parametrize("names", [("test_resnet",), ("test_efficientnet", "test_convnext")])
    @pytest.mark.parametrize("stages", [0, 1, 3])
    def test_in_two_steps_the_logits_are_the_same(self, names, stages):
        network = make(*names)
        network.unfreeze(stages)
        assert network.is_split
        activations = network.forward_lower(planes())
        assert activations.dtype == torch.float32
        assert activations.ndim == 2
        assert not activations.requires_grad
        assert close(network.logits_upper(activations), network.logits(planes()))

    def test_training_leaves_the_activations_at_the_split(self):
        network = make()
        network.unfreeze(2)
        before = network.forward_lower(planes())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 if parameter.requires_grad else 0.0)
        assert torch.equal(network.forward_lower(planes()), before)
        assert close(network.logits_upper(before), network.logits(planes()))

    def test_gradients_are_the_same(self):
        network = make(train_batch_norms=True)
        network.unfreeze(2)
        activations = network.forward_lower(planes(6))
        found = []
        for forward, value in ((network.logits, planes(6)), (network.logits_upper, activations)):
            network.train()
            network.zero_grad()
            forward(value).square().sum().backward()
            found.append({name: each.grad for name, each in network.named_parameters() if each.grad is not None})
        assert found[0].keys() == found[1].keys() == unfrozen(network)
        for name, gradient in found[0].items():
            assert torch.allclose(found[1][name], gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max()), name

    @pytest.mark.parametrize("flip_average", [False, True])
    def test_in_two_steps_predictions_are_the_same(self, flip_average):
        network = make(flip_average=flip_average)
        network.unfreeze(1)
        sides = [planes(), planes().flip(3)][: 1 + flip_average]
        with torch.inference_mode():
            activations = torch.stack([network.forward_lower(side) for side in sides], 1)
            assert close(network.forward_upper(activations), network(pixels()))

    def test_activations_stay_as_they_are(self):
        """VGG's parts write over their input."""
        backbone = extractor("vgg11", mlp_ratio=0.05)
        network = FineTuned([backbone], head_for([backbone]), flip_average=False, train_batch_norms=False)
        network.unfreeze(1)
        activations = network.forward_lower(planes(2))
        before = activations.clone()
        network.logits_upper(activations)
        assert torch.equal(activations, before)

    def test_with_batch_norms_folded_into_convolutions(self):
        network = make(train_batch_norms=True)
        expected = network.logits(planes())
        assert fuse(network.backbones[0].network, torch.zeros(1, 3, SIZE, SIZE).double()) > 0
        for stages in range(5):
            network.unfreeze(stages)
            network.eval()
            assert close(network.logits_upper(network.forward_lower(planes())), expected)

    def test_there_is_no_split_where_nothing_is_frozen_or_the_network_is_no_sequence(self):
        network = make()
        network.unfreeze("all")
        assert not network.is_split
        assert not make("test_mambaout").is_split

    def test_is_split_leaves_modes_as_they_are(self):
        network = make()
        network.unfreeze(1)
        network.train()
        before = [part.training for part in network.modules()]
        assert network.is_split
        assert [part.training for part in network.modules()] == before
