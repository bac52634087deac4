"""The comparison of what was trained and the frozen backbone in sentences."""

from typing import Any

import pytest

from kilat.learn.metrics import ComparisonSection
from kilat.report.comparison import sentences


def part(n: int, accuracy: float | None) -> dict[str, Any]:
    return {"n": n, "accuracy": accuracy, "accuracy_interval": None, "log_loss": None, "brier": None, "ece": None}


def comparison(kept: str, gain: float, test: int = 700, trained: str = "fine_tuned") -> ComparisonSection:
    return ComparisonSection.model_validate(
        {
            "kept": kept,
            trained: {"test": part(test, 0.951 if test else None), "validation": part(1200, 0.95)},
            "frozen": {"test": part(test, 0.938 if test else None), "validation": part(1200, 0.93)},
            "validation": {"n": 1200, "log_loss_gain": gain, "standard_error": 0.012, "accuracy_before": 0.931,
                           "accuracy_after": 0.949, "needed": 0.02},
        }
    )  # fmt: skip


TUNED = (
    "The fine-tuned network is kept: on 1,200 validation pictures fine-tuning lowers the log loss by 0.045 (standard "
    "error 0.012), and accuracy goes from 93.1% to 94.9%."
)
FROZEN = (
    "The frozen backbone is kept: on 1,200 validation pictures fine-tuning changes the log loss by +0.003 (standard "
    "error 0.012), which is no gain beyond noise, and accuracy from 93.1% to 94.9%."
)


@pytest.mark.parametrize(("kept", "gain", "said"), [("fine_tuned", 0.045, TUNED), ("frozen", -0.003, FROZEN)])
def test_what_is_kept_is_said_with_why(kept, gain, said):
    first, second = sentences(comparison(kept, gain))
    assert first == said
    assert second == "On the 700 test pictures, which decided nothing, accuracy is 95.1% fine-tuned and 93.8% frozen."


NETWORK = (
    "A small network, trained from its first weights, is kept instead of the frozen backbone: on 1,200 validation "
    "pictures it lowers the log loss by 0.045 (standard error 0.012), and accuracy goes from 93.1% to 94.9%."
)
NO_NETWORK = (
    "The frozen backbone is kept: on 1,200 validation pictures a small network, trained from its first weights, "
    "changes the log loss by +0.003 (standard error 0.012), which is no gain beyond noise, and accuracy from 93.1% to "
    "94.9%."
)


@pytest.mark.parametrize(("kept", "gain", "said"), [("network", 0.045, NETWORK), ("frozen", -0.003, NO_NETWORK)])
def test_a_small_network_is_named_whether_it_is_kept_or_not(kept, gain, said):
    first, second = sentences(comparison(kept, gain, trained="network"))
    assert first == said
    assert second == (
        "On the 700 test pictures, which decided nothing, accuracy is 95.1% with the small network and 93.8% with the "
        "frozen backbone."
    )


def test_without_a_test_set_nothing_is_said_of_it():
    assert len(sentences(comparison("frozen", -0.1, test=0))) == 1
