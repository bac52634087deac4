"""Networks as sequences of parts: the same last map, and the same features where they are run in two steps."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.model.backbone_layer import stages_of  # noqa: E402
from kilat.model.cpu.fold_batch_norm import fuse  # noqa: E402
from kilat.model.feature_extractor import FeatureExtractor, _Lite  # noqa: E402
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


def at_top(network, count):
    """The modules of the top stages."""
    stages = list(stages_of(network).values())
    return [module for stage in stages[len(stages) - count :] for module in stage]


@pytest.mark.parametrize("name", SEQUENCES)
def test_parts_one_after_the_other_give_the_last_map(name):
    network = untrained(name)
    parts = sequence(network, noise(1))
    value = planes = noise(2)
    with torch.no_grad():
        for path, part in parts:
            assert network.get_submodule(path) is part
            value = part(value)
        assert torch.allclose(value, network.forward_features(planes), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(part, nn.Linear) for _, part in parts)


@pytest.mark.parametrize("name", SEQUENCES)
def test_in_two_steps_the_features_are_the_same(name):
    network = untrained(name)
    frozen = (_Lite if "lite" in name else FeatureExtractor)(network, SIZE)
    planes = 50 * noise(2) + 128
    with torch.no_grad():
        wanted = frozen.look(planes)
        for count in range(1, len(stages_of(network)) + 1):
            cut = frozen.way.cut(at_top(network, count))
            rows = frozen.lower(planes, cut)
            assert rows.shape == (2, frozen.row_width(cut))
            assert torch.allclose(frozen.upper(rows, cut), wanted, rtol=1e-5, atol=1e-5), count


def test_below_the_cut_nothing_is_open():
    network = untrained("test_resnet")
    way = FeatureExtractor(network, SIZE).way
    for count, expected in ((1, "layer4"), (2, "layer3"), (4, "layer1"), (5, "conv1")):
        assert way.parts[way.cut(at_top(network, count))][0] == expected
    assert way.cut([]) == len(way.parts)


class Shifted(nn.Module):
    """What its children do one after the other, and something more in between."""

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


def test_maps_that_are_looked_at_otherwise_than_they_come_up():
    """MambaOut's have channels last, and are looked at with channels first."""
    assert FeatureExtractor(untrained("test_mambaout"), SIZE).way is None


def test_a_stage_that_hardly_changes_its_map_is_told_from_the_one_before():
    """As they are drawn, ConvNeXt's blocks add a millionth of what they see, and ResNet's first ones nothing."""
    for name, stages in (
        ("test_convnext", ["stages.0", "stages.1", "stages.2", "stages.3"]),
        ("test_resnet", ["act1", "layer1", "layer2", "layer3", "layer4"]),
    ):
        way = FeatureExtractor(untrained(name), SIZE).way
        assert [way.parts[tap][0] for tap in way.taps] == stages


class Halves(nn.Module):
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


def test_a_convolution_that_does_its_batch_norms_work_is_not_cut_off_from_it():
    network = Halves().eval()
    frozen = FeatureExtractor(network, SIZE)
    assert frozen.way.cut([network.norm, network.two]) == 1
    assert fuse(network, noise(1)) == 1
    assert frozen.way.cut([network.norm, network.two]) == 0
    assert frozen.way.cut([network.two]) == 2
