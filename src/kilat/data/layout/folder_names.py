"""What the names of folders say besides splits: numbered parts, pictures, masks, unlabelled pictures, dates."""

import re

from kilat.data.split_names import FILLERS, PICTURES, split_of, words_of

_PARTS = (
    frozenset(
        "fold folds kfold part parts batch chunk shard split subset set data dataset disk disc volume vol zip".split()
    )
    | PICTURES
)

_DATA = PICTURES | {"data", "dataset", "datasets"}

_ANNOTATIONS = frozenset(
    """
    mask masks annotation annotations annot annots label labels segmentation segmentations segmentationclass
    segmentationobject groundtruth gt trimap trimaps bbox bboxes boxes xml xmls json
    """.split()
)

_UNLABELLED = frozenset(
    """
    pred predict prediction predictions unlabeled unlabelled unsup unsupervised submission inference extra additional
    demo
    """.split()
)


def part_stem(name: str) -> tuple[str, ...] | None:
    """Return the words before the number of a part, such as ``fold`` or ``images_part``; None for other names."""
    words = words_of(name)
    numbers = [i for i, word in enumerate(words) if word.isdigit()]
    if not numbers or not any(word in _PARTS for word in words):
        return None
    return tuple(word for i, word in enumerate(words) if i != numbers[-1])


def is_pictures(name: str) -> bool:
    """Return whether a folder's name says only that pictures are in it: ``images``, ``JPEGImages``, ``rgb``."""
    words = words_of(name)
    return any(word in PICTURES for word in words) and all(word in FILLERS for word in words)


def is_data(name: str) -> bool:
    """Return whether a folder's name says only that data or pictures are in it: ``dataset``, ``raw_images``."""
    words = words_of(name)
    return any(word in _DATA for word in words) and all(word in FILLERS or word.isdigit() for word in words)


def is_annotations(name: str) -> bool:
    """Return whether a folder's name says that masks, boxes or other annotations are in it."""
    words = words_of(name)
    return any(word in _ANNOTATIONS for word in words) and all(
        word in _ANNOTATIONS or word in FILLERS or word.isdigit() or split_of(word) for word in words
    )


def is_unlabelled(name: str) -> bool:
    """Return whether a folder's name says that its pictures have no labels: ``single_prediction``, ``seg_pred``."""
    return any(word in _UNLABELLED for word in words_of(name))


def is_date(name: str) -> bool:
    """Return whether a folder's name is a year or a date, which is never a class."""
    return re.fullmatch(r"(19|20)\d\d([-_.]?\d\d([-_.]?\d\d)?)?", name) is not None


def name_key(name: str) -> str:
    """Return what folders with one name in two spellings (case, blanks, accents) have in common."""
    return " ".join(words_of(name)) or name
