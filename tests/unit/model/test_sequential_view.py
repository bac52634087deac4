"""Networks as sequences of parts: the same last map, and the same features where they are computed in two steps.

What is compared is computed in float64. In float32 the two ways run other kernels (oneDNN chooses by memory layout,
number of threads and instruction set), whose roundings add up over fifty layers: on one processor the features differ
by up to 2e-5, on another by less, each as far from those in float64.
"""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.model.backbone_layer import modules_by_stage  # noqa: E402
from kilat.model.cpu.fold_batch_norm import fuse  # noqa: E402
from kilat.model.feature_extractor import FeatureExtractor, LiteExtractor  # noqa: E402
from kilat.model.sequential_view import sequence  # noqa: E402

SEQUENCES = (
    "test_byobnet", "test_convnext", "test_efficientnet", "test_nfnet", "test_resnet", "tf_efficientnet_lite0",
    "mobilenetv2_035", "mobilenetv3_small_050", "regnetx_002", "vgg11",
)  # fmt: skip
SIZE = 64


def untrained(name):
    torch.manual_seed(0)
    options = {"mlp_ratio": 0.05} if name == "vgg11" else {}  # or its dense layers are most of the time
    return timm.create_model(name, num_classes=0, **options).eval()


def noise(count, seed=1):
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def top_stages(network, count):
    """The modules of the top stages."""
    stages = list(modules_by_stage(network).values())
    return [module for stage in stages[len(stages) - count :] for module in stage]


@pytest.mark.parametrize("name", SEQUENCES)
def test_parts_one_after_the_other_give_the_last_map(name):
    network = untrained(name).double()
    parts = sequence(network, noise(1).double())
    value = planes = noise(2).double()
    with torch.no_grad():
        for path, part in parts:
            assert network.get_submodule(path) is part
            value = part(value)
        assert torch.allclose(value, network.forward_features(planes), rtol=1e-9, atol=1e-9)
    assert not any(isinstance(part, nn.Linear) for _, part in parts)


@pytest.mark.parametrize("name", SEQUENCES)
def test_in_two_steps_the_features_are_the_same(name):
    """Activations are float32: of each map and feature the last of 24 bits is rounded, once at the split.

    The layers above may amplify that; measured is 10 times float32's epsilon, of features that are 1 to 25 in size.
    """
    network = untrained(name)
    extractor = (LiteExtractor if "lite" in name else FeatureExtractor)(network, SIZE)
    network.double()
    planes = 50 * noise(2) + 128
    rounding = 32 * torch.finfo(torch.float32).eps
    with torch.no_grad():
        expected = extractor.features(planes)
        for count in range(1, len(modules_by_stage(network)) + 1):
            split_index = extractor.sequential_view.split_index(top_stages(network, count))
            activations = extractor.forward_lower(planes, split_index)
            assert activations.shape == (2, extractor.activation_width(split_index))
            assert activations.dtype == torch.float32
            found = extractor.forward_upper(activations, split_index)
            assert torch.allclose(found, expected, rtol=rounding, atol=rounding), count


def test_below_the_split_nothing_is_unfrozen():
    network = untrained("test_resnet")
    view = FeatureExtractor(network, SIZE).sequential_view
    for count, expected in ((1, "layer4"), (2, "layer3"), (4, "layer1"), (5, "conv1")):
        assert view.parts[view.split_index(top_stages(network, count))][0] == expected
    assert view.split_index([]) == len(view.parts)


class Shifted(nn.Module):
    """Calls its children one after the other, and does something more in between."""

    feature_info = ({"module": "one"}, {"module": "two"})

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward_features(self, planes):
        return self.two(self.one(planes) + 1)


@pytest.mark.parametrize("network", [Shifted().eval(), untrained("test_vit")])
def test_what_is_no_sequence_of_maps_is_refused(network):
    side = 160 if hasattr(network, "pretrained_cfg") else SIZE  # the test networks' own
    assert sequence(network, torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))) is None


def test_a_network_whose_stage_maps_are_not_outputs_of_its_parts_has_no_sequential_view():
    """MambaOut's parts give maps with channels last, and its intermediate features have them first."""
    assert FeatureExtractor(untrained("test_mambaout"), SIZE).sequential_view is None


def test_a_stage_that_hardly_changes_its_map_is_told_from_the_one_before():
    """Untrained, ConvNeXt's blocks add a millionth of their input, and ResNet's first ones nothing."""
    for name, stages in (
        ("test_convnext", ["stages.0", "stages.1", "stages.2", "stages.3"]),
        ("test_resnet", ["act1", "layer1", "layer2", "layer3", "layer4"]),
    ):
        view = FeatureExtractor(untrained(name), SIZE).sequential_view
        assert [view.parts[index][0] for index in view.output_indices] == stages


class NormInTheNextStage(nn.Module):
    """A batch norm in another stage than the convolution before it."""

    num_features = 4
    pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # noqa: RUF012 - as timm has it
    feature_info = ({"module": "one", "reduction": 2}, {"module": "two", "reduction": 2})

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

    def forward_features(self, planes):
        return self.two(self.norm(self.one(planes)))

    def forward(self, planes):
        return self.forward_features(planes).mean((2, 3))

    def forward_head(self, value, pre_logits):
        return value.mean((2, 3))


def test_a_batch_norm_is_not_split_from_the_convolution_that_it_is_folded_into():
    network = NormInTheNextStage().eval()
    view = FeatureExtractor(network, SIZE).sequential_view
    assert view.split_index([network.norm, network.two]) == 1
    assert fuse(network, noise(1)) == 1
    assert view.split_index([network.norm, network.two]) == 0
    assert view.split_index([network.two]) == 2
