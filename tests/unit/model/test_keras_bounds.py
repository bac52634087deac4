"""What Keras files and files of weights claim is looked at before a library makes it real."""

import importlib.util
import io
import json
import os
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra keras is not installed")
if importlib.util.find_spec("keras") is None:
    pytest.skip("the extra keras is not installed", allow_module_level=True)
os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import safetensors.torch
import torch

from kilat.errors import ModelFileError
from kilat.model.keras_bounds import (
    WEIGHTS,
    TooMuchError,
    require_bounded_config,
    require_bounded_hdf5,
    require_bounded_zip,
)
from kilat.model.keras_file import load_model
from kilat.model.weights_bounds import require_bounded


@pytest.fixture(scope="module")
def members(tmp_path_factory) -> dict[str, bytes]:
    """The members of a small ``.keras`` file."""
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, activation="softmax")]
    ).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def write(members, tmp_path):
    """Write a ``.keras`` file with some of its members exchanged."""

    def make(**changed: bytes):
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, changed.get(name.partition(".")[0], content))
        return path

    return make


def config_with(members, layer: str, **values: object) -> bytes:
    config = json.loads(members["config.json"])
    (found,) = (one for one in config["config"]["layers"] if one["class_name"] == layer)
    found["config"] |= values
    return json.dumps(config).encode()


@pytest.mark.parametrize(
    ("layer", "values", "reason"),
    [
        ("Dense", {"units": 10**9}, "its layers have 16,000,000,000 bytes of weights, and the file 88"),
        ("InputLayer", {"batch_shape": [None, 100_000, 100_000, 3]}, "it takes inputs of"),
        ("GlobalAveragePooling2D", {"nested": json.loads("[" * 200 + "]" * 200)}, "or it is damaged"),
    ],
)
def test_layers_that_the_file_cannot_hold_are_not_built(members, write, layer, values, reason):
    with pytest.raises(ModelFileError, match=reason):
        load_model(write(config=config_with(members, layer, **values)))


def test_a_member_that_unpacks_to_gigabytes_is_refused(write):
    path = write(config=b" " * (80 << 20))
    with pytest.raises(TooMuchError, match="bytes come of its"):
        require_bounded_zip(path)
    with pytest.raises(ModelFileError, match="bytes come of its"):
        load_model(path)


@pytest.mark.parametrize("kind", ["device", "pipe", "sparse"])
def test_what_is_no_file_is_not_read(tmp_path, kind):
    path = tmp_path / "model.h5"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
        os.truncate(path, 1 << 40)
    with pytest.raises(ModelFileError, match=r"model\.h5 cannot be read: it (is a pipe|has 1,099)"):
        load_model(path)


def giant(file: h5py.File) -> None:
    file.create_dataset("giant", (10**9, 4), "f8", chunks=(1000, 4))


def elsewhere(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")


def raw_elsewhere(file: h5py.File) -> None:
    file.create_dataset("raw", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def put_together(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
    file.create_virtual_dataset("virtual", layout)


def in_a_circle(file: h5py.File) -> None:
    file["group/again"] = file["group"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (giant, r"32,000,000,\d+ bytes come of its 1,000"),
        (elsewhere, "in another file"),
        (raw_elsewhere, "in another file"),
        (put_together, "in another file"),
        (in_a_circle, "at several places"),
    ],
)
def test_arrays_that_are_not_in_the_file_are_refused(change, reason):
    with h5py.File(io.BytesIO(), "w") as file:
        file["group/weights"] = np.zeros(7, np.float32)
        assert require_bounded_hdf5(file, 1000) == 28
        change(file)
        with pytest.raises(TooMuchError, match=reason):
            require_bounded_hdf5(file, 1000)


def test_damaged_weights_are_refused_by_the_process_that_reads_them(members, write):
    weights = bytearray(members[WEIGHTS])
    weights[400:] = bytes(len(weights) - 400)
    with pytest.raises(ModelFileError):
        load_model(write(model=bytes(weights)))


def test_a_description_of_very_many_layers_is_refused():
    with pytest.raises(TooMuchError, match="it has 40,000 parts"):
        require_bounded_config({"layers": [{"class_name": "Activation", "config": {}}] * 40_000})


class TestWeights:
    def test_ordinary_files_pass(self, tmp_path):
        tensors = {"a": torch.zeros(9)}
        safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
        torch.save(tensors, tmp_path / "a.pth")
        torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
        for name in ("a.safetensors", "a.pth", "old.pth"):
            require_bounded(tmp_path / name)

    def test_a_header_of_gigabytes_is_refused(self, tmp_path):
        (tmp_path / "a.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
        with pytest.raises(ValueError, match="header is missing, or larger"):
            require_bounded(tmp_path / "a.safetensors")

    def test_an_archive_that_unpacks_to_more_is_refused(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data/0", bytes(9_000_000))
        with pytest.raises(ValueError, match="more comes of it than it has bytes"):
            require_bounded(tmp_path / "a.pth")

    def test_a_link_to_a_device_is_refused(self, tmp_path):
        (tmp_path / "a.pth").symlink_to("/dev/zero")
        with pytest.raises(OSError, match="a device, not a file"):
            require_bounded(tmp_path / "a.pth")
