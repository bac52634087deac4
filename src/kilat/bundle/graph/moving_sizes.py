"""What operators come to that move numbers without a change: joined, cut, turned, repeated, picked."""

import math

from kilat.bundle.graph.operator_call import Call, Outcome, broadcast, require

_FAR = 1 << 60


def concat(call: Call) -> Outcome:
    """Return several tensors joined."""
    first = call.first
    axis = first.axis(call.whole("axis"))
    rest = {(*one.shape[:axis], *one.shape[axis + 1 :]) for one in call.inputs}
    require(len(rest) == 1 and all(one.rank == first.rank for one in call.inputs))
    total = sum(one.shape[axis] for one in call.inputs)
    return Outcome([first.of_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))])


def split(call: Call) -> Outcome:
    """Return the parts of a tensor."""
    first, count = call.first, len(call.node.outputs)
    axis = first.axis(call.whole("axis", 0))
    side, parts = first.shape[axis], call.optional_numbers(1)
    if parts is None:
        require(call.whole("num_outputs", count) == count)
        part = -(-side // count)
        parts = [part] * (count - 1) + [side - part * (count - 1)]
    require(len(parts) == count and min(parts) >= 0 and sum(parts) == side)
    return Outcome([first.of_shape((*first.shape[:axis], one, *first.shape[axis + 1 :])) for one in parts])


def sliced(call: Call) -> Outcome:
    """Return a part of a tensor."""
    first, starts, ends = call.first, call.numbers(1), call.numbers(2)
    axes = first.axes(call.optional_numbers(3) or range(len(starts)))
    steps = call.optional_numbers(4) or [1] * len(starts)
    require(len(starts) == len(ends) == len(axes) == len(steps) and all(steps))
    shape = list(first.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        last = None if step < 0 and end < -_FAR else end  # going backwards, up to the first one
        shape[axis] = len(range(*slice(start, last, step).indices(shape[axis])))
    return Outcome([first.of_shape(shape)])


def padded(call: Call) -> Outcome:
    """Return a tensor with more around it; negative pads cut some off."""
    first, pads = call.first, call.numbers(1)
    axes = first.axes(call.optional_numbers(3) or range(first.rank))
    require(len(pads) == 2 * len(axes))
    shape = list(first.shape)
    for at, axis in enumerate(axes):
        shape[axis] += pads[at] + pads[at + len(axes)]
    require(min(shape, default=0) >= 0)
    return Outcome([first.of_shape(shape)])


def reshaped(call: Call) -> Outcome:
    """Return a tensor of the same numbers in another shape."""
    first, wanted = call.first, call.numbers(1)
    if not call.whole("allowzero", 0):
        wanted = [dim or first.shape[at] for at, dim in enumerate(wanted)]
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = first.numbers // rest if rest else 0
    require(min(wanted, default=0) >= 0 and math.prod(wanted) == first.numbers)
    return Outcome([first.of_shape(wanted)])


def flattened(call: Call) -> Outcome:
    """Return a matrix of the same numbers."""
    first, axis = call.first, call.whole("axis", 1)
    axis += first.rank if axis < 0 else 0
    require(0 <= axis <= first.rank)
    return Outcome([first.of_shape((math.prod(first.shape[:axis]), math.prod(first.shape[axis:])))])


def squeezed(call: Call) -> Outcome:
    """Return a tensor without axes of length 1."""
    first, given = call.first, call.optional_numbers(1)
    ones = [axis for axis, dim in enumerate(first.shape) if dim == 1]
    axes = ones if given is None else first.axes(given)
    require({*axes} <= {*ones})
    return Outcome([first.of_shape([dim for axis, dim in enumerate(first.shape) if axis not in axes])])


def unsqueezed(call: Call) -> Outcome:
    """Return a tensor with more axes of length 1."""
    first, given = call.first, call.numbers(1)
    shape = list(first.shape)
    for axis in sorted(first.axes(given, more=len(given))):
        shape.insert(axis, 1)
    return Outcome([first.of_shape(shape)])


def transposed(call: Call) -> Outcome:
    """Return a tensor with its axes in another order."""
    first = call.first
    order = call.wholes("perm", range(first.rank)[::-1])
    require(sorted(order) == [*range(first.rank)])
    return Outcome([first.of_shape([first.shape[axis] for axis in order])])


def expanded(call: Call) -> Outcome:
    """Return a tensor repeated along axes of length 1."""
    wanted = call.numbers(1)
    require(min(wanted, default=0) >= 0)
    return Outcome([call.first.of_shape(broadcast(call.first.shape, tuple(wanted)))])


def tiled(call: Call) -> Outcome:
    """Return a tensor repeated along any axes."""
    times = call.numbers(1)
    require(min(times, default=0) >= 0)
    return Outcome([call.first.of_shape([dim * n for dim, n in zip(call.first.shape, times, strict=True)])])


def gathered(call: Call) -> Outcome:
    """Return what stands at indices of one axis."""
    first, indices = call.first, call.input(1)
    axis = first.axis(call.whole("axis", 0))
    return Outcome([first.of_shape((*first.shape[:axis], *indices.shape, *first.shape[axis + 1 :]))])


def gathered_elements(call: Call) -> Outcome:
    """Return a number for each index."""
    require(call.first.rank == call.input(1).rank)
    return Outcome([call.first.of_shape(call.input(1).shape)])


def gathered_nd(call: Call) -> Outcome:
    """Return what stands at indices of several axes."""
    first, indices = call.first, call.input(1)
    batch, depth = call.whole("batch_dims", 0), indices.shape[-1]
    require(0 <= batch < indices.rank and batch + depth <= first.rank)
    return Outcome([first.of_shape((*indices.shape[:-1], *first.shape[batch + depth :]))])


def depth_to_space(call: Call) -> Outcome:
    """Return blocks of pixels made of channels."""
    block, (n, c, h, w) = call.whole("blocksize"), call.first.shape
    require(block > 0 and c % block**2 == 0)
    return Outcome([call.first.of_shape((n, c // block**2, h * block, w * block))])


def space_to_depth(call: Call) -> Outcome:
    """Return channels made of blocks of pixels."""
    block, (n, c, h, w) = call.whole("blocksize"), call.first.shape
    require(block > 0 and h % block == 0 and w % block == 0)
    return Outcome([call.first.of_shape((n, c * block**2, h // block, w // block))])
