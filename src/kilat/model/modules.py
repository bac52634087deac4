"""The modules that a network of layers is made of: each is one line of the layer table, with the semantics of Keras 3.

Maps are float planes ``[n, channels, height, width]``, in channels-last memory where it matters for speed; after a
``flatten`` or a ``global_avg_pool`` values are ``[n, units]``.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it
from torch.overrides import handle_torch_function, has_torch_function_unary

from kilat.model.cpu.depthwise import depthwise, pays
from kilat.model.window import Window

_WHITENING_FLOOR = 5e-4
"""What is added to the variance of each component, as a share of the mean one: that of airbench (arXiv 2404.00498)."""

Shape = tuple[int, ...]
"""``(height, width, channels)`` of a map, or ``(units,)``."""


class LayerModule(nn.Module):
    """One line of the layer table.

    ``kind`` is the layer's name in recipes, ``label`` its own in this network (``conv``, ``conv_1``, ...),
    ``output_shape`` that of its output for one picture.
    """

    kind: str = ""
    label: str = ""
    output_shape: Shape = ()


class WeightedModule(LayerModule):
    """A layer with a kernel ``weight``, its ``activation``, and the kernel's penalties and constraint.

    ``l1`` and ``l2`` are penalties on the kernel; ``max_norm`` is the largest Euclidean norm of the weights into one
    unit. A frozen kernel has none of them.
    """

    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    weight: Tensor
    activation: nn.Module


class Conv(WeightedModule, nn.Conv2d):
    """A convolution; with as many ``groups`` as channels a depthwise one.

    Args:
        channels: of the input.
        filters: channels of the output.
        window: how the kernel slides.
        groups: of channels, each with filters of its own.
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
        """Return planes ``[n, filters, *window.output_size]``."""
        if pays(planes, self.weight, self.window):
            convolved = depthwise(planes, self.weight, self.bias, self.window)
        else:
            convolved = nn.Conv2d.forward(self, self.window.pad(planes))
        activated: Tensor = self.activation(convolved)
        return activated


class Whiten(Conv):
    """A convolution that whitens patches of its input (arXiv 2404.00498, section 3.2); zero until it is fitted.

    Args:
        channels: of the input.
        window: how a patch slides.
    """

    def __init__(self, channels: int, window: Window) -> None:
        values = channels * math.prod(window.kernel)
        super().__init__(channels, 2 * values, window)
        set_kernel(self, torch.zeros(2 * values, channels, *window.kernel))

    @torch.no_grad()
    def fit(self, mean: Tensor, covariance: Tensor) -> None:
        """Set the filters to the principal components of patches, scaled to variance 1, and to their negatives.

        Args:
            mean: of the values of a patch, ``[channels × height × width]``, in float64.
            covariance: of them, ``[values, values]``, in float64.
        """
        variances, components = torch.linalg.eigh(covariance)
        floor = _WHITENING_FLOOR * covariance.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
        filters = components.T.flip(0) / (variances.flip(0).clamp(min=0) + floor).sqrt()[:, None]
        filters = torch.cat([filters, -filters])
        self.weight.copy_(filters.view_as(self.weight))
        assert self.bias is not None
        self.bias.copy_(-filters @ mean)


class Dense(WeightedModule, nn.Linear):
    """A dense layer; on a map it is applied to the channels at every position, as in Keras."""

    def __init__(self, inputs: int, units: int, *, bias: bool = True) -> None:
        nn.Linear.__init__(self, inputs, units, bias, device="meta")  # "meta": see Conv
        self.activation = nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        """Return values ``[n, units]``, or planes with this many channels."""
        activated: Tensor = self.activation(_over_channels(lambda last: nn.Linear.forward(self, last), values))
        return activated


def set_kernel(layer: Conv | Dense, weight: Tensor) -> None:
    """Give a layer its kernel, in the layout that it computes fastest in; its bias starts at zero."""
    layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
    layer.weight = nn.Parameter(weight.contiguous(memory_format=layout))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.zeros(len(weight)))


def _over_channels(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Apply a function of the last axis to the channels; in channels-last memory neither permutation is a copy."""
    if values.ndim == 2:
        return function(values)
    return function(values.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Normalisation(LayerModule):
    """A layer that normalises, then scales (``weight``) and shifts (``bias``).

    Args:
        channels: of the input, or its units.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))


class BatchNorm(Normalisation):
    """Batch normalisation of every channel (Ioffe and Szegedy, arXiv 1502.03167).

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
        self.train()

    def train(self, mode: bool = True) -> "BatchNorm":
        """Enter training mode if this layer is trainable, else inference mode."""
        super().train(mode and self.trainable)
        return self

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        if not self.training:
            fast = torch.backends.cudnn.enabled
            mean, variance = self.running_mean, self.running_var
            return torch.batch_norm(values, self.weight, self.bias, mean, variance, False, 1.0, self.epsilon, fast)
        normalised, mean, variance = normalise_over_batch(values, self.weight, self.bias, self.epsilon)
        with torch.no_grad():
            self.running_mean.lerp_(mean, 1 - self.momentum)
            self.running_var.lerp_(variance, 1 - self.momentum)
        return normalised


def normalise_over_batch(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return values normalised over their batch, with the batch's mean and (biased) variance of every channel.

    A function of its own, and one that torch's overrides can replace: processes that train together normalise over the
    batch of all of them.
    """
    if has_torch_function_unary(values):
        replaced: tuple[Tensor, Tensor, Tensor] = handle_torch_function(
            normalise_over_batch, (values,), values, weight, bias, epsilon
        )
        return replaced
    mean, variance = torch.zeros_like(weight), torch.zeros_like(weight)
    # Momentum 1 leaves the batch's own statistics in the two buffers. It is not nn.functional's batch_norm because that
    # one refuses batches of a single value, which Keras normalises to zero.
    fast = torch.backends.cudnn.enabled
    normalised = torch.batch_norm(values, weight, bias, mean, variance, True, 1.0, epsilon, fast)
    count = values.numel() // len(mean)
    biased = variance * ((count - 1) / count) if count > 1 else torch.zeros_like(variance)
    return normalised, mean, biased


class LayerNorm(Normalisation):
    """Normalisation over the channels at every position (Ba et al., arXiv 1607.06450)."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return _over_channels(
            lambda last: F.layer_norm(last, self.weight.shape, self.weight, self.bias, self.epsilon), values
        )


class GroupNorm(Normalisation):
    """Normalisation of groups of channels over all positions (Wu and He, arXiv 1803.08494)."""

    def __init__(self, channels: int, epsilon: float, groups: int) -> None:
        super().__init__(channels, epsilon)
        self.groups = groups

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        # Not nn.functional's, which refuses groups of a single value.
        return torch.group_norm(values, self.groups, self.weight, self.bias, self.epsilon, torch.backends.cudnn.enabled)


class Activation(LayerModule):
    """An activation function as a layer of its own."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        activated: Tensor = self.function(values)
        return activated


class MaxPool(LayerModule, nn.MaxPool2d):
    """The largest value of every window."""

    def __init__(self, window: Window) -> None:
        nn.MaxPool2d.__init__(self, window.kernel, window.stride, window.padding)
        self.window = window

    def forward(self, planes: Tensor) -> Tensor:
        """Return smaller planes."""
        pooled: Tensor = nn.MaxPool2d.forward(self, self.window.pad(planes, -torch.inf))
        return pooled


class AvgPool(LayerModule, nn.AvgPool2d):
    """The mean of every window; padding does not count.

    Args:
        window: how it slides.
        grid: height and width of the input.
    """

    share_inside: Tensor

    def __init__(self, window: Window, grid: tuple[int, int]) -> None:
        nn.AvgPool2d.__init__(self, window.kernel, window.stride, window.padding, count_include_pad=False)
        self.window = window
        share = nn.AvgPool2d.forward(self, window.pad(torch.ones(1, 1, *grid)))
        self.register_buffer("share_inside", share, persistent=False)  # the share of each window that is no padding

    def forward(self, planes: Tensor) -> Tensor:
        """Return smaller planes."""
        means = nn.AvgPool2d.forward(self, self.window.pad(planes))
        return means if self.window.is_symmetric else means / self.share_inside.to(means.dtype)


class GlobalAvgPool(LayerModule):
    """The mean of every channel over all positions."""

    def forward(self, planes: Tensor) -> Tensor:
        """Return values ``[n, channels]``."""
        return planes.mean((2, 3))


class Flatten(LayerModule):
    """All values of a map in one vector, channels last, so that kernels mean what they mean in Keras."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values ``[n, height × width × channels]``."""
        return values if values.ndim == 2 else values.permute(0, 2, 3, 1).flatten(1)


class Dropout(LayerModule, nn.Dropout):
    """Dropout: sets values to zero while training, and scales up the others."""


class AlphaDropout(LayerModule, nn.AlphaDropout):
    """Dropout that keeps mean and variance of the output of SELUs (Klambauer et al., arXiv 1706.02515)."""


class SpatialDropout(LayerModule, nn.Dropout2d):
    """Dropout of whole channels (Tompson et al., arXiv 1411.4280)."""


class Rescale(LayerModule):
    """``value × scale + offset``."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return values * self.scale + self.offset


class Residual(LayerModule):
    """Layers whose output is added to their input (He et al., arXiv 1512.03385).

    Args:
        body: the layers.
        shortcut: brings the input into the shape of the body's output; None for identity.
        drop: probability that the body of a picture is left out while training; the bodies of the others then count
            more (stochastic depth, arXiv 1603.09382; torchvision's ``StochasticDepth`` of rows).
    """

    def __init__(self, body: Iterable[LayerModule], shortcut: WeightedModule | None, drop: float) -> None:
        super().__init__()
        self.body, self.shortcut, self.drop = nn.ModuleList(body), shortcut, drop

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the shape of the body's output."""
        output = values
        for layer in self.body:
            output = layer(output)
        if self.training and self.drop:
            kept = 1 - self.drop
            output = output * output.new_empty(len(output), *[1] * (output.ndim - 1)).bernoulli_(kept).div_(kept)
        shortcut: Tensor = values if self.shortcut is None else self.shortcut(values)
        return shortcut + output
