"""Notes on a source: what was read into it, skipped, refused or left, and which labels look like mistakes."""

from collections import Counter
from collections.abc import Iterable

from kilat.data.catalog import Catalog, Entry, Source
from kilat.data.labels import LIKE_MISSING, similar_labels
from kilat.locale.notes import Note

_NAMED = 5
"""Classes of which most pictures were refused that are named."""

_REASONS = 3

_SAID_ELSEWHERE = ("unknown_class", "other_split", "no_training_class", "left_out_by_table", "time_limit")
"""Refusals that have notes or a section of their own."""


def notes_about(source: Source, catalog: Catalog) -> list[Note]:
    """Return notes on a source whose pictures were read, before anything but duplicates was refused for other reasons.

    Args:
        source: of the pictures.
        catalog: of them, with its refusals and image stats.
    """
    return [
        *source.notes,
        *(Note(f"skipped_{code}", {"count": count}) for code, count in source.skipped.items()),
        *label_notes(source.entries),
        *frame_notes(catalog.frames[catalog.used]),
        *refusal_notes(catalog),
    ]


def label_notes(entries: Iterable[Entry]) -> list[Note]:
    """Return notes on labels that look like spellings of one class, and on those that look like missing ones."""
    counts = Counter(entry.label for entry in entries if entry.label)
    similar = {label: counts[label] for group in similar_labels(sorted(counts)) for label in group}
    notes = [Note("similar_labels", {"labels": similar})] if similar else []
    missing = [label for label in sorted(counts) if label.casefold() in LIKE_MISSING]
    return notes + [Note("label_like_missing", {"label": label, "count": counts[label]}) for label in missing]


def frame_notes(frames: Iterable[int]) -> list[Note]:
    """Return a note where files hold more than the frame or page that was used.

    Args:
        frames: how many each file holds.
    """
    left = [int(count) - 1 for count in frames if count > 1]
    return [Note("frames_left", {"count": len(left), "left": sum(left)})] if left else []


def refusal_notes(catalog: Catalog) -> list[Note]:
    """Return notes on the main reasons of refusals, and on classes of which more than half was refused."""
    refused = catalog.refused[~catalog.refused["code"].isin(_SAID_ELSEWHERE)]
    notes = []
    for code, count in list(refused["code"].value_counts().items())[:_REASONS]:
        details = refused.loc[refused["code"] == code, "detail"].unique()
        detail = str(details[0]) if len(details) == 1 else "…"
        notes.append(Note("refused", {"count": int(count), "code": str(code), "detail": detail}))
    totals = catalog.table.loc[catalog.table["label"] != "", "label"].value_counts()
    lost = refused["label"].value_counts().reindex(totals.index, fill_value=0)
    mostly = totals[(2 * lost > totals) & (lost < totals)].sort_index()
    for label in mostly.index[:_NAMED]:
        values = {"label": str(label), "count": int(lost[label]), "total": int(totals[label])}
        notes.append(Note("class_mostly_refused", values))
    return notes
