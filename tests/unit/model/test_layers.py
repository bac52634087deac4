"""Networks from recipes: what a list of layers becomes, and errors that name the layer and a way to fix it."""

import io
import warnings

import numpy as np
import onnxruntime as ort
import pytest

from kilat import recipe
from kilat.errors import BackboneError, RecipeError
from kilat.features import lite

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from safetensors.torch import save_file  # noqa: E402 - comes with the extra

from kilat.model import layers  # noqa: E402
from kilat.model.backbone_layer import BackboneModule  # noqa: E402

END = ("flatten", {"dense": "classes"})
CONV = {"conv": {"filters": 4, "padding": "same"}}
NAME = "mobilenetv3_small_050"


def build(*given, size=8, channels=3, classes=5, seed=0, **choices):
    network = recipe.Network.model_validate({"layers": list(given), **choices})
    return layers.build(network, channels=channels, size=size, classes=classes, seed=seed)


def planes(count=2, size=8, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, generator=generator)


def kinds(network):
    return [layer.kind for layer in network.layers]


def values(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def function(layer):
    return type(layer.activation).__name__


def test_the_seed_alone_decides_first_weights():
    given = [CONV, {"depthwise_conv": 3}, {"residual": [{"conv": {"filters": 8, "padding": "same"}}]}, *END]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    network = build(*given)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(values(build(*given)), values(network))
    assert not torch.equal(values(build(*given, seed=1)), values(network))


def test_the_last_layer_has_only_its_own_choices():
    given = [CONV, {"conv": {"filters": 4, "activation": "none", "normalisation": "none"}}, *END]
    after = build(*given, activation="relu", normalisation={"batch_norm": "after"})
    assert kinds(after) == ["conv", "batch_norm", "conv", "flatten", "dense"]
    assert [function(after.layers[index]) for index in (0, 2, 4)] == ["ReLU", "Identity", "Identity"]
    before = build(*given, activation="relu", normalisation="layer_norm")
    assert kinds(before) == ["conv", "layer_norm", "activation", "conv", "flatten", "dense"]
    assert function(before.layers[0]) == "Identity"
    bare = build(*given, activation="gelu")
    assert kinds(bare) == ["conv", "conv", "flatten", "dense"]
    assert function(bare.layers[0]) == "GELU"


def test_a_shared_normalisation_has_the_options_of_its_layer():
    network = build(CONV, *END, normalisation={"batch_norm": {"place": "after", "momentum": 0.9, "epsilon": 1e-5}})
    assert kinds(network) == ["conv", "batch_norm", "flatten", "dense"]
    assert (network.layers[1].momentum, network.layers[1].epsilon) == (0.9, 1e-5)
    assert build(CONV, *END, normalisation={"group_norm": {"groups": 2}}).layers[1].groups == 2


def test_a_batch_norm_that_is_not_trainable_never_trains():
    network = build({"conv": {"filters": 4, "trainable": False, "normalisation": "batch_norm"}}, *END)
    network(torch.rand(8, 3, 8, 8))
    network.train()(torch.rand(8, 3, 8, 8))
    assert network.layers[1].running_mean.tolist() == [0.0] * 4


def test_the_last_layers_own_choices_count():
    network = build("flatten", {"dense": {"units": "classes", "activation": "relu", "normalisation": "batch_norm"}})
    assert kinds(network) == ["flatten", "dense", "batch_norm", "activation"]


def test_the_network_gives_logits():
    plain = build(*END)
    for ending in ("softmax", "sigmoid"):
        assert kinds(build(*END, {"activation": ending})) == ["flatten", "dense"]
        with_ending = build("flatten", {"dense": {"units": "classes", "activation": ending}})
        assert torch.equal(with_ending(planes()), plain(planes()))
    hidden = build({"activation": "softmax"}, *END)
    probabilities = hidden.layers[0](planes())
    assert torch.allclose(probabilities.sum(1), torch.ones(2, 8, 8))


def test_labels_shapes_and_repeats():
    block = [{"conv": {"filters": 6, "padding": "same", "stride": 2}}, {"repeat": {"times": 2, "layers": ["max_pool"]}}]
    network = build({"repeat": {"times": 2, "layers": block}}, *END, size=64)
    assert [layer.label for layer in network.layers] == [
        "conv", "max_pool", "max_pool_1", "conv_1", "max_pool_2", "max_pool_3", "flatten", "dense",
    ]  # fmt: skip
    assert network.layers[3].output_shape == (4, 4, 6)
    assert [layer.output_shape for layer in network.layers[-3:]] == [(1, 1, 6), (6,), (5,)]
    assert network.layers[0].weight.shape != network.layers[3].weight.shape
    last = build("flatten", {"repeat": {"times": 2, "layers": [{"dense": "classes"}]}}, activation="tanh")
    assert [function(layer) for layer in last.layers[1:]] == ["Tanh", "Identity"]


def test_penalties_are_the_layers_own_or_the_networks():
    given = [
        CONV,
        {"conv": {"filters": 4, "l1": 0.5, "l2": 0, "max_norm": 1}},
        {"conv": {"filters": 4, "trainable": False, "normalisation": "batch_norm"}},
        *END,
    ]
    network = build(*given, l1=0.1, l2=0.2, max_norm=3)
    own = [(layer.l1, layer.l2, layer.max_norm) for layer in network.layers if layer.kind in ("conv", "dense")]
    assert own == [(0.1, 0.2, 3), (0.5, 0, 1), (0, 0, None), (0.1, 0.2, 3)]
    frozen, norm = network.layers[2:4]
    assert not any(parameter.requires_grad for layer in (frozen, norm) for parameter in layer.parameters())
    assert not network.train().layers[3].training


def test_initialisers_are_the_layers_own_or_the_networks_or_the_usual():
    def kernel(*given, **choices):
        return build("flatten", *given, {"dense": "classes"}, **choices).layers[1].weight.detach()

    usual, limit = kernel({"dense": 64}), (6 / (192 + 64)) ** 0.5
    assert 0.95 * limit < float(usual.abs().max()) <= limit
    selu = kernel({"dense": 64}, activation="selu")
    assert float(selu.var()) == pytest.approx(1 / 192, rel=0.05)
    he = kernel({"dense": 64}, init="he_normal", activation="selu")
    assert float(he.var()) == pytest.approx(2 / 192, rel=0.05)
    own = kernel({"dense": {"units": 64, "init": "orthogonal"}}, init="he_normal")
    assert torch.allclose(own @ own.T, torch.eye(64), atol=1e-5)
    assert not build(CONV, *END).layers[0].bias.any()


def test_one_unit_does_for_two_classes():
    network = build("global_avg_pool", {"dense": 1}, classes=2)
    assert network(planes()).shape == (2, 1)


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ([{"dense": 7}], "ends in a map of 8×8×7", "flatten or global_avg_pool"),
        (["flatten", {"dense": 7}], "ends in 7 units, and there are 5 classes", "dense: classes"),
        (["flatten", {"dense": 1}], "ends in 1 unit, and there are 5 classes", "5 units"),
        ([{"conv": {"filters": 2, "kernel": 9}}, *END], r"layers.0 \(conv\): a kernel of 9×9 is", "padding: same"),
        ([{"conv": {"filters": 2, "dilation": 4}}, *END], "with a dilation of 4×4", "padding: same"),
        ([CONV, {"max_pool": 9}, *END], r"layers.1 \(max_pool\): a window of 9×9", "make it smaller"),
        ([*["avg_pool"] * 4, *END], r"layers.3 \(avg_pool\): .* a map of 1×1×3", "shrink the map less"),
        ([{"conv": {"filters": 4, "groups": 2}}, *END], "3 channels cannot be divided into 2 groups", "fit: 1, 3"),
        ([{"conv": {"filters": 4, "groups": 3}}, *END], "4 filters cannot be divided into 3 groups", "fit: 1, 2, 4"),
        ([CONV, {"group_norm": 3}, *END], r"layers.1 \(group_norm\): 4 channels", "fit: 1, 2, 4"),
        (["flatten", CONV, *END], r"layers.1 \(conv\): needs a map.*its input is 192 units", "before the layer"),
        (["flatten", "global_avg_pool", *END], r"layers.1 \(global_avg_pool\): needs a map", "before the layer"),
        (["flatten", {"spatial_dropout": 0.1}, *END], r"layers.1 \(spatial_dropout\)", "before the layer"),
        (
            [{"repeat": {"times": 2, "layers": [CONV, {"residual": [CONV, {"conv": {"filters": 2, "kernel": 9}}]}]}}],
            r"layers.0.repeat.layers.1.residual.layers.1 \(conv\): a kernel",
            "padding: same",
        ),
        (
            [{"residual": {"layers": [CONV], "shortcut": "identity"}}, *END],
            r"layers.0 \(residual\): its input is a map of 8×8×3 .* layers give a map of 8×8×4",
            "shortcut: project",
        ),
        ([{"residual": [{"conv": 4}]}, *END], "no stride of a shortcut leads there", "padding: same"),
        ([{"residual": ["flatten"]}, *END], "no stride of a shortcut leads there", "padding: same"),
        (["flatten", {"dense": 20_000}, {"dense": 20_000}, *END], "its kernel has 400,000,000 weights", "fewer units"),
        ([{"conv": {"filters": 4, "kernel": 20_000, "padding": "same"}}, *END], "more than 67,108,864", "smaller"),
        ([{"depthwise_conv": {"dilation": 9_000, "padding": "same"}}, *END], "of 18008×18008×3", "smaller kernel"),
        ([{"max_pool": {"size": 100_000, "padding": "same"}}, *END], r"layers.0 \(max_pool\): computes", "input.size"),
    ],
)  # fmt: skip
def test_impossible_networks_are_refused(given, problem, hint):
    with pytest.raises(RecipeError, match=problem) as caught:
        build(*given)
    assert "model.layers" in caught.value.message
    assert hint in caught.value.hint


def test_a_residual_adds_its_input():
    network = build({"residual": [{"rescale": 2}]}, *END)
    assert torch.allclose(network.layers[0](planes()), 3 * planes())
    halved = build(
        {"residual": [{"conv": {"filters": 4, "stride": 2, "padding": "same"}}]}, *END, normalisation="batch_norm"
    )
    assert [layer.kind for layer in halved.layers[0].body] == ["conv", "batch_norm"]
    assert halved.layers[0].shortcut.weight.shape == (4, 3, 1, 1)
    assert halved.layers[0].output_shape == (4, 4, 4)
    units = build("flatten", {"residual": [{"dense": 7}]}, {"dense": "classes"})
    assert units.layers[1].shortcut.weight.shape == (7, 192)
    projected = build({"residual": {"layers": [{"rescale": 2}], "shortcut": "project"}}, *END)
    assert projected.layers[0].shortcut.weight.shape == (3, 3, 1, 1)


def test_a_residual_without_a_shortcut_is_its_layers_with_the_same_first_weights():
    body = [{"conv": {"filters": 3, "padding": "same"}}, {"conv": {"filters": 4, "stride": 2}}]
    bare = build({"residual": {"layers": body, "shortcut": "none"}}, *END)
    assert [layer.kind for layer in bare.layers][:2] == ["conv", "conv"]
    assert all(map(torch.equal, bare.parameters(), build(*body, *END).parameters()))


def test_stochastic_depth_leaves_out_the_bodies_of_whole_pictures():
    layer = build({"residual": {"layers": [{"rescale": 2}], "drop": 0.25}}, *END).layers[0]
    torch.manual_seed(0)
    ones = torch.ones(400, 3, 8, 8)
    output = layer.train()(ones)
    assert torch.equal(output, output[:, :1, :1, :1].expand_as(output))
    assert sorted(output.unique().tolist()) == pytest.approx([1, 1 + 2 / 0.75])
    assert float((output[:, 0, 0, 0] == 1).float().mean()) == pytest.approx(0.25, abs=0.06)
    assert torch.equal(layer.eval()(ones), 3 * ones)


def test_maps_are_channels_last_in_memory():
    network = build(CONV, "max_pool", *END)
    assert network.layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    pooled = network.layers[1](network.layers[0](planes().contiguous(memory_format=torch.channels_last)))
    assert network.layers[2](pooled).data_ptr() == pooled.data_ptr()


EVERYTHING = (
    {"rescale": 0.5},
    {"conv": {"filters": 8, "stride": 2, "padding": "same", "kernel": (2, 3), "dilation": 1, "activation": "mish"}},
    {"activation": "prelu"},
    {"depthwise_conv": {"multiplier": 2, "stride": (1, 2), "padding": "same", "activation": "gelu"}},
    "batch_norm", "layer_norm", {"group_norm": 4},
    {"residual": {"layers": [{"conv": {"filters": 12, "stride": 2, "padding": "same"}}], "drop": 0.2}},
    {"activation": {"name": "prelu", "shared": True}},
    {"max_pool": {"padding": "same"}}, {"spatial_dropout": 0.1}, {"activation": "softmax"},
    {"avg_pool": {"size": 2, "stride": 1, "padding": "same"}}, {"dense": 6}, {"dropout": 0.2},
    {"activation": {"leaky_relu": 0.1}}, "global_avg_pool", "layer_norm", {"group_norm": 3}, "flatten",
    {"dense": "classes"},
)  # fmt: skip


def test_every_kind_exports_to_onnx_for_any_batch():
    network = build(*EVERYTHING, size=15).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older exporter
        torch.onnx.export(
            network, (planes(2, 15),), buffer, dynamo=False, opset_version=18, input_names=["planes"],
            output_names=["logits"], dynamic_axes={"planes": {0: "batch"}, "logits": {0: "batch"}},
        )  # fmt: skip
    session = ort.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        (found,) = session.run(None, {"planes": planes(count, 15).numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, network(planes(count, 15)).numpy(), rtol=1e-4, atol=1e-5)


def test_every_kind_learns_in_half_precision_and_gives_float32():
    network = build(*EVERYTHING, size=15).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(planes(4, 15))
    assert logits.dtype == torch.float32
    assert logits.shape == (4, 5)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_notes_say_what_keeps_selu_networks_from_normalising_themselves():
    def notes(*given, **choices):
        return " ".join(note.sentence() for note in build(*given, activation="selu", **choices).notes)

    dense = ["flatten", {"dense": 4}, {"dropout": 0.1}, {"dense": 4}, {"dense": 4}]
    end = {"dense": "classes"}
    assert notes(*dense, end) == ""
    assert build(CONV, *END, activation="relu", normalisation="batch_norm").notes == []
    assert "other activations as well ('relu')" in notes(*dense, {"activation": "relu"}, end)
    assert "normalisation layers" in notes(*dense, "batch_norm", end)
    assert "normalisation layers" in notes(*dense, end, normalisation="layer_norm")
    assert "residual layers" in notes(*dense, {"residual": [{"dense": 4}]}, end)
    assert "(here: 'he_normal')" in notes(*dense, end, init="he_normal")
    assert "proven for dense layers only" in notes(CONV, *dense, end)
    assert "Spatial dropout" in notes(CONV, {"spatial_dropout": 0.1}, *dense, end)


@pytest.fixture(scope="module")
def headed():
    """A network on a frozen backbone of random weights."""
    return build(
        {"backbone": NAME}, CONV, "batch_norm", "global_avg_pool", {"dense": "classes"}, size=64, weights="none"
    )


def trained(module):
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def test_a_backbone_is_what_timm_gives_before_pooling(headed, tmp_path):
    torch.manual_seed(4)
    network = timm.create_model(NAME).eval()
    save_file(network.state_dict(), tmp_path / "small.safetensors")
    given = [{"backbone": NAME}, "global_avg_pool", {"dense": "classes"}]
    found = build(*given, size=64, weights=tmp_path / "small.safetensors").eval()
    pictures = planes(2, 64).double()  # in float32 other kernels compute what lies channels last
    with torch.no_grad():
        expected = network.double().forward_features(pictures)
        assert torch.allclose(found.double().backbone(pictures), expected, rtol=1e-9, atol=1e-9)
    assert found.backbone.output_shape == (2, 2, 288)
    assert headed.backbone.network.conv_head.__class__ is torch.nn.Identity  # it comes after the pooling


def test_random_backbones_follow_the_seed(headed):
    state = torch.get_rng_state()
    again = build({"backbone": NAME}, *END, size=64, weights="none")
    other = build({"backbone": NAME}, *END, size=64, weights="none", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(values(again.backbone), values(headed.backbone))
    assert not torch.equal(values(other.backbone), values(headed.backbone))


def test_a_frozen_backbone_stays_as_it_is(headed):
    assert headed.backbone.unfreeze(0) == []
    assert trained(headed.backbone) == []
    headed.train()
    before = {name: value.clone() for name, value in headed.backbone.state_dict().items()}
    maps = headed.backbone(planes(2, 64))
    assert not maps.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in headed.backbone.state_dict().items())
    assert headed.layers[2].training


def test_unfreezing_goes_from_the_top(headed):
    backbone = headed.backbone
    backbone.train_batch_norms = True
    assert backbone.stages == ["bn1", "blocks.0", "blocks.1", "blocks.3", "blocks.5"]
    assert backbone.unfreeze(1) == ["blocks.5"]
    assert {name.split(".")[2] for name in trained(backbone)} == {"4", "5"}  # 4 lies between the ends of two stages
    headed.train()
    blocks = backbone.network.blocks
    assert [blocks[index][0].bn1.training for index in (0, 3, 4, 5)] == [False, False, True, True]
    assert backbone(planes(2, 64)).requires_grad
    headed.eval()
    assert not blocks[5][0].training
    assert backbone.unfreeze("all") == backbone.stages
    assert len(trained(backbone)) == len(list(backbone.parameters()))
    assert backbone.unfreeze(0) == []
    assert trained(backbone) == []
    with pytest.raises(RecipeError, match=r"unfreeze 6: .* has 5 stages") as caught:
        backbone.unfreeze(6)
    assert "at most 5" in caught.value.hint


def test_batch_norms_of_unfrozen_stages_keep_their_statistics_unless_they_are_to_train(headed):
    backbone = headed.backbone
    backbone.unfreeze("all")
    norms = [part for part in backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)]  # timm's own are of it
    for train in (False, True):
        backbone.train_batch_norms = train
        headed.train()
        assert {part.training for part in norms} == {train}
        assert all(part.weight.requires_grad for part in norms)
        assert all(part.training for part in backbone.network.modules() if not list(part.children()) + norms)
    backbone.unfreeze(0)
    assert not any(part.training for part in norms)


def test_depth_counts_from_the_top(headed):
    backbone = headed.backbone
    found = {name.split(".")[2]: backbone.depth(name) for name, _ in backbone.named_parameters() if "blocks" in name}
    assert found == {"0": 4, "1": 3, "2": 2, "3": 2, "4": 1, "5": 1}
    assert {backbone.depth(name) for name, _ in backbone.named_parameters() if "blocks" not in name} == {5}


def test_every_stage_has_something_to_train():
    """The last of the stages that timm names in VGG is a pooling."""
    network = torch.nn.Module()
    network.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.MaxPool2d(2))
    network.feature_info = [{"module": f"features.{index}"} for index in range(3)]
    network.forward_features, network.num_features = network.features.forward, 4
    backbone = BackboneModule(network, "small", 8)
    assert backbone.unfreeze(1) == ["features.1"]
    assert trained(backbone) == ["network.features.1.weight", "network.features.1.bias"]


def test_a_trainable_backbone_is_unfrozen_from_the_start():
    network = build({"backbone": {"name": NAME, "trainable": True}}, *END, size=64, weights="none")
    assert len(trained(network.backbone)) == len(list(network.backbone.parameters()))


def test_the_embedded_backbone_needs_no_hub():
    network = build({"backbone": lite.NAME}, "global_avg_pool", {"dense": "classes"}, size=64)
    assert network.backbone.output_shape == (2, 2, 1280)
    assert network(planes(1, 64)).shape == (1, 5)


def test_impossible_backbones_are_refused():
    with pytest.raises(RecipeError, match="gives tokens") as caught:
        build({"backbone": "vit_tiny_patch16_224"}, *END, size=224, weights="none")
    assert "resnet50" in caught.value.hint
    with pytest.raises(BackboneError, match="no backbone 'resnet81'"):
        build({"backbone": "resnet81"}, *END, size=64, weights="none")
