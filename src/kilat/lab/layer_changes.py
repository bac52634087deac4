"""Changes of layers that no single option makes: dropout, pooling, kernels, residual blocks, normalisation."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from kilat.recipe import Recipe

_NORMALISATION = ("batch_norm", "layer_norm", "group_norm")
_POOLING = ("max_pool", "avg_pool")
_DROPOUT = ("dropout", "spatial_dropout")
_WEIGHTED = ("conv", "depthwise_conv", "dense")
_OUTPUTS = ("none", "softmax", "sigmoid")
"""Activations of a last layer, which a change of the hidden ones leaves alone."""

Layer = Any
Layers = list[Layer]


def change_layers(recipe: Recipe, what: str, value: Any) -> dict[str, Any]:
    """Return a recipe as a document with its layers changed; the same where it has nothing of the kind.

    Args:
        recipe: with a section ``model``.
        what: one of ``CHANGES``.
        value: such as the rate of dropout.
    """
    document = recipe.model_dump(mode="json")
    model = copy.deepcopy(document["model"])
    CHANGES[what](model, value)
    return {**document, "model": model}


def _set_dropout(model: dict[str, Any], rate: float) -> None:
    """Give all dropout one rate; without any, put it before the last layer with weights. A rate of 0 removes it."""
    has_any = any(_kind(layer) in _DROPOUT for layer in _walk(model["layers"]))
    model["layers"] = _mapped(
        model["layers"], lambda layer: ([{_kind(layer): rate}] if rate else []) if _kind(layer) in _DROPOUT else [layer]
    )
    if rate and not has_any:
        last = max(n for n, layer in enumerate(model["layers"]) if _kind(layer) in _WEIGHTED)
        model["layers"].insert(last, {"dropout": rate})


def _set_pooling(model: dict[str, Any], kind: str) -> None:
    """Pool by maximum or mean, or let the convolution before it stride instead."""

    def pooled(layers: Layers) -> Layers:
        changed: Layers = []
        for layer in layers:
            before = changed[-1] if changed else None
            if _kind(layer) not in _POOLING:
                changed.append(_inside(layer, pooled))
            elif kind != "stride":
                changed.append({f"{kind}_pool": _options(layer)})
            elif _kind(before) == "conv" and _options(before).get("stride", [1, 1]) == [1, 1]:
                changed[-1] = {"conv": {**_options(before), "stride": _options(layer).get("size", [2, 2])}}
            else:
                changed.append(layer)
        return changed

    model["layers"] = pooled(model["layers"])


def _set_kernel(model: dict[str, Any], side: int) -> None:
    """Give convolutions kernels of one size; those of one pixel stay, which only mix channels."""

    def resized(layer: Layer) -> Layers:
        options = _options(layer)
        if _kind(layer) not in ("conv", "depthwise_conv") or options.get("kernel", [3, 3]) == [1, 1]:
            return [layer]
        return [{_kind(layer): {**options, "kernel": [side, side]}}]

    model["layers"] = _mapped(model["layers"], resized)


def _set_residual(model: dict[str, Any], wanted: bool) -> None:
    """Add the input of every convolution to its output where both have the same shape."""
    if not wanted:
        return
    changed: Layers = []
    channels = None
    for layer in model["layers"]:
        options = _options(layer)
        if _kind(layer) != "conv":
            changed.append(layer)
            continue
        keeps_shape = options.get("stride", [1, 1]) == [1, 1] and options.get("padding") == "same"
        is_alike = keeps_shape and channels == options["filters"]
        changed.append({"residual": {"layers": [layer]}} if is_alike else layer)
        channels = options["filters"]
    model["layers"] = changed


def _set_normalisation(model: dict[str, Any], kind: str) -> None:
    """Normalise by one kind wherever the network is normalised, or nowhere."""

    def normalised(layer: Layer) -> Layers:
        if _kind(layer) in _NORMALISATION:
            return [] if kind == "none" else [kind]
        options = _options(layer)
        if options.get("normalisation", "none") not in ("none", None):
            return [{_kind(layer): {**options, "normalisation": kind}}]
        return [layer]

    model["layers"] = _mapped(model["layers"], normalised)
    has_layers = any(_kind(layer) in _NORMALISATION for layer in _walk(model["layers"]))
    if kind == "none" or not has_layers or model["normalisation"] not in ("none", None):
        model["normalisation"] = kind


def _set_activation(model: dict[str, Any], name: str) -> None:
    """Give all hidden layers one activation function."""

    def activated(layer: Layer) -> Layers:
        kind, options = _kind(layer), _options(layer)
        if kind == "activation" and _name(options.get("function")) not in _OUTPUTS:
            return [{"activation": name}]
        if kind in _WEIGHTED and options.get("activation") is not None and _name(options["activation"]) not in _OUTPUTS:
            return [{kind: {**options, "activation": name}}]
        return [layer]

    model["layers"] = _mapped(model["layers"], activated)
    model["activation"] = name


CHANGES: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "dropout": _set_dropout,
    "pooling": _set_pooling,
    "kernel": _set_kernel,
    "residual": _set_residual,
    "normalisation": _set_normalisation,
    "activation": _set_activation,
}
"""What each changes in the section ``model`` of a document."""


def _kind(layer: Layer) -> str:
    return layer if isinstance(layer, str) else next(iter(layer), "") if isinstance(layer, dict) else ""


def _options(layer: Layer) -> dict[str, Any]:
    options = layer[_kind(layer)] if isinstance(layer, dict) else {}
    return options if isinstance(options, dict) else {}


def _name(function: Any) -> str:
    return str(function["name"] if isinstance(function, dict) else function)


def _walk(layers: Layers) -> Iterator[Layer]:
    for layer in layers:
        yield layer
        yield from _walk(_options(layer).get("layers", []))


def _inside(layer: Layer, change: Callable[[Layers], Layers]) -> Layer:
    """Return a layer with the layers that it holds changed."""
    inner = _options(layer).get("layers")
    return layer if inner is None else {_kind(layer): {**_options(layer), "layers": change(inner)}}


def _mapped(layers: Layers, change: Callable[[Layer], Layers]) -> Layers:
    """Return layers with each changed into none, one or several, those inside of others as well."""
    return [one for layer in layers for one in change(_inside(layer, lambda inner: _mapped(inner, change)))]
