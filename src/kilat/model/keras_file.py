"""A Keras model file, read without running anything in it.

Keras is imported when it is needed, so that whoever lacks it is told what to install.
"""

import contextlib
import importlib.util
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kilat.errors import MissingExtra, ModelFileError, RunError
from kilat.locale import _

MAX_CONFIG_BYTES = 16 << 20
"""A longer description of the layers is refused before it is parsed."""

_WITH_OWN_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")
"""Classes that bring their own code in the file."""

_DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What a file that is something else, or cut off, makes the readers of zip, HDF5 and JSON raise."""


def import_keras_package() -> Any:
    """Return the package ``keras``, with PyTorch as its backend.

    Raises:
        MissingExtra: it is not installed.
        RunError: it was imported before, with another backend.
    """
    if not all(importlib.util.find_spec(name) for name in ("keras", "torch", "h5py")):
        raise MissingExtra(_("Reading Keras models"), "keras")
    with contextlib.ExitStack() as stack:
        if "keras" not in sys.modules:  # it reads the variable when it is imported, and never again
            stack.callback(_restore_environment, "KERAS_BACKEND", os.environ.get("KERAS_BACKEND"))
            os.environ["KERAS_BACKEND"] = "torch"
        import keras

    backend = keras.config.backend()
    if backend != "torch":
        raise RunError(
            _("Keras already runs on {backend} in this program; kilat reads its models through PyTorch.").format(
                backend=backend
            ),
            hint=_("Set the environment variable KERAS_BACKEND=torch before Keras is imported."),
        )
    return keras


def load_model(path: Path) -> Any:
    """Return the model in a file, in float32.

    Args:
        path: ``model.keras``, or ``model.h5`` of either generation of Keras.

    Raises:
        MissingExtra: Keras is not installed.
        ModelFileError: the file is not a Keras model, or would run code of its own.
        RunError: Keras was imported before, with another backend.
    """
    keras = import_keras_package()
    _refuse_code(_read_config(path), path)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelFileError(
            _("Keras {version} cannot read {path}: {reason}").format(
                version=keras.__version__, path=path, reason=reason
            ),
            hint=_how_to_save(),
        ) from error
    for layer in model._flatten_layers():  # noqa: SLF001 - the public `layers` stops at models inside the model
        if layer.dtype_policy.name.startswith("mixed_"):
            layer.dtype_policy = "float32"  # the weights already are; the exported file computes in float32 too
    return model


def last_layer(model: Any) -> Any:
    """Return the layer that gives a model's outputs, inside models inside the model too."""
    while getattr(model, "outputs", None):
        model = model.outputs[0]._keras_history.operation  # noqa: SLF001 - the only record of what made an output
    return model


def _restore_environment(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


def _how_to_save() -> str:
    return _("In the environment in which it was trained: model.save('model.keras').")


def _read_config(path: Path) -> Any:
    """Return the description of the layers in a model file; nothing is built from it."""
    if not path.is_file():
        missing = (
            _("{path} is a folder; a Keras model is one file, .keras or .h5.")
            if path.is_dir()
            else _("{path} does not exist; a Keras model is one file, .keras or .h5.")
        )
        raise ModelFileError(missing.format(path=path), hint=_how_to_save())
    try:
        return json.loads(_config_in_zip(path) if path.suffix == ".keras" else _config_in_hdf5(path))
    except _DAMAGE:
        raise ModelFileError(
            _("{path} is not a Keras model (.keras or .h5), or it is damaged.").format(path=path), hint=_how_to_save()
        ) from None


def _config_in_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("config.json")
        if member.file_size > MAX_CONFIG_BYTES:
            raise ValueError
        return archive.read(member)


def _config_in_hdf5(path: Path) -> str | bytes:
    import h5py  # type: ignore[import-untyped]

    if path.suffix not in (".h5", ".hdf5"):
        raise ValueError
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ModelFileError(
                _("{path} contains weights, but not the layers they belong to.").format(path=path), hint=_how_to_save()
            )
        text: str | bytes = file.attrs["model_config"]
        return text


def _refuse_code(config: Any, path: Path) -> None:
    """Refuse what would run code from the file, or code that this program does not have.

    Keras's own safe mode stands behind this; the names are for the user.
    """
    for name, module in _classes_in(config):
        if name in _WITH_OWN_CODE:
            raise ModelFileError(
                _("{path} contains a {name} layer, which is code inside the file; kilat runs none.").format(
                    path=path, name=name.strip("_")
                ),
                hint=_("Replace it with layers of Keras, such as Rescaling, and save the model again."),
            )
        if module.partition(".")[0] not in ("", "keras", "builtins"):
            raise ModelFileError(
                _("{path} contains '{name}' of '{module}', which is not part of Keras.").format(
                    path=path, name=name, module=module
                ),
                hint=_("Replace it with layers of Keras, and save the model again."),
            )


def _classes_in(config: Any) -> Iterator[tuple[str, str]]:
    """Yield the class and the module of everything in a model; how it was trained is left out."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield str(config["class_name"]), str(config.get("module") or "")
        for key, value in config.items():
            if key != "compile_config":
                yield from _classes_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from _classes_in(value)
