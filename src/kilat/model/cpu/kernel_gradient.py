"""Gradients of convolution kernels in bfloat16 whose threads wait for nothing on a CPU.

oneDNN computes them with threads that meet at barriers of its own and spin there, whatever OpenMP is told. Where two
of them share a core, because another program has the other one, each waits for whole time slices: 500 ms instead of 1
for a first layer (3 to 32 channels, 64 pictures of 32×32). Here each thread computes the gradient of some of the
pictures by itself, and the parts are added up in order. Other operators of a step, and float32, were measured to have
no such barriers.
"""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from kilat.model.cpu.depthwise import is_traced

Pair = tuple[int, int]


class IndependentKernelGradients(TorchFunctionMode):
    """Inside the block, convolutions in bfloat16 on a CPU get their kernels' gradients from independent threads."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or what replaces it."""
        kwargs = kwargs or {}
        return (_conv2d if func is torch.conv2d else func)(*args, **kwargs)


def _conv2d(
    planes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Return what ``torch.conv2d`` does."""
    is_bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    pays = planes.device.type == "cpu" and weight.requires_grad and groups == 1 and torch.get_num_threads() > 1
    if not (is_bf16 and pays and planes.ndim == 4) or isinstance(padding, str) or is_traced():
        return torch.conv2d(planes, weight, bias, stride, padding, dilation, groups)
    planes = planes.to(torch.bfloat16)
    convolved: Tensor = _Convolution.apply(planes, weight, bias, _pair(stride), _pair(padding), _pair(dilation))
    return convolved


def _pair(sides: int | Pair) -> Pair:
    return (sides, sides) if isinstance(sides, int) else sides


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
    ) -> Tensor:
        weight, bias = weight.to(torch.bfloat16), None if bias is None else bias.to(torch.bfloat16)
        ctx.save_for_backward(planes, weight)
        ctx.window = stride, padding, dilation, False, (0, 0), 1
        return torch.conv2d(planes, weight, bias, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        planes, weight = ctx.saved_tensors
        needs_planes, _, needs_bias, *_ = ctx.needs_input_grad
        sizes = [len(weight)] if needs_bias else None

        def gradients(gradient: Tensor, planes: Tensor, needed: list[bool]) -> tuple[Tensor | None, ...]:
            found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
                gradient, planes, weight, sizes, *ctx.window, needed
            )
            return found

        def of_parameters(part: tuple[Tensor, Tensor]) -> tuple[Tensor | None, ...]:
            with torch.no_grad():
                return gradients(*part, [False, True, needs_bias])[1:]

        of_planes = gradients(gradient, planes, [True, False, False])[0] if needs_planes else None
        threads = torch.get_num_threads()
        own, *others = zip(gradient.chunk(threads), planes.chunk(threads), strict=True)
        waiting = [_threads(threads - 1).submit(of_parameters, part) for part in others]
        torch.set_num_threads(1)
        try:
            parts = [of_parameters(own)]
        finally:
            torch.set_num_threads(threads)
            parts += [future.result() for future in waiting]
        kernels, biases = zip(*parts, strict=True)
        return of_planes, _sum(kernels), _sum(biases) if needs_bias else None, None, None, None


def _sum(parts: tuple[Tensor, ...]) -> Tensor:
    """Return the sum of parts in float32."""
    total = parts[0].float()
    for part in parts[1:]:
        total += part
    return total


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Return threads in each of which an operator uses that thread alone."""
    started = threading.Barrier(count)

    def use_one_thread(_number: int) -> None:
        torch.get_num_threads()  # which sets the number of all, the first time that it is asked for in a thread
        torch.set_num_threads(1)
        started.wait()

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="kilat-gradient")
    list(pool.map(use_one_thread, range(count)))
    torch.set_num_threads(threads)  # of this thread, and of those to come
    return pool
