"""What benchmarks/gpu.py compares with: steps of training as good PyTorch and timm code has them, without kilat's loop.

Pictures lie on the device as uint8 and are normalised in every step, as kilat does it. The optimizer is fused, memory
is channels-last, and on a GPU cuDNN may choose its kernels by trying them. Nothing waits for the GPU between steps.
``captured`` is the limit of all of them: the whole step in one CUDA graph, its random numbers drawn on the GPU.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

Work = Callable[[], object]
_MEAN, _SCALE = 127.5, 1 / 127.5
_WARM_UP = 5


def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    truth: Tensor,
    *,
    batch: int,
    dtype: torch.dtype,
    compiled: bool,
) -> Work:
    """Return what makes one update a call, each on the next batch.

    Args:
        network: on the device of the pixels, in the mode in which it trains.
        optimizer: of its parameters.
        pixels: uint8 ``[n, size, size, 3]``.
        truth: classes ``[n]``.
        batch: pictures a step; ``n`` is a multiple of it.
        dtype: of autocast.
        compiled: whether the network goes through ``torch.compile``.
    """
    forward: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network
    batches = shuffled_batches(len(pixels), batch, pixels.device)
    device_type = pixels.device.type

    def work() -> None:
        rows = next(batches)
        planes = (pixels[rows].permute(0, 3, 1, 2).float() - _MEAN) * _SCALE
        with torch.backends.cudnn.flags(enabled=True, benchmark=True), torch.autocast(device_type, dtype):
            logits = forward(planes)
            loss = functional.cross_entropy(logits.float(), truth[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
        optimizer.step()

    return work


def captured(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    truth: Tensor,
    *,
    batch: int,
    dtype: torch.dtype,
    augment: Callable[[Tensor], Tensor],
) -> Work:
    """Return what makes one update a call, captured in a CUDA graph; on a CPU, as it is.

    Args:
        network: as for ``step``.
        optimizer: of its parameters, and capturable.
        pixels: as for ``step``.
        truth: likewise.
        batch: likewise.
        dtype: likewise.
        augment: makes other planes of planes ``[n, 3, size, size]``, 0 to 255.
    """
    device = pixels.device
    batches, rows = shuffled_batches(len(pixels), batch, device), torch.zeros(batch, dtype=torch.int64, device=device)

    def update() -> None:
        planes = (augment(pixels[rows].permute(0, 3, 1, 2).float()) - _MEAN) * _SCALE
        with torch.autocast(device.type, dtype, cache_enabled=False):
            logits = network(planes)
        loss = functional.cross_entropy(logits.float(), truth[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    launch: Work = update
    if device.type == "cuda":
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    update()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, stream=stream):
                update()
        launch = graph.replay

    def work() -> None:
        rows.copy_(next(batches))
        launch()

    return work


def on_device(network: nn.Module, device: str) -> nn.Module:
    """Return a network on a device, in training mode, with kernels laid out channels last."""
    return network.to(device).to(memory_format=torch.channels_last).train()


def from_timm(name: str, classes: int, device: str, *, frozen_batch_norm: bool = False) -> nn.Module:
    """Return a network of timm with random weights, which take as long as trained ones.

    Args:
        name: as timm has it.
        classes: how many.
        device: where it is trained.
        frozen_batch_norm: whether batch norms keep their statistics.
    """
    network = on_device(timm.create_model(name, num_classes=classes), device)
    for module in network.modules() if frozen_batch_norm else ():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network


def adam(
    network: nn.Module, learning_rate: float, l2: float = 0.0, *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Return fused Adam; all kernels but the last are penalised by ``l2`` times their squares."""
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": kernels[:-1], "weight_decay": 2 * l2},  # the gradient of l2 × weight²
        {"params": [*kernels[-1:], *others]},
    ]
    return torch.optim.Adam(groups, lr=learning_rate, fused=True, capturable=capturable)


def adamw(network: nn.Module, learning_rate: float, decay: float) -> torch.optim.Optimizer:
    """Return fused AdamW, with weight decay on kernels alone."""
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim == 1]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def shuffled_batches(pictures: int, batch: int, device: torch.device) -> Iterator[Tensor]:
    """Yield batches of rows without end, each epoch in another order."""
    for epoch in count():
        order = torch.randperm(pictures, generator=torch.Generator().manual_seed(epoch))
        yield from torch.split(order.to(device), batch)
