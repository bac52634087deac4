"""A Keras model file, read without running anything in it.

Keras is imported when it is needed, so that whoever lacks it is told what to install. What Keras 3 saved, Keras reads
itself; what Keras 2 saved (tf.keras up to TensorFlow 2.15, tf_keras) is rebuilt by ``kilat.model.keras2``.
"""

import contextlib
import importlib.util
import io
import os
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kilat.errors import MissingExtra, ModelFileError, RunError
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.model.keras_bounds import (
    HDF5_MAGIC,
    MAX_BYTES,
    WEIGHTS,
    TooMuchError,
    require_bounded_config,
    require_bounded_model,
    require_bounded_zip,
)
from kilat.model.keras_guard import stored_bytes
from kilat.runtime.files import require_possible
from kilat.runtime.json_document import parse_json
from kilat.runtime.regular_file import NotRegularFileError, TooLargeFileError, open_regular_file

MAX_CONFIG_BYTES = 16 << 20
"""A longer description of the layers is refused before it is parsed."""

_WITH_OWN_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")
"""Classes that bring their own code in the file."""

_PACKAGES = ("", "keras", "tf_keras", "builtins")
"""Where the classes of a model come from, if it is made of nothing but Keras."""

_DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What a file that is something else, or cut off, makes the readers of zip, HDF5 and JSON raise."""

_LONGEST_VERSION = 40


@dataclass(frozen=True)
class _Description:
    """What a model file says of its layers.

    Args:
        path: the file.
        kind: how it is written, whatever its name ends in: ``.keras``, a zip, or ``.h5``.
        version: the Keras that wrote it; empty where it does not say.
        config: class and configuration of the model.
        stored: how many bytes the arrays in it take.
    """

    path: Path
    kind: Literal[".keras", ".h5"]
    version: str
    config: Any
    stored: int


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
        path: ``model.keras`` or ``model.h5``, of Keras 3 or of Keras 2.

    Raises:
        MissingExtra: Keras is not installed.
        ModelFileError: the file is not a Keras model, would run code of its own, or has parts without counterpart.
        RunError: Keras was imported before, with another backend.
    """
    require_possible(path)
    keras = import_keras_package()
    description = _describe(path)
    _refuse_code(description.config, path)
    _require_bounded(keras, description)
    if description.version.startswith("1."):
        raise ModelFileError(
            _("{path} was written by Keras {version}; kilat reads Keras 2 and 3.").format(
                path=path, version=description.version
            ),
            hint=_("Load it with TensorFlow 2.15 (tf.keras.models.load_model) and save it again."),
        )
    return _load_keras3(keras, description) if description.version.startswith("3.") else _load_keras2(description)


def _require_bounded(keras: Any, description: _Description) -> None:
    """Build the model without memory for its weights, to see what it would take.

    Raises:
        ModelFileError: more than its file can hold.
    """
    try:
        require_bounded_config(description.config)
        with keras.device("meta"):
            try:
                model = _built(keras, description)
            except Exception:  # noqa: BLE001 - Keras raises many kinds; building it in earnest says why
                return
            require_bounded_model(model, description.stored)
    except TooMuchError as error:
        raise _unreadable(description, str(error)) from error


def _built(keras: Any, description: _Description) -> Any:
    """Return the model with first weights."""
    if not description.version.startswith("3."):
        from kilat.model.keras2.graph import rebuild

        return rebuild(description.config)[0]
    if description.kind == ".keras":
        return keras.saving.deserialize_keras_object(description.config, safe_mode=True)
    from keras.src.legacy.saving.saving_utils import model_from_config

    return model_from_config(description.config)


def last_layer(model: Any) -> Any:
    """Return the layer that gives a model's outputs, inside models inside the model too."""
    while getattr(model, "outputs", None):
        model = model.outputs[0]._keras_history.operation  # noqa: SLF001 - the only record of what made an output
    return model


def _load_keras3(keras: Any, description: _Description) -> Any:
    path = description.path
    with contextlib.ExitStack() as stack:
        if path.suffix != description.kind:  # Keras goes by the name
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = Path(shutil.copyfile(path, folder / f"model{description.kind}"))
        try:
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises many kinds
            raise _unreadable(description, _cause(error)) from error
    for layer in model._flatten_layers():  # noqa: SLF001 - the public `layers` stops at models inside the model
        if layer.dtype_policy.name.startswith("mixed_"):
            layer.dtype_policy = "float32"  # the weights already are; the exported file computes in float32 too
    return model


def _load_keras2(description: _Description) -> Any:
    import h5py  # type: ignore[import-untyped]

    from kilat.model.keras2.cannot_rebuild import CannotRebuildError
    from kilat.model.keras2.graph import rebuild
    from kilat.model.keras2.load_weights import load_h5, load_keras

    try:
        model, parts = rebuild(description.config)
        if description.kind == ".h5":
            with h5py.File(description.path, "r") as file:
                load_h5(parts, file["model_weights"])
        else:
            with zipfile.ZipFile(description.path) as archive:
                content = io.BytesIO(archive.read(WEIGHTS))
            with h5py.File(content, "r") as file:
                load_keras(parts, file)
    except CannotRebuildError as error:
        raise _unreadable(description, str(error)) from error
    except (*_DAMAGE, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise _unreadable(description, _("its layers or its weights are damaged")) from error
    return model


def _unreadable(description: _Description, cause: str) -> ModelFileError:
    return ModelFileError(
        _("{path}, saved by Keras {version}, cannot be read: {cause}.").format(
            path=description.path, version=description.version or "2", cause=cause
        ),
        hint=_(
            "In the environment in which it was trained, build the model without that part, give it its weights "
            "(new.set_weights(old.get_weights())) and save it: new.save('model.keras')."
        ),
    )


def _cause(error: Exception) -> str:
    """Return the innermost reason among the many lines of Keras, and the layer it is about, as one clause."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    layers = re.findall(r"class '(\w+)' using config=\{'name': '([^']+)'", text)
    layers += re.findall(r"error message for object <(\w+) name=([^,>]+)", text)
    innermost = re.split(r"Exception encountered:|error message for object <[^>]*>:", text)[-1].strip()
    innermost = innermost or type(error).__name__
    cause = re.split(r"(?<=[^.])\.(?:\s|$)|\n", innermost, maxsplit=1)[0].strip(" .:")
    where = _("layer '{name}' ({class_name}): ").format(name=layers[-1][1], class_name=layers[-1][0]) if layers else ""
    return f"{where}{cause[:400]}"


def _restore_environment(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


def _how_to_save() -> str:
    return _("In the environment in which it was trained: model.save('model.keras').")


def _describe(path: Path) -> _Description:
    """Return what a model file says of its layers; nothing is built from it."""
    _refuse_other_formats(path)
    try:
        with open_regular_file(path, MAX_BYTES) as file:
            is_hdf5 = file.read(len(HDF5_MAGIC)) == HDF5_MAGIC
        return _describe_hdf5(path) if is_hdf5 else _describe_zip(path)
    except (NotRegularFileError, TooLargeFileError) as error:
        raise ModelFileError(
            _("{path} cannot be read: {reason}.").format(path=path, reason=system_reason(error)), hint=_how_to_save()
        ) from None
    except TooMuchError as error:
        raise ModelFileError(
            _("{path} is not read: {reason}.").format(path=path, reason=error), hint=_how_to_save()
        ) from None
    except _DAMAGE:
        raise ModelFileError(
            _("{path} is not a Keras model (.keras or .h5), or it is damaged.").format(path=path), hint=_how_to_save()
        ) from None


def _describe_zip(path: Path) -> _Description:
    require_bounded_zip(path)
    stored = stored_bytes(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inside = [name for name in names if name.endswith((".h5", ".keras")) and name != WEIGHTS]
        if "config.json" not in names and inside:
            raise ModelFileError(
                _("{path} is an archive that contains {name}.").format(path=path, name=inside[0]),
                hint=_("Unpack it: unzip {path}").format(path=path),
            )
        config = parse_json(_read_member(archive, "config.json"))
        said = parse_json(_read_member(archive, "metadata.json")) if "metadata.json" in names else {}
    version = said.get("keras_version", "") if isinstance(said, dict) else ""
    return _Description(path, ".keras", str(version)[:_LONGEST_VERSION], config, stored)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        raise ValueError
    return archive.read(name)


def _describe_hdf5(path: Path) -> _Description:
    import h5py

    stored = stored_bytes(path)
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ModelFileError(
                _("{path} contains weights, but not the layers they belong to.").format(path=path),
                hint=_(
                    "Build the model as it was built for training, then model.load_weights('{path}') and "
                    "model.save('model.keras')."
                ).format(path=path),
            )
        config, version = (_text(file.attrs.get(name, "")) for name in ("model_config", "keras_version"))
    if len(config) > MAX_CONFIG_BYTES:
        raise ValueError
    return _Description(path, ".h5", version[:_LONGEST_VERSION], parse_json(config.encode()), stored)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _refuse_other_formats(path: Path) -> None:
    """Refuse what is not one file of Keras, and say how to come to one."""
    again = _(
        "With the TensorFlow that wrote it, or with tf_keras: tf.keras.models.load_model('{path}').save('model.h5')."
    ).format(path=path if path.is_dir() else path.parent)
    if (path / "saved_model.pb").is_file() or path.name == "saved_model.pb":
        message, hint = _("{path} is a SavedModel of TensorFlow, whose layers are a program."), again
    elif (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        message, hint = _("{path} is an unpacked .keras file."), _("Pack its files again: zip model.keras *")
    elif path.is_dir():
        message, hint = _("{path} is a folder; a Keras model is one file, .keras or .h5."), _how_to_save()
    elif not path.exists():
        message, hint = _("{path} does not exist; a Keras model is one file, .keras or .h5."), _how_to_save()
    elif path.suffix in {".tflite", ".lite"}:
        message = _("{path} is a model of TensorFlow Lite, which Keras does not read.")
        hint = _("Import the Keras model that it was converted from; Teachable Machine: export as Tensorflow, Keras.")
    elif path.suffix == ".pb":
        message = _("{path} is a graph of TensorFlow, which Keras does not read.")
        hint = _("Import the Keras model that it was made from, saved as .keras or .h5.")
    elif path.suffix == ".json":
        message = _("{path} describes the layers of a model, but does not contain its weights.")
        hint = _(
            "model = keras.models.model_from_json(open('{path}').read()), then model.load_weights(…) and "
            "model.save('model.keras'); Teachable Machine: export as Tensorflow, Keras."
        ).format(path=path)
    elif path.suffix in {".onnx", ".pt", ".pth", ".safetensors", ".pkl", ".joblib"}:
        message, hint = _("{path} is not a Keras model; kilat imports .keras and .h5."), _how_to_save()
    else:
        return
    raise ModelFileError(message.format(path=path), hint=hint)


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
        if module.partition(".")[0] not in _PACKAGES:
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
