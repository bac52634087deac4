"""Progressive resizing: smaller pictures first, larger ones later."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import resolutions  # noqa: E402
from kilat.locale.notes import Note  # noqa: E402
from kilat.runtime.deadline import Deadline  # noqa: E402

POOLED = [{"conv": 4}, "global_avg_pool", {"dense": "classes"}]
SIDES = [16, 24, 32]


class Recording(nn.Module):
    """A network of one convolution that records the sides of pictures, in training and in inference."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
        self.trained, self.evaluated = [], []

    def forward(self, planes):
        (self.trained if self.training else self.evaluated).append(planes.shape[-1])
        return self.dense(self.conv(planes).mean((2, 3)))


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (3, [16, 24, 32]),
        (6, [16, 16, 24, 24, 32, 32]),
        (4, [16, 16, 24, 32]),
        (7, [16, 16, 16, 24, 24, 32, 32]),
        (1, [16]),
    ],
)
def test_each_side_has_an_equal_share(epochs, expected):
    assert [resolutions.side_of_epoch(SIDES, epoch, epochs) for epoch in range(epochs)] == expected
    assert resolutions.side_of_epoch(SIDES, epochs, epochs) == 32  # after the last


def test_the_cost_follows_the_area():
    assert resolutions.relative_cost(SIDES, 0, 3) == pytest.approx((16**2 + 24**2 + 32**2) / 3 / 16**2)
    assert resolutions.relative_cost(SIDES, 1, 3) == pytest.approx((24**2 + 32**2) / 2 / 24**2)
    assert resolutions.relative_cost(SIDES, 2, 3) == resolutions.relative_cost(SIDES, 3, 3) == 1


def test_smaller_planes_are_averages_and_the_same_size_is_untouched():
    board = torch.zeros(2, 3, 33, 33)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 255.0
    small = resolutions.resize(board, 11)
    assert small.shape == (2, 3, 11, 11)
    assert (small - 127.5).abs().max() < 2  # without antialiasing it would be a chessboard again
    assert resolutions.resize(board, 33) is board
    assert torch.equal(resolutions.resize(torch.full((1, 3, 8, 8), 7.0), 20), torch.full((1, 3, 20, 20), 7.0))


def test_shares_are_of_the_networks_input():
    assert resolutions.in_pixels([0.75, 1.0], 32) == [24, 32]
    assert resolutions.in_pixels([0.625, 1], 8) == [5, 8]
    assert resolutions.in_pixels([16, 24], 32) == [16, 24]
    assert resolutions.in_pixels([], 32) == []


class TestTraining:
    def test_trains_at_each_in_turn_and_evaluates_at_its_own(self, make_trainer):
        network = Recording()
        fit = {"epochs": None, "phases": [{"epochs": 4}, {"epochs": 2}], "resolution": [16, 24], "keep": "last"}
        trainer = make_trainer(model={"module": "tests.Recording"}, layers=[], network=network, fit=fit)
        assert network.evaluated == [16, 24]  # whether it takes them
        network.evaluated.clear()
        trainer.run()
        assert network.trained == [side for side in (16, 16, 24, 24, 16, 24) for _update in range(3)]
        assert set(network.evaluated) == {8}
        assert trainer.state.notes == [Note("resolution_enlarged", {"size": 8, "largest": 24})]

    def test_trains_at_shares_of_the_input(self, make_trainer):
        network = Recording()
        fit = {"epochs": 4, "resolution": [0.5, 0.75, 1.0]}
        make_trainer(model={"module": "tests.Recording"}, layers=[], network=network, fit=fit, side=16).run()
        assert network.trained == [side for side in (8, 8, 12, 16) for _update in range(3)]

    def test_killed_at_any_of_them(self, make_trainer, require_exact):
        def make(**choices):
            augment = {"rotation": 10, "mixup": 0.2}
            return make_trainer(layers=POOLED, augment=augment, **choices)

        fit = {"epochs": 3, "resolution": SIDES, "checkpoint": 0}
        whole = require_exact(make, (3, 4), fit=fit)
        plain = make(fit={**fit, "resolution": []}, folder="plain")
        plain.run()
        assert plain.state.history[0]["loss"] != whole.state.history[0]["loss"]
        assert plain.state.notes == []

    def test_follows_the_plan_of_a_time_limit(self, make_trainer, clock):
        network = Recording()
        fit = {"epochs": 100_000, "resolution": [16, 24], "keep": "last", "swa_epochs": 2}
        clock.step = 0.02
        deadline = Deadline(clock.time + 12.0, clock)
        trainer = make_trainer(
            model={"module": "tests.Recording"}, layers=[], network=network, fit=fit, deadline=deadline
        )
        trainer.run()
        assert trainer.state.stop_reason == "time_limit"
        assert set(network.trained[-3:]) == {24}
        assert 0.2 < network.trained.count(16) / len(network.trained) < 0.8
        assert trainer.weights.swa_epochs >= 1

    @pytest.mark.parametrize(
        "layers", [["flatten", {"dense": "classes"}], [{"conv": 4}, "flatten", {"dense": "classes"}]]
    )
    def test_a_network_of_one_size_is_refused(self, make_trainer, layers):
        with pytest.raises(RecipeError, match=r"fit\.resolution: 16: .* does not take pictures of 16") as refused:
            make_trainer(layers=layers, fit={"resolution": [16, 32]})
        assert "global_avg_pool" in refused.value.hint
