"""A backbone unfrozen in stages: which are trained, how fast, with which batch norms, and over several phases."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("timm")

from torch import nn  # noqa: E402

from kilat import recipe as recipes  # noqa: E402
from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import prepare  # noqa: E402
from kilat.fit.stages import find_staged, parameter_depths  # noqa: E402
from kilat.model.backbone_layer import BackboneModule  # noqa: E402

LAYERS = [{"backbone": "test_efficientnet"}, "global_avg_pool", {"dense": "classes"}]


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def changes(before, after):
    """How much each weight changed, without running statistics and counters."""
    return {name: (after[name] - value).abs().max().item() for name, value in before.items() if "running" not in name
            and "num_batches" not in name}  # fmt: skip


class Tiny(nn.Module):
    """A backbone of two stages, from planes to a map."""

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


class OwnStages(nn.Module):
    """A network that unfreezes its stages itself, as one does that is not a list of layers."""

    stages = ("low", "high")

    def __init__(self):
        super().__init__()
        self.low, self.high, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 3)
        self.unfrozen = []

    def forward(self, planes):
        return self.head(self.high(self.low(planes)).flatten(1))

    def unfreeze(self, stages):
        self.unfrozen.append(stages)
        return []

    def depth(self, name):
        return {"high": 1, "low": 2}.get(name.partition(".")[0], 0)


def tiny(make_trainer, folder="run", **fit):
    head = nn.Linear(16, 3)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    network = nn.Sequential(BackboneModule(Tiny(), "tiny", 8), nn.Flatten(), head)
    choices = {"batch": 45, "epochs": 1, "keep": "last", "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    return make_trainer(
        model={"module": "tests.Tiny"}, layers=[], network=network, fit={**choices, **fit}, folder=folder
    )


class TestDepths:
    def test_of_a_backbone_below_other_layers(self, make_backbone_trainer):
        found = parameter_depths(make_backbone_trainer(epochs=1).network)
        assert found["network.layers.0.network.blocks.4.0.conv_pw.weight"] == 1
        assert found["network.layers.0.network.conv_stem.weight"] == 5
        assert {depth for name, depth in found.items() if not name.startswith("network.layers.0.")} == {0}

    def test_of_a_network_with_its_own_stages(self):
        network = OwnStages()
        assert find_staged(network)[0] == ""
        stages = {"low": 2, "high": 1, "head": 0}
        wanted = {f"{part}.{kind}": depth for part, depth in stages.items() for kind in ("weight", "bias")}
        assert parameter_depths(network) == wanted

    def test_without_a_backbone_everything_is_head(self, make_trainer):
        assert set(parameter_depths(make_trainer().network).values()) == {0}


class TestUnfreezing:
    def test_without_phases(self, make_trainer):
        for unfreeze, expected in ((1, {"two", "head"}), ("all", {"one", "two", "head"}), (0, {"head"})):
            trainer = tiny(make_trainer, unfreeze=unfreeze, folder=str(unfreeze))
            before = weights(trainer)
            trainer.run()
            parts = {"0.network.one": "one", "0.network.two": "two", "2.": "head"}
            moved = {name for name, change in changes(before, weights(trainer)).items() if change}
            found = {part for start, part in parts.items() for name in moved if name.startswith(f"network.{start}")}
            assert found == expected

    def test_of_a_network_with_its_own_stages(self, make_trainer):
        network = OwnStages()
        fit = {"epochs": None, "phases": [{"epochs": 1}, {"epochs": 1, "unfreeze": "all"}]}
        make_trainer(model={"module": "tests.OwnStages"}, layers=[], network=network, fit=fit).run()
        assert network.unfrozen == [0, "all"]

    def test_where_there_is_nothing_to_unfreeze(self, make_trainer):
        trainer = make_trainer(
            model={"module": "tests.Linear"},
            layers=[],
            network=nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
            fit={"unfreeze": 2},
        )
        with pytest.raises(RecipeError, match="unfreeze 2: the network has no backbone"):
            trainer.run()


def test_layer_decay_slows_every_stage(make_trainer):
    """One step of plain gradient descent, so a weight changes in proportion to its rate."""
    moved = {}
    for decay in (1.0, 0.5):
        trainer = tiny(make_trainer, unfreeze="all", layer_decay=decay, folder=str(decay))
        before = weights(trainer)
        trainer.run()
        moved[decay] = changes(before, weights(trainer))
    for start, factor in (("network.2.", 1.0), ("network.0.network.two", 0.5), ("network.0.network.one", 0.25)):
        names = [name for name in moved[1.0] if name.startswith(start)]
        assert names
        for name in names:
            assert moved[0.5][name] == pytest.approx(factor * moved[1.0][name], rel=1e-3, abs=1e-7), name


class TestBatchNorms:
    @staticmethod
    def statistics(trainer):
        return {name: value for name, value in weights(trainer).items() if "running" in name}

    @staticmethod
    def scales(trainer):
        return {name: value for name, value in weights(trainer).items() if ".bn" in name and name.endswith("weight")}

    @pytest.mark.parametrize(("choice", "are_trained"), [("frozen", False), ("train", True), ("auto", True)])
    def test_of_unfrozen_stages(self, make_backbone_trainer, choice, are_trained):
        """The weights are random, where ``auto`` trains them."""
        trainer = make_backbone_trainer(epochs=1, unfreeze=2, batch_norm=choice, keep="last")
        unfrozen = tuple(f"network.layers.0.network.{part}." for part in ("blocks.3", "blocks.4", "bn2"))
        statistics, scales = self.statistics(trainer), self.scales(trainer)
        trainer.run()
        for name, value in self.statistics(trainer).items():
            assert torch.equal(value, statistics[name]) != (are_trained and name.startswith(unfrozen)), name
        for name, value in self.scales(trainer).items():
            assert torch.equal(value, scales[name]) != name.startswith(unfrozen), name

    def test_pretrained_ones_keep_their_statistics(self, tmp_path):
        import timm
        from safetensors.torch import save_file

        save_file(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.safetensors")
        for choice, are_trained in (("auto", False), ("frozen", False), ("train", True)):
            model = {"layers": [{"backbone": {"name": "test_efficientnet", "trainable": True}}, *LAYERS[1:]],
                     "weights": str(tmp_path / "weights.safetensors")}  # fmt: skip
            network = prepare.build_network(recipes.load({"model": model, "fit": {"batch_norm": choice}}), 32, 3)
            norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
            assert {part.training for part in norms} == {are_trained}


TWO_PHASES = [{"epochs": 2}, {"epochs": 2, "unfreeze": 2, "learning_rate": 0.003}]


class TestPhases:
    @pytest.mark.parametrize(("keep", "steps"), [("best", (1, 6, 10)), ("last", (5, 7))])
    def test_killed_in_any_of_them(self, make_backbone_trainer, require_exact, keep, steps):
        """Two phases of two epochs with three steps each; after 6 the first one ends."""
        whole = require_exact(
            make_backbone_trainer, steps, phases=TWO_PHASES, keep=keep, layer_decay=0.7, swa_epochs=2,
            optimizer="nadam", schedule={"name": "cosine", "warmup": 0.5},
        )  # fmt: skip
        assert len(whole.state.history) == 4
        assert whole.state.stop_reason == "all_epochs"

    @pytest.mark.parametrize(
        ("schedule", "shape"),
        [
            ({"name": "one_cycle"}, lambda step, total: (1 / 25, 1.0, 1 / 250_000)),
            ({"name": "cosine", "warmup": 1}, lambda step, total: (0.0, 1.0, (1 + math.cos(math.pi * 2 / 3)) / 2)),
        ],
        ids=["one_cycle", "cosine"],
    )
    def test_each_has_its_schedule_from_the_start(self, make_backbone_trainer, schedule, shape):
        rates = []
        trainer = make_backbone_trainer(
            phases=TWO_PHASES, schedule=schedule, keep="last", optimizer={"learning_rate": 0.01}
        )
        trainer.advance = lambda *_: rates.append(trainer.learning_rate(trainer.state.step - 1))
        trainer.run()
        first, second = np.array(rates[:6]), np.array(rates[6:])
        assert np.allclose(second, first * 0.3)
        start, top, end = shape(0, 6)
        assert first[0] == pytest.approx(0.01 * start)
        assert first.max() <= 0.01 * top + 1e-9
        assert first[-1] == pytest.approx(0.01 * end, rel=1e-3)
        assert np.unravel_index(first.argmax(), first.shape)[0] not in (0, 5)
        assert [row["learning_rate"] for row in trainer.state.history] == pytest.approx(
            [first[2], first[5], second[2], second[5]]
        )

    def test_the_next_one_begins_with_the_best_of_all_before_it(self, make_trainer):
        states = []
        trainer = tiny(
            make_trainer, epochs=None, keep="best", optimizer={"name": "sgd", "learning_rate": 0.1},
            phases=[{"epochs": 1}, {"epochs": 2, "learning_rate": 30.0}, {"epochs": 1, "unfreeze": 1,
                                                                          "learning_rate": 1e-9}],
        )  # fmt: skip
        trainer.on_epoch = lambda row: states.append(weights(trainer))
        trainer.run()
        losses = [row["validation_loss"] for row in trainer.state.history]
        assert min(losses[1:3]) > losses[0]
        assert losses[3] == pytest.approx(losses[0], abs=1e-4)
        assert max(changes(states[0], states[3]).values()) < 1e-5 < max(changes(states[0], states[2]).values())
        assert max(changes(states[trainer.state.best_epoch], weights(trainer)).values()) == 0
