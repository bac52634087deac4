"""A model file that would reach outside itself, or is no whole ONNX file, is refused before anything runs it."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.bundle.onnx_safety import require_self_contained
from kilat.errors import ModelFileError

FOREIGN = "another file"
DAMAGED = "not an ONNX file, or it is damaged"


def outside(location: str = "../../etc/passwd") -> TensorProto:
    """A tensor whose data lies in another file."""
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def inside_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=outside()))


def inside_a_list(model: onnx.ModelProto) -> None:
    attribute = model.graph.node.add(op_type="Odd").attribute.add(name="list", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(outside())


def inside_a_branch(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([helper.make_node("Identity", ["weights"], ["b"])], "branch", [], [], [outside()])
    model.graph.node.append(helper.make_node("If", ["condition"], ["i"], then_branch=branch, else_branch=branch))


def inside_many_branches(model: onnx.ModelProto) -> None:
    node = model.graph.node.add(op_type="Odd")
    attribute = node.attribute.add(name="graphs", type=onnx.AttributeProto.GRAPHS)
    attribute.graphs.append(helper.make_graph([], "empty", [], []))
    attribute.graphs.append(helper.make_graph([], "full", [], [], [outside()]))


def inside_a_sparse_tensor(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(values=outside(), dims=[4])


def inside_the_indices_of_a_sparse_tensor(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(indices=outside(), dims=[4])


def inside_a_sparse_attribute(model: onnx.ModelProto) -> None:
    attribute = model.graph.node.add(op_type="Odd").attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.CopyFrom(onnx.SparseTensorProto(values=outside(), dims=[4]))


def inside_a_function(model: onnx.ModelProto) -> None:
    function = model.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=outside()))


def inside_a_functions_defaults(model: onnx.ModelProto) -> None:
    attribute = model.functions.add(name="f", domain="d").attribute_proto.add(name="v", type=onnx.AttributeProto.TENSOR)
    attribute.t.CopyFrom(outside())


def inside_the_training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside())


def without_a_location(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="w").data_location = TensorProto.EXTERNAL


def without_saying_so(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="w").external_data.add(key="location", value="/etc/passwd")


@pytest.mark.parametrize(
    "plant",
    [
        lambda model: model.graph.initializer.append(outside()),
        lambda model: model.graph.initializer.append(outside("weights.bin")),
        inside_a_constant,
        inside_a_list,
        inside_a_branch,
        inside_many_branches,
        inside_a_sparse_tensor,
        inside_the_indices_of_a_sparse_tensor,
        inside_a_sparse_attribute,
        inside_a_function,
        inside_a_functions_defaults,
        inside_the_training,
        without_a_location,
        without_saying_so,
    ],
)
def test_weights_in_another_file_are_refused_wherever_they_hide(altered, plant):
    with pytest.raises(ModelFileError, match=FOREIGN):
        require_self_contained(altered(plant), "here")


def test_weights_saved_by_onnx_in_another_file_are_refused(small, tmp_path):
    model = onnx.load_from_string(small)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4096, np.float32), "large"))
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin")
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(ModelFileError, match=FOREIGN):
        require_self_contained((tmp_path / "model.onnx").read_bytes(), "here")


def test_a_file_that_keeps_everything_inside_passes(small, altered):
    require_self_contained(small, "here")
    require_self_contained(altered(lambda model: model.graph.initializer.add(name="w", data_location=0)), "here")


def test_cut_off_anywhere_it_is_refused(small, manifest):
    """Up to where the fields of the model itself begin and end: a cut between two of them leaves a whole message."""
    whole = 0
    for length in range(1, len(small)):
        try:
            require_self_contained(small[:length], "here")
        except ModelFileError as error:
            assert DAMAGED in str(error)  # noqa: PT017
        else:
            whole += 1
    assert whole <= len(onnx.ModelProto.DESCRIPTOR.fields)


@pytest.mark.parametrize(
    "data",
    [
        b"this is a text, and no model at all\n",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        b"\xff" * 64,
        b"\x80" * 64,
        b"\x3a",
        b"\x3a\x05",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x0b\x0c",
        b"\x09\x00",
    ],
)
def test_what_is_no_protobuf_is_refused(data):
    with pytest.raises(ModelFileError, match=DAMAGED):
        require_self_contained(data, "here")


def varint(number: int) -> bytes:
    """A number in protobuf's variable length."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def message(tag: bytes, content: bytes) -> bytes:
    """A field that holds a message."""
    return tag + varint(len(content)) + content


def test_a_tag_that_protobuf_would_read_as_another_one_is_refused(altered):
    """Protobuf keeps 32 bits of a tag, so a longer one could hide the graph from whoever keeps them all."""
    graph = onnx.load_from_string(altered(lambda model: model.graph.initializer.append(outside()))).graph
    content = graph.SerializeToString()
    plain = altered(lambda model: model.ClearField("graph"))
    with pytest.raises(ModelFileError, match=FOREIGN):
        require_self_contained(plain + message(varint(7 << 3 | 2), content), "here")
    with pytest.raises(ModelFileError, match=DAMAGED):
        require_self_contained(plain + message(varint(1 << 32 | 7 << 3 | 2), content), "here")


def nested(depth: int) -> Callable[[onnx.ModelProto], None]:
    def plant(model: onnx.ModelProto) -> None:
        graph = model.graph
        for _ in range(depth):
            attribute = graph.node.add(op_type="Odd").attribute.add(name="g", type=onnx.AttributeProto.GRAPH)
            graph = attribute.g

    return plant


def test_nested_without_end_it_is_refused(altered):
    require_self_contained(altered(nested(5)), "here")
    content = b""
    for level in range(3000):
        content = message(varint((6, 5, 1)[level % 3] << 3 | 2), content)
    with pytest.raises(ModelFileError, match=DAMAGED):
        require_self_contained(message(varint(7 << 3 | 2), content), "here")
