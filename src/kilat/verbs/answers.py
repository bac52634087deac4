"""What a finished model answers to the pictures of a source: which of them it can be measured on, then its answers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import pandas as pd

from kilat.bundle.predictor import Classifier, ModelOutput
from kilat.data.catalog import SPLITS, Catalog, Entry, Picture, PictureRecords, Source, content_digest
from kilat.data.labels import normalize_label, spelling_key
from kilat.data.picture_failure import picture_failure
from kilat.data.picture_formats import count_frames
from kilat.errors import PictureError
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.progress import Advance

MAX_OOD_PICTURES = 1000
"""Pictures of other classes that are classified at most, to measure whether the model finds them unknown."""

_NAMED_CLASSES = 5


def with_classes_of(entries: Sequence[Entry], classes: Sequence[str]) -> list[Entry]:
    """Return entries with labels as a model writes its classes, whose names may have blanks around them."""
    written = {normalize_label(name): name for name in classes}
    return [replace(entry, label=written.get(entry.label, entry.label)) for entry in entries]


def select_test_pictures(catalog: Catalog, classes: Sequence[str]) -> tuple[Ints, list[Note]]:
    """Refuse what a model cannot be measured on, and make the rest the test set.

    Refused are pictures of classes that the model does not have and, where the data has a test split of its own,
    pictures of its other splits.

    Args:
        catalog: of labelled pictures; its refusals and splits are written.
        classes: the model's.

    Returns:
        Rows of refused pictures of other classes, out of distribution for the model, evenly spread and at most
        ``MAX_OOD_PICTURES``; and notes on what was refused.
    """
    labels, splits, used = catalog.table["label"], catalog.table["split"], catalog.used
    is_test = np.asarray(splits == "test")
    is_other = used & ~np.asarray(labels.isin(classes))
    has_test = bool((used & is_test).any())
    candidates = np.flatnonzero(is_other & (is_test if has_test else True))
    count = min(len(candidates), MAX_OOD_PICTURES)
    ood_rows = candidates[np.unique(np.linspace(0, len(candidates) - 1, count).round().astype(np.int64))]
    other_labels = labels[is_other].astype(str)
    catalog.refuse({int(row): Refusal("unknown_class", label) for row, label in other_labels.items()})
    notes = note_unknown_classes(other_labels, classes)
    if has_test:
        refused = splits[catalog.used & ~is_test].replace("", "train")
        catalog.refuse({int(row): Refusal("other_split", split) for row, split in refused.items()})
        if len(refused):
            names = [name for name in SPLITS if name in set(refused)]
            notes.append(Note("other_split", {"count": len(refused), "splits": names}))
    catalog.set_split(np.ones(len(labels), bool), "test")
    return ood_rows, notes


def note_unknown_classes(labels: pd.Series, classes: Sequence[str]) -> list[Note]:
    """Return a note on each of the commonest classes that a model does not have, and one on the others.

    Args:
        labels: of the pictures of such classes.
        classes: the model's.
    """
    counts = [(str(label), int(count)) for label, count in labels.value_counts().items()]
    of_spelling = {spelling_key(name): name for name in classes}
    respelled = [one for one in counts if spelling_key(one[0]) in of_spelling][:_NAMED_CLASSES]
    notes = [
        Note("unknown_spelling", {"count": count, "label": label, "name": of_spelling[spelling_key(label)]})
        for label, count in respelled
    ]
    counts = [one for one in counts if one not in respelled]
    named, others = counts[:_NAMED_CLASSES], counts[_NAMED_CLASSES:]
    near = {label: get_close_matches(label, classes) or list(classes[:_NAMED_CLASSES]) for label, _count in named}
    notes += [Note("unknown_class", {"count": count, "label": label, "classes": near[label]}) for label, count in named]
    if others:
        values = {"count": len(others), "pictures": sum(count for _label, count in others)}
        notes.append(Note("unknown_class_more", values))
    return notes


@dataclass(frozen=True)
class Answers:
    """What a model answers to every row of a catalog; zeros where a picture was refused.

    Args:
        probabilities: float32 ``[rows, classes]``.
        ood_scores: how far each picture lies above the threshold of unknown pictures, float32 ``[rows]``; NaN where
            refused.
    """

    probabilities: Floats
    ood_scores: Floats


def classify(classifier: Classifier, source: Source, catalog: Catalog, advance: Advance, ood_rows: Ints) -> Answers:
    """Classify every used picture of a source, and record digests and refusals in the catalog.

    Args:
        classifier: the model.
        source: where the pictures are.
        catalog: of them.
        advance: called with how many are done.
        ood_rows: rows that are classified as well, though they were refused.
    """
    rows = np.union1d(np.flatnonzero(catalog.used), ood_rows)
    outputs: list[ModelOutput | None] = [None] * len(catalog.table)
    digests = [""] * len(catalog.table)
    frames = np.zeros(len(catalog.table), np.uint16)
    refusals: dict[int, Refusal] = {}

    def read() -> Iterator[Picture | PictureError]:
        for row in rows:
            try:
                picture = source.read(int(row))
            except (PictureError, MemoryError) as error:
                yield picture_failure(error)
                continue
            digests[row] = content_digest(picture).hex()
            frames[row] = count_frames(picture) if isinstance(picture, bytes) else 1
            yield picture
            del picture  # it may be done with while the next is read

    for done, (row, output) in enumerate(zip(rows, classifier.outputs(read()), strict=True), 1):
        if isinstance(output, PictureError):
            refusals[int(row)] = output.refusal
        else:
            outputs[row] = output
        advance(done, len(rows))
    catalog.record_pictures(PictureRecords(digests=digests, refusals=refusals, frames=frames))
    none = ModelOutput(np.zeros(len(classifier.classes), np.float32), math.nan, np.zeros(0, np.float32))
    filled = [output or none for output in outputs]
    return Answers(
        np.array([output.probabilities for output in filled], np.float32).reshape(len(filled), -1),
        np.array([output.ood_score for output in filled], np.float32),
    )
