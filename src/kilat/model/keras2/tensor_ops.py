"""TensorFlow operations that functional models of Keras 2 hold outside of layers, as operations of Keras 3.

``x / 127.5 - 1`` on a tensor of Keras 2 is saved as ``math.truediv`` and ``math.subtract``; so is all preprocessing of
``tf.keras.applications``. Every operation here was compared with TensorFlow 2.15.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kilat.locale import _
from kilat.model.keras2.cannot_rebuild import CannotRebuildError

_LUMA = np.array([0.2989, 0.587, 0.114], np.float32)


def apply(function: str, x: Any, arguments: dict[str, Any]) -> Any:
    """Return what a TensorFlow function makes of a tensor.

    Args:
        function: its name in TensorFlow, without ``tf.``.
        x: its first argument: a tensor, a list of tensors or a constant.
        arguments: the others, by name; tensors or constants.

    Raises:
        CannotRebuildError: the function or an argument has no counterpart here.
    """
    name = function.removeprefix("compat.v1.").removeprefix("__operators__.")
    if name not in _OPS:
        raise CannotRebuildError(_("the operation tf.{name} is not one that kilat knows").format(name=name))
    said = {key: value for key, value in arguments.items() if not (value is None or value is False or key == "name")}
    try:
        return _OPS[name](_constant(x), **{key: _constant(value) for key, value in said.items()})
    except TypeError as error:  # an argument that the counterpart does not take
        raise CannotRebuildError(
            _("tf.{name} was called with {arguments}, which kilat does not know").format(
                name=name, arguments=", ".join(said) or _("other arguments")
            )
        ) from error


def apply_node(operation: str, tensors: list[Any], constants: dict[int, Any]) -> Any:
    """Return what a node of TensorFlow's graph makes of tensors, as Keras 2 saved it before TensorFlow 2.4.

    Args:
        operation: its name, such as ``RealDiv``.
        tensors: its inputs that are tensors, in order.
        constants: the others, by their place among all inputs.

    Raises:
        CannotRebuildError: the operation has no counterpart here.
    """
    if operation not in _NODES:
        raise CannotRebuildError(_("the operation {name} is not one that kilat knows").format(name=operation))
    remaining = iter(tensors)
    count = len(tensors) + len(constants)
    inputs = [_constant(constants[i]) if i in constants else next(remaining) for i in range(count)]
    return _NODES[operation](*inputs)


def _constant(value: Any) -> Any:
    """Return a list of numbers as an array; everything else as it is."""
    if isinstance(value, list) and value and all(isinstance(one, float | list) for one in value):
        return np.asarray(value, np.float32)
    return value


def _slice(x: Any, slice_spec: list[Any]) -> Any:
    """Return ``x[slice_spec]``; PyTorch has no negative steps, so that a reversed axis is flipped."""
    rank, items = len(x.shape), [_slice_item(item) for item in slice_spec]
    if Ellipsis in items:
        at = items.index(Ellipsis)
        missing = rank - sum(item is not None for item in items) + 1
        items[at : at + 1] = [slice(None)] * missing
    axis, flipped = 0, []
    for i, item in enumerate(items):
        if isinstance(item, slice) and (item.step or 1) < 0:
            if item != slice(None, None, -1):
                raise CannotRebuildError(_("a slice with a negative step is not one that kilat knows"))
            flipped.append(axis)
            items[i] = slice(None)
        axis += item is not None
    x = ops.flip(x, axis=tuple(flipped)) if flipped else x
    return x if all(item == slice(None) for item in items) else x[tuple(items)]


def _slice_item(item: Any) -> Any:
    if isinstance(item, dict):
        return Ellipsis if "class_name" in item else slice(item["start"], item["stop"], item["step"])
    if item is None or isinstance(item, int):
        return item
    raise CannotRebuildError(_("a slice by a tensor is not one that kilat knows"))


def _bias_add(x: Any, bias: Any, data_format: str | None = "NHWC") -> Any:
    if data_format not in {None, "NHWC", "N...C"}:
        raise CannotRebuildError(_("tf.nn.bias_add with channels first is not one that kilat knows"))
    return x + bias


def _cast(x: Any, dtype: str) -> Any:
    if dtype in {"float16", "bfloat16", "float64"}:  # everything is computed in float32 here
        dtype = "float32"
    return ops.cast(x, dtype)


def _convert_image_dtype(x: Any, dtype: str) -> Any:
    whole = keras.backend.standardize_dtype(x.dtype)
    if dtype != "float32" or whole not in {"float32", "uint8"}:
        raise CannotRebuildError(
            _("tf.image.convert_image_dtype from {whole} to {dtype} is not one that kilat knows").format(
                whole=whole, dtype=dtype
            )
        )
    return ops.cast(x, "float32") / 255 if whole == "uint8" else x


def _resize(x: Any, size: list[int], method: str = "bilinear", antialias: bool = False) -> Any:
    if method != "bilinear" or antialias:  # other kernels of Keras on PyTorch differ from TensorFlow's
        raise CannotRebuildError(
            _("tf.image.resize by {method} is not one that kilat knows").format(
                method=_("antialiasing") if antialias else method
            )
        )
    return ops.image.resize(x, tuple(size), interpolation=method, antialias=False, data_format="channels_last")


def _standardize(image: Any) -> Any:
    pixels = math.prod(image.shape[1:])
    mean = ops.mean(image, axis=(1, 2, 3), keepdims=True)
    spread = ops.sqrt(ops.mean(ops.square(image - mean), axis=(1, 2, 3), keepdims=True))
    return (image - mean) / ops.maximum(spread, 1 / math.sqrt(pixels))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: float = 0) -> Any:
    rows = np.asarray(paddings, np.int64).tolist()
    if mode != "CONSTANT" or constant_values or len(rows) != 4 or any(rows[0] + rows[3]):
        raise CannotRebuildError(_("tf.pad of anything but rows and columns by zeros is not one that kilat knows"))
    return layers.ZeroPadding2D(rows[1:3])(tensor)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0) -> Any:
    if isinstance(num_or_size_splits, list):
        num_or_size_splits = np.cumsum(num_or_size_splits)[:-1].tolist()
    return ops.split(value, num_or_size_splits, axis=axis)


def _squeeze(x: Any, axis: Any = None) -> Any:
    for one in sorted((axis if isinstance(axis, list) else [axis]), key=lambda i: -(i % len(x.shape))):
        x = ops.squeeze(x, axis=one)
    return x


def _axes(reduce: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reduction that takes its axes as TensorFlow does."""

    def reduced(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if axis is None:
            raise CannotRebuildError(_("a reduction over all pictures of a batch is not one that kilat knows"))
        return reduce(input_tensor, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)

    return reduced


def _activation(name: str) -> Callable[..., Any]:
    """Return an activation as a layer, which says what a model's outputs are where it comes last."""

    def activated(x: Any = None, axis: int = -1, **given: Any) -> Any:
        x = given.pop("features", given.pop("logits", x))
        if given or axis != -1:
            raise TypeError
        return layers.Activation(name)(x)

    return activated


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=approximate)


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, dim: Any = None) -> Any:
    axes = axis if dim is None else dim
    return x / ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=axes, keepdims=True), epsilon))


# Names of arguments are TensorFlow's here, so that a lambda may say no more than what it calls.
# ruff: noqa: PLW0108
_OPS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("add", "math.add"), lambda x, y: x + y),
    **dict.fromkeys(("subtract", "math.subtract"), lambda x, y: x - y),
    **dict.fromkeys(("multiply", "math.multiply"), lambda x, y: x * y),
    **dict.fromkeys(("truediv", "math.truediv", "divide", "math.divide", "realdiv", "RealDiv"), lambda x, y: x / y),
    **dict.fromkeys(("math.pow", "pow"), lambda x, y: ops.power(x, y)),
    **dict.fromkeys(("math.maximum", "maximum"), lambda x, y: ops.maximum(x, y)),
    **dict.fromkeys(("math.minimum", "minimum"), lambda x, y: ops.minimum(x, y)),
    **dict.fromkeys(("math.negative", "negative"), ops.negative),
    **dict.fromkeys(("math.square", "square"), ops.square),
    **dict.fromkeys(("math.sqrt", "sqrt"), ops.sqrt),
    **dict.fromkeys(("math.abs", "abs"), ops.abs),
    **dict.fromkeys(("math.exp", "exp"), ops.exp),
    **dict.fromkeys(("math.tanh", "tanh", "nn.tanh"), ops.tanh),
    **dict.fromkeys(("math.reduce_mean", "reduce_mean"), _axes(ops.mean)),
    **dict.fromkeys(("math.reduce_sum", "reduce_sum"), _axes(ops.sum)),
    **dict.fromkeys(("math.reduce_max", "reduce_max"), _axes(ops.max)),
    **dict.fromkeys(("math.reduce_min", "reduce_min"), _axes(ops.min)),
    **dict.fromkeys(("math.l2_normalize", "linalg.l2_normalize", "nn.l2_normalize"), _l2_normalize),
    **dict.fromkeys(("linalg.matmul", "matmul"), _matmul),
    **dict.fromkeys(("nn.softmax", "softmax"), _activation("softmax")),
    **dict.fromkeys(("math.sigmoid", "sigmoid", "nn.sigmoid"), _activation("sigmoid")),
    **dict.fromkeys(("nn.relu", "relu"), lambda features: ops.relu(features)),
    "nn.relu6": lambda features: ops.relu6(features),
    **dict.fromkeys(("nn.silu", "nn.swish"), lambda features, beta=1.0: features * ops.sigmoid(beta * features)),
    "nn.gelu": _gelu,
    "nn.leaky_relu": lambda features, alpha=0.2: ops.leaky_relu(features, negative_slope=alpha),
    "nn.bias_add": _bias_add,
    "cast": _cast,
    "identity": lambda x: x,
    "stop_gradient": lambda x: x,
    "clip_by_value": lambda t, clip_value_min, clip_value_max: ops.clip(t, clip_value_min, clip_value_max),
    "getitem": _slice,
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=tuple(axis)),
    "concat": lambda values, axis: ops.concatenate(values, axis=axis),
    "stack": lambda values, axis=0: ops.stack(values, axis=axis),
    "split": _split,
    "expand_dims": ops.expand_dims,
    "squeeze": _squeeze,
    "reshape": lambda tensor, shape: ops.reshape(tensor, shape),
    "transpose": lambda a, perm: ops.transpose(a, perm),
    "pad": _pad,
    "image.resize": _resize,
    "image.rgb_to_grayscale": lambda images: ops.sum(images * _LUMA, axis=-1, keepdims=True),
    "image.per_image_standardization": _standardize,
    "image.convert_image_dtype": _convert_image_dtype,
}
"""By their names in TensorFlow; the first argument is the tensor, the others are given by name."""

_NODES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("AddV2", "Add", "BiasAdd"), lambda x, y: x + y),
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "RealDiv": lambda x, y: x / y,
    "Relu": ops.relu,
    "Relu6": ops.relu6,
    "Sigmoid": layers.Activation("sigmoid"),
    "Softmax": layers.Activation("softmax"),
}
"""Operations of TensorFlow's graph, by their names there."""
