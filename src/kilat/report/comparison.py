"""Fine-tuning beside the frozen result that it began with, in sentences: which is kept, and by how much it won."""

from collections.abc import Mapping
from typing import Any

from kilat.locale import _


def sentences(comparison: Mapping[str, Any]) -> list[str]:
    """What was kept and why, and how both did on the test.

    Args:
        comparison: the section of ``metrics.json``.
    """
    found, tuned, frozen = comparison["validation"], comparison["fine_tuned"]["test"], comparison["frozen"]["test"]
    if comparison["kept"] == "fine_tuned":
        sentence = _(
            "Fine-tuning is kept: on {n:,} validation pictures it lowers the log loss by {gain:.3f} (standard error "
            "{error:.3f}) and the share of right answers goes from {before:.1%} to {after:.1%}."
        )
    else:
        sentence = _(
            "The frozen backbone is kept: on {n:,} validation pictures fine-tuning changes the log loss by "
            "{change:+.3f} (standard error {error:.3f}), which is no gain beyond noise, and the share of right answers "
            "from {before:.1%} to {after:.1%}."
        )
    first = sentence.format(
        n=found["n"],
        gain=found["log_loss_gain"],
        change=-found["log_loss_gain"],
        error=found["standard_error"],
        before=found["accuracy_before"],
        after=found["accuracy_after"],
    )
    if not tuned["n"]:
        return [first]
    both = _(
        "Of the {n:,} test pictures, which decided nothing, {tuned:.1%} are right fine-tuned, {frozen:.1%} frozen."
    )
    return [first, both.format(n=tuned["n"], tuned=tuned["accuracy"], frozen=frozen["accuracy"])]
