"""The sentences about what is kept in files, checkpoints and the caches between runs, by their codes."""

from kilat.locale import N_

FILES: dict[str, str | tuple[str, str]] = {
    "checkpoint_unreadable": N_("The checkpoint of step {step:,} was skipped: it cannot be read ({reason})."),
    "checkpoint_document_damaged": N_("The checkpoint of step {step:,} was skipped: its document is damaged."),
    "checkpoint_tensors_damaged": N_("The checkpoint of step {step:,} was skipped: its tensors are damaged."),
    "all_checkpoints_damaged": N_("All checkpoints were damaged, so training started again from the beginning."),
    "feature_cache": N_("The feature cache was not used: {reason}."),
    "feature_cache_damaged": N_("The feature cache was damaged, and was begun anew."),
    "feature_cache_set_aside": N_(
        "{path} is no feature cache: it was renamed to {aside}, and a new cache was begun in its place."
    ),
    "result_cache": N_("Something that an earlier run had computed was computed again, or was not kept: {reason}."),
}
