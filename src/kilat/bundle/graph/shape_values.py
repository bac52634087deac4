"""The few numbers from which sizes in a graph follow, computed before it runs: shapes, axes, starts and ends.

Every function takes the node and the values of its inputs, None for one that was left out; those of ``operators`` have
settled before what shape comes out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.graph.onnx_file import DTYPES, Node

Values = NDArray[Any]


def _elementwise(function: Callable[..., Values]) -> Callable[..., Values]:
    return lambda _node, *values: np.asarray(function(*values))


def _divided(_node: Node, left: Values, right: Values) -> Values:
    """Return a quotient, of whole numbers rounded towards zero."""
    if left.dtype.kind not in "iu":
        return np.asarray(left / right)
    return np.asarray(np.sign(left) * np.sign(right) * (np.abs(left) // np.abs(right)))


def _modulo(node: Node, left: Values, right: Values) -> Values:
    return np.asarray(np.fmod(left, right) if node.attributes.get("fmod", 0) else np.mod(left, right))


def _cast(node: Node, values: Values) -> Values:
    return values.astype(DTYPES[node.attributes["to"]])


def _clipped(_node: Node, values: Values, low: Values | None = None, high: Values | None = None) -> Values:
    values = values if low is None else np.maximum(values, low)
    return values if high is None else np.minimum(values, high)


def _concatenated(node: Node, *values: Values) -> Values:
    return np.concatenate(values, node.attributes["axis"])


def _gathered(node: Node, values: Values, indices: Values) -> Values:
    return np.take(values, indices.astype(np.int64), node.attributes.get("axis", 0))


def _sliced(
    _node: Node, values: Values, starts: Values, ends: Values, axes: Values | None = None, steps: Values | None = None
) -> Values:
    chosen = [slice(None)] * values.ndim
    for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        step = 1 if steps is None else int(steps[at])
        far = step < 0 and end < -(1 << 60)  # going backwards, up to the first one
        chosen[at if axes is None else int(axes[at])] = slice(start, None if far else end, step)
    part: Values = values[tuple(chosen)]
    return part


def _split(node: Node, values: Values, parts: Values | None = None) -> list[Values]:
    count, axis = len(node.outputs), node.attributes.get("axis", 0)
    side = values.shape[axis]
    ends = np.cumsum(parts) if parts is not None else np.minimum(-(-side // count) * np.arange(1, count + 1), side)
    return np.split(values, ends[:-1].tolist(), axis)


def _reshaped(_node: Node, values: Values, *_shape: Values | None) -> Values:
    """Return the same numbers: the shape is settled."""
    return values


def _transposed(node: Node, values: Values) -> Values:
    return np.transpose(values, node.attributes.get("perm"))


def _expanded(_node: Node, values: Values, shape: Values) -> Values:
    return (
        values * np.ones(shape.tolist(), values.dtype)
        if values.dtype.kind != "b"
        else values & np.ones(shape.tolist(), bool)
    )


def _constant_of_shape(node: Node, shape: Values) -> Values:
    value = node.attributes.get("value")
    return np.full(shape.tolist(), 0 if value is None else value.values().item())


def _only_plain(node: Node, *attributes: str) -> None:
    """Raise where an operator is asked for what is not followed here; its numbers count as unknown then."""
    if any(node.attributes.get(name) for name in attributes):
        raise ValueError


def _one_hot(node: Node, indices: Values, depth: Values, off_on: Values) -> Values:
    axis, count = node.attributes.get("axis", -1), int(depth.item())
    is_inside = (-count <= indices) & (indices < count)
    hot = (np.arange(count) == np.mod(indices, count)[..., None]) & is_inside[..., None]
    return np.moveaxis(np.where(hot, off_on[1], off_on[0]), -1, axis)


def _scattered(node: Node, values: Values, indices: Values, updates: Values) -> Values:
    _only_plain(node, "reduction")
    changed = values.copy()
    changed[tuple(np.moveaxis(indices, -1, 0))] = updates
    return changed


def _scattered_elements(node: Node, values: Values, indices: Values, updates: Values) -> Values:
    _only_plain(node, "reduction")
    changed = values.copy()
    np.put_along_axis(changed, indices, updates, node.attributes.get("axis", 0))
    return changed


def _gathered_elements(node: Node, values: Values, indices: Values) -> Values:
    return np.take_along_axis(values, indices, node.attributes.get("axis", 0))


def _gathered_nd(node: Node, values: Values, indices: Values) -> Values:
    _only_plain(node, "batch_dims")
    picked: Values = values[tuple(np.moveaxis(indices, -1, 0))]
    return picked


def _summed_up(node: Node, values: Values, axis: Values) -> Values:
    _only_plain(node, "exclusive", "reverse")
    return np.cumsum(values, int(axis.item()))


def _place_of(function: Callable[..., Any]) -> Callable[..., Values]:
    def place(node: Node, values: Values) -> Values:
        _only_plain(node, "select_last_index")
        return np.asarray(function(values, node.attributes.get("axis", 0)))

    return place


def _reduced(function: Callable[..., Any]) -> Callable[..., Values]:
    def reduce(node: Node, values: Values, axes: Values | None = None) -> Values:
        if axes is None or not axes.size:
            return values if node.attributes.get("noop_with_empty_axes", 0) else np.asarray(function(values))
        return np.asarray(function(values, axis=tuple(axes.tolist())))

    return reduce


FOLLOWED: dict[str, Callable[..., Values | list[Values]]] = {
    "Abs": _elementwise(np.abs),
    "Add": _elementwise(np.add),
    "ArgMax": _place_of(np.argmax),
    "ArgMin": _place_of(np.argmin),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Ceil": _elementwise(np.ceil),
    "Clip": _clipped,
    "Concat": _concatenated,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _summed_up,
    "Div": _divided,
    "Exp": _elementwise(np.exp),
    "Equal": _elementwise(np.equal),
    "Expand": _expanded,
    "Flatten": _reshaped,
    "Floor": _elementwise(np.floor),
    "Gather": _gathered,
    "GatherElements": _gathered_elements,
    "GatherND": _gathered_nd,
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": _reshaped,
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Log": _elementwise(np.log),
    "Max": lambda _node, *values: np.asarray(np.maximum.reduce(np.broadcast_arrays(*values))),
    "Min": lambda _node, *values: np.asarray(np.minimum.reduce(np.broadcast_arrays(*values))),
    "Mod": _modulo,
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Not": _elementwise(np.logical_not),
    "OneHot": _one_hot,
    "Or": _elementwise(np.logical_or),
    "Pow": _elementwise(np.power),
    "Range": lambda _node, start, limit, step: np.arange(start.item(), limit.item(), step.item()),
    "Reciprocal": _elementwise(np.reciprocal),
    "ReduceMax": _reduced(np.max),
    "ReduceMean": _reduced(np.mean),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshaped,
    "Round": _elementwise(np.rint),
    "ScatterElements": _scattered_elements,
    "ScatterND": _scattered,
    "Sign": _elementwise(np.sign),
    "Slice": _sliced,
    "Split": _split,
    "Sqrt": _elementwise(np.sqrt),
    "Squeeze": _reshaped,
    "Sub": _elementwise(np.subtract),
    "Tile": lambda _node, values, times: np.tile(values, times.tolist()),
    "Transpose": _transposed,
    "Unsqueeze": _reshaped,
    "Xor": _elementwise(np.logical_xor),
    "Where": _elementwise(np.where),
}
"""Functions of operators by their names."""
