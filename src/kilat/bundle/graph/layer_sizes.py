"""What layers come to: convolutions, pooling, products of matrices and resizing."""

import math
from collections.abc import Sequence

from kilat.bundle.graph.onnx_file import ITEM_SIZES
from kilat.bundle.graph.operator_call import FLOAT, INT32, INT64, Call, Outcome, Shape, Sized, broadcast, require

_GROUPED = 8
"""How many times longer a multiplication takes in a convolution in groups, which has no fast product of matrices."""

_ANOTHER_TYPE = 32
"""How many times longer it takes in numbers of a type that networks are not of."""

_BLOCK = 16
"""Channels are laid out in blocks of so many, each filled up."""


def conv(call: Call) -> Outcome:
    """Return what a convolution comes to; a quantised one has its weights further back."""
    pictures, kernel = call.first, call.input(3 if call.operator == "QLinearConv" else 1)
    group = call.whole("group", 1)
    batch, channels, *sides = pictures.shape
    outputs, per_group, *kernel_sides = kernel.shape
    require(group > 0 and channels == per_group * group and outputs % group == 0 and sides)
    require(tuple(call.wholes("kernel_shape", kernel_sides)) == tuple(kernel_sides))
    found = _moved_window(call, sides, kernel_sides)
    shape = (batch, outputs, *found)
    per_number = per_group * math.prod(kernel_sides)
    work = math.prod(shape) * per_number * (1 if group == 1 else _GROUPED)
    filling = batch * (-outputs % _BLOCK * math.prod(found) + -channels % _BLOCK * math.prod(sides))
    columns = per_number * math.prod(found) if call.operator == "ConvInteger" else 0  # gathered for each position first
    dtype = INT32 if call.operator == "ConvInteger" else pictures.dtype
    return Outcome([Sized(shape, dtype)], work, filling * ITEM_SIZES[dtype] + columns)


def conv_transpose(call: Call) -> Outcome:
    """Return what a transposed convolution comes to."""
    pictures, kernel = call.first, call.input(1)
    group = call.whole("group", 1)
    batch, channels, *sides = pictures.shape
    from_channels, per_group, *kernel_sides = kernel.shape
    rank = len(sides)
    require(group > 0 and channels == from_channels and channels % group == 0 and rank)
    require(call.text("auto_pad", b"NOTSET") == b"NOTSET" and "output_shape" not in call.node.attributes)
    require(tuple(call.wholes("kernel_shape", kernel_sides)) == tuple(kernel_sides))
    _positive(kernel_sides, rank)
    strides = _positive(call.wholes("strides", (1,) * rank), rank)
    dilations = _positive(call.wholes("dilations", (1,) * rank), rank)
    pads, more = call.wholes("pads", (0,) * (2 * rank)), call.wholes("output_padding", (0,) * rank)
    require(len(pads) == 2 * rank and min(pads) >= 0 and len(more) == rank and min(more) >= 0)
    found = [
        strides[at] * (side - 1) + more[at] + dilations[at] * (kernel_sides[at] - 1) + 1 - pads[at] - pads[at + rank]
        for at, side in enumerate(sides)
    ]
    columns = per_group * math.prod(kernel_sides) * math.prod(sides)
    shape = (batch, per_group * group, *_positive(found, rank))
    return Outcome([pictures.of_shape(shape)], batch * channels * columns, columns * ITEM_SIZES[pictures.dtype])


def pooled(call: Call) -> Outcome:
    """Return what pooling comes to, and where its largest numbers were if that is asked for."""
    first, kernel = call.first, call.wholes("kernel_shape")
    shape = (*first.shape[:2], *_moved_window(call, first.shape[2:], kernel))
    indices = [Sized(shape, INT64) for _name in call.node.outputs[1:]]
    return Outcome([first.of_shape(shape), *indices], math.prod(shape) * math.prod(kernel), first.size)


def globally_pooled(call: Call) -> Outcome:
    """Return what pooling over whole pictures comes to."""
    first = call.first
    return Outcome([first.of_shape((*first.shape[:2], *(1 for _side in first.shape[2:])))], first.numbers)


def _moved_window(call: Call, sides: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Return to how many places a window goes along each side."""
    rank = len(sides)
    _positive(kernel, rank)
    strides = _positive(call.wholes("strides", (1,) * rank), rank)
    dilations = _positive(call.wholes("dilations", (1,) * rank), rank)
    pads, automatic = call.wholes("pads", (0,) * (2 * rank)), call.text("auto_pad", b"NOTSET")
    require(len(pads) == 2 * rank and min(pads) >= 0 and min(sides) > 0)
    found = []
    for side, length, stride, dilation, begin, end in zip(
        sides, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True
    ):
        if automatic in {b"SAME_UPPER", b"SAME_LOWER"}:
            found.append(-(-side // stride))
            continue
        steps = side + (begin + end if automatic == b"NOTSET" else 0) - dilation * (length - 1) - 1
        require(steps >= 0)
        count = steps // stride + 1
        if call.whole("ceil_mode", 0) and steps % stride and count * stride < side + begin:
            count += 1  # a window that stands out at the end counts where it begins inside
        found.append(count)
    return found


def _positive(numbers: Sequence[int], count: int) -> Sequence[int]:
    require(len(numbers) == count and all(one > 0 for one in numbers))
    return numbers


def matmul(call: Call) -> Outcome:
    """Return what a product of matrices comes to; a quantised one has the second matrix further back."""
    left, right = call.first, call.input(3 if call.operator == "QLinearMatMul" else 1)
    require(left.shape and right.shape)
    one = left.shape if left.rank > 1 else (1, *left.shape)
    other = right.shape if right.rank > 1 else (*right.shape, 1)
    require(one[-1] == other[-2])
    shape: Shape = (*broadcast(one[:-2], other[:-2]), one[-2], other[-1])
    work = math.prod(shape) * one[-1] * _slowness(left)
    if left.rank == 1:
        shape = (*shape[:-2], shape[-1])
    if right.rank == 1:
        shape = shape[:-1]
    dtype = INT32 if call.operator == "MatMulInteger" else left.dtype
    return Outcome([Sized(shape, dtype)], work, right.size)


def gemm(call: Call) -> Outcome:
    """Return what a product of two matrices comes to, each of which may be turned first."""
    left, right = call.first, call.input(1)
    rows, inner = left.shape[::-1] if call.whole("transA", 0) else left.shape
    other, columns = right.shape[::-1] if call.whole("transB", 0) else right.shape
    require(inner == other)
    return Outcome([left.of_shape((rows, columns))], rows * inner * columns * _slowness(left), left.size + right.size)


def _slowness(of: Sized) -> int:
    return 1 if of.dtype == FLOAT or ITEM_SIZES[of.dtype] == 1 else _ANOTHER_TYPE


def einsum(call: Call) -> Outcome:
    """Return what a product by Einstein's convention comes to."""
    left, arrow, right = call.text("equation", b"").decode().replace(" ", "").partition("->")
    terms = [_letters(term, one.rank) for term, one in zip(left.split(","), call.inputs, strict=True)]
    dims: dict[str, int] = {}
    for term, one in zip(terms, call.inputs, strict=True):
        for letter, dim in zip(term, one.shape, strict=True):
            require(1 in {dims.get(letter, 1), dim} or dims[letter] == dim)
            dims[letter] = max(dims.get(letter, 1), dim)
    wide = sorted((letter for letter in dims if len(letter) > 1), reverse=True)
    every = [letter for term in terms for letter in term]
    result = [*wide, *sorted(one for one in dims if every.count(one) == 1 and one not in wide)]
    if arrow:
        before, ellipsis, behind = right.partition("...")
        result = [*before, *(wide if ellipsis else ()), *behind]
    work = math.prod(dims.values()) * len(terms) * _slowness(call.first)
    return Outcome([call.first.of_shape([dims[one] for one in result])], work, sum(one.size for one in call.inputs))


def _letters(term: str, rank: int) -> list[str]:
    """Return the letters of a term in an equation, one for each axis; an ellipsis stands for those that are missing."""
    before, ellipsis, behind = term.partition("...")
    missing = range(rank - len(before) - len(behind), 0, -1) if ellipsis else ()
    return [*before, *(f"...{at:03}" for at in missing), *behind]


def resized(call: Call) -> Outcome:
    """Return what resizing comes to."""
    first = call.first
    axes = first.axes(call.wholes("axes", range(first.rank)))
    require(call.text("keep_aspect_ratio_policy", b"stretch") == b"stretch")
    shape = list(first.shape)
    if sizes := call.optional_numbers(3):
        for axis, side in zip(axes, sizes, strict=True):
            shape[axis] = side
    else:
        for axis, scale in zip(axes, call.values(2).ravel().tolist(), strict=True):
            require(0 < scale < 1 << 30)
            shape[axis] = math.floor(shape[axis] * scale)
    require(min(shape, default=1) >= 0)
    # With antialiasing the last axis goes first, and the others behind it.
    between = math.prod(first.shape[:-1]) * shape[-1] if call.whole("antialias", 0) else 0
    found = first.of_shape(shape)
    work = 64 * (first.numbers + between + found.numbers)
    return Outcome([found], work, between * ITEM_SIZES[first.dtype])


_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def recurrent(call: Call) -> Outcome:
    """Return what a recurrent layer comes to: all its states, and the last of each kind."""
    (steps, batch, width), (directions, gates, inner) = call.first.shape, call.input(1).shape
    hidden, rest = divmod(gates, _GATES[call.operator])
    require(inner == width and not rest and not call.whole("layout", 0) and hidden == call.whole("hidden_size"))
    states = call.first.of_shape((steps, directions, batch, hidden))
    last = call.first.of_shape((directions, batch, hidden))
    work = steps * batch * (call.input(1).numbers + call.input(2).numbers)
    return Outcome([states, last, *([last] if call.operator == "LSTM" else [])], work)


def grid_sampled(call: Call) -> Outcome:
    """Return what picking numbers between the pixels comes to."""
    first, grid = call.first, call.input(1)
    shape = (*first.shape[:2], *grid.shape[1:-1])
    return Outcome([first.of_shape(shape)], 64 * math.prod(shape))
