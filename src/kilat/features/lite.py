"""The embedded backbones: EfficientNet-Lite written directly as an ONNX graph, batch norms folded, in fp32 or int8.

The networks are those of https://github.com/tensorflow/tpu (efficientnet/lite), as timm's ``tf_efficientnet_lite0`` to
``2`` build them. Lite0 comes with the core, the larger variants with the extra ``weights``. Their features come from
every stage (Head2Toe, arXiv 2201.03529): the mean and the log variance of each channel after each of the seven stages,
and the last 1,280 features.

The int8 form needs no calibration pictures: after ReLU6 an activation lies in 0..6 by construction, and where there is
no ReLU6 the batch norm has the mean and variance of every channel, so six standard deviations around the mean are
taken (data-free quantization, Nagel et al., arXiv 1906.04721). Weights are quantised per channel, symmetrically.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kilat.errors import BackboneError
from kilat.features.backbone import Backbone, Block
from kilat.features.weights import CORE, LITE, Tensors, read_lite
from kilat.locale import _
from kilat.runtime.array_types import Floats

NAME = CORE
NAMES = tuple(LITE)
OPSET = 18
IR_VERSION = 9
STRIDE = 32
DEFAULT_SIZES = {NAME: 224, "efficientnet_lite1": 256, "efficientnet_lite2": 256}
"""Sides for photos; the larger variants were trained at 240 and 260, which are not multiples of the stride."""
LOG_FLOOR = 1e-3
"""Added to a variance before its logarithm, which stays finite where a channel is constant."""

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage. The first stage does not expand, the others do so sixfold."""
_REPEATS = {NAME: (1, 2, 2, 3, 3, 4, 1), "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1)}
_REPEATS["efficientnet_lite2"] = _REPEATS["efficientnet_lite1"]
_CHANNELS = {NAME: (16, 24, 40, 80, 112, 192, 320), "efficientnet_lite2": (16, 24, 48, 88, 120, 208, 352)}
_CHANNELS["efficientnet_lite1"] = _CHANNELS[NAME]
_LAST = 1280
_BATCH_NORM_EPSILON = 1e-3
_DEVIATIONS = 6.0
WEIGHT_STEPS = 64
"""Weights take 7 of the 8 bits: two products then never overflow the 16-bit sums of processors without VNNI, so every
processor gives the same features. Cross-validation on flowers shows no difference (log loss 0.184 against 0.186)."""


def build(size: int, precision: str = "int8", name: str = NAME) -> Backbone:
    """Return an EfficientNet-Lite as a backbone for square pictures.

    Args:
        size: side of the input in pixels, a multiple of 32.
        precision: ``int8`` or ``fp32``.
        name: which of ``NAMES``.

    Raises:
        BackboneError: the size does not fit the network, or the weights are not the pinned ones.
        MissingExtra: the weights come with the extra ``weights``, which is not installed.
    """
    if size < STRIDE or size % STRIDE:
        below = max(STRIDE, size // STRIDE * STRIDE)
        raise BackboneError(
            _(
                "EfficientNet-Lite cannot take pictures of {size} pixels: the side must be a multiple of {stride}."
            ).format(size=size, stride=STRIDE),
            hint=_("Use {below} or {above}.").format(below=below, above=below + STRIDE),
        )
    graph = _Graph(name, size, int8=precision == "int8")
    graph.write()
    blocks = [
        Block(f"stage{number}.{what}", channels)
        for number, channels in enumerate(_CHANNELS[name], 1)
        for what in ("mean", "log_variance")
    ]
    return Backbone(name, graph.serialise(), size, precision, (*blocks, Block("last", _LAST)))


def pretrained_statistics(name: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the mean and the variance that each channel had over ImageNet, after each of the seven stages.

    They follow from the batch norms that end a stage's blocks: a sum of shortcuts has the sum of their means and,
    taken as independent, of their variances.
    """
    tensors, number, statistics = read_lite(name), 0, []
    for repeats in _REPEATS[name]:
        norms = [f"_blocks.{number + repeat}._bn2" for repeat in range(repeats)]
        means = [tensors[f"{norm}.bias"].astype(np.float64) for norm in norms]
        variances = [tensors[f"{norm}.weight"].astype(np.float64) ** 2 for norm in norms]
        statistics.append((np.sum(means, 0), np.sum(variances, 0)))
        number += repeats
    return statistics


@dataclass(frozen=True)
class _Convolution:
    """A convolution with its batch norm folded in; ``mean`` and ``deviation`` are those of its outputs, per channel."""

    weight: Floats
    bias: Floats
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True)
class _Value:
    """A tensor of the graph, with the expected mean and variance of its channels where no ReLU6 bounds them."""

    name: str
    mean: NDArray[np.float64] | None = None
    variance: NDArray[np.float64] | None = None

    def range(self) -> tuple[float, float]:
        """Return the lowest and highest value that it is expected to have."""
        if self.mean is None or self.variance is None:
            return 0.0, 6.0
        reach = _DEVIATIONS * np.sqrt(self.variance)
        return min(0.0, float((self.mean - reach).min())), max(0.0, float((self.mean + reach).max()))


class _Graph:
    """Writes the network node by node; in int8 each tensor passes a quantise-dequantise pair that the runtime fuses."""

    def __init__(self, name: str, size: int, *, int8: bool) -> None:
        self.tensors: Tensors = read_lite(name)
        self.name, self.size, self.int8 = name, size, int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.features: list[str] = []

    def write(self) -> None:
        """Write the whole network, from ``pixels`` to ``features``."""
        value = self._convolution("stem", self._pixels(), self._folded("_conv_stem", "_bn0", pixels=True), stride=2)
        number = 0
        side = self.size // 2
        for stage, (repeats, stride) in enumerate(zip(_REPEATS[self.name], _STRIDES, strict=True), 1):
            side //= stride
            for repeat in range(repeats):
                value = self._block(number, value, stride if repeat == 0 else 1, shortcut=repeat > 0)
                number += 1
            self._statistics(f"stage{stage}", value, side)
        value = self._convolution("last", value, self._folded("_conv_head", "_bn1"))
        self._pooled("last", value)
        self._node("Concat", self.features, "features", axis=1)

    def serialise(self) -> bytes:
        """Return the checked graph as an ONNX model."""
        width = 2 * sum(_CHANNELS[self.name]) + _LAST
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", self.size, self.size, 3])
        features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(self.nodes, self.name, [pixels], [features], list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: object, dtype: type[np.generic]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def _pixels(self) -> _Value:
        """Write pixels scaled to -1..1. In int8 they are quantised already: zero point 128 is half a step off 127.5."""
        image = self._node("Transpose", ["pixels"], "planes", perm=[0, 3, 1, 2])
        scale = self._constant("pixel.scale", 1 / 127.5, np.float32)
        if self.int8:
            zero = self._constant("pixel.zero", 128, np.uint8)
            return _Value(self._node("DequantizeLinear", [image, scale, zero], "input"))
        grey = self._node("Cast", [image], "planes.float", to=TensorProto.FLOAT)
        scaled = self._node("Mul", [grey, scale], "planes.scaled")
        return _Value(self._node("Sub", [scaled, self._constant("one", 1, np.float32)], "input"))

    def _folded(self, convolution: str, norm: str, *, pixels: bool = False) -> _Convolution:
        """Return a convolution with its batch norm folded in; ``pixels`` where its input is the quantised picture."""
        kernel = self.tensors[f"{convolution}.weight"].astype(np.float64)
        gamma, beta, mean, variance = (
            self.tensors[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
        kernel *= scale[:, None, None, None]
        bias = beta - mean * scale
        if pixels and self.int8:
            bias += kernel.sum((1, 2, 3)) * 0.5 / 127.5
        return _Convolution(kernel.astype(np.float32), bias.astype(np.float32), beta, np.abs(gamma))

    def _block(self, number: int, value: _Value, stride: int, *, shortcut: bool) -> _Value:
        """Write an inverted residual block: expand, depthwise, project, and add the input where shapes allow."""
        name, source = f"block{number}", f"_blocks.{number}."
        inner = value
        if f"{source}_expand_conv.weight" in self.tensors:
            inner = self._convolution(f"{name}.expand", inner, self._folded(f"{source}_expand_conv", f"{source}_bn0"))
        depthwise = self._folded(f"{source}_depthwise_conv", f"{source}_bn1")
        inner = self._convolution(f"{name}.depthwise", inner, depthwise, stride=stride, depthwise=True)
        project = self._folded(f"{source}_project_conv", f"{source}_bn2")
        inner = self._convolution(f"{name}.project", inner, project, relu6=False)
        if not shortcut:
            return inner
        assert inner.mean is not None and inner.variance is not None
        assert value.mean is not None and value.variance is not None
        output = self._node("Add", [inner.name, value.name], f"{name}.sum")
        return self._quantised(_Value(output, inner.mean + value.mean, inner.variance + value.variance))

    def _convolution(
        self,
        name: str,
        value: _Value,
        folded: _Convolution,
        *,
        stride: int = 1,
        depthwise: bool = False,
        relu6: bool = True,
    ) -> _Value:
        """Write a convolution, padded as TensorFlow's ``same`` pads it: the odd pixel at the end."""
        channels, _, kernel, _ = folded.weight.shape
        padding = kernel - stride
        begin, end = padding // 2, padding - padding // 2
        output = self._node(
            "Conv",
            [value.name, self._weight(name, folded.weight), self._constant(f"{name}.bias", folded.bias, np.float32)],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[begin, begin, end, end],
            group=channels if depthwise else 1,
        )
        if not relu6:
            return self._quantised(_Value(output, folded.mean, folded.deviation**2))
        bounds = [self._constant("zero", 0, np.float32), self._constant("six", 6, np.float32)]
        return self._quantised(_Value(self._node("Clip", [output, *bounds], f"{name}.relu6")))

    def _weight(self, name: str, weight: Floats) -> str:
        if not self.int8:
            return self._constant(f"{name}.weight", weight, np.float32)
        scale = np.maximum(np.abs(weight).max((1, 2, 3)) / WEIGHT_STEPS, 1e-8).astype(np.float32)
        quantised = np.clip(np.rint(weight / scale[:, None, None, None]), -WEIGHT_STEPS, WEIGHT_STEPS)
        inputs = [
            self._constant(f"{name}.weight", quantised, np.int8),
            self._constant(f"{name}.weight.scale", scale, np.float32),
            self._constant(f"{name}.weight.zero", np.zeros(len(scale)), np.int8),
        ]
        return self._node("DequantizeLinear", inputs, f"{name}.weight.float", axis=0)

    def _quantised(self, value: _Value) -> _Value:
        if not self.int8:
            return value
        low, high = value.range()
        step = np.float32((high - low) / 255)
        inputs = [
            self._constant(f"{value.name}.scale", step, np.float32),
            self._constant(f"{value.name}.zero", np.rint(-low / step), np.uint8),
        ]
        quantised = self._node("QuantizeLinear", [value.name, *inputs], f"{value.name}.quantised")
        restored = self._node("DequantizeLinear", [quantised, *inputs], f"{value.name}.restored")
        return _Value(restored, value.mean, value.variance)

    def _pooled(self, name: str, value: _Value) -> None:
        """Write the mean of every channel; rows first: one float32 sum over 12,544 positions loses four digits."""
        self.features.append(self._over_positions("ReduceMean", value, f"{name}.mean"))

    def _statistics(self, name: str, value: _Value, side: int) -> None:
        """Write mean and log variance of every channel; the variance as a mean of squares, nothing large in between."""
        self._pooled(name, value)
        mean = self.features[-1]
        squares = self._over_positions("ReduceSumSquare", value, f"{name}.squares")
        power = self._node("Mul", [squares, self._constant(f"{name}.share", 1 / side, np.float32)], f"{name}.power")
        variance = self._node(
            "Sub", [power, self._node("Mul", [mean, mean], f"{name}.mean.square")], f"{name}.variance"
        )
        floor = self._constant("log.floor", LOG_FLOOR, np.float32)
        positive = self._node(
            "Max", [self._node("Add", [variance, floor], f"{name}.floored"), floor], f"{name}.positive"
        )
        self.features.append(self._node("Log", [positive], f"{name}.log_variance"))

    def _over_positions(self, operator: str, value: _Value, name: str) -> str:
        """Reduce every row by an operator, and the rows by their mean, to ``[batch, channels]``."""
        columns, rows = self._constant("columns", [3], np.int64), self._constant("rows", [2], np.int64)
        reduced = self._node(operator, [value.name, columns], f"{name}.rows", keepdims=0)
        return self._node("ReduceMean", [reduced, rows], name, keepdims=0)
