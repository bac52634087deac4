"""The section ``model``: a network as a readable list of layers. Defaults mean what they mean in Keras 3.

A layer is written as its kind alone (``flatten``), with its main option (``dropout: 0.2``), or with several
(``conv: {filters: 32, kernel: 3}``). What holds for the whole network (initialisation, activation, normalisation,
penalties) stands next to the list, and each layer may override it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_serializer, model_validator

from kilat.locale import _
from kilat.recipe.activation_function import ActivationFunction
from kilat.recipe.normalisation import Count, Epsilon, Momentum, Normalisation
from kilat.recipe.section import Section

InitName = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal"
]
Padding = Literal["valid", "same"]


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


Pair = Annotated[tuple[Count, Count], BeforeValidator(_pair)]
"""Height and width; one number stands for both."""

_Small = Annotated[int, Field(ge=1, le=16)]
SmallPair = Annotated[tuple[_Small, _Small], BeforeValidator(_pair)]
"""The same of patches, whose values all go together into one matrix."""

MAX_LAYERS = 5_000
"""Of a network, repeated ones counted as often as they are repeated."""

Rate = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(ge=0, lt=1e3)]


def refuse_data_set(weights: Any) -> Any:
    """Return what says which weights a backbone has; refuse the name of a data set, which Keras takes.

    Raises:
        ValueError: it is one.
    """
    if str(weights).lower() in ("imagenet", "imagenet1k", "pretrained", "default"):
        raise ValueError(_("trained weights are those of the hub, which are the default; else it is a file"))
    return weights


class Layer(Section):
    """One layer. ``kind`` is its name in a recipe, ``main`` the option that a bare value goes to."""

    kind: ClassVar[str]
    main: ClassVar[str] = ""

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        if given == cls.kind:
            return {}
        if not isinstance(given, Mapping) or set(given) != {cls.kind}:
            return given
        value = given[cls.kind]
        if value is None:
            return {}
        if isinstance(value, Mapping) and (cls.main != "function" or "function" in value):
            return value
        if not cls.main:
            options = ", ".join(cls.model_fields) or _("none")
            raise ValueError(
                _("{kind} takes no single value; its options: {options}").format(kind=cls.kind, options=options)
            )
        return {cls.main: value}

    @model_serializer
    def _written(self) -> Any:
        given = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return {self.kind: given} if given else self.kind


class Weighted(Layer):
    """A layer with a kernel. What is None follows the whole network.

    Args:
        activation: applied to its output.
        normalisation: of its output.
        init: of its kernel; biases start at zero.
        bias: whether it adds one.
        l1: penalty on the sum of the kernel's absolute values, added to the loss.
        l2: penalty on the sum of its squares.
        max_norm: the largest Euclidean norm of the weights into one unit (or filter).
        trainable: whether training changes it.
    """

    activation: ActivationFunction | None = None
    normalisation: Normalisation | None = None
    init: InitName | None = None
    bias: bool = True
    l1: Penalty | None = None
    l2: Penalty | None = None
    max_norm: Annotated[float, Field(gt=0)] | None = None
    trainable: bool = True


class Conv(Weighted):
    """A convolution over height and width (``keras.layers.Conv2D``)."""

    kind = "conv"
    main = "filters"
    filters: Count
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    groups: Count = 1


class DepthwiseConv(Weighted):
    """A convolution of every channel by itself (``keras.layers.DepthwiseConv2D``)."""

    kind = "depthwise_conv"
    main = "kernel"
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    multiplier: Count = 1


class Dense(Weighted):
    """A fully connected layer; ``classes`` units are as many as the data has classes."""

    kind = "dense"
    main = "units"
    units: Count | Literal["classes"]


class BatchNorm(Layer):
    """Normalises every channel over the batch (Ioffe and Szegedy, arXiv 1502.03167)."""

    kind = "batch_norm"
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3
    trainable: bool = True


class LayerNorm(Layer):
    """Normalises over the channels of every pixel (Ba et al., arXiv 1607.06450; Keras's axis -1)."""

    kind = "layer_norm"
    epsilon: Epsilon = 1e-3
    trainable: bool = True


class GroupNorm(Layer):
    """Normalises groups of channels over all pixels (Wu and He, arXiv 1803.08494)."""

    kind = "group_norm"
    main = "groups"
    groups: Count = 32
    epsilon: Epsilon = 1e-3
    trainable: bool = True


class Activation(Layer):
    """An activation function as a layer of its own."""

    kind = "activation"
    main = "function"
    function: ActivationFunction


class _Pool(Layer):
    main = "size"
    size: Pair = (2, 2)
    stride: Pair | None = None
    padding: Padding = "valid"


class MaxPool(_Pool):
    """The largest value of every window; windows lie side by side unless ``stride`` says otherwise."""

    kind = "max_pool"


class AvgPool(_Pool):
    """The mean of every window; what padding adds does not count."""

    kind = "avg_pool"


class GlobalAvgPool(Layer):
    """The mean of every channel over all pixels."""

    kind = "global_avg_pool"


class Flatten(Layer):
    """All pixels and channels as one vector, channels last."""

    kind = "flatten"


class Dropout(Layer):
    """Sets a share of the values to zero while training (alpha dropout in a network of SELUs)."""

    kind = "dropout"
    main = "rate"
    rate: Rate


class SpatialDropout(Layer):
    """Sets whole channels to zero while training."""

    kind = "spatial_dropout"
    main = "rate"
    rate: Rate


class Rescale(Layer):
    """``value × scale + offset``."""

    kind = "rescale"
    main = "scale"
    scale: float
    offset: float = 0.0


class Whiten(Layer):
    """Whitens small patches of the picture: a convolution that is fitted on training pixels.

    Its filters are the principal components of the patches, scaled to variance 1, and after them their negatives, so
    that an activation function loses nothing: twice as many as a patch has values. Only the first layer of a network
    can be one.

    Args:
        kernel: height and width of a patch.
        trainable: whether training changes the filters further.
    """

    kind = "whiten"
    main = "kernel"
    kernel: SmallPair = (2, 2)
    trainable: bool = False


class BackboneLayer(Layer):
    """A pretrained timm network, cut before its pooling and head. Only the first layer of a network can be one.

    Args:
        name: as timm has it.
        trainable: whether training changes it; where not, its batch norms stay in inference mode.
    """

    kind = "backbone"
    main = "name"
    name: str
    trainable: bool = False


class Residual(Layer):
    """Layers whose output is added to their input.

    Args:
        layers: the body.
        shortcut: ``identity``, ``project`` (a 1×1 convolution gives the input the shape of the output), or ``auto``:
            identity where the shapes are equal. ``none`` adds nothing, which leaves plain layers to compare with.
        drop: the rate at which pictures skip the body while training (stochastic depth, arXiv 1603.09382).
    """

    kind = "residual"
    main = "layers"
    layers: "Layers"
    shortcut: Literal["auto", "identity", "project", "none"] = "auto"
    drop: Rate = 0.0

    @model_validator(mode="after")
    def _something_is_left(self) -> "Residual":
        if self.drop and self.shortcut == "none":
            raise ValueError(_("pictures can skip the layers (drop) only along a shortcut"))
        return self


class Repeat(Layer):
    """The same layers several times in a row, each time with weights of their own."""

    kind = "repeat"
    times: Annotated[int, Field(ge=1, le=1000)]
    layers: "Layers"


_CLASSES: tuple[type[Layer], ...] = (
    Conv, DepthwiseConv, Dense, BatchNorm, LayerNorm, GroupNorm, Activation, MaxPool, AvgPool, GlobalAvgPool, Flatten,
    Dropout, SpatialDropout, Residual, Repeat, Rescale, Whiten, BackboneLayer,
)  # fmt: skip
KINDS: dict[str, type[Layer]] = {one.kind: one for one in _CLASSES}
"""Every kind of layer by its name in a recipe."""


def kind_of(given: Any) -> str | None:
    """Return the kind of a layer as given; None where it is none."""
    if isinstance(given, Layer):
        return given.kind
    if isinstance(given, Mapping) and len(given) == 1:
        return str(next(iter(given)))
    return given if isinstance(given, str) else None


if TYPE_CHECKING:
    Layers = tuple[Layer, ...]
else:
    AnyLayer = Union[tuple(Annotated[one, Tag(one.kind)] for one in _CLASSES)]  # noqa: UP007 - made, not written
    Layers = tuple[Annotated[AnyLayer, Discriminator(kind_of)], ...]


class Network(Section):
    """A network, and what holds for all of it.

    Args:
        layers: from pixels to logits; the last one has ``classes`` units, or one for two classes.
        module: the class of a network that was given from Python instead of layers.
        activation: of every layer with a kernel but the last.
        normalisation: of the same layers.
        init: of all kernels; None is ``lecun_normal`` in a network of SELUs and ``glorot_uniform`` elsewhere.
        l1: penalty on the sum of all kernels' absolute values.
        l2: penalty on the sum of all kernels' squares.
        max_norm: the largest Euclidean norm of the weights into one unit.
        weights: of the backbone: from timm's ``hub``, ``none`` (random), or a file.
        classes: how many ``kilat summary`` assumes; training counts the data's.
        flip_average: whether the network answers by the mean over a picture and its mirror image (test-time flips), in
            the model file, too; ``auto`` does so where training mirrors pictures.
        shift_average: by how many pixels the picture is moved to both sides for two further views of the same mean.
    """

    layers: Layers = ()
    module: str | None = None
    activation: ActivationFunction = ActivationFunction(name="none")
    normalisation: Normalisation = Normalisation()
    init: InitName | None = None
    l1: Penalty = 0.0
    l2: Penalty = 0.0
    max_norm: Annotated[float, Field(gt=0)] | None = None
    weights: Literal["hub", "none"] | Path = "hub"
    classes: Annotated[int, Field(ge=2, le=1_000_000)] = 10
    flip_average: bool | Literal["auto"] = False
    shift_average: Annotated[int, Field(ge=0, le=7)] = 0

    @field_validator("weights", mode="before")
    @classmethod
    def _no_data_set(cls, weights: Any) -> Any:
        return refuse_data_set(weights)

    @field_validator("layers")
    @classmethod
    def _first_layers_are_first(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        later = list(walk(layers))[1:]
        if any(isinstance(layer, BackboneLayer) for layer in later):
            raise ValueError(_("a backbone can only be the first layer"))
        if any(isinstance(layer, Whiten) for layer in later):
            raise ValueError(_("whiten can only be the first layer: it is fitted on the pictures themselves"))
        return layers

    @field_validator("layers")
    @classmethod
    def _not_too_many(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        if (count := count_layers(layers)) > MAX_LAYERS:
            message = _("a network has at most {most:,} layers; with those that are repeated these are {count:,}")
            raise ValueError(message.format(most=MAX_LAYERS, count=count))
        return layers

    @model_validator(mode="after")
    def _has_layers(self) -> "Network":
        if not self.layers and self.module is None:
            raise ValueError(_("a network needs layers"))
        if self.layers and self.module is not None:
            raise ValueError(_("a network has either layers or the class of a module, not both"))
        return self

    @property
    def backbone(self) -> BackboneLayer | None:
        """The pretrained backbone that it starts with; None where it has none."""
        return next((layer for layer in self.layers[:1] if isinstance(layer, BackboneLayer)), None)

    @property
    def is_selu(self) -> bool:
        """Whether SELU is its activation: of the whole network, or of most of its hidden layers."""
        names = [function.name for function in self.hidden_activations()]
        return names.count("selu") > len(names) / 2

    @property
    def is_penalised(self) -> bool:
        """Whether any of its kernels has a penalty, L1 or L2."""
        layers = [layer for layer in walk(self.layers) if isinstance(layer, Weighted)]
        own = [(self.l1 if one.l1 is None else one.l1, self.l2 if one.l2 is None else one.l2) for one in layers]
        return any(map(any, own or [(self.l1, self.l2)]))

    def hidden_activations(self) -> list[ActivationFunction]:
        """Return the activation functions between the first layer and the last, linear ones left out."""
        found = []
        layers = list(walk(self.layers))
        last = next((layer for layer in reversed(layers) if isinstance(layer, Weighted)), None)
        for layer in layers:
            if isinstance(layer, Activation):
                found.append(layer.function)
            elif isinstance(layer, Weighted) and layer is not last:
                found.append(self.activation if layer.activation is None else layer.activation)
        return [function for function in found if function.name not in ("none", "softmax")]


def walk(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """Yield all layers, those inside others after the one that holds them; repeated ones once."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual | Repeat):
            yield from walk(layer.layers)


def count_layers(layers: tuple[Layer, ...]) -> int:
    """Return how many layers there are, those inside others too, repeated ones as often as they are repeated."""
    times = [one.times if isinstance(one, Repeat) else 1 for one in layers]
    inside = [count_layers(one.layers) if isinstance(one, Residual | Repeat) else 0 for one in layers]
    return sum(time * (1 + count) for time, count in zip(times, inside, strict=True))


Residual.model_rebuild()
Repeat.model_rebuild()

INITS: tuple[str, ...] = get_args(InitName)
