"""Networks from recipes: every layer of the list becomes one or more modules, and every impossible shape is refused."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from kilat.errors import RecipeError
from kilat.locale import _, ngettext
from kilat.locale.notes import Note
from kilat.model import activations, backbone_layer, initializers, modules, selu
from kilat.model.backbone_layer import BackboneModule
from kilat.model.modules import LayerModule, Shape
from kilat.model.window import Window, sliding_window
from kilat.recipe import Network
from kilat.recipe import network as recipe
from kilat.recipe.activation_function import ActivationFunction
from kilat.recipe.normalisation import Normalisation, SharedBatchNorm, SharedGroupNorm, SharedLayerNorm, SharedNorm

_LINEAR = ActivationFunction(name="none")
_NO_NORMALISATION = Normalisation()
_NORM_LAYERS: dict[type[SharedNorm], type[recipe.BatchNorm | recipe.LayerNorm | recipe.GroupNorm]] = {
    SharedBatchNorm: recipe.BatchNorm,
    SharedLayerNorm: recipe.LayerNorm,
    SharedGroupNorm: recipe.GroupNorm,
}
_ENDINGS = ("softmax", "sigmoid")

MAX_WEIGHTS = 1 << 28
"""Of all kernels of a network together: 1 GiB, and three or four times that in training."""

MAX_MAP = 1 << 26
"""Values of a layer's output, or of its padded input, for one picture: 256 MiB. A finished file may hold four."""


class LayerNetwork(nn.Module):
    """Normalised float32 planes ``[n, channels, size, size]`` to logits float32 ``[n, classes]``, or ``[n, 1]``.

    Args:
        layers: the lines of the layer table, in order.
        notes: what the user should know about this network.
    """

    def __init__(self, layers: Sequence[LayerModule], notes: Sequence[Note] = ()) -> None:
        super().__init__()
        self.layers, self.notes = nn.ModuleList(layers), list(notes)

    @property
    def backbone(self) -> BackboneModule | None:
        """The pretrained network that it starts with, if it does."""
        first = self.layers[0]
        return first if isinstance(first, BackboneModule) else None

    @property
    def whiten(self) -> modules.Whiten | None:
        """The first layer, if it whitens patches and is to be fitted on training pictures."""
        first = self.layers[0]
        return first if isinstance(first, modules.Whiten) else None

    def forward(self, planes: Tensor) -> Tensor:
        """Return the logits of a batch."""
        return self.last(self.features(planes))

    def features(self, planes: Tensor) -> Tensor:
        """Return what the last layer gets of a batch."""
        values = planes.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            values = layer(values)
        return values

    def last(self, features: Tensor) -> Tensor:
        """Return the logits, from what the last layer gets."""
        logits: Tensor = self.layers[-1](features)
        return logits.float()


def build(network: Network, *, channels: int, size: int, classes: int, seed: int) -> LayerNetwork:
    """Return the network of a recipe, with first weights that follow from the seed alone.

    It gives logits: a softmax or a sigmoid at its very end belongs to the loss and is left out.

    Args:
        network: the section ``model``.
        channels: of the pictures: 3, or 1 for grey ones.
        size: their side in pixels.
        classes: how many there are.
        seed: of all first weights but a backbone's pretrained ones.

    Raises:
        RecipeError: a layer cannot take its input, or the network does not give one logit a class.
        BackboneError: there is no such backbone, or its weights are missing, unreachable or do not fit.
    """
    assert network.layers, "a network that was given as a module is built by its own class"
    layers, last = network.layers, network.layers[-1]
    if isinstance(last, recipe.Activation) and last.function.name in _ENDINGS:
        layers = layers[:-1]
    built = _Builder(network, size, classes, seed).stack(layers, "model.layers", (size, size, channels))
    _check_output(built[-1].output_shape if built else (size, size, channels), classes)
    return LayerNetwork(built, selu.notes(network))


def _check_output(shape: Shape, classes: int) -> None:
    if len(shape) == 3:
        raise RecipeError(
            _("model.layers: the network ends in {shape} instead of one value for each of {classes} classes.").format(
                shape=_in_words(shape), classes=classes
            ),
            hint=_("Put flatten or global_avg_pool before the last dense layer."),
        )
    if shape != (classes,) and (shape, classes) != ((1,), 2):
        hint = _("End it in 'dense: classes', or in {classes} units.").format(classes=classes)
        if classes == 2:
            hint = _("End it in 'dense: classes', or in 2 units (or in 1, for two classes).")
        raise RecipeError(
            _("model.layers: the network ends in {shape}, and there are {classes} classes.").format(
                shape=_in_words(shape), classes=classes
            ),
            hint=hint,
        )


def _in_words(shape: Shape) -> str:
    if len(shape) == 3:
        return _("a map of {shape} (height, width, channels)").format(shape="×".join(map(str, shape)))
    return ngettext("{count} unit", "{count} units", shape[0]).format(count=shape[0])


class _Input(NamedTuple):
    """Where in the recipe a layer stands, and the shape of its input."""

    where: str
    shape: Shape

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def grid(self) -> tuple[int, int]:
        """Return height and width of the map."""
        if len(self.shape) != 3:
            raise self.error(
                _("needs a map of height, width and channels; its input is {shape}").format(
                    shape=_in_words(self.shape)
                ),
                hint=_("Put it before the layer that takes height and width away (flatten or global_avg_pool)."),
            )
        return self.shape[0], self.shape[1]

    def error(self, problem: str, *, hint: str) -> RecipeError:
        return RecipeError(f"{self.where}: {problem}.", hint=hint)

    def check_groups(self, groups: int, filters: int | None = None) -> None:
        """Refuse groups of unequal size, of the channels or of a layer's filters."""
        counts = {_("{count} channels cannot be divided into {groups} groups; its input is {shape}"): self.channels}
        if filters is not None:
            counts[_("{count} filters cannot be divided into {groups} groups; its input is {shape}")] = filters
        for message, count in counts.items():
            if count % groups:
                fitting = [number for number in range(1, count + 1) if count % number == 0]
                raise self.error(
                    message.format(count=count, groups=groups, shape=_in_words(self.shape)),
                    hint=_("Numbers of groups that fit: {fitting}.").format(fitting=", ".join(map(str, fitting))),
                )

    def convolution_window(self, layer: "recipe.Conv | recipe.DepthwiseConv") -> Window:
        """Return how the kernel of a layer slides over the map."""
        window = sliding_window(self.grid(), layer.kernel, layer.stride, layer.padding, layer.dilation)
        message = _("a kernel of {kernel} is larger than its input, {shape}")
        if layer.dilation != (1, 1):
            message = _("a kernel of {kernel} with a dilation of {dilation} is larger than its input, {shape}")
        return self._fitting(window, message)

    def patch_window(self, layer: "recipe.Whiten") -> Window:
        """Return how the patches that a layer whitens lie on the picture: at every position, without padding."""
        window = sliding_window(self.grid(), layer.kernel, (1, 1), "valid")
        return self._fitting(window, _("a patch of {kernel} is larger than its input, {shape}"))

    def pooling_window(self, layer: "recipe.MaxPool | recipe.AvgPool") -> Window:
        """Return how the window of a pooling slides over the map; by default windows lie side by side."""
        window = sliding_window(self.grid(), layer.size, layer.stride or layer.size, layer.padding)
        return self._fitting(window, _("a window of {kernel} is larger than its input, {shape}"))

    def check_map(self, shape: Shape) -> None:
        """Refuse a map that is too large to be computed."""
        if math.prod(shape) > MAX_MAP:
            raise self.error(
                _("computes {shape}; that is more than {most:,} values for one picture").format(
                    shape=_in_words(shape), most=MAX_MAP
                ),
                hint=_("Give it fewer filters or a smaller kernel, or the network smaller pictures (input.size)."),
            )

    def _fitting(self, window: Window, message: str) -> Window:
        if min(window.output_size) < 1:
            kernel, dilation = ("×".join(map(str, sides)) for sides in (window.kernel, window.dilation))
            raise self.error(
                message.format(kernel=kernel, dilation=dilation, shape=_in_words(self.shape)),
                hint=_("Give it 'padding: same', make it smaller, or shrink the map less before it."),
            )
        padded = (sum(sides) for sides in zip(self.grid(), window.before, window.after, strict=True))
        self.check_map((*padded, self.channels))
        return window


class _Builder:
    """Makes modules of layers, in the order in which first weights are drawn."""

    def __init__(self, network: Network, size: int, classes: int, seed: int) -> None:
        self.network, self.size, self.classes, self.seed = network, size, classes, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.label_counts: Counter[str] = Counter()
        self.kernels_left = _count_kernels(network.layers)
        self.weights = 0

    def stack(self, layers: Sequence[recipe.Layer], path: str, shape: Shape) -> list[LayerModule]:
        """Return the modules of layers one after the other."""
        built: list[LayerModule] = []
        for index, layer in enumerate(layers):
            where = f"{path}.{index}"
            if isinstance(layer, recipe.Repeat):
                for _time in range(layer.times):
                    before = built[-1].output_shape if built else shape
                    built += self.stack(layer.layers, f"{where}.repeat.layers", before)
            else:
                inputs = _Input(f"{where} ({layer.kind})", built[-1].output_shape if built else shape)
                built += self.layer(layer, inputs, f"{where}.{layer.kind}.layers")
        return built

    def layer(self, layer: recipe.Layer, inputs: _Input, inside: str) -> list[LayerModule]:
        """Return the modules of one layer; ``inside`` is the path of layers in it."""
        if isinstance(layer, recipe.Weighted):
            return self.weighted(layer, inputs)
        if isinstance(layer, recipe.Residual):
            return self.residual(layer, inputs, inside)
        if isinstance(layer, recipe.MaxPool | recipe.AvgPool):
            return [self.pool(layer, inputs)]
        if isinstance(layer, recipe.BatchNorm | recipe.LayerNorm | recipe.GroupNorm):
            return [self.normalisation(layer, inputs)]
        return [self.unweighted(layer, inputs)]

    def labelled(self, module: LayerModule, kind: str, shape: Shape) -> LayerModule:
        """Give a module its names and its output shape, numbered as Keras numbers layers."""
        number = self.label_counts[kind]
        self.label_counts[kind] += 1
        module.kind, module.label, module.output_shape = kind, f"{kind}_{number}" if number else kind, shape
        return module

    def unweighted(self, layer: recipe.Layer, inputs: _Input) -> LayerModule:
        """Return a layer without weights of its own, or a backbone."""
        shape = inputs.shape
        module: LayerModule
        match layer:
            case recipe.BackboneLayer():
                assert inputs.channels == 3, "recipes refuse grey pictures for a backbone"
                module = backbone = backbone_layer.create(layer.name, self.network.weights, self.size, self.seed)
                backbone.unfreeze("all" if layer.trainable else 0)
                shape = backbone.output_shape
            case recipe.Whiten():
                window = inputs.patch_window(layer)
                module = whiten = modules.Whiten(inputs.channels, window)
                whiten.requires_grad_(layer.trainable)
                shape = (*window.output_size, whiten.out_channels)
            case recipe.Activation():
                return self.activation(layer.function, inputs)
            case recipe.GlobalAvgPool():
                inputs.grid()
                shape = (inputs.channels,)
                module = modules.GlobalAvgPool()
            case recipe.Flatten():
                shape = (torch.Size(shape).numel(),)
                module = modules.Flatten()
            case recipe.Dropout():
                module = modules.AlphaDropout(layer.rate) if self.network.is_selu else modules.Dropout(layer.rate)
            case recipe.SpatialDropout():
                inputs.grid()
                module = modules.SpatialDropout(layer.rate)
            case recipe.Rescale():
                module = modules.Rescale(layer.scale, layer.offset)
            case _:
                raise AssertionError(f"no module for {layer.kind}")
        return self.labelled(module, layer.kind, shape)

    def activation(self, function: ActivationFunction, inputs: _Input) -> LayerModule:
        """Return an activation function as a layer of its own."""
        return self.labelled(modules.Activation(activations.create(function, inputs.shape)), "activation", inputs.shape)

    def pool(self, layer: recipe.MaxPool | recipe.AvgPool, inputs: _Input) -> LayerModule:
        """Return a max or average pooling."""
        window = inputs.pooling_window(layer)
        is_max = isinstance(layer, recipe.MaxPool)
        module = modules.MaxPool(window) if is_max else modules.AvgPool(window, inputs.grid())
        return self.labelled(module, layer.kind, (*window.output_size, inputs.channels))

    def normalisation(
        self, layer: recipe.BatchNorm | recipe.LayerNorm | recipe.GroupNorm, inputs: _Input
    ) -> LayerModule:
        """Return a normalisation layer."""
        module: LayerModule
        if isinstance(layer, recipe.BatchNorm):
            module = modules.BatchNorm(inputs.channels, layer.epsilon, layer.momentum, trainable=layer.trainable)
        elif isinstance(layer, recipe.LayerNorm):
            module = modules.LayerNorm(inputs.channels, layer.epsilon)
        else:
            inputs.check_groups(layer.groups)
            module = modules.GroupNorm(inputs.channels, layer.epsilon, layer.groups)
        module.requires_grad_(layer.trainable)
        return self.labelled(module, layer.kind, inputs.shape)

    def weighted(self, layer: recipe.Weighted, inputs: _Input) -> list[LayerModule]:
        """Return a layer with a kernel, its activation and its normalisation.

        What holds for the whole network spares the very last one, which has only its own.
        """
        self.kernels_left -= 1
        is_last = not self.kernels_left
        function = layer.activation or (_LINEAR if is_last else self.network.activation)
        if is_last and function.name in _ENDINGS:
            function = _LINEAR
        norm = (layer.normalisation or (_NO_NORMALISATION if is_last else self.network.normalisation)).options
        kernel = self.kernel(layer, inputs)
        built: list[LayerModule] = [kernel]
        after = _Input(inputs.where, kernel.output_shape)
        is_fused = norm is None or norm.place == "after"
        if is_fused:
            kernel.activation = activations.create(function, after.shape)
        if norm is not None:
            own = norm.model_dump(exclude={"place"})
            built.append(self.normalisation(_NORM_LAYERS[type(norm)](**own, trainable=layer.trainable), after))
        if not is_fused and function.name != "none":
            built.append(self.activation(function, after))
        for module in built:
            module.requires_grad_(layer.trainable)
        return built

    def kernel(self, layer: recipe.Weighted, inputs: _Input) -> modules.WeightedModule:
        """Return the convolution or dense layer itself."""
        if isinstance(layer, recipe.Conv):
            module, shape = self.conv(layer, inputs)
        elif isinstance(layer, recipe.DepthwiseConv):
            module, shape = self.depthwise(layer, inputs)
        else:
            module, shape = self.dense(cast(recipe.Dense, layer), inputs)
        if layer.trainable:
            module.l1 = self.network.l1 if layer.l1 is None else layer.l1
            module.l2 = self.network.l2 if layer.l2 is None else layer.l2
            module.max_norm = layer.max_norm or self.network.max_norm
        inputs.check_map(shape)
        self.labelled(module, layer.kind, shape)
        return module

    def conv(self, layer: recipe.Conv, inputs: _Input) -> tuple[modules.WeightedModule, Shape]:
        """Return a convolution and its output shape."""
        window = inputs.convolution_window(layer)
        inputs.check_groups(layer.groups, layer.filters)
        module = modules.Conv(inputs.channels, layer.filters, window, groups=layer.groups, bias=layer.bias)
        kernel = self.draw(layer, (*layer.kernel, inputs.channels // layer.groups, layer.filters), inputs)
        modules.set_kernel(module, kernel.permute(3, 2, 0, 1))
        return module, (*window.output_size, layer.filters)

    def depthwise(self, layer: recipe.DepthwiseConv, inputs: _Input) -> tuple[modules.WeightedModule, Shape]:
        """Return a depthwise convolution and its output shape."""
        window, filters = inputs.convolution_window(layer), inputs.channels * layer.multiplier
        module = modules.Conv(inputs.channels, filters, window, groups=inputs.channels, bias=layer.bias)
        kernel = self.draw(layer, (*layer.kernel, inputs.channels, layer.multiplier), inputs)
        modules.set_kernel(module, kernel.permute(2, 3, 0, 1).reshape(filters, 1, *layer.kernel))
        return module, (*window.output_size, filters)

    def dense(self, layer: recipe.Dense, inputs: _Input) -> tuple[modules.WeightedModule, Shape]:
        """Return a dense layer and its output shape; on a map it is applied at every position."""
        units = self.classes if layer.units == "classes" else layer.units
        module = modules.Dense(inputs.channels, units, bias=layer.bias)
        modules.set_kernel(module, self.draw(layer, (inputs.channels, units), inputs).T)
        return module, (*inputs.shape[:-1], units)

    def draw(self, layer: recipe.Weighted, shape: Shape, inputs: _Input) -> Tensor:
        """Return first weights of a kernel in Keras's layout, if all kernels so far are not too many."""
        self.weights += math.prod(shape)
        if self.weights > MAX_WEIGHTS:
            raise inputs.error(
                _("its kernel has {count:,} weights; with those before it that is more than {most:,}").format(
                    count=math.prod(shape), most=MAX_WEIGHTS
                ),
                hint=_("Give it fewer units or filters, or make the map smaller before it (max_pool)."),
            )
        default: recipe.InitName = "lecun_normal" if self.network.is_selu else "glorot_uniform"
        return initializers.draw(layer.init or self.network.init or default, shape, self.generator)

    def residual(self, layer: recipe.Residual, inputs: _Input, inside: str) -> list[LayerModule]:
        """Return layers whose output is added to their input, as one module; without a shortcut the bare layers."""
        body = self.stack(layer.layers, inside, inputs.shape)
        if layer.shortcut == "none":
            return body
        shape = body[-1].output_shape if body else inputs.shape
        if layer.shortcut == "identity" and shape != inputs.shape:
            raise inputs.error(
                _("its input is {shape} and its layers give {result}, which cannot be added").format(
                    shape=_in_words(inputs.shape), result=_in_words(shape)
                ),
                hint=_(
                    "Let the layers keep the shape ('padding: same', as many filters), or take 'shortcut: project'."
                ),
            )
        is_identity = layer.shortcut == "identity" or (layer.shortcut == "auto" and shape == inputs.shape)
        shortcut = None if is_identity else self.projection(inputs, shape)
        return [self.labelled(modules.Residual(body, shortcut, layer.drop), layer.kind, shape)]

    def projection(self, inputs: _Input, shape: Shape) -> modules.WeightedModule:
        """Return what brings the input into the body's shape: a 1×1 convolution, between units a dense layer."""
        bare = {"activation": _LINEAR, "normalisation": _NO_NORMALISATION}
        if len(shape) == len(inputs.shape) == 1:
            return self.kernel(recipe.Dense(units=shape[0], **bare), inputs)
        stride = [_stride(before, after) for before, after in zip(inputs.shape[:-1], shape[:-1], strict=False)]
        if len(shape) != len(inputs.shape) or 0 in stride:
            raise inputs.error(
                _("its input is {shape} and its layers give {result}; no stride of a shortcut leads there").format(
                    shape=_in_words(inputs.shape), result=_in_words(shape)
                ),
                hint=_("Give the layers 'padding: same', so that only strides make the map smaller."),
            )
        conv = recipe.Conv(filters=shape[-1], kernel=(1, 1), stride=(stride[0], stride[1]), **bare)
        return self.kernel(conv, inputs)


def _stride(before: int, after: int) -> int:
    """Return the smallest stride of a 1×1 window that leads from one size to the other; 0 where there is none."""
    return next((stride for stride in range(1, before + 1) if -(-before // stride) == after), 0)


def _count_kernels(layers: Sequence[recipe.Layer]) -> int:
    """Return how many layers with a kernel there are, repeated ones as often as they are repeated."""
    count = 0
    for layer in layers:
        if isinstance(layer, recipe.Repeat):
            count += layer.times * _count_kernels(layer.layers)
        elif isinstance(layer, recipe.Residual):
            count += _count_kernels(layer.layers)
        else:
            count += isinstance(layer, recipe.Weighted)
    return count
