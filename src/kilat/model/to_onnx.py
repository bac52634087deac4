"""A trained network as ONNX, from 8-bit pixels to logits, compared with PyTorch before anyone gets it.

Written with PyTorch's TorchScript exporter, for the reasons that ``kilat.model.backbones`` gives.
"""

import contextlib
import copy
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from kilat.errors import RunError
from kilat.features.resize_graph import OPSET
from kilat.locale import _
from kilat.model.layer_names import name_nodes
from kilat.runtime.cores import available_cores
from kilat.runtime.onnx_session import make_session

TOLERANCE = 1e-3
"""How far ONNX Runtime may be from PyTorch, as a share of the largest logit; 1e-6 is usual."""

_MAX_BYTES = 1_900_000_000
_BATCHES = (5, 1)
"""Sizes of the batches that are compared; tracing used neither."""

_SMALLEST_SCALE = 0.1
"""Logits below this hardly move a probability; cancellation in them is no fault of the graph."""


class KerasAdapter(nn.Module):
    """A Keras model, which takes floats with the channels last, as a network that takes 8-bit pixels.

    Args:
        network: on Keras's PyTorch backend, from float32 ``[n, size, size, 3]`` (or 1, in grey) to ``[n, k]``.
        factor: what pixels are multiplied by, one for each channel.
        offset: what is added then, one for each channel.
        reverse: whether its channels are blue, green and red.
        grey: whether it takes grey pictures.
        log: whether it gives probabilities, whose logarithms are the logits.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        factor: Sequence[float],
        offset: Sequence[float],
        reverse: bool,
        grey: bool,
        log: bool,
    ) -> None:
        super().__init__()
        self.network, self.reverse, self.grey, self.log = network, reverse, grey, log
        channels = 1 if grey else 3
        self.factor, self.offset = torch.tensor(factor[:channels]), torch.tensor(offset[:channels])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits ``[n, k]`` of pixels uint8 ``[n, size, size, 3]``."""
        values = pixels.float()
        values = _grey(values) if self.grey else values.flip(-1) if self.reverse else values
        values = values * self.factor + self.offset
        with _constant_sizes():
            output: Tensor = self.network(values, training=False)  # Keras reads this, not torch's own mode
        return torch.log(output.clamp_min(1e-30)) if self.log else output


_TAKE_SIZES = ("layer_norm", "max_pool2d", "avg_pool2d")
"""Functions of PyTorch whose sizes are attributes in ONNX."""


@contextlib.contextmanager
def _constant_sizes() -> Iterator[None]:
    """Give functions their sizes in whole numbers: Keras takes them from the traced graph, ONNX wants constants."""
    originals = {name: getattr(functional, name) for name in _TAKE_SIZES}

    def with_constants(function: Any) -> Any:
        return lambda values, *given, **named: function(
            values, *map(_constant, given), **{key: _constant(value) for key, value in named.items()}
        )

    for name, function in originals.items():
        setattr(functional, name, with_constants(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(functional, name, function)


def _constant(size: Any) -> Any:
    """Return sizes as whole numbers; everything else as it is."""
    if isinstance(size, list | tuple):
        return [_constant(one) for one in size]
    is_size = isinstance(size, Tensor) and size.ndim == 0 and not size.is_floating_point()
    return int(size) if is_size else size


def _grey(colours: Tensor) -> Tensor:
    """Return luma (ITU-R 601-2) in whole numbers, as Pillow computes it; every operation is exact in float32."""
    red, green, blue = torch.split(colours, 1, dim=-1)
    return torch.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536)


def to_onnx(network: nn.Module, *, size: int) -> bytes:
    """Return a network as an ONNX graph for batches of any size; equal networks give equal bytes.

    The network itself stays as it is: a copy on the CPU is set to inference mode and float32.

    Args:
        network: takes pixels uint8 ``[n, size, size, 3]`` and gives logits ``[n, k]``.
        size: side of the pictures in pixels.

    Returns:
        The graph from ``pixels`` (uint8 ``[batch, size, size, 3]``) to ``logits`` (float32 ``[batch, k]``).

    Raises:
        RunError: the network is too large for one ONNX file, has an operator without counterpart in ONNX, or gives
            other logits there.
    """
    if sum(state.numel() for state in (*network.parameters(), *network.buffers())) * 4 > _MAX_BYTES:
        raise RunError(_("The network is too large for one ONNX file (2 GB)."), hint=_("Train a smaller one."))
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    try:
        model = _export(network, size)
        difference = _difference(network, model, size)
    except Exception as error:  # an operator without counterpart shows in many ways, in either library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise RunError(_("The network cannot be turned into ONNX: {reason}").format(reason=reason)) from error
    if not difference <= TOLERANCE:
        raise RunError(
            _(
                "The network in ONNX Runtime differs from PyTorch by {difference:.1e}; {tolerance:.0e} is allowed."
            ).format(difference=difference, tolerance=TOLERANCE)
        )
    return model


def trace(network: nn.Module, size: int, output: str) -> bytes:
    """Return the graph of a network from ``pixels`` to ``output``, for any batch, by PyTorch's older exporter."""
    export: Any = torch.onnx.export
    buffer = io.BytesIO()
    with _silence(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that it is the older exporter, and every shape that tracing fixes
        export(
            network,
            (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=[output],
            dynamic_axes={"pixels": {0: "batch"}, output: {0: "batch"}},
        )
    return buffer.getvalue()


def _export(network: nn.Module, size: int) -> bytes:
    with torch.no_grad():
        classes = network(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1]
    model = onnx.load_from_string(trace(network, size, "logits"))
    # Where the exporter loses track of a shape it leaves a made-up name; readers need the number of classes.
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    name_nodes(model.graph, network)
    return bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard standard output while the exporter runs, whose C++ part prints the whole graph there when it fails."""
    sys.stdout.flush()
    stdout, devnull = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(devnull)


def _difference(network: nn.Module, model: bytes, size: int) -> float:
    """Return the largest difference on noise, as a share of the largest logit; NaN where anything is not finite."""
    session = make_session(model, threads=available_cores())
    differences = []
    for batch in _BATCHES:
        noise = np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), np.uint8)
        (found,) = session.run(["logits"], {"pixels": noise})
        with torch.no_grad():
            expected = network(torch.from_numpy(noise)).numpy()
        assert found.shape == expected.shape, f"{found.shape} instead of {expected.shape}"
        differences.append(np.abs(found - expected).max() / max(np.abs(expected).max(), _SMALLEST_SCALE))
    return float(np.max(differences))
