"""ONNX Runtime sessions: the one place that says how kilat runs an ONNX graph. Imports ONNX Runtime alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

_LARGE = 16 << 20
"""Bytes of pictures after which a session's memory is given back; otherwise it keeps what it needed once."""


def make_session(
    model: bytes, *, threads: int = 1, optimize: bool = True, plan_memory: bool = True
) -> ort.InferenceSession:
    """Return a session that runs a graph on the CPU. It may be used from several threads.

    Nothing is logged: what ONNX Runtime would log as an error comes as an exception as well. Its threads sleep while
    they wait; spinning, they would take the cores from whatever else works between two calls.

    Args:
        model: the serialised graph, in the ONNX format alone (ONNX Runtime's own format is refused).
        threads: how many threads one call uses. Give 1 where several threads call.
        optimize: whether nodes are fused and folded; without it every tensor of the graph can be asked for.
        plan_memory: whether it is planned which tensors take the place of which others. That takes time by the square
            of the number of nodes: 3,000 convolutions 21 seconds; without it, half a second.

    Raises:
        Exception: the graph cannot be run; ONNX Runtime's exceptions share no public base class.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4
    options.enable_mem_reuse = plan_memory
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # The fallback of ONNX Runtime would try once more, with a banner on standard output.
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


class Runs:
    """Runs of a session, in any threads, that can be stopped together."""

    def __init__(self) -> None:
        self._usual, self._large = ort.RunOptions(), ort.RunOptions()
        self._large.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(
        self, session: ort.InferenceSession, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]
    ) -> list[Any]:
        """Return the outputs of a graph, as ``session.run`` does; after a large input no memory is kept for the next.

        Pictures ``[n, height, width, 3]`` count as the squares around them, which a graph may make of them.

        Raises:
            Exception: it cannot be run on these inputs, or was stopped.
        """
        is_large = any(3 * len(value) * max(value.shape[1:3], default=0) ** 2 > _LARGE for value in inputs.values())
        found: list[Any] = session.run(list(outputs), dict(inputs), self._large if is_large else self._usual)
        return found

    def stop(self) -> None:
        """End those that are under way behind the operator that they have come to, and all later ones."""
        self._usual.terminate = self._large.terminate = True


def run(session: ort.InferenceSession, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Return the outputs of a graph in a run of its own; see ``Runs.run``."""
    return Runs().run(session, outputs, inputs)
