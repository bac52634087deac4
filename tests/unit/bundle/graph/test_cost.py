"""What a graph from outside would take is worked out before it runs, and too much is refused by arithmetic alone."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from kilat.bundle.graph.cost import MAX_NODES, measure
from kilat.bundle.graph.onnx_file import read_onnx
from kilat.bundle.manifest import KEY, Manifest
from kilat.bundle.onnx_safety import require_bounded
from kilat.bundle.predictor import Classifier
from kilat.errors import ModelFileError, PictureError
from kilat.features.resize_graph import OPSET, resize_nodes
from kilat.runtime.onnx_session import make_session

SIDE = 16
FLOATS = helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT)


def answer(tensor: str) -> list[NodeProto]:
    """Nodes from any tensor to the probabilities of two classes."""
    return [
        helper.make_node("ReduceMean", [tensor], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one.one"], ["first"]),
        helper.make_node("Concat", ["first", "first"], ["both"], axis=1),
        helper.make_node("Softmax", ["both"], ["probabilities"], axis=1),
    ]


def model(
    nodes: Sequence[NodeProto], ends_in: str = "floats", resize: str = "squash", opset: int = OPSET, **constants: object
) -> bytes:
    """A classifier whose network consists of these nodes, from ``floats`` on."""
    fit, fixed = resize_nodes(SIDE, resize)
    fixed += [numpy_helper.from_array(np.asarray(value), name.replace("_", ".")) for name, value in constants.items()]
    fixed.append(numpy_helper.from_array(np.array([1, 1]), "one.one"))
    graph = helper.make_graph(
        [*fit, FLOATS, *nodes, *answer(ends_in)],
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])],
        fixed,
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    manifest = Manifest(("a", "b"), SIDE, {"name": "n"}, {"resize": resize}, {}, {}, {}, {})
    helper.set_model_props(file, {KEY: manifest.to_json()})
    return bytes(file.SerializeToString())


def chain(operator: str, count: int, first: str = "floats", inputs: Sequence[str] = (), **attributes: object):
    """Nodes one behind the other; the last one gives ``last``."""
    names = [first, *(f"chain.{at}" for at in range(count - 1)), "last"]
    return [helper.make_node(operator, [names[at], *inputs], [names[at + 1]], **attributes) for at in range(count)]


def loop() -> NodeProto:
    """A loop of 2⁶² turns."""
    values = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("turn", TensorProto.INT64), ("go", TensorProto.BOOL), ("x", TensorProto.FLOAT))
    ]
    results = [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("y", 1, None)]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        values,
        results,
    )
    return helper.make_node("Loop", ["turns", "yes", "floats"], ["last"], body=body)


TOO_MUCH_MEMORY = {
    "a constant of a huge shape": (
        [helper.make_node("ConstantOfShape", ["huge"], ["last"])],
        {"huge": [900_000_000]},
    ),
    "a tensor that doubles thirty times": (
        [
            helper.make_node(
                "Concat", [f"c{at}" if at else "floats"] * 2, [f"c{at + 1}" if at < 29 else "last"], axis=1
            )
            for at in range(30)
        ],
        {},
    ),
    "everything times everything": (
        [
            helper.make_node("Reshape", ["floats", "column"], ["left"]),
            helper.make_node("Tile", ["left", "many"], ["long"]),
            helper.make_node("Transpose", ["long"], ["right"]),
            helper.make_node("Mul", ["long", "right"], ["last"]),
        ],
        {"column": [-1, 1], "many": [100, 1]},
    ),
    "many repetitions": ([helper.make_node("Tile", ["floats", "many"], ["last"])], {"many": [1, 9999, 9999, 1]}),
    "a wide expansion": (
        [helper.make_node("Expand", ["floats", "wide"], ["last"])],
        {"wide": [2**40, SIDE, SIDE, 3]},
    ),
    "a long range": (
        [helper.make_node("Range", ["start", "end", "step"], ["last"])],
        {"start": np.float32(0), "end": np.float32(1e12), "step": np.float32(1)},
    ),
    "wide padding": (
        [helper.make_node("Pad", ["floats", "pads"], ["last"])],
        {"pads": [0, 90_000, 90_000, 0, 0, 0, 0, 0]},
    ),
    "resizing by a million": (
        [helper.make_node("Resize", ["floats", "", "scales"], ["last"], mode="nearest")],
        {"scales": np.array([1, 1e4, 1e4, 1], np.float32)},
    ),
    "many columns for an index": (
        [
            helper.make_node("Cast", ["floats"], ["indices"], to=TensorProto.INT64),
            helper.make_node("OneHot", ["indices", "depth", "off.on"], ["last"], axis=-1),
        ],
        {"depth": 10**9, "off_on": np.array([0, 1], np.float32)},
    ),
    "a transposed convolution with huge strides": (
        [helper.make_node("ConvTranspose", ["floats", "kernel"], ["last"], strides=[9999, 9999])],
        {"kernel": np.ones((SIDE, 1, 1, 1), np.float32)},
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH_MEMORY)
def test_memory_without_end_is_refused_before_a_session_is_made(name):
    nodes, constants = TOO_MUCH_MEMORY[name]
    data = model(nodes, "last", **constants)
    assert len(data) < 10_000
    with pytest.raises(ModelFileError, match=r"MB of memory or more for a picture; 1024 MB are allowed"):
        Classifier(data)


TOO_MUCH_WORK = {
    "products of large matrices": (
        [
            helper.make_node("Reshape", ["floats", "column"], ["left"]),
            helper.make_node("Tile", ["left", "many"], ["square"]),
            *chain("MatMul", 30, "square", ["square"]),
        ],
        {"column": [768, 1], "many": [4, 3072]},
    ),
    "powers of many numbers": (
        [helper.make_node("Tile", ["floats", "many"], ["long"]), *chain("Pow", 300, "long", ["exponent"])],
        {"many": [1, 99, 99, 1], "exponent": np.float32(1.7)},
    ),
    "products of a type that nothing is fast in": (
        [
            helper.make_node("Cast", ["floats"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["whole", "column"], ["left"]),
            helper.make_node("Tile", ["left", "many"], ["square"]),
            *chain("MatMul", 12, "square", ["square"]),
            helper.make_node("Cast", ["last"], ["back"], to=TensorProto.FLOAT),
        ],
        {"column": [768, 1], "many": [2, 1536]},
    ),
    "an equation of many letters": (
        [
            helper.make_node("Reshape", ["floats", "column"], ["long"]),
            helper.make_node("Einsum", ["long", "long", "long", "long", "long"], ["last"], equation="a,b,c,d,e->"),
        ],
        {"column": [768]},
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH_WORK)
def test_work_without_end_is_refused_before_a_session_is_made(name):
    nodes, constants = TOO_MUCH_WORK[name]
    data = model(nodes, nodes[-1].output[0], **constants)
    with pytest.raises(ModelFileError, match=r"multiplications or more for a picture; 5e\+11 are allowed"):
        Classifier(data)


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([loop()], {"turns": 2**62, "yes": True}, "has loops or branches, which no model of kilat has"),
        ([helper.make_node("NonZero", ["floats"], ["last"])], {}, "an operator 'NonZero', which is in no model"),
        ([helper.make_node("RandomNormal", [], ["last"], shape=[9])], {}, "an operator 'RandomNormal'"),
        ([helper.make_node("Relu", ["floats"], ["last"], domain="com.microsoft")], {}, "'com.microsoft.Relu'"),
        (chain("Relu", MAX_NODES), {}, f"operators; more than {MAX_NODES:,} are refused"),
        ([helper.make_node("Relu", ["floats", "floats"], ["last", "more"])], {}, "'Relu' .* does not fit"),
        ([helper.make_node("Relu", ["nothing"], ["last"])], {}, "'Relu' .* does not fit"),
        ([helper.make_node("Relu", ["floats"], ["last"])] * 2, {}, "'Relu' .* does not fit"),
        ([helper.make_node("Expand", ["floats", "sizes"], ["last"])], {"sizes": [-1]}, "'Expand' .* does not fit"),
        (chain("MaxPool", 1, kernel_shape=[1, 1], strides=[0, 0]), {}, "'MaxPool' .* does not fit"),
        (chain("MaxPool", 1, kernel_shape=[0, 0]), {}, "'MaxPool' .* does not fit"),
        (chain("MaxPool", 1, kernel_shape=[2**62, 1]), {}, "'MaxPool' .* does not fit"),
        (chain("MaxPool", 1, kernel_shape=[2, 1], dilations=[2**62, 1]), {}, "'MaxPool' .* does not fit"),
        (chain("MaxPool", 1, kernel_shape=[1, 1], pads=[-1, 0, 0, 0]), {}, "'MaxPool' .* does not fit"),
        (chain("Conv", 1, inputs=["w"], group=0), {"w": np.ones((1, 1, 1, 1), np.float32)}, "'Conv' .* does not fit"),
        (chain("Split", 1, num_outputs=2**60), {}, "'Split' .* does not fit"),
        (chain("Unsqueeze", 1, inputs=["axes"]), {"axes": [*range(400)]}, "'Unsqueeze' .* does not fit"),
    ],
)
def test_what_no_model_of_kilat_has_is_refused_by_name(nodes, constants, reason):
    with pytest.raises(ModelFileError, match=reason):
        Classifier(model(nodes, "last", **constants))


def test_another_version_of_the_operators_is_refused():
    with pytest.raises(ModelFileError, match=r"operators of ai\.onnx 13; those of kilat's models are of ai\.onnx 18"):
        Classifier(model([], opset=13))


def test_functions_inside_functions_are_refused_before_they_are_unfolded():
    file = onnx.load_from_string(model([helper.make_node("f0", ["floats"], ["last"], domain="d")], "last"))
    for level in range(40):
        calls = [helper.make_node(f"f{level + 1}", ["x"], ["y"], domain="d") for _twice in range(2)]
        file.functions.append(
            helper.make_function("d", f"f{level}", ["x"], ["y"], calls[:1], [helper.make_opsetid("d", 1)])
        )
    with pytest.raises(ModelFileError, match="has functions of its own"):
        Classifier(file.SerializeToString())


@pytest.mark.parametrize("dims", [[10**9, 10**9], [-5, 5], [2**62, 4], [3], [0, -1], []])
def test_a_constant_that_lies_about_its_shape_is_refused(dims):
    file = onnx.load_from_string(model([]))
    file.graph.initializer.add(name="liar", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"1234567")
    with pytest.raises(ModelFileError, match="'liar' does not have as many numbers as its shape says"):
        Classifier(file.SerializeToString())


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_sizes_are_those_that_the_runtime_gives(resize):
    """Of every tensor that a picture of the network's own size becomes."""
    data = model(
        [
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "kernel"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("MaxPool", ["conv"], ["pool"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            helper.make_node("Shape", ["pool"], ["shape"], start=0, end=2),
            helper.make_node("Concat", ["shape", "rest"], ["wanted"], axis=0),
            helper.make_node("Reshape", ["pool", "wanted"], ["last"]),
        ],
        "last",
        resize,
        kernel=np.ones((5, 3, 3, 3), np.float32),
        rest=[-1],
    )
    cost = measure(read_onnx(data), SIDE, where="here", file_size=len(data))
    file = onnx.load_from_string(data)
    names = [name for node in file.graph.node for name in node.output]
    del file.graph.output[:]
    file.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = make_session(file.SerializeToString(), optimize=False).run(
        names, {"image": np.zeros((1, SIDE, SIDE, 3), np.uint8)}
    )
    assert {name: value.shape for name, value in zip(names, found, strict=True)} == {
        name: cost.shapes[name] for name in names
    }


class TestFraming:
    @pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
    def test_ordinary_pictures_fit_and_a_square_around_a_huge_line_does_not(self, resize):
        data = model([], resize=resize)
        framing = measure(read_onnx(data), SIDE, where="here", file_size=len(data)).framing
        assert framing.fits(4000, 6000)
        assert framing.fits(1, 1)
        assert framing.fits(8000, 8000)
        assert framing.fits(60_000, 40) == (resize != "pad")

    def test_a_picture_that_would_take_too_much_is_refused_and_not_the_model(self):
        class Long(Classifier):
            def pixels(self, picture):
                return np.zeros((1, 40_000, 1, 3), np.uint8) if len(picture) > 100 else super().pixels(picture)

        classifier = Long(model([], resize="pad"))
        square = np.zeros((20, 20, 3), np.uint8)
        long, good = classifier.outputs([np.zeros((200, 1, 3), np.uint8), square])
        assert isinstance(long, PictureError)
        assert good.probabilities.sum() == pytest.approx(1)

    def test_a_network_whose_size_follows_from_the_picture_is_refused(self):
        nodes = [
            helper.make_node("Cast", ["image"], ["raw"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["raw"], ["grey"]),
            helper.make_node("Add", ["floats", "grey"], ["last"]),
        ]
        with pytest.raises(ModelFileError, match=r"'Cast' \(number 7\) does not fit"):
            Classifier(model(nodes, "last"))


def test_a_larger_file_may_take_more():
    nodes = [helper.make_node("Tile", ["floats", "many"], ["last"])]
    file = read_onnx(model(nodes, "last", many=[1, 500, 500, 1]))
    assert measure(file, SIDE, where="here", file_size=1 << 29).memory > 1 << 30
    with pytest.raises(ModelFileError, match="MB of memory"):
        require_bounded(file, SIDE, "here", 1000)


@pytest.mark.parametrize("dtype", [0, 99, 1_000_000])
def test_a_type_that_there_is_not(dtype):
    nodes = [helper.make_node("Cast", ["floats"], ["last"], to=dtype)]
    with pytest.raises(ModelFileError, match="'Cast'"):
        Classifier(model(nodes, "last"))
