"""Networks from recipes: every layer of the list becomes one or more steps, and every impossible shape is refused."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.model import activations, backbone_layer, initializers, modules, selu
from kilat.model.backbone_layer import BackboneStep
from kilat.model.modules import Shape, Step, Window
from kilat.recipe import Network
from kilat.recipe import network as recipe

_LINEAR = recipe.Function(name="none")
_BARE = recipe.Normalisation()
_NORMS: dict[str, type[recipe.BatchNorm | recipe.LayerNorm | recipe.GroupNorm]] = {
    "batch_norm": recipe.BatchNorm, "layer_norm": recipe.LayerNorm, "group_norm": recipe.GroupNorm,
}  # fmt: skip
_ENDINGS = ("softmax", "sigmoid")


class LayerNetwork(nn.Module):
    """Normalised float32 planes ``[n, channels, size, size]`` to logits float32 ``[n, classes]``, or ``[n, 1]``.

    Args:
        parts: the lines of the layer table, in order.
        notes: sentences for the user about this network.
    """

    def __init__(self, parts: Sequence[Step], notes: Sequence[str] = ()) -> None:
        super().__init__()
        self.steps, self.notes = nn.ModuleList(parts), list(notes)

    @property
    def backbone(self) -> BackboneStep | None:
        """The pretrained network that it starts with, if it does."""
        first = self.steps[0]
        return first if isinstance(first, BackboneStep) else None

    def forward(self, planes: Tensor) -> Tensor:
        """The logits of a batch."""
        values = planes.contiguous(memory_format=torch.channels_last)
        for step in self.steps:
            values = step(values)
        return values.float()


def build(network: Network, *, channels: int, size: int, classes: int, seed: int) -> LayerNetwork:
    """The network of a recipe, with first weights that follow from the seed alone.

    It gives logits: a softmax or a sigmoid at its very end belongs to the loss and is left out.

    Args:
        network: the section ``model``.
        channels: of the pictures: 3, or 1 for grey ones.
        size: their side in pixels.
        classes: how many there are.
        seed: what all first weights are drawn from, but for a backbone's pretrained ones.

    Raises:
        RecipeError: a layer cannot take what comes in, or the network does not give one answer a class.
        BackboneError: there is no such backbone, or its weights are missing, unreachable or do not fit.
    """
    assert network.layers, "a network that was given as a module is built by its own class"
    layers, last = network.layers, network.layers[-1]
    if isinstance(last, recipe.Activation) and last.function.name in _ENDINGS:
        layers = layers[:-1]
    builder = _Builder(network, size, classes, seed)
    parts = builder.stack(layers, "model.layers", (size, size, channels))
    _check_answers(parts[-1].output_shape if parts else (size, size, channels), classes)
    return LayerNetwork(parts, selu.notes(network))


def _check_answers(shape: Shape, classes: int) -> None:
    if len(shape) == 3:
        raise RecipeError(
            _(
                "model.layers: the network ends in {shape}, where one answer for each of {classes} classes is due."
            ).format(shape=_text(shape), classes=classes),
            hint=_("Put flatten or global_avg_pool before the last dense layer."),
        )
    if shape != (classes,) and (shape, classes) != ((1,), 2):
        alone = " (or in 1, for two classes)" if classes == 2 else ""
        raise RecipeError(
            _("model.layers: the network ends in {shape}, and there are {classes} classes.").format(
                shape=_text(shape), classes=classes
            ),
            hint=_("End it in 'dense: classes', or in {classes} units{alone}.").format(classes=classes, alone=alone),
        )


def _text(shape: Shape) -> str:
    if len(shape) == 3:
        return f"a map of {'×'.join(map(str, shape))} (height, width, channels)"
    return f"{shape[0]} unit{'s' if shape[0] != 1 else ''}"


class _Site(NamedTuple):
    """Where in the recipe a layer stands, and the shape of what comes in."""

    where: str
    shape: Shape

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def grid(self) -> tuple[int, int]:
        """Height and width of the map that comes in."""
        if len(self.shape) != 3:
            raise self.error(
                _("needs a map of height, width and channels; {shape} came in").format(shape=_text(self.shape)),
                hint=_("Put it before the layer that takes height and width away (flatten or global_avg_pool)."),
            )
        return self.shape[0], self.shape[1]

    def error(self, problem: str, *, hint: str) -> RecipeError:
        return RecipeError(f"{self.where}: {problem}.", hint=hint)

    def divided(self, count: int, what: str, groups: int) -> None:
        """Refuses groups that do not come out even."""
        if count % groups:
            fitting = [number for number in range(1, count + 1) if count % number == 0]
            raise self.error(
                _("{count} {what} cannot be divided into {groups} groups; {shape} came in").format(
                    count=count, what=what, groups=groups, shape=_text(self.shape)
                ),
                hint=_("Numbers of groups that fit: {fitting}.").format(fitting=", ".join(map(str, fitting))),
            )

    def slide(self, layer: "recipe.Conv | recipe.DepthwiseConv") -> Window:
        """How the kernel of a layer slides over the map."""
        window = modules.slide(self.grid(), layer.kernel, layer.stride, layer.padding, layer.dilation)
        spread = (
            "" if layer.dilation == (1, 1) else f", spread by a dilation of {layer.dilation[0]}×{layer.dilation[1]},"
        )
        return self._fitting(window, f"a kernel of {layer.kernel[0]}×{layer.kernel[1]}{spread}")

    def pool(self, layer: "recipe.MaxPool | recipe.AvgPool") -> Window:
        """How the window of a pooling slides over the map; windows lie side by side unless it says otherwise."""
        window = modules.slide(self.grid(), layer.size, layer.stride or layer.size, layer.padding)
        return self._fitting(window, f"a window of {layer.size[0]}×{layer.size[1]}")

    def _fitting(self, window: Window, what: str) -> Window:
        if min(window.places) < 1:
            raise self.error(
                _("{what} is larger than what it looks at; {shape} came in").format(what=what, shape=_text(self.shape)),
                hint=_("Give it 'padding: same', make it smaller, or shrink the map less before it."),
            )
        return window


class _Builder:
    """Makes steps of layers, in the order in which first weights are drawn."""

    def __init__(self, network: Network, size: int, classes: int, seed: int) -> None:
        self.network, self.size, self.classes, self.seed = network, size, classes, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.labels: Counter[str] = Counter()
        self.kernels = _count_kernels(network.layers)

    def stack(self, layers: Sequence[recipe.Layer], path: str, shape: Shape) -> list[Step]:
        """The steps of layers one after the other."""
        parts: list[Step] = []
        for place, layer in enumerate(layers):
            where = f"{path}.{place}"
            if isinstance(layer, recipe.Repeat):
                for _ in range(layer.times):
                    before = parts[-1].output_shape if parts else shape
                    parts += self.stack(layer.layers, f"{where}.repeat.layers", before)
            else:
                site = _Site(f"{where} ({layer.kind})", parts[-1].output_shape if parts else shape)
                parts += self.layer(layer, site, f"{where}.{layer.kind}.layers")
        return parts

    def layer(self, layer: recipe.Layer, site: _Site, inside: str) -> list[Step]:
        """The steps of one layer; ``inside`` is the path of layers in it."""
        if isinstance(layer, recipe.Weighted):
            return self.weighted(layer, site)
        if isinstance(layer, recipe.Residual):
            return [self.residual(layer, site, inside)]
        if isinstance(layer, recipe.MaxPool | recipe.AvgPool):
            return [self.pool(layer, site)]
        if isinstance(layer, recipe.BatchNorm | recipe.LayerNorm | recipe.GroupNorm):
            return [self.normalisation(layer, site)]
        return [self.plain(layer, site)]

    def done(self, step: Step, kind: str, shape: Shape) -> Step:
        """Gives a step its names and its shape, numbered as Keras numbers layers."""
        number = self.labels[kind]
        self.labels[kind] += 1
        step.kind, step.label, step.output_shape = kind, f"{kind}_{number}" if number else kind, shape
        return step

    def plain(self, layer: recipe.Layer, site: _Site) -> Step:
        """A layer without weights, or a backbone."""
        shape = site.shape
        step: Step
        match layer:
            case recipe.BackboneLayer():
                step = self.backbone(layer, site)
                shape = step.output_shape
            case recipe.Activation():
                return self.activation(layer.function, site)
            case recipe.GlobalAvgPool():
                site.grid()
                shape = (site.channels,)
                step = modules.GlobalAvgPool()
            case recipe.Flatten():
                shape = (torch.Size(shape).numel(),)
                step = modules.Flatten()
            case recipe.Dropout():
                step = modules.AlphaDropout(layer.rate) if self.network.is_selu else modules.Dropout(layer.rate)
            case recipe.SpatialDropout():
                site.grid()
                step = modules.SpatialDropout(layer.rate)
            case recipe.Rescale():
                step = modules.Rescale(layer.scale, layer.offset)
            case _:
                raise AssertionError(f"no step for {layer.kind}")
        return self.done(step, layer.kind, shape)

    def backbone(self, layer: recipe.BackboneLayer, site: _Site) -> BackboneStep:
        """The pretrained network; opened if the layer says so."""
        assert site.channels == 3, "recipes refuse grey pictures for a backbone"
        step = backbone_layer.create(layer.name, self.network.weights, self.size, self.seed)
        step.unfreeze("all" if layer.trainable else 0)
        return step

    def activation(self, function: recipe.Function, site: _Site) -> Step:
        """A function as a step of its own."""
        return self.done(modules.Activation(activations.create(function, site.shape)), "activation", site.shape)

    def pool(self, layer: recipe.MaxPool | recipe.AvgPool, site: _Site) -> Step:
        """Pooling by the largest value or by the mean."""
        window = site.pool(layer)
        step = modules.MaxPool(window) if isinstance(layer, recipe.MaxPool) else modules.AvgPool(window, site.grid())
        return self.done(step, layer.kind, (*window.places, site.channels))

    def normalisation(self, layer: recipe.BatchNorm | recipe.LayerNorm | recipe.GroupNorm, site: _Site) -> Step:
        """A layer that normalises."""
        step: Step
        if isinstance(layer, recipe.BatchNorm):
            step = modules.BatchNorm(site.channels, layer.epsilon, layer.momentum, trainable=layer.trainable)
        elif isinstance(layer, recipe.LayerNorm):
            step = modules.LayerNorm(site.channels, layer.epsilon)
        else:
            site.divided(site.channels, "channels", layer.groups)
            step = modules.GroupNorm(site.channels, layer.epsilon, layer.groups)
        step.requires_grad_(layer.trainable)
        return self.done(step, layer.kind, site.shape)

    def weighted(self, layer: recipe.Weighted, site: _Site) -> list[Step]:
        """A layer with a kernel, its activation, and what normalises it; the last of all has only what it says."""
        self.kernels -= 1
        is_last = not self.kernels
        function = layer.activation or (_LINEAR if is_last else self.network.activation)
        if is_last and function.name in _ENDINGS:
            function = _LINEAR
        norm = layer.normalisation or (_BARE if is_last else self.network.normalisation)
        kernel = self.kernel(layer, site)
        parts: list[Step] = [kernel]
        after = _Site(site.where, kernel.output_shape)
        is_fused = norm.name == "none" or norm.place == "after"
        if is_fused:
            kernel.activation = activations.create(function, after.shape)
        if norm.name != "none":
            parts.append(self.normalisation(_NORMS[norm.name](trainable=layer.trainable), after))
        if not is_fused and function.name != "none":
            parts.append(self.activation(function, after))
        for step in parts:
            step.requires_grad_(layer.trainable)
        return parts

    def kernel(self, layer: recipe.Weighted, site: _Site) -> modules.Weighted:
        """The convolution or dense layer itself."""
        if isinstance(layer, recipe.Conv):
            step, shape = self.conv(layer, site)
        elif isinstance(layer, recipe.DepthwiseConv):
            step, shape = self.depthwise(layer, site)
        else:
            step, shape = self.dense(cast(recipe.Dense, layer), site)
        if layer.trainable:
            step.l1 = self.network.l1 if layer.l1 is None else layer.l1
            step.l2 = self.network.l2 if layer.l2 is None else layer.l2
            step.max_norm = layer.max_norm or self.network.max_norm
        self.done(step, layer.kind, shape)
        return step

    def conv(self, layer: recipe.Conv, site: _Site) -> tuple[modules.Weighted, Shape]:
        """A convolution."""
        window = site.slide(layer)
        site.divided(site.channels, "channels", layer.groups)
        site.divided(layer.filters, "filters", layer.groups)
        step = modules.Conv(site.channels, layer.filters, window, groups=layer.groups, bias=layer.bias)
        kernel = self.draw(layer, (*layer.kernel, site.channels // layer.groups, layer.filters))
        modules.hold(step, kernel.permute(3, 2, 0, 1))
        return step, (*window.places, layer.filters)

    def depthwise(self, layer: recipe.DepthwiseConv, site: _Site) -> tuple[modules.Weighted, Shape]:
        """A convolution of every channel by itself."""
        window, filters = site.slide(layer), site.channels * layer.multiplier
        step = modules.Conv(site.channels, filters, window, groups=site.channels, bias=layer.bias)
        kernel = self.draw(layer, (*layer.kernel, site.channels, layer.multiplier))
        modules.hold(step, kernel.permute(2, 3, 0, 1).reshape(filters, 1, *layer.kernel))
        return step, (*window.places, filters)

    def dense(self, layer: recipe.Dense, site: _Site) -> tuple[modules.Weighted, Shape]:
        """A dense layer; on a map, of every place's channels."""
        units = self.classes if layer.units == "classes" else layer.units
        step = modules.Dense(site.channels, units, bias=layer.bias)
        modules.hold(step, self.draw(layer, (site.channels, units)).T)
        return step, (*site.shape[:-1], units)

    def draw(self, layer: recipe.Weighted, shape: Shape) -> Tensor:
        """First weights of a kernel in Keras's layout."""
        usual: recipe.InitName = "lecun_normal" if self.network.is_selu else "glorot_uniform"
        return initializers.draw(layer.init or self.network.init or usual, shape, self.generator)

    def residual(self, layer: recipe.Residual, site: _Site, inside: str) -> Step:
        """Layers whose answer is added to what went in."""
        body = self.stack(layer.layers, inside, site.shape)
        shape = body[-1].output_shape if body else site.shape
        if layer.shortcut == "identity" and shape != site.shape:
            raise site.error(
                _("{shape} came in and its layers give {result}, which cannot be added").format(
                    shape=_text(site.shape), result=_text(shape)
                ),
                hint=_(
                    "Let the layers keep the shape ('padding: same', as many filters), or take 'shortcut: project'."
                ),
            )
        is_straight = layer.shortcut == "identity" or (layer.shortcut == "auto" and shape == site.shape)
        shortcut = None if is_straight else self.projection(site, shape)
        return self.done(modules.Residual(body, shortcut, layer.drop), layer.kind, shape)

    def projection(self, site: _Site, shape: Shape) -> modules.Weighted:
        """What brings the shape that went in into the body's: a 1×1 convolution, between units a dense layer."""
        bare = {"activation": _LINEAR, "normalisation": _BARE}
        if len(shape) == len(site.shape) == 1:
            return self.kernel(recipe.Dense(units=shape[0], **bare), site)
        stride = [_stride(before, after) for before, after in zip(site.shape[:-1], shape[:-1], strict=False)]
        if len(shape) != len(site.shape) or 0 in stride:
            raise site.error(
                _("{shape} came in and its layers give {result}; no stride of a shortcut leads there").format(
                    shape=_text(site.shape), result=_text(shape)
                ),
                hint=_("Give the layers 'padding: same', so that only strides make the map smaller."),
            )
        conv = recipe.Conv(filters=shape[-1], kernel=(1, 1), stride=(stride[0], stride[1]), **bare)
        return self.kernel(conv, site)


def _stride(before: int, after: int) -> int:
    """The smallest stride of a 1×1 window that leads from one size to the other; 0 where there is none."""
    return next((stride for stride in range(1, before + 1) if -(-before // stride) == after), 0)


def _count_kernels(layers: Sequence[recipe.Layer]) -> int:
    """How many layers with a kernel there are, repeated ones as often as they are repeated."""
    count = 0
    for layer in layers:
        if isinstance(layer, recipe.Repeat):
            count += layer.times * _count_kernels(layer.layers)
        elif isinstance(layer, recipe.Residual):
            count += _count_kernels(layer.layers)
        else:
            count += isinstance(layer, recipe.Weighted)
    return count
