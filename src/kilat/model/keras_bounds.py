"""What a Keras file claims, looked at before Keras or HDF5 make it real: members, arrays, links, layers, tensors.

A few kilobytes can describe arrays of gigabytes, and layers with more weights than there is memory. What is described
has to be in the file, within a factor.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kilat.data.archive_formats import READ_ERRORS, Member
from kilat.data.zip_archive import ZipArchive
from kilat.locale import _

MAX_BYTES = 4 << 30
"""A larger file is refused; the finished model has to fit into 2 GiB."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
"""What such a file begins with."""

WEIGHTS = "model.weights.h5"
"""The member of a ``.keras`` file with the weights."""

_MOST_MEMBERS = 1_000
_MOST_OBJECTS = 100_000
_MOST_LAYERS = 4_000
_FREE, _PER_BYTE = 64 << 20, 20
"""How many bytes may come of a file, and how many more of each of its bytes."""

_MOST_NUMBERS = 1 << 27
"""Of one layer's output for one picture: half a gigabyte."""


class TooMuchError(Exception):
    """A file describes more than it can hold; the message is one clause that says what."""


def require_bounded_zip(path: Path) -> None:
    """Look at the directory of an archive.

    Raises:
        TooMuchError: it has more members, or more in them, than a model.
        ValueError: it is no archive, or it is damaged.
    """
    try:
        with contextlib.closing(ZipArchive(path)) as archive:
            members = [one for one in archive.members() if isinstance(one, Member)]
    except READ_ERRORS as error:
        raise ValueError from error
    if len(members) > _MOST_MEMBERS:
        raise TooMuchError(_("it has {count:,} members").format(count=len(members)))
    _require(sum(one.size for one in members), path.stat().st_size)


def require_bounded_hdf5(file: Any, size: int) -> int:
    """Look at everything in an HDF5 file, and return how many bytes its arrays take.

    Args:
        file: opened by h5py.
        size: of the file in bytes.

    Raises:
        TooMuchError: its arrays take many times the bytes that it has, it leads to other files, or in circles.
    """
    total, visited, waiting = _bytes_of_attributes(file), set(), [file]
    while waiting:
        for one in _inside(waiting.pop()):
            if (place := _place(one)) in visited:
                raise TooMuchError(_("one of its arrays or groups stands at several places"))
            visited.add(place)
            if len(visited) > _MOST_OBJECTS:
                raise TooMuchError(_("it has more than {count:,} groups and arrays").format(count=_MOST_OBJECTS))
            total += _bytes_of_attributes(one)
            if hasattr(one, "keys"):
                waiting.append(one)
            else:
                if one.external or one.is_virtual:
                    raise TooMuchError(_("its weights are in another file"))
                total += _bytes(one.shape, one.dtype)
            _require(total, size)
    return total


def _bytes_of_attributes(one: Any) -> int:
    return sum(_bytes(found.shape, found.dtype) for found in map(one.attrs.get_id, one.attrs))


def _bytes(shape: tuple[int, ...] | None, dtype: Any) -> int:
    return math.prod(map(int, shape or ())) * int(dtype.itemsize)


def _inside(group: Any) -> Iterator[Any]:
    """Yield what is in a group of an HDF5 file itself."""
    import h5py  # type: ignore[import-untyped]

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise TooMuchError(_("its weights are in another file"))
        yield group[name]


def _place(one: Any) -> Any:
    import h5py

    return h5py.h5o.get_info(one.id).addr


def _require(needed: int, size: int) -> None:
    if needed > min(MAX_BYTES, _FREE + _PER_BYTE * size):
        message = _("{needed:,} bytes come of its {size:,}")
        raise TooMuchError(message.format(needed=needed, size=size))


def require_bounded_config(config: Any) -> None:
    """Look at the description of a model before it is built.

    Raises:
        TooMuchError: it has more layers than a network, or takes pictures larger than any.
    """
    layers = 0
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            layers += "class_name" in one and isinstance(one.get("config"), dict)
            for name in ("batch_input_shape", "batch_shape", "input_shape", "build_input_shape", "shape"):
                if isinstance(one.get(name), list) and _numbers(one[name]) > _MOST_NUMBERS:
                    raise TooMuchError(_("it takes inputs of {shape}").format(shape=one[name][:8]))
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    if layers > 8 * _MOST_LAYERS:  # initializers and the like have classes as well
        raise TooMuchError(_("it has {count:,} parts").format(count=layers))


def require_bounded_model(model: Any, stored: int) -> None:
    """Look at a model that was built without memory.

    Args:
        model: of Keras, on the device ``meta``.
        stored: how many bytes the weights in its file take.

    Raises:
        TooMuchError: it has many more weights than its file, or a layer gives more numbers than any network's.
    """
    needed = 4 * int(model.count_params())
    if needed > _FREE + 2 * stored:
        message = _("its layers have {needed:,} bytes of weights, and the file {stored:,}")
        raise TooMuchError(message.format(needed=needed, stored=stored))
    for one in _operations(model):
        for node in getattr(one, "_inbound_nodes", ()):
            for tensor in node.output_tensors:
                if _numbers(tensor.shape) > _MOST_NUMBERS:
                    message = _("layer '{name}' gives {shape} for a picture")
                    raise TooMuchError(message.format(name=one.name, shape=[*tensor.shape[1:]]))


def _operations(model: Any) -> Iterator[Any]:
    """Yield every layer and operation of a model, those of models inside as well."""
    inner = getattr(model, "_functional", None) or model
    for one in getattr(inner, "operations", ()) or getattr(inner, "layers", ()):
        yield one
        if one is not inner and (hasattr(one, "operations") or hasattr(one, "layers")):
            yield from _operations(one)


def _numbers(shape: Any) -> int:
    """Return how many numbers a shape has; sides that are not settled count once."""
    return math.prod(side for side in shape if isinstance(side, int) and side > 0)
