"""One column of a table: what its name says, and what its cells are like."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kilat.data.image_file import PICTURE_SUFFIXES
from kilat.data.split_names import split_of

NOT_A_NUMBER = frozenset(("nan", "<na>", "nat"))
"""How pandas writes a value that is not there, where it writes something."""

TRUE = frozenset(("1", "1.0", "true", "yes", "t", "y", "x", "✓", "✔"))
FALSE = frozenset(("0", "0.0", "false", "no", "f", "n"))

_PATHS = """
    path paths file files filename filenames filepath filepaths fname fullpath relpath relativepath absolutepath
    image images imagepath imagename imagefile imageid img imgs imgpath imgname imgfile imgid picture pictures photo
    photos pic id ids idcode fileid name uri url imageuri imageurl imagegcsuri gcsuri gcsfilepath sourceref
    externalid sampleid uuid
"""
_LABELS = """
    label labels class classes category categories target targets y classname classnames labelname labelnames
    displayname labeltext labelid classid categoryid targetid labelindex classindex labelidx classidx tag tags
    tagname choice choices groundtruth gt truth annotation annotations classification species speciesname breed
    variety cultivar diagnosis dx disease finding findings findinglabels condition emotion expression level grade
"""
_LABEL_ENDINGS = ("label", "labels", "class", "category", "diagnosis", "species")

_SPLITS = "split splits set subset partition usage mluse phase fold folds kfold stage datasplit dataset"
_FLAGS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("isvalid", "isval", "isvalidation", "val", "valid", "validation"), ("train", "validation")),
    **dict.fromkeys(("istest", "test"), ("train", "test")),
    **dict.fromkeys(("istrain", "istraining", "train", "training"), ("test", "train")),
}
"""Columns of yes and no that are splits: what no means, and what yes."""

_BOXES = """
    xmin ymin xmax ymax x1 y1 x2 y2 xcenter ycenter bbox bboxes boundingbox boundingboxes bboxx bboxy bboxw bboxh
    bboxx1 bboxy1 bboxx2 bboxy2 bboxwidth bboxheight roix1 roiy1 roix2 roiy2 segmentation rle rlemask encodedpixels
    polygon regionshapeattributes
"""
_OTHERS = """
    index idx rowid unnamed0 width height w h x size filesize bytes area depth channels mode format ext extension
    imagewidth imageheight imwidth imheight aspectratio confidence score probability prob leadtime createdat
    updatedat timestamp date time annotationid annotator wascancelled agreement license licence md5 sha256 hash seed
    weight sampleweight lat latitude lon lng longitude fileattributes regioncount regionid regionattributes
"""
_SELDOM = "age sex gender patient patientid patientname site source author comment notes year fold folds kfold"

_PATH_NAMES, _LABEL_NAMES = frozenset(_PATHS.split()), frozenset(_LABELS.split())
_SPLIT_NAMES, _SELDOM_NAMES = frozenset(_SPLITS.split()), frozenset(_SELDOM.split())
_BOX_NAMES, _OTHER_NAMES = frozenset(_BOXES.split()), frozenset(_OTHERS.split())

_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?")
_WHOLE = re.compile(r"[-+]?\d+(?:[.,]0+)?")
_ODD = re.compile(r"\{|\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{4}")
"""How JSON objects and dates begin."""

_MANY = 20
"""Rows from which on labels can be told from names that differ in every row; more values than splits have."""

_SAMPLE = 300


def fold(name: str) -> str:
    """Return the name of a column without capitals, blanks and signs."""
    return re.sub(r"[\W_]+", "", name.casefold())


def names_picture(value: str) -> bool:
    """Return whether a value ends as the names of pictures do."""
    stem, _dot, ending = value.strip().strip("\"'").rpartition(".")
    return bool(stem) and ending.casefold() in PICTURE_SUFFIXES


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Args:
        number: its place, from 0.
        name: as it is written; its number from 1 where the table has no header.
        cells: its values.
    """

    number: int
    name: str
    cells: Sequence[str]

    @cached_property
    def short_name(self) -> str:
        """What the name comes to: without capitals, blanks and signs, the part after the last full stop."""
        return fold(self.name.rpartition(".")[2])

    @property
    def is_called_path(self) -> bool:
        """Whether pictures are usual in columns of this name."""
        return self.short_name in _PATH_NAMES

    @property
    def is_called_label(self) -> bool:
        """Whether labels are usual in columns of this name."""
        return self.short_name in _LABEL_NAMES or self.short_name.endswith(_LABEL_ENDINGS)

    @property
    def is_called_split(self) -> bool:
        """Whether splits are usual in columns of this name."""
        return self.short_name in _SPLIT_NAMES or self.short_name in _FLAGS or split_of(self.name) is not None

    @property
    def is_called_box(self) -> bool:
        """Whether the name is one of a box around an object, or of its outline."""
        return self.short_name in _BOX_NAMES or fold(self.name) in _BOX_NAMES

    @property
    def is_called_other(self) -> bool:
        """Whether columns of this name say something else about a picture than its class."""
        return self.short_name in _OTHER_NAMES or self.is_called_box

    @property
    def is_called_seldom(self) -> bool:
        """Whether columns of this name hold labels only where nothing else does."""
        return self.short_name in _SELDOM_NAMES

    @cached_property
    def counts(self) -> Counter[str]:
        """How often every value stands in it, without blanks around it; those that are none do not count."""
        counts = Counter(cell.strip() for cell in self.cells)
        missing = [value for value in counts if not value or value.casefold() in NOT_A_NUMBER]
        for value in missing:
            del counts[value]
        return counts

    @property
    def filled(self) -> int:
        """How many cells have a value."""
        return self.counts.total()

    @cached_property
    def sample(self) -> list[str]:
        """Filled cells from all over the column."""
        filled = [cell for cell in self.cells if cell.strip()]
        return filled[:: len(filled) // _SAMPLE + 1]

    @cached_property
    def is_binary(self) -> bool:
        """Whether it only says yes or no, in whatever way."""
        return bool(self.counts) and {value.casefold() for value in self.counts} <= TRUE | FALSE

    @cached_property
    def is_number(self) -> bool:
        """Whether all its values are numbers."""
        return bool(self.counts) and all(_NUMBER.fullmatch(value) for value in self.counts)

    @cached_property
    def is_fraction(self) -> bool:
        """Whether its values are numbers, and not all whole."""
        return self.is_number and not all(_WHOLE.fullmatch(value) for value in self.counts)

    @property
    def names_pictures(self) -> bool:
        """Whether most of its values end as the names of pictures do."""
        return 2 * sum(map(names_picture, self.sample)) > len(self.sample)

    @property
    def counts_rows(self) -> bool:
        """Whether it only numbers the rows, as pandas writes it: without a name."""
        nameless = self.short_name in ("", "unnamed0", "index", "idx")
        return nameless and self.is_number and len(self.counts) == self.filled

    @property
    def may_be_labels(self) -> bool:
        """Whether a column can hold labels: no fractions, no dates, and not another value in each row."""
        odd = sum(_ODD.match(value) is not None and '"choices"' not in value for value in self.sample)
        differ = len(self.counts) == self.filled >= _MANY
        return bool(self.counts) and not (self.is_fraction or differ or 2 * odd > len(self.sample))

    @property
    def looks_like_labels(self) -> bool:
        """Whether its values are what labels are, whatever it is called: more than one, and each comes again."""
        repeated = 2 * len(self.counts) <= self.filled
        return (
            self.may_be_labels
            and len(self.counts) > 1
            and repeated
            and not (self.is_called_other or self.names_pictures)
        )

    @cached_property
    def splits(self) -> dict[str, str | None]:
        """The split that each value means: empty for none, None for a value that is no split."""
        if self.is_binary and self.short_name in _FLAGS:
            no, yes = _FLAGS[self.short_name]
            return {value: yes if value.casefold() in TRUE else no for value in self.counts}
        return {value: "" if value.casefold() == "unassigned" else split_of(value) for value in self.counts}

    @property
    def is_about_splits(self) -> bool:
        """Whether all its values are splits, which are few."""
        return len(self.counts) <= _MANY and None not in self.splits.values() and any(self.splits.values())

    @cached_property
    def partition(self) -> int:
        """Which rows have the same value, as a number that columns share where each value of one is one of another."""
        numbers = dict.fromkeys(self.counts)
        numbers.update(zip(numbers, range(len(numbers)), strict=True))  # in the order of the rows
        return hash(tuple(numbers.get(cell.strip()) for cell in self.cells))
