"""Values of other libraries, such as ``swish`` or ``SAME``, and which of an option's own each is."""

import ast
import contextlib
import re
from typing import Any, Literal, get_args, get_origin

from kilat.recipe.fit import SCHEDULES
from kilat.recipe.option_tree import annotation_at, section_at
from kilat.recipe.words.word import normal, read_python

_VALUES: dict[str, tuple[str, ...]] = {
    "swish": ("silu",), "linear": ("none",), "identity": ("none",), "null": ("none",),
    "xavier": ("glorot_uniform",), "xavieruniform": ("glorot_uniform",), "xaviernormal": ("glorot_normal",),
    "glorot": ("glorot_uniform",), "kaiming": ("he_normal",), "kaiminguniform": ("he_uniform",),
    "kaimingnormal": ("he_normal",), "he": ("he_normal",), "msra": ("he_normal",), "lecun": ("lecun_normal",),
    "variancescaling": ("he_normal",),
    "batchnormalization": ("batch_norm",), "batchnorm2d": ("batch_norm",), "bn": ("batch_norm",),
    "layernormalization": ("layer_norm",), "groupnormalization": ("group_norm",),
    "gpu": ("cuda",), "cuda0": ("cuda",), "0": ("valid", "cuda"),
    "1": ("same", "cuda"), "2": ("same",), "3": ("same",), "layer": ("layer_norm",), "batch": ("batch_norm",),
    "group": ("group_norm",), "nvidia": ("cuda",), "tpu": ("xla",), "metal": ("mps",),
    "grayscale": ("grey",), "gray": ("grey",), "color": ("rgb",), "l": ("grey",),
    "float32": ("fp32",), "32": ("fp32",), "32true": ("fp32",), "float16": ("fp16",), "half": ("fp16",),
    "mixedfloat16": ("fp16",), "16mixed": ("fp16",), "16": ("fp16",), "amp": ("auto",), "bfloat16": ("bf16",),
    "mixedbfloat16": ("bf16",), "bf16mixed": ("bf16",), "int8quantized": ("int8",),
    "letterbox": ("pad",), "padding": ("pad",), "zeropad": ("pad",), "stretch": ("squash",), "distort": ("squash",),
    "centercrop": ("crop",), "center": ("crop",),
    "imagenet": ("hub", "backbone"), "pretrained": ("hub",), "default": ("hub",),
    "standard": ("channel_zscore",), "standardize": ("channel_zscore",),
    "standardise": ("channel_zscore",), "meanstd": ("channel_zscore",), "rescale": ("scale",), "minmax": ("scale",),
    "01": ("scale",), "torch": ("backbone",), "caffe": ("backbone",),
    "valloss": ("loss",), "validationloss": ("loss",), "valaccuracy": ("accuracy",), "valacc": ("accuracy",),
    "acc": ("accuracy",), "evalloss": ("loss",), "errorrate": ("accuracy",),
    "border": ("nearest",), "edge": ("nearest",), "zeros": ("constant",), "mirror": ("reflect",),
    "balancedsubsample": ("balanced",), "auto": ("balanced",), "ram": ("memory",), "disk": ("stream",),
    "full": ("same",), "numclasses": ("classes",), "nclasses": ("classes",),
}  # fmt: skip
"""What values of other libraries are; the first that an option takes."""


def spelled(given: Any, path: tuple[str, ...]) -> Any:
    """Return an option's value as kilat spells it; a value that means none of the option's own as it is."""
    if (read := read_python(given)) != given:
        return read[0] if isinstance(read, list) and len(set(map(str, read))) == 1 else read
    if (is_list := _is_list(annotation_at(path))) is not None:
        return _as_list(given, of_any_length=is_list)
    if given == "None" and type(None) in get_args(annotation_at(path)):
        return None
    own = _names_at(path)
    if not own or not isinstance(given, str | int) or isinstance(given, bool) or given in own:
        return given
    word = normal(given).removesuffix("initializer")
    return next((name for name in own if normal(name) == word), None) or next(
        (name for name in _VALUES.get(word, ()) if name in own), given
    )


def _is_list(annotation: Any) -> bool | None:
    """Return whether an option takes a list of any length; None where it takes none at all."""
    for one in (annotation, *get_args(annotation)):
        if get_origin(one) is tuple:
            return get_args(one)[-1] is Ellipsis
    return None


def _as_list(given: Any, *, of_any_length: bool) -> Any:
    """Return a list for numbers with commas between them and, where any number of them may stand, for a single one."""
    if isinstance(given, str) and re.fullmatch(r"[\d.e+-]+(\s*,\s*[\d.e+-]+)+", given):
        with contextlib.suppress(SyntaxError):  # 1.2.3,4
            return ast.literal_eval(f"[{given}]")
    return [given] if of_any_length and isinstance(given, int | float) and not isinstance(given, bool) else given


def _names_at(path: tuple[str, ...]) -> list[str]:
    """Return the names that the option at a path takes, or the section there as its short form."""
    if path == ("fit", "schedule"):
        return list(SCHEDULES)
    section = section_at(path)
    if section is None:
        return _literals(annotation_at(path))
    name = section.model_fields.get("name")
    return ["none", *section.model_fields] if name is None else _literals(name.annotation)


def _literals(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [one for one in get_args(annotation) if isinstance(one, str)]
    return [name for inner in get_args(annotation) for name in _literals(inner)]
