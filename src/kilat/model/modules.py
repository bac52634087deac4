"""The steps that a network of layers is made of: each is one line of the layer table, with the semantics of Keras 3.

Maps are float planes ``[n, channels, height, width]``, in channels-last memory where it matters for speed; what follows
a ``flatten`` or a ``global_avg_pool`` is ``[n, units]``.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it
from torch.overrides import handle_torch_function, has_torch_function_unary

from kilat.recipe.network import Padding

Shape = tuple[int, ...]
"""``(height, width, channels)`` of a map, or ``(units,)``."""


class Step(nn.Module):
    """One line of the layer table.

    ``kind`` is the layer's name in recipes, ``label`` its own in this network (``conv``, ``conv_1``, ...),
    ``output_shape`` what it gives for one picture.
    """

    kind: str = ""
    label: str = ""
    output_shape: Shape = ()


class Weighted(Step):
    """A step with a kernel ``weight``, its ``activation``, and what holds the kernel small while training.

    ``l1`` and ``l2`` are penalties on the kernel; ``max_norm`` is the largest Euclidean norm of the weights into one
    unit. A kernel that is not trained has none of them.
    """

    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    weight: Tensor
    activation: nn.Module


class Window(NamedTuple):
    """How a window slides over a map.

    Args:
        kernel: height and width of the window.
        stride: how far it moves.
        dilation: distance of the places that it sees.
        before: how many places are added at the top and on the left.
        after: how many are added at the bottom and on the right.
        places: height and width of what it gives; below 1 where the window is larger than the map.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    places: tuple[int, int]

    @property
    def is_even(self) -> bool:
        """Whether as much is added on either side, which PyTorch's layers do by themselves."""
        return self.before == self.after

    @property
    def padding(self) -> tuple[int, int]:
        """What PyTorch's own layer adds on both sides."""
        return self.before if self.is_even else (0, 0)

    def pad(self, planes: Tensor, value: float = 0.0) -> Tensor:
        """Adds what PyTorch's own layer does not add; a copy, which even sides do without."""
        if self.is_even:
            return planes
        (top, left), (bottom, right) = self.before, self.after
        return F.pad(planes, (left, right, top, bottom), value=value)


def slide(
    grid: Iterable[int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    """How a window slides over a map of this height and width; of an odd padding the larger part comes after it."""
    sides = []
    for size, width, step, distance in zip(grid, kernel, stride, dilation, strict=True):
        field = (width - 1) * distance + 1
        if padding == "valid":
            sides.append((0, 0, (size - field) // step + 1))
        else:
            places = -(-size // step)
            total = max((places - 1) * step + field - size, 0)
            sides.append((total // 2, total - total // 2, places))
    (top, bottom, height), (left, right, width) = sides
    return Window(kernel, stride, dilation, (top, left), (bottom, right), (height, width))


class Conv(Weighted, nn.Conv2d):
    """A convolution; with as many ``groups`` as channels a depthwise one.

    Args:
        channels: of what comes in.
        filters: channels of what it gives.
        window: how it slides.
        groups: of channels, each seen by filters of its own.
        bias: whether it adds one.
    """

    def __init__(self, channels: int, filters: int, window: Window, *, groups: int = 1, bias: bool = True) -> None:
        kernel, stride, dilation = window[:3]
        # On "meta" nothing is drawn, as PyTorch's first weights would take numbers from the global generator.
        nn.Conv2d.__init__(
            self, channels, filters, kernel, stride, window.padding, dilation, groups, bias, device="meta"
        )
        self.window, self.activation = window, nn.Identity()

    def forward(self, planes: Tensor) -> Tensor:
        """Planes ``[n, filters, ...]``."""
        from kilat.model.cpu import depthwise  # stands on this module

        if depthwise.pays(planes, self.weight, self.window):
            found = depthwise.depthwise(planes, self.weight, self.bias, self.window)
        else:
            found = nn.Conv2d.forward(self, self.window.pad(planes))
        answer: Tensor = self.activation(found)
        return answer


class Dense(Weighted, nn.Linear):
    """Every unit sees all inputs; on a map, all channels of one place, as in Keras."""

    def __init__(self, inputs: int, units: int, *, bias: bool = True) -> None:
        nn.Linear.__init__(self, inputs, units, bias, device="meta")  # "meta": see Conv
        self.activation = nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        """Values ``[n, units]``, or planes with this many channels."""
        answer: Tensor = self.activation(_over_channels(lambda last: nn.Linear.forward(self, last), values))
        return answer


def hold(step: Conv | Dense, weight: Tensor) -> None:
    """Gives a step its kernel, in the layout that it computes fastest in; its bias starts at zero."""
    layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
    step.weight = nn.Parameter(weight.contiguous(memory_format=layout))
    if step.bias is not None:
        step.bias = nn.Parameter(torch.zeros(len(weight)))


def _over_channels(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Applies what works on the last axis to the channels; in channels-last memory neither turn is a copy."""
    if values.ndim == 2:
        return function(values)
    return function(values.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Normalisation(Step):
    """A step that scales (``weight``) and shifts (``bias``) what it has normalised.

    Args:
        channels: of what comes in, or units.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))


class BatchNorm(Normalisation):
    """Normalises every channel over the batch (Ioffe and Szegedy, arXiv 1502.03167).

    As in Keras, and unlike in PyTorch, the running variance follows the batch's own (biased) variance, and ``momentum``
    is the share that stays. A batch norm that is not trainable uses its running statistics in training, too.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float, momentum: float, *, trainable: bool) -> None:
        super().__init__(channels, epsilon)
        self.momentum, self.trainable = momentum, trainable
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def train(self, mode: bool = True) -> "BatchNorm":
        """Goes into training mode, if it is trained at all."""
        super().train(mode and self.trainable)
        return self

    def forward(self, values: Tensor) -> Tensor:
        """Values of the same shape."""
        if not self.training:
            fast = torch.backends.cudnn.enabled
            mean, variance = self.running_mean, self.running_var
            return torch.batch_norm(values, self.weight, self.bias, mean, variance, False, 1.0, self.epsilon, fast)
        answer, mean, variance = over_batch(values, self.weight, self.bias, self.epsilon)
        with torch.no_grad():
            self.running_mean.lerp_(mean, 1 - self.momentum)
            self.running_var.lerp_(variance, 1 - self.momentum)
        return answer


def over_batch(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Values normalised over their batch, with the batch's own mean and (biased) variance of every channel.

    A function of its own, and one that torch's overrides can replace, since processes that train together normalise
    over the batch that all of them see.
    """
    if has_torch_function_unary(values):
        found: tuple[Tensor, Tensor, Tensor] = handle_torch_function(
            over_batch, (values,), values, weight, bias, epsilon
        )
        return found
    mean, variance = torch.zeros_like(weight), torch.zeros_like(weight)
    # Momentum 1 leaves the batch's own statistics in the two buffers. It is not nn.functional's batch_norm because that
    # one refuses batches of a single value, which Keras normalises to zero.
    answer = torch.batch_norm(values, weight, bias, mean, variance, True, 1.0, epsilon, torch.backends.cudnn.enabled)
    count = values.numel() // len(mean)
    biased = variance * ((count - 1) / count) if count > 1 else torch.zeros_like(variance)
    return answer, mean, biased


class LayerNorm(Normalisation):
    """Normalises over the channels of every place (Ba et al., arXiv 1607.06450)."""

    def forward(self, values: Tensor) -> Tensor:
        """Values of the same shape."""
        return _over_channels(self._normal, values)

    def _normal(self, values: Tensor) -> Tensor:
        return F.layer_norm(values, self.weight.shape, self.weight, self.bias, self.epsilon)


class GroupNorm(Normalisation):
    """Normalises groups of channels over all places (Wu and He, arXiv 1803.08494)."""

    def __init__(self, channels: int, epsilon: float, groups: int) -> None:
        super().__init__(channels, epsilon)
        self.groups = groups

    def forward(self, values: Tensor) -> Tensor:
        """Values of the same shape."""
        # Not nn.functional's, which refuses groups of a single value.
        return torch.group_norm(values, self.groups, self.weight, self.bias, self.epsilon, torch.backends.cudnn.enabled)


class Activation(Step):
    """An activation function as a step of its own."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        """Values of the same shape."""
        answer: Tensor = self.function(values)
        return answer


class MaxPool(Step, nn.MaxPool2d):
    """The largest value of every window."""

    def __init__(self, window: Window) -> None:
        nn.MaxPool2d.__init__(self, window.kernel, window.stride, window.padding)
        self.window = window

    def forward(self, planes: Tensor) -> Tensor:
        """Smaller planes."""
        answer: Tensor = nn.MaxPool2d.forward(self, self.window.pad(planes, -torch.inf))
        return answer


class AvgPool(Step, nn.AvgPool2d):
    """The mean of every window; what padding adds does not count.

    Args:
        window: how it slides.
        grid: height and width of what comes in.
    """

    seen: Tensor

    def __init__(self, window: Window, grid: tuple[int, int]) -> None:
        nn.AvgPool2d.__init__(self, window.kernel, window.stride, window.padding, count_include_pad=False)
        self.window = window
        share = nn.AvgPool2d.forward(self, window.pad(torch.ones(1, 1, *grid)))
        self.register_buffer("seen", share, persistent=False)  # the share of each window that lies on the map

    def forward(self, planes: Tensor) -> Tensor:
        """Smaller planes."""
        means = nn.AvgPool2d.forward(self, self.window.pad(planes))
        return means if self.window.is_even else means / self.seen.to(means.dtype)


class GlobalAvgPool(Step):
    """The mean of every channel over all places."""

    def forward(self, planes: Tensor) -> Tensor:
        """Values ``[n, channels]``."""
        return planes.mean((2, 3))


class Flatten(Step):
    """All places and channels side by side, channels last, so that kernels mean what they mean in Keras."""

    def forward(self, values: Tensor) -> Tensor:
        """Values ``[n, height × width × channels]``."""
        return values if values.ndim == 2 else values.permute(0, 2, 3, 1).flatten(1)


class Dropout(Step, nn.Dropout):
    """Sets values to zero while training, and scales up the others."""


class AlphaDropout(Step, nn.AlphaDropout):
    """Dropout that keeps mean and variance of what SELUs give (Klambauer et al., arXiv 1706.02515)."""


class SpatialDropout(Step, nn.Dropout2d):
    """Sets whole channels to zero while training (Tompson et al., arXiv 1411.4280)."""


class Rescale(Step):
    """``value × scale + offset``."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, values: Tensor) -> Tensor:
        """Values of the same shape."""
        return values * self.scale + self.offset


class Residual(Step):
    """Steps whose answer is added to what went in (He et al., arXiv 1512.03385).

    Args:
        body: the steps.
        shortcut: what brings what went in into the body's shape; None for identity.
        drop: how often the body of a picture is left out while training; the bodies of the others then count more
            (stochastic depth, arXiv 1603.09382; torchvision's ``StochasticDepth`` of rows).
    """

    def __init__(self, body: Iterable[Step], shortcut: Weighted | None, drop: float) -> None:
        super().__init__()
        self.body, self.shortcut, self.drop = nn.ModuleList(body), shortcut, drop

    def forward(self, values: Tensor) -> Tensor:
        """Values of the body's shape."""
        answer = values
        for step in self.body:
            answer = step(answer)
        if self.training and self.drop:
            answer = answer * self._kept(answer)
        straight: Tensor = values if self.shortcut is None else self.shortcut(values)
        return straight + answer

    def _kept(self, answer: Tensor) -> Tensor:
        chance = 1 - self.drop
        return answer.new_empty(answer.shape[:1] + (1,) * (answer.ndim - 1)).bernoulli_(chance).div_(chance)
