"""Model files whose graphs loop, nest, multiply or claim without measure, made from a good one."""

import json
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hostile_inputs.case import MIB, Corpus, Sparse

Change = Callable[[onnx.ModelProto], onnx.ModelProto | bytes | None]

_CHANGES: dict[str, Change] = {}
_RAW: dict[str, Callable[[bytes], bytes | Sparse]] = {}


def graph_corpus(model: bytes) -> Corpus:
    """Return model files of which every one is to be refused with exit code 2, made from a good one."""
    corpus = Corpus()
    for name, change in _CHANGES.items():
        corpus.add(f"{name}.onnx", may="refused")(partial(_changed, model, change))
    for name, make in _RAW.items():
        corpus.add(f"{name}.onnx", may="refused")(partial(make, model))
    for name, put in _FILES.items():
        corpus.add(f"{name}.onnx", may="refused")(put)
    return corpus


def _changed(model: bytes, change: Change) -> bytes:
    proto = onnx.load_from_string(model)
    changed = change(proto)
    if isinstance(changed, bytes):
        return changed
    return bytes((changed or proto).SerializeToString())


def case(name: str) -> Callable[[Change], Change]:
    def keep(change: Change) -> Change:
        _CHANGES[name] = change
        return change

    return keep


def add(proto: onnx.ModelProto, *nodes: onnx.NodeProto, result: str, **constants: Any) -> None:
    """Put nodes in front of a graph, and multiply its probabilities by 1 + 0 times their result."""
    graph = proto.graph
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"hostile_{name}"))
    for name, value in {"zero": np.float32(0), "one": np.float32(1)}.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"hostile_{name}_"))
    last = next(node for node in graph.node if "probabilities" in node.output)
    last.output[list(last.output).index("probabilities")] = "hostile_before"
    own = [*graph.node]
    del graph.node[:]
    graph.node.extend([*nodes, *own])
    graph.node.extend(
        [
            helper.make_node("Cast", [result], ["hostile_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["hostile_float"], ["hostile_max"], keepdims=0),
            helper.make_node("Mul", ["hostile_max", "hostile_zero_"], ["hostile_nothing"]),
            helper.make_node("Add", ["hostile_nothing", "hostile_one_"], ["hostile_factor"]),
            helper.make_node("Mul", ["hostile_before", "hostile_factor"], ["probabilities"]),
        ]
    )


def node(operator: str, *inputs: str, output: str = "hostile_result", **attributes: Any) -> onnx.NodeProto:
    given = [f"hostile_{name}" if name and name != "image" else name for name in inputs]
    return helper.make_node(operator, given, [output], **attributes)


def of_nodes(*nodes: onnx.NodeProto, **constants: Any) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        add(proto, *nodes, result=nodes[-1].output[0], **constants)

    return change


def _int64(*values: int) -> Any:
    return np.array(values, np.int64)


for name, change in {
    "constant-of-3-gib": of_nodes(node("ConstantOfShape", "shape"), shape=_int64(30_000, 30_000)),
    "constant-of-2-to-the-62": of_nodes(node("ConstantOfShape", "shape"), shape=_int64(1 << 31, 1 << 31)),
    "constant-below-0": of_nodes(node("ConstantOfShape", "shape"), shape=_int64(-5)),
    "expanded": of_nodes(node("Expand", "value", "shape"), value=np.ones(1, np.float32), shape=_int64(30_000, 30_000)),
    "tiled": of_nodes(node("Tile", "value", "times"), value=np.ones(1000, np.float32), times=_int64(1_000_000)),
    "range": of_nodes(
        node("Range", "from", "to", "by"), **{"from": np.int64(0), "to": np.int64(10**12), "by": np.int64(1)}
    ),
    "padded": of_nodes(node("Pad", "value", "by"), value=np.ones(1, np.float32), by=_int64(0, 1_000_000_000)),
    "resized": of_nodes(
        node("Resize", "value", "", "", "to"), value=np.ones((1, 1, 2, 2), np.float32), to=_int64(1, 1, 30_000, 30_000)
    ),
    "resized-by-a-factor": of_nodes(
        node("Resize", "value", "", "by"), value=np.ones((1, 1, 2, 2), np.float32), by=np.float32([1, 1, 1e4, 1e4])
    ),
    "random": of_nodes(node("RandomNormal", shape=[30_000, 30_000])),
    "one-hot": of_nodes(
        node("OneHot", "of", "depth", "values"),
        of=_int64(*range(10_000)),
        depth=_int64(100_000),
        values=np.float32([0, 1]),
    ),
    "eye": of_nodes(node("EyeLike", "value"), value=np.ones((30_000, 1), np.float32)),
    "product": of_nodes(
        node("ConstantOfShape", "a", output="hostile_x"),
        node("ConstantOfShape", "b", output="hostile_y"),
        node("MatMul", "x", "y"),
        a=_int64(30_000, 1),
        b=_int64(1, 30_000),
    ),
    "long-product": of_nodes(
        node("ConstantOfShape", "a", output="hostile_x"),
        *[node("MatMul", "x", "x", output="hostile_x1")],
        *(node("MatMul", f"x{n}", "x", output=f"hostile_x{n + 1}") for n in range(1, 60)),
        a=_int64(4_000, 4_000),
    ),
    "broadcast": of_nodes(
        node("Add", "a", "b"), a=np.ones((30_000, 1), np.float32), b=np.ones((1, 30_000), np.float32)
    ),
    "convolution-of-a-large-kernel": of_nodes(
        node("ConstantOfShape", "a", output="hostile_x"),
        node("ConstantOfShape", "b", output="hostile_w"),
        node("Conv", "x", "w"),
        a=_int64(1, 64, 1_000, 1_000),
        b=_int64(64, 64, 500, 500),
    ),
    "convolution-padded": of_nodes(
        node("Conv", "x", "w", pads=[20_000] * 4),
        x=np.ones((1, 1, 4, 4), np.float32),
        w=np.ones((1, 1, 3, 3), np.float32),
    ),
    "transposed-convolution": of_nodes(
        node("ConvTranspose", "x", "w", strides=[30_000, 30_000]),
        x=np.ones((1, 1, 2, 2), np.float32),
        w=np.ones((1, 1, 3, 3), np.float32),
    ),
    "pool-padded": of_nodes(
        node(
            "MaxPool",
            "x",
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
            strides=[1, 1],
            ceil_mode=1,
            dilations=[1 << 30, 1 << 30],
        ),
        x=np.ones((1, 1, 4, 4), np.float32),
    ),
    "gathered": of_nodes(
        node("ConstantOfShape", "n", output="hostile_at"),
        node("Cast", "at", output="hostile_int", to=7),
        node("Gather", "x", "int"),
        n=_int64(100_000),
        x=np.ones((4, 10_000), np.float32),
    ),
    "split-million": of_nodes(node("Split", "x", num_outputs=1_000_000), x=np.ones(4, np.float32)),
    "einsum": of_nodes(node("Einsum", "x", "x", "x", equation="a,b,c->abc"), x=np.ones(3_000, np.float32)),
    "strings": of_nodes(
        node("StringConcat", "x", "x", output="hostile_text"), node("Cast", "text", to=1), x=np.array(["1"], object)
    ),
    "foreign-operator": of_nodes(helper.make_node("Evil", ["image"], ["hostile_result"], domain="evil.example")),
    "microsoft-operator": of_nodes(
        helper.make_node("Inverse", ["hostile_x"], ["hostile_result"], domain="com.microsoft"),
        x=np.eye(3, dtype=np.float32),
    ),
    "tree-ensemble": of_nodes(
        helper.make_node("ArrayFeatureExtractor", ["hostile_x", "hostile_y"], ["hostile_result"], domain="ai.onnx.ml"),
        x=np.ones((1, 3), np.float32),
        y=_int64(1 << 40),
    ),
    "hundred-thousand-nodes": of_nodes(
        node("Identity", "x", output="hostile_x0"),
        *(node("Identity", f"x{n}", output=f"hostile_x{n + 1}") for n in range(100_000)),
        x=np.ones(1, np.float32),
    ),
    "doubling": of_nodes(
        node("Concat", "x", "x", output="hostile_x0", axis=0),
        *(node("Concat", f"x{n}", f"x{n}", output=f"hostile_x{n + 1}", axis=0) for n in range(40)),
        x=np.ones(1, np.float32),
    ),
    "axis-of-2-to-the-62": of_nodes(node("Concat", "x", "x", axis=1 << 62), x=np.ones(1, np.float32)),
    "rank-of-a-thousand": of_nodes(node("Unsqueeze", "x", "at"), x=np.ones(1, np.float32), at=_int64(*range(1_000))),
    "slice-of-steps": of_nodes(
        node("Slice", "x", "s", "e", "a", "p"),
        x=np.ones(4, np.float32),
        s=_int64(0),
        e=_int64((1 << 63) - 1),
        a=_int64(0),
        p=_int64(-(1 << 63)),
    ),
    "slice-of-no-step": of_nodes(
        node("Slice", "x", "s", "e", "a", "p"),
        x=np.ones(4, np.float32),
        s=_int64(0),
        e=_int64(4),
        a=_int64(0),
        p=_int64(0),
    ),
    "attributes-of-a-million": of_nodes(node("Transpose", "x", perm=[0] * 1_000_000), x=np.ones(1, np.float32)),
}.items():
    case(name)(change)


def _body(*inner: onnx.NodeProto, inputs: int = 2) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["again"]), helper.make_node("Identity", ["value"], ["next"]), *inner],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )


case("loop-of-2-to-the-62")(
    of_nodes(
        helper.make_node("Loop", ["hostile_n", "hostile_yes", "hostile_x"], ["hostile_result"], body=_body()),
        n=np.int64(1 << 62), yes=np.bool_(True), x=np.ones(1, np.float32),
    )
)  # fmt: skip
case("loop-without-end")(
    of_nodes(
        helper.make_node("Loop", ["", "hostile_yes", "hostile_x"], ["hostile_result"], body=_body()),
        yes=np.bool_(True), x=np.ones(1, np.float32),
    )
)  # fmt: skip


@case("ifs-in-ifs")
def _ifs(proto: onnx.ModelProto) -> None:
    out = [helper.make_tensor_value_info("v", TensorProto.FLOAT, [1])]
    inner = helper.make_graph([helper.make_node("Identity", ["hostile_x"], ["v"])], "leaf", [], out)
    for _ in range(40):
        branch = helper.make_node("If", ["hostile_yes"], ["v"], then_branch=inner, else_branch=inner)
        if inner.ByteSize() > MIB:
            break
        inner = helper.make_graph([branch], "branch", [], out)
    top = helper.make_node("If", ["hostile_yes"], ["hostile_result"], then_branch=inner, else_branch=inner)
    add(proto, top, result="hostile_result", yes=np.bool_(True), x=np.ones(1, np.float32))


@case("functions-in-functions")
def _functions(proto: onnx.ModelProto) -> None:
    """Each of 24 functions calls the one before twice: 16 million nodes."""
    for level in range(24):
        inner = ["Identity", "evil"][bool(level)]
        calls = [
            helper.make_node(inner if not level else f"f{level - 1}", ["x"], ["y"], domain="evil" if level else ""),
            helper.make_node(inner if not level else f"f{level - 1}", ["y"], ["z"], domain="evil" if level else ""),
        ]
        proto.functions.append(
            helper.make_function(
                "evil",
                f"f{level}",
                ["x"],
                ["z"],
                calls,
                [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)],
            )
        )
    proto.opset_import.append(helper.make_opsetid("evil", 1))
    top = helper.make_node("f23", ["hostile_x"], ["hostile_result"], domain="evil")
    add(proto, top, result="hostile_result", x=np.ones(1, np.float32))


@case("function-of-itself")
def _recursive(proto: onnx.ModelProto) -> None:
    call = helper.make_node("f", ["x"], ["z"], domain="evil")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    proto.functions.append(helper.make_function("evil", "f", ["x"], ["z"], [call], opsets))
    proto.opset_import.append(helper.make_opsetid("evil", 1))
    top = helper.make_node("f", ["hostile_x"], ["hostile_result"], domain="evil")
    add(proto, top, result="hostile_result", x=np.ones(1, np.float32))


@case("initializer-that-claims")
def _claims(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[:] = [1 << 31, 1 << 31]


@case("initializer-of-overflow")
def _overflow(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[:] = [1 << 32, 1 << 32, 1 << 32]


@case("initializer-below-0")
def _negative(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[:] = [-1, -1]


@case("initializer-of-no-type")
def _no_type(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].data_type = 99


@case("sparse-initializer")
def _sparse(proto: onnx.ModelProto) -> None:
    values = helper.make_tensor("hostile_sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("", TensorProto.INT64, [1], [5])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 20, 1 << 20]))


@case("external-data")
def _external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "/etc/passwd", "offset": "0", "length": "64"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


@case("no-graph")
def _no_graph(proto: onnx.ModelProto) -> None:
    proto.ClearField("graph")


@case("no-nodes")
def _no_nodes(proto: onnx.ModelProto) -> None:
    del proto.graph.node[:]


@case("circle")
def _circle(proto: onnx.ModelProto) -> None:
    nodes = node("Identity", "b", output="hostile_a"), node("Identity", "a", output="hostile_b")
    add(proto, *nodes, result="hostile_b")


@case("names-of-controls")
def _names(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].name = "\x1b[2J\n\u202eevil"
    proto.graph.node[0].op_type = "\x1b[31m\nEvil\u202e"


@case("opset-of-a-billion")
def _opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 10**9


@case("ir-of-a-billion")
def _ir(proto: onnx.ModelProto) -> None:
    proto.ir_version = 10**9


@case("input-of-floats")
def _floats(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


@case("many-inputs")
def _inputs(proto: onnx.ModelProto) -> None:
    for number in range(100_000):
        proto.graph.input.append(helper.make_tensor_value_info(f"in{number}", TensorProto.FLOAT, [1]))


@case("many-outputs")
def _outputs(proto: onnx.ModelProto) -> None:
    for number in range(100_000):
        proto.graph.output.append(helper.make_tensor_value_info(f"out{number}", TensorProto.FLOAT, [1]))


@case("documentation-of-100-mib")
def _documentation(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "Evil"
    proto.doc_string = "x" * (100 * MIB)


def answering(operator: str, *constants: Any) -> Change:
    """Return a change after which the probabilities are something else."""

    def change(proto: onnx.ModelProto) -> None:
        graph = proto.graph
        last = next(one for one in graph.node if "probabilities" in one.output)
        last.output[list(last.output).index("probabilities")] = "hostile_before"
        names = []
        for number, value in enumerate(constants):
            graph.initializer.append(numpy_helper.from_array(np.float32(value), f"hostile_{number}"))
            names.append(f"hostile_{number}")
        graph.node.append(helper.make_node(operator, ["hostile_before", *names], ["probabilities"]))

    return change


for name, change in {
    "answers-nan": answering("Mul", np.nan),
    "answers-infinity": answering("Mul", np.inf),
    "answers-over-1": answering("Add", 3.0),
    "answers-below-0": answering("Sub", 3.0),
    "answers-of-half": answering("Mul", 0.5),
    "answers-of-0": answering("Mul", 0.0),
}.items():
    case(name)(change)


def in_header(**values: Any) -> Change:
    """Return a change of the document in the model file."""

    def change(proto: onnx.ModelProto) -> None:
        entry = next(one for one in proto.metadata_props if one.key == "kilat")
        entry.value = json.dumps(json.loads(entry.value) | values)

    return change


def header_of(text: str) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        next(one for one in proto.metadata_props if one.key == "kilat").value = text

    return change


for name, change in {
    "header-of-depth": header_of("[" * 100_000),
    "header-of-depth-in-a-value": header_of('{"schema": 1, "recipe": ' + '{"a":' * 5_000 + "1" + "}" * 5_001),
    "header-of-20-mib": header_of('{"schema": 1, "x": "' + "x" * (20 * MIB) + '"}'),
    "header-of-digits": header_of('{"schema": ' + "9" * 5_000 + "}"),
    "header-of-nothing": header_of(""),
    "header-of-a-number": header_of("3"),
    "header-of-no-json": header_of("\x1b[2J{'a'"),
    "header-of-a-newer-schema": in_header(schema=10**400),
    "header-schema-of-a-list": in_header(schema=[1]),
    "header-schema-of-infinity": header_of('{"schema": Infinity}'),
    "header-no-classes": in_header(classes=[]),
    "header-classes-of-text": in_header(classes="ab"),
    "header-classes-of-numbers": in_header(classes=[1, 2, None, {}, [], 1.5, True, "x", 10**30, "y"]),
    "header-million-classes": in_header(classes=[str(number) for number in range(1_000_000)]),
    "header-size-of-a-million": in_header(size=1_000_000),
    "header-size-of-2-to-the-70": in_header(size=1 << 70),
    "header-size-of-half": in_header(size=0.5),
    "header-size-below-0": in_header(size=-8),
    "header-thresholds-of-text": in_header(thresholds="x"),
    "header-thresholds-of-nan": in_header(
        thresholds={"set": {"method": "lac", "coverage": float("nan"), "quantiles": ["x"]}}
    ),
    "header-thresholds-of-a-list": in_header(thresholds={"set": [1, 2], "unknown": 3}),
    "header-sets-of-a-million": in_header(
        thresholds={"set": {"method": "lac", "coverage": 0.9, "quantiles": [0.5] * 1_000_000}}
    ),
}.items():
    case(name)(change)

USABLE: dict[str, Change] = {
    "reshaped-to-nothing": of_nodes(node("Reshape", "x", "to"), x=np.ones(4, np.float32), to=_int64(0, -1)),
    "hundred-thousand-inputs": of_nodes(node("Concat", *["x"] * 100_000, axis=0), x=np.ones(1, np.float32)),
    "header-size-of-true": in_header(size=True),
    "class-names-of-controls": in_header(),
    "recipe-of-a-list": in_header(recipe=[1]),
    "recipe-of-text": in_header(recipe={"\x1b[2J": "\n\u202e" * 1_000}),
    "backbone-of-a-list": in_header(backbone=[]),
    "backbone-of-numbers": in_header(backbone={"name": 3, "precision": [], "digest": None}),
    "measures-of-text": in_header(measures="x"),
    "measures-of-nan": in_header(measures={"accuracy": "x", "accuracy_interval": 3, "n": -1}),
    "digests-of-a-list": in_header(digests=[1]),
    "versions-of-text": in_header(versions="x"),
}
"""Changes after which a model may answer or be refused, but not more than that."""


def usable_corpus(model: bytes) -> Corpus:
    """Return model files that may answer or be refused."""
    corpus = Corpus()
    for name, change in USABLE.items():
        corpus.add(f"{name}.onnx")(partial(_changed, model, change))
    corpus.add("classes-of-controls.onnx")(partial(_changed, model, _class_names))
    corpus.add("reference-of-nothing.onnx")(partial(_changed, model, _metadata("kilat.reference", "")))
    corpus.add("reference-of-2-to-the-62.onnx")(
        partial(_changed, model, _metadata("kilat.reference", f"{1 << 62}:AAAA"))
    )
    corpus.add("reference-below-0.onnx")(partial(_changed, model, _metadata("kilat.reference", "-1:AAAA")))
    corpus.add("reference-of-another-width.onnx")(
        partial(_changed, model, _metadata("kilat.reference", "2:" + "AAAA" * 400))
    )
    corpus.add("reference-of-30-mib.onnx")(
        partial(_changed, model, _metadata("kilat.reference", "1:" + "A" * (30 * MIB)))
    )
    corpus.add("metadata-of-a-million.onnx")(partial(_changed, model, _million_entries))
    corpus.add("name-twice.onnx")(partial(_changed, model, _metadata("kilat", "{}", more=True)))
    return corpus


def _class_names(proto: onnx.ModelProto) -> None:
    entry = next(one for one in proto.metadata_props if one.key == "kilat")
    document = json.loads(entry.value)
    hostile = [
        "\x1b[2J\nevil",
        "=cmd()",
        "\u202eelppa",
        "a\u200b",
        "<script>alert(1)</script>",
        "\0",
        " ",
        "x" * 100_000,
    ]
    document["classes"] = [f"{hostile[at % len(hostile)]}{at or ''}" for at in range(len(document["classes"]))]
    entry.value = json.dumps(document)


def _metadata(key: str, value: str, *, more: bool = False) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        entries = [one for one in proto.metadata_props if one.key == key and not more]
        entry = entries[0] if entries else proto.metadata_props.add()
        entry.key, entry.value = key, value

    return change


def _million_entries(proto: onnx.ModelProto) -> None:
    for number in range(1_000_000):
        entry = proto.metadata_props.add()
        entry.key, entry.value = str(number), "x"


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return found + bytes((value,))


def _deep(model: bytes) -> bytes:
    """Return graphs inside attributes inside nodes, ten thousand deep."""
    inner = b""
    for _ in range(10_000):
        inner = _field(7, _field(1, _field(5, _field(6, inner[:200_000]))))
    return inner


_RAW.update(
    {
        "empty": lambda model: b"",
        "text": lambda model: b"no model at all",
        "zeros": lambda model: bytes(MIB),
        "cut": lambda model: model[: len(model) // 2],
        "twice": lambda model: model + model,
        "deep": _deep,
        "field-of-2-to-the-60": lambda model: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x0f",
        "numbers-without-end": lambda model: b"\xff" * MIB,
        "million-empty-fields": lambda model: _field(7, _field(1, b"")) * 1_000_000,
        "million-empty-nodes": lambda model: _field(7, _field(1, b"") * 1_000_000),
        "million-functions": lambda model: model + _field(25, b"") * 1_000_000,
        "sparse-1-gib": lambda model: Sparse(model, 1024 * MIB),
        "sparse-2-gib": lambda model: Sparse(model, 2 * 1024 * MIB - 1),
        "sparse-3-gib": lambda model: Sparse(model, 3 * 1024 * MIB),
        "hundred-gigabytes": lambda model: Sparse(model, 100_000 * MIB),
        "ort-format": lambda model: struct.pack("<I", 8) + b"ORTM" + bytes(1_000),
        "pickle": lambda model: b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
    }
)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(target: str) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.symlink_to(target)

    return put


def _folder_of_a_pipe(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "model.onnx")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe,
    "link-to-zeros": _link("/dev/zero"),
    "link-to-noise": _link("/dev/urandom"),
    "link-to-itself": _link("link-to-itself.onnx"),
    "link-to-memory": _link("/proc/self/mem"),
    "link-to-a-terminal": _link("/dev/tty"),
    "folder-of-a-pipe": _folder_of_a_pipe,
    "socket": _socket,
}
