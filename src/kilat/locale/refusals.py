"""Refusals: why a picture takes part in nothing, as a code with a detail, translated when it is shown.

``catalog.csv`` keeps the code and the detail; refused pictures are counted and grouped by code. A sentence stands after
the picture's path, so it begins with a small letter and ends without a full stop.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kilat.locale import N_, _

REFUSALS = {
    # where the picture stands
    "no_class_folder": N_("no class folder"),
    "outside_splits": N_("outside the train, validation and test folders"),
    "no_path": N_("no path"),
    "no_label": N_("no label"),
    "unknown_split": N_("unknown split '{detail}': use train, validation or test"),
    "listed_twice": N_("listed twice"),
    "several_labels": N_("listed under several labels: {detail}"),
    "left_out_by_table": N_("left out by {detail}"),
    # the file
    "file_not_found": N_("file not found"),
    "unreadable": N_("cannot be read: {detail}"),
    "folder_unreadable": N_("folder cannot be read: {detail}"),
    "broken_link": N_("broken link"),
    "not_a_regular_file": N_("not a regular file"),
    "invalid_file_name": N_("invalid file name"),
    "empty_file": N_("empty file"),
    "too_large": N_("larger than {detail}"),
    # a member of an archive
    "outside_archive": N_("path leads out of the archive"),
    "replaced_in_archive": N_("replaced by a later member of the same name"),
    "archive_link": N_("a link inside an archive"),
    "encrypted": N_("encrypted"),
    "compression_method": N_("compressed by a method other than deflate"),
    "sparse_file": N_("a sparse file"),
    "damaged_in_archive": N_("damaged in the archive: {detail}"),
    # its content
    "not_an_image": N_("not a picture in a known format (JPEG, PNG, GIF, BMP, PPM, WEBP, TIFF, AVIF)"),
    "damaged": N_("damaged or cut off"),
    "truncated": N_("cut off: {detail}"),
    "undecodable": N_("cannot be decoded: {detail}"),
    "no_pixels": N_("no pixels"),
    "too_many_pixels": N_("more than {detail} pixels"),
    "sample_range": N_("sample values outside {detail}"),
    "wrong_pixels": N_("pixels must be uint8 [height, width] or [height, width, 3], not {detail}"),
    "out_of_memory": N_("not enough memory to decode it"),
    # its part in the data set
    "duplicate": N_("byte-identical to {detail}, which counts once"),
    "label_conflict": N_("also under another label: {detail}"),
    "no_training_class": N_("no training picture of class '{detail}'"),
    "unknown_class": N_("the model has no class '{detail}'"),
    "other_split": N_("in the split '{detail}'; only 'test' is evaluated"),
    "time_limit": N_("left out to keep the time limit"),
}
"""The sentence of every code; ``{detail}`` is a path, a name or a number, or what the system or a decoder said."""


def refusal_sentence(code: str, detail: str = "") -> str:
    """Return a refusal as a sentence in the language of the environment; an unknown code speaks for itself."""
    if code not in REFUSALS:
        return f"{code}: {detail}" if detail else code
    return _(REFUSALS[code]).format(detail=detail)


def refusal_heading(code: str, details: Iterable[str]) -> str:
    """Return one sentence for several refusals with the same code; details that differ become an ellipsis."""
    different = set(details)
    return refusal_sentence(code, different.pop() if len(different) == 1 else "…")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a picture is refused.

    Args:
        code: a key of ``REFUSALS``.
        detail: what its sentence names.
    """

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        assert self.code in REFUSALS, self.code

    def sentence(self) -> str:
        """Return the refusal as a sentence in the language of the environment."""
        return refusal_sentence(self.code, self.detail)
