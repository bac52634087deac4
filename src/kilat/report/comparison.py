"""Fine-tuning against the frozen result that it began with, in sentences: which is kept, and by how much it won."""

from kilat.learn.metrics import ComparisonSection
from kilat.locale import _


def sentences(comparison: ComparisonSection) -> list[str]:
    """Return what was kept and why, and the accuracy of both on the test set."""
    found, tuned, frozen = comparison.validation, comparison.fine_tuned.test, comparison.frozen.test
    if comparison.kept == "fine_tuned":
        sentence = _(
            "The fine-tuned network is kept: on {n:,} validation pictures fine-tuning lowers the log loss by "
            "{gain:.3f} (standard error {error:.3f}), and accuracy goes from {before:.1%} to {after:.1%}."
        )
    else:
        sentence = _(
            "The frozen backbone is kept: on {n:,} validation pictures fine-tuning changes the log loss by "
            "{change:+.3f} (standard error {error:.3f}), which is no gain beyond noise, and accuracy from "
            "{before:.1%} to {after:.1%}."
        )
    first = sentence.format(
        n=found.n,
        gain=found.log_loss_gain,
        change=-found.log_loss_gain,
        error=found.standard_error,
        before=found.accuracy_before,
        after=found.accuracy_after,
    )
    if not tuned.n:
        return [first]
    both = _(
        "On the {n:,} test pictures, which decided nothing, accuracy is {tuned:.1%} fine-tuned and {frozen:.1%} frozen."
    )
    return [first, both.format(n=tuned.n, tuned=tuned.accuracy, frozen=frozen.accuracy)]
