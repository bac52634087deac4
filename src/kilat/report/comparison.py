"""What was trained against the head on a frozen backbone, in sentences: which is kept, and by how much it won."""

from collections.abc import Mapping

from kilat.learn.metrics import ComparisonSection
from kilat.locale import _


def sentences(comparison: ComparisonSection) -> list[str]:
    """Return what was kept and why, and the accuracy of both on the test set."""
    found, trained, frozen = comparison.validation, comparison.trained.test, comparison.frozen.test
    first = _what_is_kept(comparison).format(
        n=found.n,
        gain=found.log_loss_gain,
        change=-found.log_loss_gain,
        error=found.standard_error,
        before=found.accuracy_before,
        after=found.accuracy_after,
    )
    if not trained.n:
        return [first]
    if comparison.network:
        both = _(
            "On the {n:,} test pictures, which decided nothing, accuracy is {trained:.1%} with the small network and "
            "{frozen:.1%} with the frozen backbone."
        )
    else:
        both = _(
            "On the {n:,} test pictures, which decided nothing, accuracy is {trained:.1%} fine-tuned and {frozen:.1%} "
            "frozen."
        )
    return [first, both.format(n=trained.n, trained=trained.accuracy, frozen=frozen.accuracy)]


def cost_sentence(timing: Mapping[str, float]) -> str:
    """Return how much of a run's time the training took, reading its pictures included."""
    seconds = timing.get("pictures_s", 0.0) + timing.get("fit_s", 0.0)
    share = seconds / max(timing["total_s"], 1e-9)
    return _("The training took {seconds:.0f} s, {share:.0%} of the time.").format(seconds=seconds, share=share)


def _what_is_kept(comparison: ComparisonSection) -> str:
    if comparison.kept == "fine_tuned":
        return _(
            "The fine-tuned network is kept: on {n:,} validation pictures fine-tuning lowers the log loss by "
            "{gain:.3f} (standard error {error:.3f}), and accuracy goes from {before:.1%} to {after:.1%}."
        )
    if comparison.kept == "network":
        return _(
            "A small network, trained from its first weights, is kept instead of the frozen backbone: on {n:,} "
            "validation pictures it lowers the log loss by {gain:.3f} (standard error {error:.3f}), and accuracy goes "
            "from {before:.1%} to {after:.1%}."
        )
    if comparison.network:
        return _(
            "The frozen backbone is kept: on {n:,} validation pictures a small network, trained from its first "
            "weights, changes the log loss by {change:+.3f} (standard error {error:.3f}), which is no gain beyond "
            "noise, and accuracy from {before:.1%} to {after:.1%}."
        )
    return _(
        "The frozen backbone is kept: on {n:,} validation pictures fine-tuning changes the log loss by "
        "{change:+.3f} (standard error {error:.3f}), which is no gain beyond noise, and accuracy from "
        "{before:.1%} to {after:.1%}."
    )
