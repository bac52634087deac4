"""A layer of Keras 2 as the layer of Keras 3 that computes the same, from its description."""

import inspect
from typing import Any

import keras
from keras import layers

from kilat.locale import _
from kilat.model.keras2.cannot_rebuild import CannotRebuildError

_RENAMED_CLASSES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "FixedDropout": "Dropout",  # of the package efficientnet
}
_RENAMED_ARGUMENTS = {"LeakyReLU": {"alpha": "negative_slope"}}
_RENAMED_ACTIVATIONS = {"softmax_v2": "softmax", "sigmoid_v2": "sigmoid"}
"""Functions of tf.nn, as Keras 2 saved them."""

_FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")
_IGNORED = {
    "autocast", "batch_input_shape", "batch_shape", "dtype", "fused", "input_dtype", "key_shape", "query_shape", "seed",
    "synchronized", "trainable", "value_shape",
}  # fmt: skip
"""What has no part in a model's answers in float32."""

_OF_TRAINING_ONLY = {
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "RandomBrightness",
    "RandomContrast", "RandomFlip", "RandomHeight", "RandomRotation", "RandomTranslation", "RandomWidth", "RandomZoom",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "StochasticDepth",
}  # fmt: skip
"""Layers that hand their input on when a model answers."""


def make_layer(class_name: str, config: dict[str, Any]) -> Any:
    """Return the layer of a class of Keras 2.

    Args:
        class_name: its class.
        config: its arguments.

    Raises:
        CannotRebuildError: Keras 3 has no such layer, or none with one of its arguments.
    """
    name = _RENAMED_CLASSES.get(class_name, class_name)
    if name in _OF_TRAINING_ONLY:
        return layers.Identity(name=config["name"])
    kind = _layer_classes().get(name)
    if kind is None:
        raise CannotRebuildError(_("it is not a layer of Keras"))
    known = inspect.signature(kind.__init__).parameters
    renamed = _RENAMED_ARGUMENTS.get(name, {})
    arguments = {}
    for given, value in config.items():
        key = renamed.get(given, given)
        if key in _IGNORED or key.endswith(_FOR_TRAINING):
            continue
        if key not in known and key != "name":
            if value in (None, False, 1):  # as the layer of Keras 3 is, which has no such choice
                continue
            raise CannotRebuildError(_("Keras 3 has no {key}={value} there").format(key=key, value=value))
        arguments[key] = _argument(name, key, value)
    return kind(**arguments)


def hard_sigmoid(x: Any) -> Any:
    """Return the piecewise linear sigmoid of Keras 2, which is less steep at the ends than that of Keras 3."""
    return keras.ops.clip(0.2 * x + 0.5, 0, 1)


def _layer_classes() -> dict[str, Any]:
    from keras.src.applications.convnext import LayerScale

    return {name: kind for name, kind in vars(layers).items() if isinstance(kind, type)} | {"LayerScale": LayerScale}


def _argument(class_name: str, key: str, value: Any) -> Any:
    if key.endswith("activation") and value is not None:
        return _activation(value)
    if class_name == "BatchNormalization" and key == "axis" and isinstance(value, list):
        if len(value) > 1:
            raise CannotRebuildError(_("Keras 3 has no {key}={value} there").format(key=key, value=value))
        return value[0]
    if key == "layer" and isinstance(value, dict):
        return make_layer(value["class_name"], value["config"])
    if isinstance(value, dict) and value.get("class_name") == "__tuple__":
        return tuple(value["items"])
    return value


def _activation(value: Any) -> Any:
    """Return an activation of Keras 3: its name, or the layer or the function that computes it."""
    if isinstance(value, dict) and value.get("class_name") != "function":
        return make_layer(value["class_name"], {"name": None, **value["config"]})
    name = value["config"] if isinstance(value, dict) else value
    name = _RENAMED_ACTIVATIONS.get(name, name)
    if name == "hard_sigmoid":
        return hard_sigmoid
    if not isinstance(name, str) or not callable(getattr(keras.activations, name, None)):
        raise CannotRebuildError(_("the activation '{name}' is not one of Keras").format(name=name))
    return name
