"""Losses, class weights and probabilities."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import losses  # noqa: E402
from kilat.recipe import fit as recipe  # noqa: E402

NAMES = ["daisy", "rose", "tulip"]


def one_hot(*labels: int, classes: int = 3) -> torch.Tensor:
    return torch.eye(classes)[list(labels)]


def test_two_classes_cost_the_same_by_softmax_and_by_sigmoid():
    logits = torch.tensor([[0.3], [-2.0], [50.0]])
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    targets = torch.tensor([[0.0, 1.0], [0.4, 0.6], [1.0, 0.0]])
    one = losses.Loss(recipe.Loss(name="binary_cross_entropy", label_smoothing=0.1), 2, None)
    other = losses.Loss(recipe.Loss(name="cross_entropy", label_smoothing=0.1), 2, None)
    torch.testing.assert_close(one.each(logits, targets), other.each(both, targets))
    torch.testing.assert_close(losses.probabilities(logits), losses.probabilities(both))


def test_the_focal_loss_without_focus_is_a_scaled_cross_entropy():
    logits, targets = torch.tensor([[1.0, -1.0, 0.5]]), one_hot(2)
    focal = losses.Loss(recipe.Loss(name="focal", gamma=0, alpha=0.5), 3, None)
    plain = losses.Loss(recipe.Loss(), 3, None)
    torch.testing.assert_close(focal(logits, targets), plain(logits, targets) / 2)


@pytest.mark.parametrize(
    ("name", "units", "gamma"),
    [
        ("cross_entropy", 2, 0.0),
        ("binary_cross_entropy", 1, 0.0),
        *[("focal", units, gamma) for units in (1, 2) for gamma in (0.0, 0.5, 2.0)],
    ],
)
def test_extreme_logits_have_finite_losses_and_slopes(name, units, gamma):
    size = 200.0
    logits = torch.tensor([[size], [-size], [0.0]])
    logits = (logits if units == 1 else torch.cat([-logits, logits], 1)).requires_grad_()
    each = losses.Loss(recipe.Loss(name=name, gamma=gamma, alpha=1.0), 2, None).each(
        logits, one_hot(0, 0, 1, classes=2)
    )
    each.sum().backward()
    assert torch.isfinite(each).all()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0].abs().max() > 0.9  # hopelessly wrong, and drawn back
    assert each[1] < 1e-6
    assert losses.probabilities(logits).sum(1).tolist() == pytest.approx([1, 1, 1])


def test_half_precision_is_summed_in_float32():
    logits = torch.tensor([[2.0, 1.0, -1.0]] * 2).bfloat16()
    loss = losses.Loss(recipe.Loss(), 3, None)(logits, one_hot(0, 1))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1) + math.exp(-3)) + 0.5)


def test_class_weights_multiply_and_share_mixed_labels():
    weight = torch.tensor([1.0, 2.0, 4.0])
    targets = torch.cat([one_hot(0, 1, 2), torch.tensor([[0.5, 0.0, 0.5]])])
    logits = torch.zeros(4, 3)
    each = losses.Loss(recipe.Loss(), 3, weight).each(logits, targets)
    assert each.tolist() == pytest.approx([math.log(3) * factor for factor in (1, 2, 4, 2.5)])
    assert losses.Loss(recipe.Loss(), 3, weight)(logits, targets).item() == pytest.approx(math.log(3) * 9.5 / 4)


def test_weights_of_classes():
    assert losses.class_weights(None, NAMES, [1, 2, 3]) is None
    assert losses.class_weights("balanced", NAMES, [10, 20, 30]).tolist() == pytest.approx([2, 1, 2 / 3])
    assert losses.class_weights({"rose": 3.0}, NAMES, [1, 1, 1]).tolist() == [1, 3, 1]


def test_a_class_without_pictures_divides_nothing_by_zero():
    assert torch.isfinite(losses.class_weights("balanced", NAMES, [5, 0, 5])).all()


def test_weights_of_classes_that_do_not_exist():
    with pytest.raises(RecipeError, match=r"no class 'roes', 'x'") as caught:
        losses.class_weights({"roes": 2.0, "daisy": 1.0, "x": 1.0}, NAMES, [1, 1, 1])
    assert "'rose'" in caught.value.hint
    assert "Valid names: daisy, rose, tulip." in caught.value.hint
