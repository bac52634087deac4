"""Layers and activation functions of Keras and PyTorch, and what they are in a recipe's list of layers."""

from collections.abc import Mapping
from typing import Any

from kilat.locale import N_
from kilat.recipe.words.call import as_call
from kilat.recipe.words.word import NOTHING, Part, Word, left_out, named, normal, parts, to


def _one_side(given: Any) -> Any:
    """Return one number for two equal ones."""
    return given[0] if isinstance(given, list) and len(set(map(str, given))) == 1 else given


def _padding(given: Any) -> Any:
    """Return the padding of Keras for pixels a side, as PyTorch has it."""
    side = _one_side(given)
    return side if isinstance(side, str) else "same" if side else "valid"


def penalties(given: Any) -> list[Any]:
    """Return the L1 and the L2 penalty of a regularizer; a number is an L2 penalty, a bare name Keras's 0.01."""
    if given is None:
        return [NOTHING, NOTHING]
    if isinstance(given, int | float):
        return [NOTHING, given]
    call = as_call(given)
    name = "" if call is None else normal(call.name)
    if call is None or name not in ("l1", "l2", "l1l2", "regularizersl1l2"):
        return [NOTHING, given]  # the check of the whole recipe refuses it
    options = {normal(key): value for key, value in call.options.items()}
    if name == "l1l2":
        both = dict(zip(("l1", "l2"), call.given, strict=False)) | options
        return [both.get("l1", NOTHING), both.get("l2", NOTHING)]
    value = call.given[0] if call.given else options.get(name, 0.01)
    return [value, NOTHING] if name == "l1" else [NOTHING, value]


def largest_norm(given: Any) -> Any:
    """Return the largest norm of a constraint of Keras."""
    call = as_call(given)
    if call is None or normal(call.name) != "maxnorm":
        return given
    return call.given[0] if call.given else call.options.get("max_value", 2)


def first_side(shape: Any) -> Any:
    """Return the side in pixels of a shape: its first number, its second where channels come first."""
    numbers = [side for side in shape if isinstance(side, int)] if isinstance(shape, list | tuple) else [shape]
    return numbers[1] if len(numbers) == 3 and numbers[0] in (1, 3) else numbers[0] if numbers else "auto"


def _units(given: Any) -> Any:
    """Return the number of units; ``classes`` for the name of a variable with their number."""
    return "classes" if isinstance(given, str) and "class" in given.lower() else given


def _keeps_share(momentum: Any) -> Any:
    """Return a running mean's momentum as Keras counts it; PyTorch's is the share of the new value."""
    return round(1 - momentum, 10) if isinstance(momentum, int | float) else momentum


def _rescaled(scale: Any) -> list[Any]:
    """Return the factor of Keras's Rescaling, and what normalises pixels where that is what it does.

    Pixels come normalised into a network; divided by 255 once more they would be next to nothing.
    """
    factor = 255 * scale
    is_of_pixels = abs(factor - round(factor)) < 0.02 and factor > 0.5
    return [NOTHING if round(factor) == 1 else round(factor), "scale"] if is_of_pixels else [scale, NOTHING]


_NAME = left_out()
"""What names a layer or says what kilat knows by itself: nothing is lost without it."""

_BIAS_OPTION = left_out(N_("biases start at zero and have no penalty"))
_INPUT = to("input.size", value=first_side)
_KERAS_ANY = {**named("name dtype input_dtype", _NAME), **named("input_shape input_dim batch_input_shape", _INPUT)}
_KERAS_WEIGHTED = {
    "activation": to("activation"),
    "use_bias": to("bias"),
    "kernel_initializer": to("init"),
    "bias_initializer": _BIAS_OPTION,
    "kernel_regularizer": to("l1", "l2", value=penalties),
    "bias_regularizer": _BIAS_OPTION,
    "activity_regularizer": left_out(N_("there is no penalty on outputs")),
    "kernel_constraint": to("max_norm", value=largest_norm),
    "bias_constraint": _BIAS_OPTION,
    **named("depthwise_initializer pointwise_initializer weight_initializer initializer", to("init")),
    **named("regularizer depthwise_regularizer weight_regularizer", to("l1", "l2", value=penalties)),
    **named("constraint depthwise_constraint", to("max_norm", value=largest_norm)),
    **_KERAS_ANY,
}
_FROM_PICTURES = left_out()
"""How many channels or units come in, which a recipe works out by itself."""

_FORMAT = left_out(N_("channels come last"))
_STRIDE = to("stride", value=_one_side)
_TORCH_CONV: dict[str, Word] = {
    "in_channels": _FROM_PICTURES,
    "out_channels": to("filters"),
    "kernel_size": to("kernel", value=_one_side),
    "stride": _STRIDE,
    "padding": to("padding", value=_padding),
    "dilation": to("dilation", value=_one_side),
    "groups": to("groups"),
    "bias": to("bias"),
    "padding_mode": left_out(N_("padding is with zeros")),
    **named("device dtype", left_out()),
}
_KERAS_CONV = {
    "filters": to("filters"),
    "kernel_size": to("kernel", value=_one_side),
    "strides": _STRIDE,
    "padding": to("padding", value=_padding),
    "data_format": _FORMAT,
    "dilation_rate": to("dilation", value=_one_side),
    "groups": to("groups"),
    **_KERAS_WEIGHTED,
    **{name: word for name, word in _TORCH_CONV.items() if name not in ("padding", "groups", "bias")},
}
_DEPTHWISE = {
    "kernel_size": to("kernel", value=_one_side),
    "strides": _STRIDE,
    "padding": to("padding", value=_padding),
    "depth_multiplier": to("multiplier"),
    "data_format": _FORMAT,
    "dilation_rate": to("dilation", value=_one_side),
    **_KERAS_WEIGHTED,
}
_DENSE = {
    "units": to("units", value=_units),
    **_KERAS_WEIGHTED,
    "out_features": to("units", value=_units),
    "in_features": _FROM_PICTURES,
}
_LINEAR = {
    "in_features": _FROM_PICTURES,
    "out_features": to("units", value=_units),
    "bias": to("bias"),
    **named("device dtype", left_out()),
}
_POOL = {
    "pool_size": to("size", value=_one_side),
    "strides": _STRIDE,
    "padding": to("padding", value=_padding),
    "kernel_size": to("size", value=_one_side),
    "data_format": _FORMAT,
    "ceil_mode": left_out(N_("sizes are rounded down")),
    "count_include_pad": left_out(N_("what padding adds does not count")),
    **named("dilation return_indices divisor_override", left_out()),
    **_KERAS_ANY,
}
_RATE = {
    **named("rate p", to("rate")),
    **named("seed noise_shape inplace data_format", left_out()),
    **_KERAS_ANY,
}
_SCALE_AND_SHIFT = N_("it always has a scale and a shift")
_KERAS_NORM = {
    **named("center scale affine", left_out(_SCALE_AND_SHIFT)),
    **named(
        "axis beta_initializer gamma_initializer moving_mean_initializer renorm renorm_clipping "
        "moving_variance_initializer renorm_momentum synchronized",
        left_out(),
    ),
    **named("beta_regularizer gamma_regularizer beta_constraint gamma_constraint", _BIAS_OPTION),
    "momentum": to("momentum"),
    **named("epsilon eps", to("epsilon")),
    **_KERAS_ANY,
}
_TORCH_NORM = {
    "num_features": _FROM_PICTURES,
    "eps": to("epsilon"),
    "momentum": to("momentum", value=_keeps_share),
    **named("affine elementwise_affine bias", left_out(_SCALE_AND_SHIFT)),
    **named("track_running_stats device dtype", left_out()),
}
_TWO_DIMENSIONS = N_("there is no such layer: pictures have two dimensions")
_NOT_2D = (
    "Conv{}D Convolution{}D SeparableConv{}D SeparableConvolution{}D DepthwiseConv{}D ConvTranspose{}D "
    "LazyConv{}D LazyConvTranspose{}D MaxPool{}D MaxPooling{}D AvgPool{}D AveragePooling{}D GlobalAvgPool{}D "
    "GlobalAveragePooling{}D GlobalMaxPool{}D GlobalMaxPooling{}D AdaptiveAvgPool{}D AdaptiveAveragePooling{}D "
    "AdaptiveMaxPool{}D AdaptiveMaxPooling{}D LPPool{}D MaxUnpool{}D FractionalMaxPool{}D InstanceNorm{}D "
    "LazyInstanceNorm{}D LazyBatchNorm{}D Dropout{}D SpatialDropout{}D UpSampling{}D ZeroPadding{}D ZeroPad{}D "
    "ReflectionPad{}D ReplicationPad{}D CircularPad{}D ConstantPad{}D Cropping{}D ConvLSTM{}D LocallyConnected{}D "
    "Conv{}DTranspose Convolution{}DTranspose "
)
"""Layers for one dimension or three, which their names say."""

_NO_SUCH_LAYER = N_("there is no such layer")
_SEQUENCES = N_("there is no such layer: kilat's networks are for pictures, not for sequences or text")
_NO_PARAMETERS: Mapping[str, Word] = {**_KERAS_ANY, **named("data_format keepdims axis start_dim end_dim", left_out())}


def _layer(
    names: str, kind: str, parameters: Mapping[str, Word] = _NO_PARAMETERS, note: str = "", **defaults: float
) -> dict[str, Part]:
    """Return a layer's entries; ``defaults`` are those of the other library that a recipe does not have."""
    return parts(names, Part("layer", {kind: defaults}, parameters, note))


LAYERS: dict[str, Part] = {
    **_layer("Conv2D Convolution2D", "conv", _KERAS_CONV),
    **_layer("Conv2d LazyConv2d", "conv", _TORCH_CONV),
    **_layer("DepthwiseConv2D", "depthwise_conv", _DEPTHWISE),
    **_layer("Dense", "dense", _DENSE),
    **_layer("Linear LazyLinear FullyConnected FC", "dense", _LINEAR),
    **_layer("BatchNormalization", "batch_norm", _KERAS_NORM),
    **_layer("BatchNorm2d BatchNorm1d BN LazyBatchNorm2d SyncBatchNorm", "batch_norm", _TORCH_NORM, momentum=0.9,
             epsilon=1e-5),
    **_layer("LayerNormalization", "layer_norm", _KERAS_NORM),
    **_layer("LayerNorm LayerNorm2d", "layer_norm", {"normalized_shape": _FROM_PICTURES, **_TORCH_NORM}, epsilon=1e-5),
    **_layer("RMSNorm RMSNormalization", "layer_norm", {"normalized_shape": _FROM_PICTURES, **_KERAS_NORM}, N_(
        "there is no such layer; this one also subtracts the mean")),
    **_layer("GroupNormalization", "group_norm", {"groups": to("groups"), **_KERAS_NORM}),
    **_layer("GroupNorm", "group_norm", {"num_groups": to("groups"), "num_channels": _FROM_PICTURES,
                                         **_TORCH_NORM}, epsilon=1e-5),
    **_layer("MaxPooling2D MaxPool2D MaxPool2d", "max_pool", _POOL),
    **_layer("AveragePooling2D AvgPool2D AvgPool2d", "avg_pool", _POOL),
    **_layer("GlobalAveragePooling2D GlobalAvgPool2D GAP AdaptiveAvgPool2d AdaptiveAveragePooling2D", "global_avg_pool",
             {"output_size": left_out(), **_NO_PARAMETERS}),
    **_layer("GlobalMaxPooling2D GlobalMaxPool2D AdaptiveMaxPool2d AdaptiveMaxPooling2D", "global_avg_pool",
             {"output_size": left_out(), **_NO_PARAMETERS}, N_("there is only the mean over all pixels, no maximum")),
    **_layer("Flatten", "flatten"),
    **_layer("Dropout AlphaDropout FeatureAlphaDropout", "dropout", _RATE, rate=0.5),
    **_layer("SpatialDropout2D Dropout2d", "spatial_dropout", _RATE, rate=0.5),
    **_layer("Rescaling", "rescale", {
        "scale": to("scale", "input.normalise", value=_rescaled), "offset": to("offset"), **_KERAS_ANY}),
    **_layer("Activation", "activation", {"activation": to("function"), **_KERAS_ANY}),
    # two layers of a recipe
    **parts("SeparableConv2D SeparableConvolution2D", Part("separable", {}, {
        **_KERAS_CONV, "depth_multiplier": to("multiplier")})),
    # what is no layer of a recipe
    **parts("Input InputLayer", Part("no layer", {}, {"shape": _INPUT, **_KERAS_ANY,
                                                      **named("batch_size sparse", left_out())},
                                     N_("its size follows from the pictures, or from input.size"))),
    **parts("Normalization", Part("no layer", {}, {}, N_("pixels are normalised by input.normalise"))),
    **parts("Identity", Part("no layer", note=N_("it does nothing"))),
    **parts("Resizing", Part("no layer", {}, {"height": to("input.size"), "width": left_out()})),
    **parts("ZeroPadding2D ZeroPad2d ReflectionPad2d ReplicationPad2d CircularPad2d ConstantPad2d Pad", Part(
        "no layer", note=N_("padding is an option of the next layer: padding: same"))),
    **parts("Add Concatenate Multiply Average Maximum Minimum Subtract Dot", Part("no layer", note=N_(
        "layers whose output is added to their input are written residual: [ … ]; there is no other way of joining"))),
    **parts("Sequential Model ModuleList ModuleDict Module Layer Pipeline Wrapper Container", Part(
        "no layer", note=N_("its layers stand in the list by themselves"))),
    **parts("TorchModuleWrapper JaxLayer FlaxLayer TFSMLayer Lambda", Part("no layer", note=N_(
        "a network of your own is given in Python: kilat.train(…, network=…)"))),
    **{name.format(number): Part("no layer", note=_TWO_DIMENSIONS) for name in _NOT_2D.split() for number in (1, 3)},
    **parts("BatchNorm3d", Part("no layer", note=_TWO_DIMENSIONS)),
    **parts("Conv2DTranspose Convolution2DTranspose ConvTranspose2d LazyConvTranspose2d UpSampling2D Upsample "
            "UpsamplingBilinear2d UpsamplingNearest2d Cropping2D Reshape Permute LocallyConnected2D InstanceNorm2d "
            "LazyInstanceNorm2d LocalResponseNorm CrossMapLRN2d GaussianNoise GaussianDropout UnitNormalization "
            "SpectralNormalization Unflatten PixelShuffle PixelUnshuffle ChannelShuffle Fold Unfold MaxUnpool2d "
            "FractionalMaxPool2d LPPool2d Bilinear DropConnect Maxout ActivityRegularization EinsumDense "
            "PairwiseDistance", Part("no layer", note=_NO_SUCH_LAYER)),
    **parts("LSTM LSTMCell GRU GRUCell SimpleRNN SimpleRNNCell RNN RNNCell StackedRNNCells Bidirectional "
            "TimeDistributed ConvLSTM2D Embedding EmbeddingBag ReversibleEmbedding Attention AdditiveAttention "
            "MultiHeadAttention MultiheadAttention GroupQueryAttention Transformer TransformerEncoder "
            "TransformerEncoderLayer TransformerDecoder TransformerDecoderLayer TextVectorization "
            "CategoryEncoding Discretization Hashing HashedCrossing IntegerLookup StringLookup Masking "
            "RepeatVector MelSpectrogram STFTSpectrogram",
            Part("no layer", note=_SEQUENCES)),
}  # fmt: skip
"""Layers by their name; ``place`` is ``layer`` where one layer of a recipe stands for it."""


_ANY_ACTIVATION = {
    **named("inplace dim axis approximate alpha lower upper beta threshold value lambd", left_out()),
    **named("min_val max_val min_value max_value", left_out()),
    **_KERAS_ANY,
}


def _activation(names: str, name: str, parameters: Mapping[str, Word] | None = None, note: str = "") -> dict[str, Part]:
    own = parameters or {}
    rest = {key: word for key, word in _ANY_ACTIVATION.items() if key not in own}
    return parts(names, Part("activation", {"name": name}, {**own, **rest}, note))


_NEAREST = N_("there is no such function; this one is near to it")
_SLOPE = {**named("alpha negative_slope", to("slope"))}
ACTIVATIONS: dict[str, Part] = {
    **_activation("ReLU", "relu", {"max_value": left_out(N_("it has no upper limit")), "threshold": left_out()}),
    **_activation("LeakyReLU leaky_relu", "leaky_relu", _SLOPE, N_(
        "without a slope it is 0.2; Keras's LeakyReLU has 0.3, PyTorch's 0.01")),
    **_activation("PReLU", "prelu", {
        **named("shared_axes num_parameters", to("shared", value=bool)),
        **named("init alpha_initializer alpha_regularizer alpha_constraint device", left_out())}),
    **_activation("ELU", "elu", {"alpha": left_out(N_("its alpha is 1"))}),
    **_activation("SELU", "selu"),
    **_activation("GELU", "gelu"),
    **_activation("SiLU swish", "silu"),
    **_activation("Mish", "mish"),
    **_activation("Tanh", "tanh"),
    **_activation("Sigmoid", "sigmoid"),
    **_activation("Softmax LogSoftmax Softmax2d", "softmax"),
    **_activation("linear", "none"),
    **_activation("Hardswish hard_swish hard_silu", "silu", note=_NEAREST),
    **_activation("Hardtanh Softsign hard_tanh Tanhshrink", "tanh", note=_NEAREST),
    **_activation("hard_sigmoid Hardsigmoid LogSigmoid sparse_sigmoid", "sigmoid", note=_NEAREST),
    **_activation("ReLU6 relu6 Threshold RReLU Softshrink Hardshrink soft_shrink hard_shrink sparsemax sparse_plus",
                  "relu", note=_NEAREST),
    **_activation("CELU exponential Softplus squareplus Softmin", "elu", note=_NEAREST),
    **_activation("GLU", "gelu", note=_NEAREST),
}  # fmt: skip
"""Activation functions by their name."""


def separable(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the two layers of a separable convolution: each channel by itself, then all of them pixel by pixel."""
    depthwise = {
        key: options[key] for key in ("kernel", "stride", "padding", "multiplier", "dilation") if key in options
    }
    pointwise = {key: value for key, value in options.items() if key not in depthwise}
    return [{"depthwise_conv": {**depthwise, "bias": False}}, {"conv": {**pointwise, "kernel": 1}}]
