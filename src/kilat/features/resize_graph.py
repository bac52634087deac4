"""Resize pictures of any shape to the network's square, as an ONNX graph.

The pass over the pictures and the finished model file use the same graph, so that both give the same pixels to the bit.
``crop`` keeps the largest centred square, ``squash`` ignores the aspect ratio, ``pad`` adds grey. The resize is
bilinear with antialiasing; it stays within two grey levels of Pillow's, and within 0.02 on average.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kilat.recipe import Resize
from kilat.runtime.array_types import Pixels
from kilat.runtime.onnx_session import make_session, run

OPSET = 18
_IR_VERSION = 9
_GREY = 127


class Resizer:
    """Resizes pictures of one size to squares; safe to use from several threads."""

    def __init__(self, size: int, resize: Resize) -> None:
        nodes, constants = resize_nodes(size, resize)
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size, size, 3])
        graph = helper.make_graph(nodes, "fit", [image], [pixels], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
        self.session = make_session(model.SerializeToString())

    def __call__(self, image: Pixels) -> Pixels:
        """Return a picture ``[height, width, 3]`` as ``[size, size, 3]``."""
        square: Pixels = self.batch(image[None])[0]
        return square

    def batch(self, images: Pixels) -> Pixels:
        """Return pictures ``[n, height, width, 3]`` as ``[n, size, size, 3]``, each as it would be alone."""
        (pixels,) = run(self.session, ["pixels"], {"image": images})
        return np.asarray(pixels, np.uint8)


def resize_nodes(size: int, resize: Resize) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return nodes and constants from ``image`` (uint8 ``[batch, height, width, 3]``) to ``pixels``, squares."""
    writer = _Writer()
    square = writer.crop() if resize == "crop" else writer.pad() if resize == "pad" else "image"
    writer.scale(square, size)
    return writer.nodes, writer.constants


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def crop(self) -> str:
        """Write the largest centred square."""
        shape, side = self._shape("ReduceMin")
        start = self._half("Sub", shape, side, "fit.start")
        end = self._node("Add", [start, side], "fit.end")
        return self._node("Slice", ["image", start, end, self._axes()], "fit.square")

    def pad(self) -> str:
        """Write the smallest square around the picture, grey where there is none."""
        shape, side = self._shape("ReduceMax")
        begin = self._half("Sub", side, shape, "fit.begin")
        missing = self._node("Sub", [side, shape], "fit.missing")
        rest = self._node("Sub", [missing, begin], "fit.rest")
        pads = self._node("Concat", [begin, rest], "fit.pads", axis=0)
        grey = self._constant("fit.grey", _GREY, np.uint8)
        return self._node("Pad", ["image", pads, grey, self._axes()], "fit.square")

    def scale(self, square: str, size: int) -> None:
        """Write the resize, plane by plane, which ONNX Runtime does 1.7 times faster than pixel by pixel."""
        planes = self._node("Transpose", [square], "fit.planes", perm=[0, 3, 1, 2])
        count = self._node("Shape", [planes], "fit.count", start=0, end=2)
        sides = self._constant("fit.sides", [size, size], np.int64)
        shape = self._node("Concat", [count, sides], "fit.target", axis=0)
        how: dict[str, Any] = {"mode": "linear", "antialias": 1, "coordinate_transformation_mode": "half_pixel"}
        how["exclude_outside"] = 1  # at the border the weights of missing pixels go to the others, as in Pillow
        scaled = self._node("Resize", [planes, "", "", shape], "fit.scaled", **how)
        self._node("Transpose", [scaled], "pixels", perm=[0, 2, 3, 1])

    def _shape(self, reduce: str) -> tuple[str, str]:
        shape = self._node("Shape", ["image"], "fit.shape", start=1, end=3)
        first = self._constant("fit.first", [0], np.int64)
        return shape, self._node(reduce, [shape, first], "fit.side", keepdims=1)

    def _half(self, operator: str, left: str, right: str, name: str) -> str:
        whole = self._node(operator, [left, right], f"{name}.whole")
        return self._node("Div", [whole, self._constant("fit.two", 2, np.int64)], name)

    def _axes(self) -> str:
        return self._constant("fit.axes", [1, 2], np.int64)

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: object, dtype: type[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name
