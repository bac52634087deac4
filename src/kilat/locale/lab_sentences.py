"""The sentences of notes about labs, by their codes."""

from kilat.locale import N_

LABS: dict[str, str | tuple[str, str]] = {
    "lab_small_network": N_(
        "Heads alone are compared: `kilat train` also trains a small network ({recipe}) on pictures as small as these, "
        "and keeps the better one. Compare that with --vary features.small_network={recipe},none."
    ),
    "lab_validation_shared": (
        N_("{count:,} picture of the data's own validation set is shared out to trials like the others."),
        N_("{count:,} pictures of the data's own validation set are shared out to trials like the others."),
    ),
    "lab_question_recipe": N_("The question was put to the recipe {recipe}, since --recipe names no other."),
    "lab_question_photos": N_(
        "The question was put to the recipe {recipe} with pictures of {size} pixels, since --recipe names no other: "
        "finetune would put it to a pretrained backbone, which takes longer."
    ),
    "lab_frozen_kept": N_(
        "The head on the frozen backbone answers: what was trained was not better on validation pictures by more than "
        "noise."
    ),
    "lab_few_seeds": (
        N_(
            "{count} seed for trained networks says nothing about chance: with fewer than {needed} seeds no difference "
            "counts as more than chance."
        ),
        N_(
            "{count} seeds are too few for trained networks: with fewer than {needed} no difference counts as more "
            "than chance."
        ),
    ),
    "lab_few_seeds_of_some": N_(
        "With fewer than {needed} seeds of trained networks no difference counts as more than chance: {variants}."
    ),
    "lab_few_pictures": (
        N_("There is only {count:,} different picture: that says nothing."),
        N_("There are only {count:,} different pictures: only large effects can show."),
    ),
    "lab_dropped": N_(
        "Dropped before all seeds since others did better, and compared on the seeds that they had: {variants}."
    ),
    "lab_effort": N_(
        "Trained for a part of the full length only, and compared with the reference at that length: {variants}."
    ),
    "lab_identical": N_(
        "Exactly the answers and probabilities of '{reference}': {variants}. What differs between them changes nothing "
        "here."
    ),
    "lab_other_reference": N_(
        "{variant}, the reference, has no finished trial: the others are compared with {reference} instead."
    ),
    "lab_failed": (
        N_("{count} trial failed: {variants}. Its seed is left out of the comparisons of that variant."),
        N_("{count} trials failed: {variants}. Their seeds are left out of the comparisons of these variants."),
    ),
    "lab_not_compared": N_("Not compared, since they have no trial in common with the reference: {variants}."),
    "lab_fewer_seeds": N_("Compared on fewer than the {planned} seeds that were planned: {variants}."),
}
"""The sentence of every code; where there is a singular, both, chosen by the value ``count``."""
