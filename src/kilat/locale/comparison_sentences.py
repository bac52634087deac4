"""The sentences of notes about runs that are compared, by their codes."""

from kilat.locale import N_

COMPARISONS: dict[str, str | tuple[str, str]] = {
    "compared_apart": (
        N_("One of the {n:,} test pictures of {run} is not compared: it is not a test picture of every run."),
        N_("{count:,} of the {n:,} test pictures of {run} are not compared: they are not test pictures of every run."),
    ),
    "compared_trained_on": N_(
        "Test pictures that another run was trained on are not compared: {runs}. Runs on the same data with the same "
        "seed have the same test pictures."
    ),
    "compared_relabelled": (
        N_("One test picture does not have the same label in every run, and is not compared."),
        N_("{count:,} test pictures do not have the same label in every run, and are not compared."),
    ),
    "compared_by_path": N_(
        "No test picture has the same content in every run: pictures are taken for the same where their paths are."
    ),
    "compared_classes": N_(
        "{run} does not know the classes {classes}, which another run knows: it cannot answer their pictures correctly."
    ),
    "compared_few": (
        N_("The runs have one test picture in common: that says nothing."),
        N_("The runs have only {count:,} test pictures in common: only large differences can show."),
    ),
    "compared_holm": N_(
        "With {pairs:,} pairs some differ by chance: the p-values are adjusted for that (Holm's method)."
    ),
}
"""The sentence of every code; where there is a singular, both, chosen by the value ``count``."""
