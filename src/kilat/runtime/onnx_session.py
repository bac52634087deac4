"""ONNX Runtime sessions: the one place that says how kilat runs an ONNX graph. Imports ONNX Runtime alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

_LARGE = 32 << 20
"""Bytes of input after which a session's memory is given back; otherwise it keeps what it needed once."""


def make_session(model: bytes, *, threads: int = 1, optimize: bool = True) -> ort.InferenceSession:
    """Return a session that runs a graph on the CPU. It may be used from several threads.

    Nothing is logged: what ONNX Runtime would log as an error comes as an exception as well. Its threads sleep while
    they wait; spinning, they would take the cores from whatever else works between two calls.

    Args:
        model: the serialised graph, in the ONNX format alone (ONNX Runtime's own format is refused).
        threads: how many threads one call uses. Give 1 where several threads call.
        optimize: whether nodes are fused and folded; without it every tensor of the graph can be asked for.

    Raises:
        Exception: the graph cannot be run; ONNX Runtime's exceptions share no public base class.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # The fallback of ONNX Runtime would try once more, with a banner on standard output.
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def run(session: ort.InferenceSession, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Return the outputs of a graph, as ``session.run`` does; after a large input no memory is kept for the next one.

    Raises:
        Exception: it cannot be run on these inputs.
    """
    options = None
    if sum(value.nbytes for value in inputs.values()) > _LARGE:
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    found: list[Any] = session.run(list(outputs), dict(inputs), options)
    return found
