"""A backbone opened in stages: which learn, how fast, with which batch norms, and over several phases."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("timm")

from torch import nn  # noqa: E402

from kilat import recipe as recipes  # noqa: E402
from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import training_run  # noqa: E402
from kilat.fit.stages import depths, staged  # noqa: E402
from kilat.model.backbone_layer import BackboneModule  # noqa: E402

LAYERS = [{"backbone": "test_efficientnet"}, "global_avg_pool", {"dense": "classes"}]


def weights(training):
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def changes(before, after):
    """By how much each weight changed; running statistics and counters are left out."""
    return {name: (after[name] - value).abs().max().item() for name, value in before.items() if "running" not in name
            and "num_batches" not in name}  # fmt: skip


class Tiny(nn.Module):
    """What a backbone must be: planes to a map, in two stages."""

    num_features = 4
    feature_info = ({"module": "one"}, {"module": "two"})

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward_features(self, planes):
        return self.two(self.one(planes).relu())


class Whole(nn.Module):
    """A network that opens in stages itself, as one does that is no list of layers."""

    stages = ("low", "high")

    def __init__(self):
        super().__init__()
        self.low, self.high, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 3)
        self.opened = []

    def forward(self, planes):
        return self.head(self.high(self.low(planes)).flatten(1))

    def unfreeze(self, stages):
        self.opened.append(stages)
        return []

    def depth(self, name):
        return {"high": 1, "low": 2}.get(name.partition(".")[0], 0)


def tiny(make_training, folder="run", **fit):
    head = nn.Linear(16, 3)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    network = nn.Sequential(BackboneModule(Tiny(), "tiny", 8), nn.Flatten(), head)
    choices = {"batch": 45, "epochs": 1, "keep": "last", "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    return make_training(
        model={"module": "tests.Tiny"}, layers=[], network=network, fit={**choices, **fit}, folder=folder
    )


class TestDepths:
    def test_of_a_backbone_below_other_layers(self, make_opened):
        found = depths(make_opened(epochs=1).network)
        assert found["network.layers.0.network.blocks.4.0.conv_pw.weight"] == 1
        assert found["network.layers.0.network.conv_stem.weight"] == 5
        assert {depth for name, depth in found.items() if not name.startswith("network.layers.0.")} == {0}

    def test_of_a_network_that_opens_itself(self):
        network = Whole()
        assert staged(network)[0] == ""
        assert depths(network) == {"low.weight": 2, "low.bias": 2, "high.weight": 1, "high.bias": 1, "head.weight": 0,
                                   "head.bias": 0}  # fmt: skip

    def test_without_a_backbone_all_is_head(self, make_training):
        assert set(depths(make_training().network).values()) == {0}


class TestUnfreezing:
    def test_without_phases(self, make_training):
        for unfreeze, expected in ((1, {"two", "head"}), ("all", {"one", "two", "head"}), (0, {"head"})):
            training = tiny(make_training, unfreeze=unfreeze, folder=str(unfreeze))
            before = weights(training)
            training.run()
            parts = {"0.network.one": "one", "0.network.two": "two", "2.": "head"}
            moved = {name for name, change in changes(before, weights(training)).items() if change}
            found = {part for start, part in parts.items() for name in moved if name.startswith(f"network.{start}")}
            assert found == expected

    def test_of_a_network_that_opens_itself(self, make_training):
        network = Whole()
        fit = {"epochs": None, "phases": [{"epochs": 1}, {"epochs": 1, "unfreeze": "all"}]}
        make_training(model={"module": "tests.Whole"}, layers=[], network=network, fit=fit).run()
        assert network.opened == [0, "all"]

    def test_where_there_is_nothing_to_unfreeze(self, make_training):
        training = make_training(
            model={"module": "tests.Linear"},
            layers=[],
            network=nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
            fit={"unfreeze": 2},
        )
        with pytest.raises(RecipeError, match="unfreeze 2: the network has no backbone"):
            training.run()


def test_layer_decay_slows_every_stage(make_training):
    """One step of plain gradient descent, so a weight moves in proportion to its rate."""
    moved = {}
    for decay in (1.0, 0.5):
        training = tiny(make_training, unfreeze="all", layer_decay=decay, folder=str(decay))
        before = weights(training)
        training.run()
        moved[decay] = changes(before, weights(training))
    for start, factor in (("network.2.", 1.0), ("network.0.network.two", 0.5), ("network.0.network.one", 0.25)):
        names = [name for name in moved[1.0] if name.startswith(start)]
        assert names
        for name in names:
            assert moved[0.5][name] == pytest.approx(factor * moved[1.0][name], rel=1e-3, abs=1e-7), name


class TestBatchNorms:
    @staticmethod
    def statistics(training):
        return {name: value for name, value in weights(training).items() if "running" in name}

    @staticmethod
    def scales(training):
        return {name: value for name, value in weights(training).items() if ".bn" in name and name.endswith("weight")}

    @pytest.mark.parametrize(("choice", "learns"), [("frozen", False), ("train", True), ("auto", True)])
    def test_of_open_stages(self, make_opened, choice, learns):
        """The weights are random, where ``auto`` trains them."""
        training = make_opened(epochs=1, unfreeze=2, batch_norm=choice, keep="last")
        opened = tuple(f"network.layers.0.network.{part}." for part in ("blocks.3", "blocks.4", "bn2"))
        statistics, scales = self.statistics(training), self.scales(training)
        training.run()
        for name, value in self.statistics(training).items():
            assert torch.equal(value, statistics[name]) != (learns and name.startswith(opened)), name
        for name, value in self.scales(training).items():
            assert torch.equal(value, scales[name]) != name.startswith(opened), name

    def test_pretrained_ones_keep_their_statistics(self, tmp_path):
        import timm
        from safetensors.torch import save_file

        save_file(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.safetensors")
        for choice, learns in (("auto", False), ("frozen", False), ("train", True)):
            model = {"layers": [{"backbone": {"name": "test_efficientnet", "trainable": True}}, *LAYERS[1:]],
                     "weights": str(tmp_path / "weights.safetensors")}  # fmt: skip
            network = training_run.layered(recipes.load({"model": model, "fit": {"batch_norm": choice}}), 32, 3)
            norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
            assert {part.training for part in norms} == {learns}


TWO_PHASES = [{"epochs": 2}, {"epochs": 2, "unfreeze": 2, "learning_rate": 0.003}]


class TestPhases:
    @pytest.mark.parametrize(("keep", "steps"), [("best", (1, 6, 10)), ("last", (5, 7))])
    def test_killed_in_any_of_them(self, make_opened, require_exact, keep, steps):
        """Two phases of two epochs with three steps each; after 6 the first one ends."""
        whole = require_exact(
            make_opened, steps, phases=TWO_PHASES, keep=keep, layer_decay=0.7, swa_epochs=2,
            optimizer="nadam", schedule={"name": "cosine", "warmup": 0.5},
        )  # fmt: skip
        assert len(whole.place.history) == 4
        assert whole.place.stop_reason == "all epochs"

    @pytest.mark.parametrize(
        ("schedule", "shape"),
        [
            ({"name": "one_cycle"}, lambda step, total: (1 / 25, 1.0, 1 / 250_000)),
            ({"name": "cosine", "warmup": 1}, lambda step, total: (0.0, 1.0, (1 + math.cos(math.pi * 2 / 3)) / 2)),
        ],
        ids=["one_cycle", "cosine"],
    )
    def test_each_has_its_schedule_from_the_start(self, make_opened, schedule, shape):
        rates = []
        training = make_opened(phases=TWO_PHASES, schedule=schedule, keep="last", optimizer={"learning_rate": 0.01})
        training.progress = lambda *_: rates.append(training._rate(training.place.step - 1))
        training.run()
        first, second = np.array(rates[:6]), np.array(rates[6:])
        assert np.allclose(second, first * 0.3)
        start, top, end = shape(0, 6)
        assert first[0] == pytest.approx(0.01 * start)
        assert first.max() <= 0.01 * top + 1e-9
        assert first[-1] == pytest.approx(0.01 * end, rel=1e-3)
        assert np.unravel_index(first.argmax(), first.shape)[0] not in (0, 5)
        assert [row["learning_rate"] for row in training.place.history] == pytest.approx(
            [first[2], first[5], second[2], second[5]]
        )

    def test_the_next_one_begins_with_the_best_of_all_before_it(self, make_training):
        states = []
        training = tiny(
            make_training, epochs=None, keep="best", optimizer={"name": "sgd", "learning_rate": 0.1},
            phases=[{"epochs": 1}, {"epochs": 2, "learning_rate": 30.0}, {"epochs": 1, "unfreeze": 1,
                                                                          "learning_rate": 1e-9}],
        )  # fmt: skip
        training.on_epoch = lambda row: states.append(weights(training))
        training.run()
        losses = [row["validation_loss"] for row in training.place.history]
        assert min(losses[1:3]) > losses[0]
        assert losses[3] == pytest.approx(losses[0], abs=1e-4)
        assert max(changes(states[0], states[3]).values()) < 1e-5 < max(changes(states[0], states[2]).values())
        assert max(changes(states[training.place.best], weights(training)).values()) == 0
