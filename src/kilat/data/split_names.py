"""The names that people give to training, validation and test sets: folders, values in tables, names of tables."""

import re

_NAMES = {
    "train": "train training trn learning trainval trainvalidation",
    "validation": "val valid validation validate validating vld valida dev devel development tuning eval "
    "evaluation evaluate publictest",
    "test": "test tests testing tst heldout privatetest",
}
_SPLITS = {name: split for split, names in _NAMES.items() for name in names.split()}

_FILLERS = frozenset(
    "set sets data dataset datasets split subset part partition fold folder image images img imgs picture pictures "
    "photo photos pics sample samples".split()
)
"""Words beside the name of a split that say nothing: test_set, images-train."""

_GLUED = re.compile(r"(.+?)(?:sets?|data(?:sets?)?|split|images?|imgs?)")


def split_of(name: str) -> str | None:
    """Return the split that a name stands for: ``train``, ``validation`` or ``test``; None for any other name."""
    words = [word for word in re.split(r"[\W_\d]+", name.casefold()) if word]
    telling = [word for word in words if word not in _FILLERS]
    # PublicTest, trainval and train_val are one name each, however they are written.
    joined = "".join(telling)
    if joined in _SPLITS:
        return _SPLITS[joined]
    glued = _GLUED.fullmatch(joined)
    return _SPLITS.get(glued[1]) if glued else None
