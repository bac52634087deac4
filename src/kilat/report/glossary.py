"""What statistics mean, each in a sentence that a student understands, and where the guide says more."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from typing import NamedTuple

from kilat.locale import _


class Explained(NamedTuple):
    """A term.

    Args:
        clause: what it means.
        address: of the guide's page that says more; empty where this kilat does not say where its guide is.
    """

    clause: str
    address: str


def explained() -> dict[str, Explained]:
    """Return every term by its key."""
    address = f"{_site()}/guide/report/" if _site() else ""
    return {key: Explained(clause, address) for key, clause in _clauses().items()}


def _clauses() -> dict[str, str]:
    return {
        "accuracy": _("The share of pictures that are answered rightly."),
        "balanced_accuracy": _(
            "The mean over the classes of how many of their pictures are found: every class counts the same."
        ),
        "top_k": _("The share whose true class is among that many likeliest ones."),
        "ece": _(
            "How far a probability is, on average, from the share of answers that were right with it; 0 is perfect."
        ),
        "adaptive_ece": _("The same, with as many answers in every bin."),
        "log_loss": _(
            "Log loss is minus the logarithm of the probability that the true class was given: 0 is perfect, and a "
            "sure answer that is wrong costs most."
        ),
        "brier": _("The squared distance of the probabilities from the truth, 0 to 2: 0 is perfect."),
        "temperature": _(
            "Before they become probabilities, the network's outputs are divided by it: above 1 it makes answers less "
            "sure, below 1 surer. It never changes which class is likeliest."
        ),
        "auroc": _(
            "AUROC is how often an unknown picture gets a higher score than an ordinary one: 1 is perfect, 0.5 is "
            "guessing."
        ),
        "precision": _("Precision: the share of the answers with this class that are right."),
        "recall": _("Recall: the share of its pictures that are found."),
        "f1": _("F1 is their harmonic mean."),
    }


@cache
def _site() -> str:
    """Return the address of the documentation that the package names; empty where it names none."""
    try:
        addresses = metadata("kilat").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    named: dict[str, str] = dict(address.split(", ", 1) for address in addresses)
    return named.get("Documentation", "").rstrip("/")
