"""Stochastic depth in timm networks: which branches are left out, how often, and what stays exactly as it was."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from timm.layers import DropPath  # noqa: E402 - comes with the extra
from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.model.backbone_layer import BackboneModule  # noqa: E402
from kilat.model.drop_path import set_drop_path, without_blocks  # noqa: E402

BLOCKS = {"tf_efficientnet_lite0": 9, "test_resnet": 4, "test_convnext": 9, "test_vit": 6}
SIDE = 32


def untrained(name, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sized = {"img_size": SIDE} if "vit" in name else {}
        network = timm.create_model(name, num_classes=0, **sized, **options).eval()
    for parameter in network.parameters():  # branches that begin at nothing would hide whether they are there
        parameter.data.masked_fill_(parameter == 0, 0.1)
    return network


def noise(n=4, seed=0):
    return torch.randn(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def training_output(network, seed, n=8):
    """Return the output of a copy of the network in training mode, its draws seeded."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return copy.deepcopy(network).train()(noise(n))


def rates(network):
    return {name: part.drop_prob for name, part in network.named_modules() if isinstance(part, DropPath)}


@pytest.mark.parametrize("name", BLOCKS)
def test_weights_and_outputs_stay_as_they_were(name):
    network = untrained(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        output = network(noise())
        set_drop_path(network, 0.5)
        assert torch.equal(network(noise()), output)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize(("name", "count"), BLOCKS.items())
def test_rates_rise_in_a_straight_line_to_the_topmost_block(name, count):
    network = untrained(name)
    assert set_drop_path(network, 0.3) == count
    found = sorted(set(rates(network).values()))
    assert found == pytest.approx([0.3 * index / (count - 1) for index in range(count)])
    assert list(rates(network).values()) == sorted(rates(network).values())  # from pixels up


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_rates_are_those_of_timm_where_all_blocks_have_a_shortcut(name):
    expected = untrained(name, drop_path_rate=0.3)
    network = untrained(name)
    set_drop_path(network, 0.3)
    drawn = {key: rate for key, rate in rates(network).items() if rate}  # timm has no module for a rate of 0
    assert drawn == pytest.approx(rates(expected))
    assert torch.equal(training_output(network, 5), training_output(expected, 5))


@pytest.mark.parametrize("name", BLOCKS)
def test_draws_follow_from_torchs_own_generator(name):
    network = untrained(name)
    plain = training_output(network, 1)
    assert torch.equal(training_output(network, 2), plain)
    set_drop_path(network, 0.9)
    first, again, other = (training_output(network, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set_drop_path(network, 0.0) == BLOCKS[name]  # the last call counts
    assert torch.equal(training_output(network, 1), plain)


def test_the_branch_is_left_out_for_that_share_of_the_pictures():
    network = untrained("test_convnext")
    set_drop_path(network, 0.4)
    block = network.stages[3].blocks[-1].train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        values = torch.randn(1000, block.gamma.numel(), 2, 2)
        skipped = (block(values) == values).flatten(1).all(1)
    assert abs(skipped.float().mean() - 0.4) < 4 * (0.4 * 0.6 / 1000) ** 0.5


def test_frozen_stages_leave_nothing_out():
    network = untrained("test_convnext")
    set_drop_path(network, 0.9)
    step = BackboneModule(network, "test_convnext", SIDE)
    step.unfreeze(1)
    step.train()
    modes = {name: part.training for name, part in network.named_modules() if isinstance(part, DropPath)}
    assert {name for name, mode in modes.items() if mode} == {name for name in modes if name.startswith("stages.3.")}
    below = []
    network.stages[2].register_forward_hook(lambda _module, _inputs, output: below.append(output))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        above = [step(noise(8)) for _ in range(2)]
    assert torch.equal(*below)
    assert not torch.equal(*above)


@pytest.mark.parametrize("name", ["test_efficientnet", "ese_vovnet19b_slim_dw"])
def test_blocks_without_a_shortcut_are_left_alone(name):
    network = untrained(name)
    assert set_drop_path(network, 0.5) == 0
    assert rates(network) == {}


def test_a_network_without_residual_blocks_has_none():
    assert set_drop_path(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), 0.5) == 0
    refusal = without_blocks("vgg11")
    assert isinstance(refusal, RecipeError)
    assert str(refusal).startswith("fit.drop_path: the backbone 'vgg11' has no residual blocks that could be left out.")
