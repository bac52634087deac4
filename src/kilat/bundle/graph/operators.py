"""The operators that models may use, and how large what they give is: https://onnx.ai/onnx/operators, opset 18.

Those are what kilat writes itself, and what PyTorch's exporter writes of networks of timm, of recipes and of Keras.
There is no control flow, nothing random, and nothing whose size follows from the picture's content.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kilat.bundle.graph import layer_sizes, moving_sizes
from kilat.bundle.graph.onnx_file import DTYPES, ITEM_SIZES, Tensor
from kilat.bundle.graph.operator_call import (
    BOOL,
    FLOAT,
    INT64,
    MOST_VALUES,
    UINT8,
    Call,
    MismatchError,
    Outcome,
    Sized,
    broadcast,
    known,
    require,
)
from kilat.bundle.graph.shape_values import FOLLOWED

OPSET = 18
"""The version of the operators, in every file so far."""

_MISMATCHES = (LookupError, TypeError, ValueError, ArithmeticError)
"""What Python and NumPy raise where an operator does not fit its inputs."""

_SLOW = 512
"""What a number takes longer in functions that are computed one by one, such as a power or a tangent."""


def outcome(call: Call) -> Outcome:
    """Return what an operator of ``RULES`` comes to.

    Raises:
        MismatchError: it does not fit its inputs.
    """
    try:
        found = RULES[call.operator](call)
        require(all(one.dtype in ITEM_SIZES for one in found.outputs))  # such as what a Cast asks for
        follow = FOLLOWED.get(call.operator)
        if (
            follow is None
            or not all(one is None or one.values is not None for one in call.given)
            or not all(one.numbers <= MOST_VALUES and one.dtype in DTYPES for one in found.outputs)
        ):
            return found
    except _MISMATCHES:
        raise MismatchError from None
    try:
        return found._replace(outputs=_with_values(follow, call, found.outputs))
    except _MISMATCHES:
        return found


def constant(tensor: Tensor) -> Sized:
    """Return a constant of the graph, with its numbers where they are few.

    Raises:
        MismatchError: they are not as many as its shape says, or of no known type.
    """
    require(tensor.is_sound)
    few = math.prod(tensor.dims) <= MOST_VALUES
    try:
        return Sized(tensor.dims, tensor.dtype, tensor.values() if few else None)
    except ValueError:
        raise MismatchError from None


def _with_values(follow: Callable[..., Any], call: Call, outputs: Sequence[Sized]) -> list[Sized]:
    """Return an operator's outputs with their numbers."""
    with np.errstate(all="ignore"):
        values = follow(call.node, *(None if one is None else one.values for one in call.given))
        arrays = values if isinstance(values, list) else [values]
        return [
            one._replace(values=np.asarray(array).astype(DTYPES[one.dtype]).reshape(one.shape))
            for one, array in zip(outputs, arrays, strict=True)
        ]


def _same(call: Call) -> Outcome:
    return Outcome([call.first.of_shape(call.first.shape)])


def _batch_norm(call: Call) -> Outcome:
    """Of a batch norm, which hands on the mean and the variance of every channel where it is in training."""
    return Outcome(
        [
            call.first.of_shape(call.first.shape),
            *(call.input(1).of_shape(call.input(1).shape) for _name in call.node.outputs[1:]),
        ]
    )


def _slow(call: Call) -> Outcome:
    return Outcome([call.first.of_shape(call.first.shape)], _SLOW * call.first.numbers)


def _of_neighbours(call: Call) -> Outcome:
    return Outcome(
        [call.first.of_shape(call.first.shape)], call.first.numbers * min(call.whole("size"), call.first.shape[1])
    )


def _typed(dtype: Callable[[Call], int]) -> Callable[[Call], Outcome]:
    """Return the rule of operators that give the shape of their input in another type."""
    return lambda call: Outcome([Sized(call.first.shape, dtype(call))])


def _quantised_type(call: Call) -> int:
    zero = call.optional(2)
    return zero.dtype if zero else UINT8


def _broadcast(call: Call) -> Outcome:
    inputs = call.inputs
    dtype = BOOL if call.operator in _COMPARISONS else inputs[call.operator == "Where"].dtype
    found = Sized(broadcast(*(one.shape for one in inputs)), dtype)
    return Outcome([found], found.numbers * (_SLOW if call.operator in {"Pow", "Mod"} else len(inputs)))


def _reduced(call: Call) -> Outcome:
    first, is_arg = call.first, call.operator in {"ArgMax", "ArgMin"}
    given = [call.whole("axis", 0)] if is_arg else call.optional_numbers(1)
    if not given:
        given = [] if call.whole("noop_with_empty_axes", 0) else [*range(first.rank)]
    axes, keep = {*first.axes(given)}, call.whole("keepdims", 1)
    shape = [1 if axis in axes else dim for axis, dim in enumerate(first.shape) if keep or axis not in axes]
    return Outcome([Sized(tuple(shape), INT64 if is_arg else first.dtype)], 2 * first.numbers, first.size)


def _shape(call: Call) -> Outcome:
    start, end = call.whole("start", 0), call.whole("end", call.first.rank)
    return Outcome([known(np.array(call.first.shape[start:end], np.int64), INT64)])


def _count(call: Call) -> Outcome:
    return Outcome([known(np.array(call.first.numbers, np.int64), INT64)])


def _constant(call: Call) -> Outcome:
    ((name, value),) = call.node.attributes.items()
    if name == "value" and isinstance(value, Tensor):
        return Outcome([constant(value)])
    dtype = {"value_int": INT64, "value_ints": INT64, "value_float": FLOAT, "value_floats": FLOAT}[name]
    return Outcome([known(np.array(value, DTYPES[dtype]), dtype)])


def _constant_of_shape(call: Call) -> Outcome:
    wanted, value = call.numbers(0), call.node.attributes.get("value")
    require(min(wanted, default=0) >= 0 and (value is None or constant(value).numbers == 1))
    return Outcome([Sized(tuple(wanted), FLOAT if value is None else value.dtype)])


def _range(call: Call) -> Outcome:
    start, limit, step = (call.values(at).item() for at in range(3))
    return Outcome([call.first.of_shape([max(math.ceil((limit - start) / step), 0)])])


def _one_hot(call: Call) -> Outcome:
    first, (depth,) = call.first, call.numbers(1)
    axis = first.axis(call.whole("axis", -1), more=1)
    require(depth > 0)
    return Outcome([call.input(2).of_shape((*first.shape[:axis], depth, *first.shape[axis:]))])


def _top_k(call: Call) -> Outcome:
    first, (k,) = call.first, call.numbers(1)
    axis = first.axis(call.whole("axis", -1))
    require(0 <= k <= first.shape[axis])
    shape = (*first.shape[:axis], k, *first.shape[axis + 1 :])
    return Outcome([first.of_shape(shape), Sized(shape, INT64)], 64 * first.numbers)


_COMPARISONS = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor"}

RULES: dict[str, Callable[[Call], Outcome]] = {
    **dict.fromkeys(
        """
        Abs BitwiseNot Ceil Celu Clip CumSum Dropout Elu Erf Exp Floor GroupNormalization HardSigmoid
        HardSwish Hardmax Identity InstanceNormalization LayerNormalization LeakyRelu Log LogSoftmax LpNormalization
        MeanVarianceNormalization Mish Neg Not Reciprocal Relu Round ScatterElements ScatterND Selu Shrink Sigmoid Sign
        Softmax Softplus Softsign Sqrt Tanh ThresholdedRelu Trilu
        """.split(),
        _same,
    ),
    **dict.fromkeys("Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan".split(), _slow),
    **dict.fromkeys(
        "Add BitShift BitwiseAnd BitwiseOr BitwiseXor Div Max Mean Min Mod Mul PRelu Pow Sub Sum Where".split(),
        _broadcast,
    ),
    **dict.fromkeys(_COMPARISONS, _broadcast),
    **dict.fromkeys(
        """
        ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare
        """.split(),
        _reduced,
    ),
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv"), layer_sizes.conv),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), layer_sizes.pooled),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), layer_sizes.globally_pooled),
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), layer_sizes.matmul),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), layer_sizes.recurrent),
    **dict.fromkeys(("IsInf", "IsNaN"), _typed(lambda _call: BOOL)),
    "BatchNormalization": _batch_norm,
    "Cast": _typed(lambda call: call.whole("to")),
    "CastLike": _typed(lambda call: call.input(1).dtype),
    "Concat": moving_sizes.concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "ConvTranspose": layer_sizes.conv_transpose,
    "DepthToSpace": moving_sizes.depth_to_space,
    "DequantizeLinear": _typed(lambda call: call.input(1).dtype),
    "Einsum": layer_sizes.einsum,
    "Expand": moving_sizes.expanded,
    "Flatten": moving_sizes.flattened,
    "Gather": moving_sizes.gathered,
    "GatherElements": moving_sizes.gathered_elements,
    "GatherND": moving_sizes.gathered_nd,
    "Gemm": layer_sizes.gemm,
    "GridSample": layer_sizes.grid_sampled,
    "LRN": _of_neighbours,
    "OneHot": _one_hot,
    "Pad": moving_sizes.padded,
    "QuantizeLinear": _typed(_quantised_type),
    "Range": _range,
    "Reshape": moving_sizes.reshaped,
    "Resize": layer_sizes.resized,
    "Shape": _shape,
    "Size": _count,
    "Slice": moving_sizes.sliced,
    "SpaceToDepth": moving_sizes.space_to_depth,
    "Split": moving_sizes.split,
    "Squeeze": moving_sizes.squeezed,
    "Tile": moving_sizes.tiled,
    "TopK": _top_k,
    "Transpose": moving_sizes.transposed,
    "Unsqueeze": moving_sizes.unsqueezed,
}
"""The operators by their names, and the rule for what each comes to."""
