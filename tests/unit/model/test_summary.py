"""The layer table: parameters as Keras counts them; work and receptive fields as arithmetic and measurement have it."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import Tensor, nn  # noqa: E402 - the extra may be missing

from kilat.model.layers import build  # noqa: E402
from kilat.model.summary import summarise  # noqa: E402
from kilat.recipe import Network, built_in, load  # noqa: E402
from kilat.recipe.network_summary import table  # noqa: E402


def network_of(*layers: Any, size: int = 32, **others: Any) -> Any:
    return build(Network(layers=layers, **others), channels=3, size=size, classes=10, seed=0)


@pytest.fixture(scope="module")
def vgg() -> Any:
    assert "vgg-cifar" in built_in()
    network = build(load("vgg-cifar").model, channels=3, size=32, classes=10, seed=0)
    return summarise(network, name="vgg-cifar", channels=3, size=32)


def test_parameters_are_counted_as_keras_counts_them(vgg: Any) -> None:
    assert (vgg.total, vgg.trainable) == (1_186_346, 1_184_426)
    assert [row.frozen for row in vgg.rows if row.kind == "batch_norm"] == [64, 64, 128, 128, 256, 256, 512, 512]


def test_the_rows_are_the_lines_of_the_recipe(vgg: Any) -> None:
    assert vgg.input_shape == (32, 32, 3)
    assert [row.kind for row in vgg.rows[:6]] == ["conv", "batch_norm", "conv", "batch_norm", "max_pool", "dropout"]
    assert [row.output_shape for row in vgg.rows if row.kind == "max_pool"] == [
        (16, 16, 32), (8, 8, 64), (4, 4, 128), (2, 2, 256),
    ]  # fmt: skip
    assert vgg.rows[-1].output_shape == (10,)
    assert len({row.label for row in vgg.rows}) == len(vgg.rows)


def test_work_is_places_times_kernel_times_channels(vgg: Any) -> None:
    convs = [row.macs for row in vgg.rows if row.kind == "conv"]
    assert convs[:3] == [32 * 32 * 32 * 9 * 3, 32 * 32 * 32 * 9 * 32, 16 * 16 * 64 * 9 * 32]
    assert vgg.rows[-1].macs == 1024 * 10
    assert vgg.macs == sum(convs) + 10_240


def test_receptive_fields_grow_by_kernel_and_stride(vgg: Any) -> None:
    fields = [row.receptive_field for row in vgg.rows if row.kind in {"conv", "max_pool"}]
    assert fields == [3, 5, 6, 10, 14, 16, 24, 32, 36, 52, 68, 76]
    assert [row.receptive_field for row in vgg.rows[-2:]] == [None, None]


def test_arithmetic_and_measurement_agree() -> None:
    down = {"conv": {"filters": 6, "stride": 2, "padding": "same"}}
    layers = (
        {"conv": {"filters": 4, "kernel": 5, "padding": "same", "activation": "gelu"}},
        "batch_norm",
        {"max_pool": {"size": 3, "stride": 2, "padding": "same"}},
        {"depthwise_conv": {"kernel": 3, "dilation": 2}},
        {"residual": [down, {"conv": {"filters": 6, "kernel": 2, "padding": "same"}}]},
        {"activation": "relu"},
        {"avg_pool": 2},
        "global_avg_pool",
        {"dense": 10},
    )  # fmt: skip
    network = network_of(*layers, size=96)
    known = summarise(network, name="a", channels=3, size=96)
    measured = summarise(nn.Sequential(*network.layers), name="b", channels=3, size=96)
    fields = [row.receptive_field for row in known.rows if len(row.output_shape) == 3]
    assert fields == [5, 5, 7, 15, 23, 23, 27]
    found = {row.label: row for row in measured.rows}
    fields = {i: found[str(i)].receptive_field for i in (0, 1, 2, 3, 6)}
    assert fields == {0: 5, 1: 5, 2: 7, 3: 15, 6: 27}
    assert found["4.body.1"].receptive_field == 23
    assert found["4.shortcut"].receptive_field == 15
    assert (measured.total, measured.trainable, measured.macs) == (known.total, known.trainable, known.macs)


def test_groups_and_depthwise_convolutions_do_less_work() -> None:
    convs = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3, groups=4), nn.Conv2d(4, 4, 3, groups=4, bias=False))
    rows = summarise(convs, name="", channels=3, size=12).rows
    assert [row.macs for row in rows] == [100 * 8 * 9 * 3, 64 * 4 * 9 * 2, 36 * 4 * 9]
    assert [row.kind for row in rows] == ["conv", "conv", "depthwise_conv"]
    assert [row.receptive_field for row in rows] == [3, 5, 7]


class Foreign(nn.Module):
    """In-place activations, a token of its own, attention, one layer used twice, one never used, and shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.relu = nn.Conv2d(3, 8, 4, 4), nn.ReLU(inplace=True)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.twice, self.tied, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(3, 3)
        self.tied.weight = self.twice.weight

    def forward(self, planes: Tensor) -> Tensor:
        tokens = self.relu(self.patch(planes)).flatten(2).transpose(1, 2) + self.token
        tokens = self.attention(tokens, tokens, tokens)[0]
        return self.tied(self.twice(self.twice(tokens))).mean(1)


def test_any_module_is_accounted_for_to_the_last_parameter() -> None:
    network = Foreign()
    summary = summarise(network, name="foreign", channels=3, size=16)
    rows = {row.label: row for row in summary.rows}
    assert summary.total == sum(p.numel() for p in network.parameters())
    assert rows["patch"].receptive_field == rows["relu"].receptive_field == 4
    assert rows["twice"].macs == 2 * 16 * 64
    assert rows["tied"].trainable == 8
    assert rows["attention"].output_shape == (16, 8)
    # Projections of queries, keys, values and the output; then each of 16 positions against 16, twice.
    attention = sum(row.macs for label, row in rows.items() if label.startswith("attention"))
    assert attention == 4 * 16 * 64 + 2 * 16 * 16 * 8
    assert rows["unused"].output_shape == ()
    assert "never reached" in table(summary)


def test_a_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(400, 2))
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    summarise(network, name="", channels=3, size=12)
    assert [module.training for module in network] == [True, False, True, True, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_backbone_is_one_row_with_what_is_inside() -> None:
    pytest.importorskip("timm", reason="the extra torch is not installed")
    layers = [{"backbone": "test_resnet.r160_in1k"}, {"conv": {"filters": 8, "padding": "same"}}, "flatten"]
    network = network_of(*layers, {"dense": "classes"}, size=64, weights="none")
    backbone, conv, *_others = summarise(network, name="", channels=3, size=64).rows
    parameters = sum(p.numel() for p in network.layers[0].parameters())
    statistics = sum(b.numel() for name, b in network.layers[0].named_buffers() if "running" in name)
    assert (backbone.kind, backbone.trainable, backbone.frozen) == ("backbone", 0, parameters + statistics)
    assert backbone.macs > 100_000
    assert conv.trainable > 0


def test_the_table_reads_like_keras(vgg: Any) -> None:
    lines = table(vgg).splitlines()
    assert lines[0] == 'Model: "vgg-cifar"'
    assert len({len(line) for line in lines[1:-4]}) == 1
    assert "Layer (type)" in lines[2]
    assert "Param #" in lines[2]
    assert [cell.strip() for cell in lines[4].split("│")[1:-1]] == [
        "conv2d (Conv2D)", "(None, 32, 32, 32)", "896", "884,736", "3×3",
    ]  # fmt: skip
    assert lines[-6].split("│")[5].strip() == "all"
    # As Keras 3 prints them for the same network.
    assert lines[-4:-1] == [
        " Total params: 1,186,346 (4.53 MB)",
        " Trainable params: 1,184,426 (4.52 MB)",
        " Non-trainable params: 1,920 (7.50 KB)",
    ]


def names_of(summary: Any) -> list[str]:
    return [line.split("│")[1].strip() for line in table(summary).splitlines() if line.startswith("│")]


def test_layers_are_named_as_keras_names_them() -> None:
    kinds = {
        "conv": "conv2d (Conv2D)", "depthwise_conv": "depthwise_conv2d (DepthwiseConv2D)",
        "batch_norm": "batch_normalization (BatchNormalization)",
        "layer_norm": "layer_normalization (LayerNormalization)",
        "group_norm": "group_normalization (GroupNormalization)", "activation": "activation (Activation)",
        "max_pool": "max_pooling2d (MaxPooling2D)", "avg_pool": "average_pooling2d (AveragePooling2D)",
        "spatial_dropout": "spatial_dropout2d (SpatialDropout2D)", "dropout": "dropout (Dropout)",
        "rescale": "rescaling (Rescaling)", "residual": "residual (residual)",
        "global_avg_pool": "global_average_pooling2d (GlobalAveragePooling2D)", "dense": "dense (Dense)",
    }  # fmt: skip
    main = {"conv": 4, "group_norm": 2, "activation": "relu", "dropout": 0.1, "spatial_dropout": 0.1, "rescale": 2,
            "residual": ["batch_norm"], "dense": "classes"}  # fmt: skip
    network = network_of(*({kind: main[kind]} if kind in main else kind for kind in kinds))
    summary = summarise(network, name="", channels=3, size=32)
    assert names_of(summary) == list(kinds.values())
    assert [row.label for row in summary.rows] == list(kinds)


def test_names_are_numbered_as_keras_numbers_them(vgg: Any) -> None:
    assert names_of(vgg)[1:6] == [
        "batch_normalization (BatchNormalization)", "conv2d_1 (Conv2D)", "batch_normalization_1 (BatchNormalization)",
        "max_pooling2d (MaxPooling2D)", "dropout (Dropout)",
    ]  # fmt: skip
    assert names_of(vgg)[-1] == "dense (Dense)"


def test_paths_of_modules_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh(), nn.Flatten(), nn.Linear(400, 2))
    summary = summarise(network, name="", channels=3, size=12)
    assert names_of(summary) == ["0 (Conv2D)", "1 (Hardtanh)", "2 (Flatten)", "3 (Dense)"]


def test_without_maps_there_are_no_receptive_fields() -> None:
    network = network_of("flatten", {"dense": "classes"}, size=4)
    text = table(summarise(network, name="", channels=3, size=4))
    assert "MACs" in text
    assert "Receptive" not in text
