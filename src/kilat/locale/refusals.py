"""Refusals: why a picture takes part in nothing, as a code with a detail, translated when it is shown.

``catalog.csv`` keeps the code and the detail; refused pictures are counted and grouped by code. A sentence stands after
the picture's path, so it begins with a small letter and ends without a full stop.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kilat.locale import N_, _, localized
from kilat.locale.system_errors import system_reason

REFUSALS = {
    # where the picture stands
    "no_class_folder": N_("no class folder"),
    "outside_splits": N_("outside the train, validation and test folders"),
    "unlabelled_folder": N_("in a folder of pictures without labels"),
    "annotation_folder": N_("in a folder of masks or annotations"),
    "no_class_in_name": N_("no class in its name"),
    "no_path": N_("no path"),
    "no_label": N_("no label"),
    "unknown_split": N_("unknown split '{detail}': use train, validation or test"),
    "listed_twice": N_("listed twice"),
    "several_labels": N_("listed under several labels: {detail}"),
    "left_out_by_table": N_("left out by {detail}"),
    # the file
    "several_files": N_("several files may be meant: {detail}"),
    "extra_cells": N_("more cells than the table has columns: {detail}"),
    "file_not_found": N_("file not found"),
    "url": N_("an address, not a file: kilat does not download"),
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
    "overlaps_in_archive": N_("shares its bytes with another member of the archive"),
    "unpacks_too_far": N_("unpacks to more than {detail} times its size, as no picture does"),
    "path_too_long": N_("a path of more than {detail} characters"),
    "folders_too_deep": N_("in more than {detail} folders within each other"),
    "damaged_in_archive": N_("damaged in the archive: {detail}"),
    # a row of a Parquet file that holds pictures
    "damaged_in_table": N_("damaged in the table: {detail}"),
    "page_too_large": N_("in a page of the table that takes more than {detail}"),
    # its content
    "not_an_image": N_("not a picture in a known format (JPEG, PNG, GIF, BMP, PPM, WEBP, TIFF, AVIF)"),
    "heic": N_("a HEIC picture, which kilat does not read"),
    "avif": N_("an AVIF picture, which the Pillow installed here does not read"),
    "jpeg_xl": N_("a JPEG XL picture, which kilat does not read"),
    "jpeg_2000": N_("a JPEG 2000 picture, which kilat does not read"),
    "camera_raw": N_("a camera's raw file, which kilat does not read"),
    "photoshop": N_("a Photoshop file, which kilat does not read"),
    "svg": N_("an SVG drawing, which kilat does not read"),
    "pdf": N_("a PDF document, not a picture"),
    "icon": N_("an icon file, which kilat does not read"),
    "video": N_("a video, not a picture"),
    "web_page": N_("a web page, not a picture"),
    "git_lfs_pointer": N_("a Git LFS pointer, not the picture itself"),
    "damaged": N_("damaged or cut off"),
    "truncated": N_("cut off: {detail}"),
    "undecodable": N_("cannot be decoded: {detail}"),
    "no_pixels": N_("no pixels"),
    "too_much_memory": N_("takes more memory to decode than is allowed: {detail}"),
    "too_many_parts": N_("made of more parts (such as scans, chunks or strips) than a picture needs: {detail}"),
    "too_slow": N_("takes too long to decode: {detail}"),
    "decoder_died": N_("cannot be decoded: the decoder was ended by it ({detail})"),
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

HINTS = {
    "url": N_("Download the pictures first, such as with: curl -L -O ADDRESS"),
    "too_much_memory": N_("Allow more, such as: --decode-memory 4GB, or the environment variable KILAT_DECODE_MEMORY"),
    "heic": N_(
        "Convert them to JPEG, in each folder: magick mogrify -format jpg *.HEIC (ImageMagick), or on a Mac: "
        "sips -s format jpeg *.HEIC --out ."
    ),
    "avif": N_("A newer Pillow reads them: pip install --upgrade pillow"),
    "jpeg_xl": N_("Convert them, in each folder, with ImageMagick: magick mogrify -format png *.jxl"),
    "jpeg_2000": N_("Convert them, in each folder, with ImageMagick: magick mogrify -format png *.jp2"),
    "camera_raw": N_("Export them as JPEG with a program for photos, such as: darktable-cli IN.NEF OUT.jpg"),
    "photoshop": N_("Save them as PNG, in each folder, with ImageMagick: magick mogrify -format png '*.psd[0]'"),
    "svg": N_("Draw them as PNG, in each folder, with ImageMagick: magick mogrify -format png *.svg"),
    "pdf": N_("Save the pages as pictures: pdftoppm -jpeg FILE.pdf page"),
    "icon": N_("Convert them, in each folder, with ImageMagick: magick mogrify -format png *.ico"),
    "video": N_("Take frames out of them, such as one a second: ffmpeg -i FILE.mp4 -r 1 frame-%04d.jpg"),
    "web_page": N_("A server answered with pages, perhaps errors, in place of pictures: download them again."),
    "git_lfs_pointer": N_("Fetch the pictures themselves: git lfs pull"),
}
"""What to do about pictures that were refused, for the codes where something can be done at once."""

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def refusal_sentence(code: str, detail: str = "") -> str:
    """Return a refusal as a sentence in the language of the environment; an unknown code speaks for itself."""
    if code not in REFUSALS:
        return f"{code}: {detail}" if detail else code
    if code in {"unreadable", "folder_unreadable"}:
        detail = system_reason(detail)
    if code in {"too_much_memory", "too_many_parts", "too_slow"}:
        detail = _NUMBER.sub(_localized_number, detail)
    return _(REFUSALS[code]).format(detail=detail)


def _localized_number(found: re.Match[str]) -> str:
    number = found[0].replace(",", "")
    return localized(float(number), ",.1f") if "." in number else localized(int(number), ",")


def refusal_hint(code: str) -> str:
    """Return what to do about pictures refused with this code, in the language of the environment; often nothing."""
    return _(HINTS[code]) if code in HINTS else ""


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
