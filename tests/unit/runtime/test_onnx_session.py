"""ONNX sessions: quiet on every stream, the same graph for one thread and for several."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kilat.runtime.onnx_session import make_session


def double_and_add_one() -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["doubled"]),
            helper.make_node("Add", ["doubled", "one"], ["y"]),
        ],
        "arithmetic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in (("one", 1), ("two", 2))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("optimize", [True, False])
def test_a_graph_is_run(threads: int, optimize: bool) -> None:
    session = make_session(double_and_add_one(), threads=threads, optimize=optimize)
    (answer,) = session.run(["y"], {"x": np.arange(3, dtype=np.float32)})
    assert answer.tolist() == [1, 3, 5]
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_what_fails_raises_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    broken = onnx.load_from_string(double_and_add_one())
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(Exception, match="NoSuchOperator"):
        make_session(broken.SerializeToString())
    with pytest.raises(Exception, match=r"(?i)shape|dimension|rank"):
        make_session(double_and_add_one()).run(["y"], {"x": np.zeros((2, 2), np.float32)})
    assert capfd.readouterr() == ("", "")
