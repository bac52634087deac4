"""The sentences of a diagnosis, by their codes (``kilat.report.diagnosis``); notes fill in what they name."""

from kilat.locale import N_

DIAGNOSES: dict[str, str | tuple[str, str]] = {
    # what makes the measurement doubtful
    "diagnosis_nothing_measured": N_("Nothing could be measured: no picture was left to test the classifier on."),
    "diagnosis_leak": (
        N_(
            "One of the {n:,} test pictures has a near-duplicate among the training pictures, so the accuracy is too "
            "good; without it, it is {accuracy:.1%}."
        ),
        N_(
            "{count:,} of the {n:,} test pictures have a near-duplicate among the training pictures, so the accuracy "
            "is too good; without them, it is {accuracy:.1%} of {clean:,}."
        ),
    ),
    "diagnosis_only_leaked": N_(
        "All {n:,} test pictures have a near-duplicate among the training pictures: the accuracy shows what was "
        "remembered, not what was learned."
    ),
    "diagnosis_shortcut": N_(
        "The classes differ in something beside what they show, and the classifier may go by that: see “The data”. "
        "The accuracy holds only for pictures that differ in the same way."
    ),
    "diagnosis_few_measured": (
        N_("Measured on one picture, which decides it alone."),
        N_(
            "Measured on {count:,} pictures, where chance decides much: the accuracy may as well be {low:.0%} or "
            "{high:.0%}."
        ),
    ),
    # how a finished model does on other pictures
    "diagnosis_worse_than_own_test": N_(
        "On the {n:,} test pictures of its own run it was right for {own:.1%}: these pictures are harder for it, or "
        "differ from those it was trained on. `kilat drift` says whether they differ."
    ),
    "diagnosis_better_than_own_test": N_(
        "On the {n:,} test pictures of its own run it was right for {own:.1%}: these pictures are easier for it."
    ),
    "diagnosis_as_own_test": N_(
        "That agrees with the test of its own run, where it was right for {own:.1%} of {n:,} pictures."
    ),
    # what went wrong in a training by gradient
    "diagnosis_batch_norm": N_(
        "Training {training:.0%}, validation {validation:.0%}: the running statistics of batch norm had not settled, "
        "so that the network answers otherwise than it did in training. Leave fit.precise_batch_norm at auto."
    ),
    "diagnosis_layers": N_(
        "The network has learned nothing. The notes say what is wrong with its layers: fix that first."
    ),
    "diagnosis_same_answer": N_(
        "The answers hardly vary from picture to picture: the network has learned nothing. Try a lower learning rate "
        "(`kilat lr-find` suggests one); of a deep network see whether gradients reach all of its layers "
        "(--set fit.watch=layers)."
    ),
    "diagnosis_same_answer_penalised": N_(
        "The answers hardly vary from picture to picture: the network has learned nothing. Its weight penalties (l1, "
        "l2) may hold all weights near zero: try smaller ones first, then a lower learning rate (`kilat lr-find`)."
    ),
    "diagnosis_diverged": N_(
        "The loss was not finite during training, which went back and on with half the learning rate: begin with a "
        "lower one, or clip gradients (--set fit.clip.global_norm=1)."
    ),
    "diagnosis_unstable": N_(
        "The validation loss jumped to {worst:.3g} during training, from {first:.3g} after the first epoch: begin with "
        "a lower learning rate (`kilat lr-find` suggests one)."
    ),
    "diagnosis_nothing_learned": N_(
        "Training {training:.0%}, validation {validation:.0%}, and always answering “{label}” is right for "
        "{baseline:.0%}: the network has learned next to nothing. Try another learning rate (`kilat lr-find`), or more "
        "epochs."
    ),
    "diagnosis_time_limit": N_(
        "The time limit ended training after {epochs} epochs, while the validation loss was still falling: a longer "
        "one is likely to help."
    ),
    "diagnosis_cut_short": N_(
        "The time limit ended training after {epochs} epochs: in a longer one the network may learn more."
    ),
    "diagnosis_unfinished": N_(
        "The validation loss was still falling in the last of {epochs} epochs: more epochs are likely to help."
    ),
    "diagnosis_overfitting": N_(
        "Training {training:.0%}, validation {validation:.0%}: the network knows its training pictures better than "
        "what they have in common. Stronger augmentation, dropout or weight decay narrow the gap, and so does a "
        "pretrained backbone."
    ),
    "diagnosis_underfitting": N_(
        "Training {training:.0%}, validation {validation:.0%}: the network does not fit its training pictures yet. "
        "More epochs, a higher learning rate or a larger network help, and less augmentation, dropout or weight "
        "penalties."
    ),
    # what the data says
    "diagnosis_suspected_labels": (
        N_("One label in {n:,} looks wrong: look at it first, under “The data”."),
        N_(
            "{count:,} of {n:,} labels look wrong ({share:.1%}). Look at them first, under “The data”: they teach the "
            "classifier mistakes, and count right answers as wrong."
        ),
    ),
    "diagnosis_no_better_than_baseline": N_(
        "That is not clearly better than always answering “{label}” ({baseline:.1%}): the classes look alike to the "
        "backbone. Try a larger or a fine-tuned one (--preset good), and see whether you could tell them apart."
    ),
    "diagnosis_too_few_pictures": N_(
        "That is not clearly better than always answering “{label}” ({baseline:.1%}), after training on {train:,} "
        "pictures of {classes:,} classes: too few pictures to learn from."
    ),
    "diagnosis_class_refused": N_(
        "Most pictures of “{label}” were refused ({refused:,} of {total:,}), and few are left to learn it from: fix "
        "these first."
    ),
    "diagnosis_few_of_class": (
        N_(
            "Too few pictures of “{label}”: it has one to train on, and {right:,} of {support:,} in the test are "
            "recognised. More of them help most."
        ),
        N_(
            "Too few pictures of “{label}”: it has {count:,} to train on, and {right:,} of {support:,} in the test are "
            "recognised. More of them help most."
        ),
    ),
    "diagnosis_pair": N_(
        "{share:.0%} of all mistakes are between “{a}” and “{b}” ({mistakes:,} of {wrong:,}): look at these, and at "
        "whether their labels follow one rule."
    ),
    "diagnosis_time_limit_left_out": N_(
        "The time limit left out pictures or took a smaller backbone, as the notes say: a longer one is likely to help."
    ),
    "diagnosis_small_pictures": N_(
        "The pictures are small: a small network of their own may do better than this backbone. The notes say how to "
        "try it."
    ),
    "diagnosis_more_pictures": N_(
        "From {half:,} to {pictures:,} training pictures the accuracy rose from {before:.1%} to {after:.1%}: more "
        "pictures are likely to help."
    ),
    "diagnosis_more_pictures_help_little": N_(
        "From {half:,} to {pictures:,} training pictures the accuracy went from {before:.1%} to {after:.1%}: more "
        "pictures would help little. Other backbones (--preset good), or fine-tuning (--preset best), may."
    ),
    "diagnosis_all_right": N_("No test picture was answered wrongly: harder pictures would show more."),
    "diagnosis_good": N_(
        "Nothing stands out. Look at the most confident mistakes: their labels may be wrong, or the pictures ambiguous."
    ),
}
"""The sentence of every code; where there is a singular, both, chosen by the value ``count``."""
