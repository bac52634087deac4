import time

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import resolutions  # noqa: E402

POOLED = [{"conv": 4}, "global_avg_pool", {"dense": "classes"}]
SIDES = [16, 24, 32]


class Watched(nn.Module):
    """A network of one convolution that notes at which sides it learns and at which it answers."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
        self.learnt, self.answered = [], []

    def forward(self, planes):
        (self.learnt if self.training else self.answered).append(planes.shape[-1])
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
    assert [resolutions.side_of(SIDES, epoch, epochs) for epoch in range(epochs)] == expected
    assert resolutions.side_of(SIDES, epochs, epochs) == 32  # after the last


def test_what_is_left_costs_what_its_areas_say():
    assert resolutions.dearer(SIDES, 0, 3) == pytest.approx((16**2 + 24**2 + 32**2) / 3 / 16**2)
    assert resolutions.dearer(SIDES, 1, 3) == pytest.approx((24**2 + 32**2) / 2 / 24**2)
    assert resolutions.dearer(SIDES, 2, 3) == resolutions.dearer(SIDES, 3, 3) == 1


def test_smaller_planes_are_averages_and_the_same_size_is_untouched():
    board = torch.zeros(2, 3, 33, 33)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 255.0
    small = resolutions.resized(board, 11)
    assert small.shape == (2, 3, 11, 11)
    assert (small - 127.5).abs().max() < 2  # without antialiasing it would be a chessboard again
    assert resolutions.resized(board, 33) is board
    assert torch.equal(resolutions.resized(torch.full((1, 3, 8, 8), 7.0), 20), torch.full((1, 3, 20, 20), 7.0))


class TestTraining:
    def test_looks_at_each_in_turn_and_answers_at_its_own(self, make_training):
        network = Watched()
        fit = {"epochs": None, "phases": [{"epochs": 4}, {"epochs": 2}], "resolution": [16, 24], "keep": "last"}
        training = make_training(model={"module": "tests.Watched"}, layers=[], network=network, fit=fit)
        assert network.answered == [16, 24]  # whether it can
        network.answered.clear()
        training.run()
        assert network.learnt == [side for side in (16, 16, 24, 24, 16, 24) for _update in range(3)]
        assert set(network.answered) == {8}
        assert training.place.notes == [
            "fit.resolution: pictures are held at 8 pixels; at 24 they are enlarged and show no more."
        ]

    def test_killed_at_any_of_them(self, make_training, require_exact):
        def make(**choices):
            augment = {"rotation": 10, "mixup": 0.2}
            return make_training(layers=POOLED, augment=augment, **choices)

        fit = {"epochs": 3, "resolution": SIDES, "checkpoint": 0}
        whole = require_exact(make, (3, 4), fit=fit)
        plain = make(fit={**fit, "resolution": []}, folder="plain")
        plain.run()
        assert plain.place.history[0]["loss"] != whole.place.history[0]["loss"]
        assert plain.place.notes == []

    def test_follows_what_a_time_limit_leaves(self, make_training):
        network = Watched()
        fit = {"epochs": 100_000, "resolution": [16, 24], "keep": "last", "swa_epochs": 2}
        training = make_training(
            model={"module": "tests.Watched"}, layers=[], network=network, fit=fit, deadline=time.perf_counter() + 9.5
        )
        training.run()
        assert training.place.stop_reason == "time limit"
        assert set(network.learnt[-3:]) == {24}
        assert 0.2 < network.learnt.count(16) / len(network.learnt) < 0.8
        assert training.weights.averaged_epochs >= 1

    @pytest.mark.parametrize(
        "layers", [["flatten", {"dense": "classes"}], [{"conv": 4}, "flatten", {"dense": "classes"}]]
    )
    def test_a_network_of_one_size_is_refused(self, make_training, layers):
        with pytest.raises(RecipeError, match=r"fit\.resolution: 16: .* cannot look at pictures of 16") as refused:
            make_training(layers=layers, fit={"resolution": [16, 32]})
        assert "global_avg_pool" in refused.value.hint
