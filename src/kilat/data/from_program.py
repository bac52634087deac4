"""Pictures and labels that a program gives: told what is wrong with them, or made a source.

Pictures are paths, or uint8 arrays ``[height, width]`` or ``[height, width, 3]``, as a list or as one array of all.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.data.arrays import ArraySource, PathsSource
from kilat.data.catalog import Source
from kilat.data.image_file import is_address
from kilat.data.labels import label_name
from kilat.errors import SourceError
from kilat.locale import N_, _, ngettext
from kilat.locale.lists import listed

_CHANNELS = (1, 3, 4)


def source_of_pictures(pictures: Any, labels: Sequence[str], name: str = "pictures") -> Source:
    """Return pictures with their class names as a source.

    Args:
        pictures: a list, a series or an array.
        labels: the class name of each.
        name: what the caller calls the pictures, for messages and for the paths of arrays.

    Raises:
        SourceError: there are none, their number is not that of the labels, or they are neither paths nor uint8 pixels.
    """
    checked = list_of_pictures(pictures, name)
    if not checked:
        raise SourceError(_("There are no pictures: {name} is empty.").format(name=name))
    if len(checked) != len(labels):
        raise SourceError(
            _("There are {pictures:,} pictures and {labels:,} labels.").format(
                pictures=len(checked), labels=len(labels)
            ),
            hint=_("Give one label for each picture."),
        )
    are_paths = {isinstance(picture, str | Path) for picture in checked}
    if len(are_paths) > 1:
        raise SourceError(_("Paths and arrays are mixed; give one kind."))
    if are_paths.pop():
        return PathsSource([str(picture) for picture in checked], list(labels))
    return ArraySource(checked, list(labels), name)


def require_files(pictures: Sequence[Any] | NDArray[Any], name: str) -> None:
    """Raise unless every path among pictures is one of a file that is there.

    Raises:
        SourceError: it names those that are not.
    """
    missing = [str(one) for one in pictures if isinstance(one, str | Path) and not os.path.isfile(one)]
    if not missing:
        return
    addresses = all(is_address(one) for one in missing)
    raise SourceError(
        ngettext(
            "{count:,} of {total:,} pictures in {name} was not found: {paths}.",
            "{count:,} of {total:,} pictures in {name} were not found: {paths}.",
            len(missing),
        ).format(count=len(missing), total=len(pictures), name=name, paths=listed([repr(one) for one in missing])),
        hint=_("kilat does not download: give paths of files on this machine.")
        if addresses
        else _("Paths are relative to the working folder, {folder}.").format(folder=os.getcwd()),
    )


def names_of_labels(labels: Any, name: str = "labels") -> list[str]:
    """Return the class name of every label.

    Args:
        labels: a list, a series or an array, one a picture.
        name: what the caller calls them, for messages.

    Raises:
        SourceError: some are missing (None, NaN, blank text), or this is no list of single labels.
    """
    items = _list_of_labels(labels, name)
    names = [label_name(label) for label in items]
    # NumPy writes NaN among text as "nan"; in a list that is a name like any other.
    written = "nan" if isinstance(items, np.ndarray) and items.dtype.kind == "U" else ""
    missing = [f"{name}[{row}]" for row, one in enumerate(names) if one in ("", written)]
    if missing:
        raise SourceError(
            ngettext(
                "{count:,} of {total:,} labels is missing (None, NaN or blank): {where}.",
                "{count:,} of {total:,} labels are missing (None, NaN or blank): {where}.",
                len(missing),
            ).format(count=len(missing), total=len(names), where=listed(missing)),
            hint=_("Leave out the pictures without a label, or label them."),
        )
    return names


def class_values(labels: Any, name: str) -> NDArray[Any]:
    """Return labels as scikit-learn's ``classes_`` keeps them: numbers as they are, text without blanks around it.

    Args:
        labels: a list, a series or an array, one a picture.
        name: what the caller calls them, for messages.

    Raises:
        SourceError: some are missing, they are of several types or fractions, or this is no list of single labels.
    """
    names, items = names_of_labels(labels, name), _list_of_labels(labels, name)
    kinds = {_kind(label): label for label in items}
    if len(kinds) > 1:
        raise SourceError(
            _("{name} has labels of several types: {labels}.").format(
                name=name, labels=listed([f"{label!r} ({_(kind)})" for kind, label in kinds.items()])
            ),
            hint=_("Make them one type: [str(label) for label in {name}]").format(name=name),
        )
    if "text" in kinds:
        return np.array(names, object if isinstance(items, np.ndarray) and items.dtype == object else None)
    values = np.asarray(items)
    if values.dtype.kind == "f" and (values % 1).any():
        raise SourceError(
            _("{name} has fractions such as {value:g}; labels name classes.").format(
                name=name, value=float(values[values % 1 != 0][0])
            ),
            hint=_("If every number is a class, give text: [str(label) for label in {name}]").format(name=name),
        )
    return values


def _kind(label: Any) -> str:
    value = label.item() if hasattr(label, "item") else label
    if isinstance(value, str | bytes | Path):
        return N_("text")
    return N_("number") if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _list_of_labels(labels: Any, name: str) -> Sequence[Any] | NDArray[Any]:
    """Return labels as a list or an array ``[n]``.

    Raises:
        SourceError: they are a single text, a table, or have more than one dimension, such as one-hot rows.
    """
    if isinstance(labels, str | bytes):
        raise SourceError(
            _("{name} is one text, {text!r}, not a list of labels.").format(name=name, text=labels[:80]),
            hint=_("Give a label for each picture."),
        )
    items = _items(labels, name)
    rows = (
        np.asarray(items) if len(items) and np.ndim(items[0]) and len({np.shape(one) for one in items}) == 1 else None
    )
    if rows is None or rows.ndim < 2:
        return items
    hint = _("Pictures with several labels: join them to one, such as 'cat+dog', or keep the main one.")
    if rows.shape[1:] == (1,):
        hint = _("Flatten them: np.ravel({name})").format(name=name)
    elif rows.dtype.kind in "biuf" and (rows.sum(1) == 1).all():
        hint = _("If these are one-hot rows or probabilities: np.argmax({name}, axis=1)").format(name=name)
    raise SourceError(
        _("Labels must be a list, one for each picture, not an array of shape {shape}.").format(shape=rows.shape),
        hint=hint,
    )


def list_of_pictures(pictures: Any, name: str = "pictures") -> list[Any]:
    """Return pictures as a list, each a path or uint8 pixels ``[height, width]`` or ``[height, width, 3]``.

    Args:
        pictures: a list, a series or an array.
        name: what the caller calls them, for messages.

    Raises:
        SourceError: one of them is neither; the message says which, and the hint how to make it one.
    """
    if isinstance(pictures, str | Path):
        raise SourceError(
            _("{name} is one path, {path!r}, not a list of pictures.").format(name=name, path=str(pictures)[:80]),
            hint=_("Give a list: [{path!r}]. Folders of pictures are for kilat.train.").format(path=str(pictures)[:80]),
        )
    items = _items(pictures, name)
    if isinstance(items, np.ndarray) and items.ndim > 1 and items.dtype.kind in "OUST":
        raise SourceError(
            _("{name} has the shape {shape}; paths are a list of one for each picture.").format(
                name=name, shape=list(items.shape)
            ),
            hint=_("Take one column, or flatten it: np.ravel({name})").format(name=name),
        )
    if isinstance(items, np.ndarray) and items.dtype.kind not in "OUST":
        _require_pixels(items.shape[1:], items, name)
    else:
        for row, picture in enumerate(items):
            if not isinstance(picture, str | Path):
                _require_picture(picture, f"{name}[{row}]")
    return list(items)


def _items(values: Any, name: str) -> Sequence[Any] | NDArray[Any]:
    """Return what a caller gave as a list or an array of single things.

    Raises:
        SourceError: it is of another kind, such as a table or a dictionary.
    """
    columns = getattr(values, "columns", None)
    if columns is not None:
        raise SourceError(
            _("{name} is a table with the columns {columns}, not a list.").format(
                name=name, columns=listed([repr(str(one)) for one in columns])
            ),
            hint=_("Give one column of it: {name}[{column!r}].").format(name=name, column=str(next(iter(columns), ""))),
        )
    if hasattr(values, "__array__"):
        array = np.asarray(values)
        if array.ndim == 0:
            raise SourceError(_("{name} is a single value, not a list.").format(name=name))
        return array
    if isinstance(values, Sequence):
        return values
    raise SourceError(
        _("{name} is of the type {kind}; give a list or an array.").format(name=name, kind=type(values).__name__),
        hint=_("Give list({name}).").format(name=name),
    )


def _require_picture(picture: Any, name: str) -> None:
    """Raise unless something is pixels of a picture."""
    if isinstance(picture, np.ndarray):
        _require_pixels(picture.shape, picture, name)
        return
    if hasattr(picture, "convert") and hasattr(picture, "getexif"):
        hint = _("Convert pictures of Pillow to arrays: np.asarray(image.convert('RGB'))")
    elif hasattr(picture, "__array__"):
        hint = _("Convert them to arrays of NumPy: np.asarray(picture)")
    else:
        hint = _("Give paths, or uint8 arrays [height, width] or [height, width, 3].")
    raise SourceError(
        _("{name} is neither a path nor an array of pixels: {what}.").format(
            name=name, what=" ".join(repr(picture).split())[:60]
        ),
        hint=hint,
    )


def _require_pixels(shape: tuple[int, ...], pixels: NDArray[Any], name: str) -> None:
    """Raise unless an array holds uint8 pixels of a picture, or of several that have this shape."""
    if fault := _fault_of_shape(shape, pixels.ndim > len(shape), name):
        problem, hint = fault
    elif pixels.dtype != np.uint8:
        problem, hint = _("its type is {dtype}").format(dtype=pixels.dtype), _hint_at_type(pixels, name)
    else:
        return
    raise SourceError(
        _(
            "{name} is an array of shape {shape}, but {problem}; pictures are uint8 arrays [height, width] or "
            "[height, width, 3]."
        ).format(name=name, shape=list(pixels.shape), problem=problem),
        hint=hint,
    )


def _fault_of_shape(shape: tuple[int, ...], are_many: bool, name: str) -> tuple[str, str] | None:
    """Return what is wrong with the shape of a picture, and how to fix it; None where nothing is."""
    problem, hint = _("no picture has such a shape"), _("Give pictures as [height, width, 3].")
    match shape:
        case (height, width) if are_many and width in _CHANNELS and height not in _CHANNELS:
            problem, hint = _("that is one picture"), _("Put it into a list: [{name}]")
        case (_height, _width) | (_height, _width, 3):
            return None
        case (width,):
            problem, hint = _("a picture in it is flat"), _hint_at_shape(width, "-1, " if are_many else "")
        case (_height, _width, 4):
            problem, hint = _("its pictures have four channels"), _("Leave the transparency out: {name}[..., :3]")
        case (_height, _width, 1):
            problem, hint = _("its pictures have one channel"), _("Leave that axis out: {name}[..., 0]")
        case (1 | 3 | 4, _height, _width):
            problem, hint = _("its channels come first"), _("Move them to the end: np.moveaxis({name}, -3, -1)")
    return problem, hint.format(name=name)


def _hint_at_shape(width: int, first: str) -> str:
    """Return how flat pictures of this width get their shape back."""
    grey, colour = round(width**0.5), round((width / 3) ** 0.5)
    hint = _("Give pictures their height and width: {name}.reshape({first}height, width)")
    if grey**2 == width:
        hint = _("Give pictures their height and width: {name}.reshape({first}{side}, {side})")
    elif 3 * colour**2 == width:
        hint = _(
            "Give pictures their height and width: {name}.reshape({first}{side}, {side}, 3), or, where channels come "
            "first, np.moveaxis({name}.reshape({first}3, {side}, {side}), -3, -1)"
        )
    return hint.format(name="{name}", first=first, side=grey if grey**2 == width else colour)


def _hint_at_type(pixels: NDArray[Any], name: str) -> str:
    """Return how pixels become uint8, by their range."""
    if pixels.dtype == bool:
        return _("Scale them to 0..255: {name}.astype('uint8') * 255").format(name=name)
    if pixels.dtype.kind not in "iuf" or not pixels.size or not np.isfinite(pixels).all():
        return _("Scale pixels to 0..255 and convert them with .astype('uint8').")
    low, high = pixels.min(), pixels.max()
    if low >= 0 and high <= 1 and pixels.dtype.kind == "f":
        return _("Its values go from 0 to 1: ({name} * 255).round().astype('uint8')").format(name=name)
    if low >= -1 and high <= 1 and pixels.dtype.kind == "f":
        return _("Its values go from -1 to 1: (({name} + 1) * 127.5).round().astype('uint8')").format(name=name)
    if low >= 0 and high <= 255:
        return _("Convert it: {name}.astype('uint8')").format(name=name)
    return _("Its values go from {low:g} to {high:g}: scale them to 0..255 and convert with .astype('uint8').").format(
        low=low, high=high
    )
