"""What statistics mean, each in a sentence that a student understands, with the page of the guide that says more."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from typing import NamedTuple

from kilat.locale import _


class Explained(NamedTuple):
    """A term.

    Args:
        clause: what it means.
        address: of the guide's page about it; empty where this kilat does not say where its guide is.
    """

    clause: str
    address: str


def explained() -> dict[str, Explained]:
    """Return every term by its key."""
    site = _site()
    return {
        key: Explained(clause, f"{site}/guide/{page}/" if site else "") for key, (clause, page) in _clauses().items()
    }


def _clauses() -> dict[str, tuple[str, str]]:
    """Return the clause of every term, and the page of the guide about it."""
    return {
        "accuracy": (_("The share of pictures that are answered rightly."), "trust"),
        "balanced_accuracy": (
            _("The mean over the classes of how many of their pictures are found: every class counts the same."),
            "trust",
        ),
        "top_k": (_("The share whose true class is among that many likeliest ones."), "trust"),
        "ece": (
            _("How far a probability is, on average, from the share of answers that were right with it; 0 is perfect."),
            "trust",
        ),
        "adaptive_ece": (_("The same, with as many answers in every bin."), "trust"),
        "log_loss": (
            _("Log loss is minus the logarithm of the probability that the true class was given: 0 is perfect, and a "
              "sure answer that is wrong costs most."),
            "trust",
        ),
        "brier": (
            _("The squared distance of the probabilities from the truth, 0 to 2: 0 is perfect."),
            "trust",
        ),
        "temperature": (
            _("Before they become probabilities, the network's outputs are divided by it: above 1 it makes answers "
              "less sure, below 1 surer. It never changes which class is likeliest."),
            "trust",
        ),
        "auroc": (
            _("AUROC is how often an unknown picture gets a higher score than an ordinary one: 1 is perfect, 0.5 is "
              "guessing."),
            "trust",
        ),
        "precision": (_("Precision: the share of the answers with this class that are right."), "trust"),
        "recall": (_("Recall: the share of its pictures that are found."), "trust"),
        "f1": (_("F1 is their harmonic mean."), "trust"),
    }  # fmt: skip


@cache
def _site() -> str:
    """Return the address of the documentation that the package names; empty where it names none."""
    try:
        addresses = metadata("kilat").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    named: dict[str, str] = dict(address.split(", ", 1) for address in addresses)
    return named.get("Documentation", "").rstrip("/")
