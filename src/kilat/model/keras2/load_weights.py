"""The weights of a model of Keras 2, put into its rebuilt layers; every one of them is accounted for."""

import re
from collections import Counter
from typing import Any

import numpy as np

from kilat.locale import _
from kilat.model.keras2.cannot_rebuild import CannotRebuildError
from kilat.model.keras2.graph import MODELS, Part

Group = Any
"""A group of an HDF5 file, which maps names to groups and arrays."""

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""What a .keras file calls the layers of a model; the second before TensorFlow 2.13."""


_UNNAMED = {"Variable", "variable"}
"""What a weight is called that was given no name."""


def load_h5(model: Part, group: Group) -> None:
    """Put the weights of a ``.h5`` file into a model's layers.

    Args:
        model: the rebuilt model.
        group: ``model_weights`` of the file: a group for each part, with the names of its weights in order.

    Raises:
        CannotRebuildError: a weight is missing, or has another shape.
    """
    for part in model.parts:
        if not _weights(part):
            continue
        if part.name not in group:
            raise CannotRebuildError(_("there are no weights for layer '{name}'").format(name=part.name))
        own = group[part.name]
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in _attribute(own, "weight_names")]
        _assign_named(part, {name: np.asarray(own[name]) for name in names if _leaf(name) != "count"})
    _finish(model)


def load_keras(model: Part, group: Group) -> None:
    """Put the weights of a ``.keras`` file of Keras 2 into a model's layers.

    Args:
        model: the rebuilt model.
        group: the file of its weights; a layer is found there by its class and by its number among those of the class.

    Raises:
        CannotRebuildError: a weight is missing, or has another shape.
    """
    layers: Group = next((group[name] for name in _CONTAINERS if name in group), {})
    counts: Counter[str] = Counter()
    for part in model.parts:
        kind = _snake_case(part.class_name)
        place = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        if not _weights(part):
            continue
        if place not in layers:
            raise CannotRebuildError(_("there are no weights for layer '{name}'").format(name=part.name))
        if part.class_name in MODELS:
            load_keras(part, layers[place])
        else:
            _assign_numbered(part.name, part.layer, layers[place])
    _finish(model)


def _assign_named(part: Part, saved: dict[str, Any]) -> None:
    """Assign weights by the names of layer and weight where these are unique, and by their order otherwise."""
    weights = _weights(part)
    by_name = {(layer.name, _leaf(weight.path)): weight for layer, weight in weights}
    keys = [(name.rpartition("/")[0].rpartition("/")[2], _leaf(name)) for name in saved]
    if len(by_name) == len(weights) == len(keys) and set(keys) == set(by_name):
        pairs = [by_name[layer, leaf] for layer, leaf in keys]
    else:
        trained, others = _in_order(part)
        pairs = trained + others
        _require_same_names(part.name, [weight.path for weight in pairs], [*saved])
    for weight, value in zip(pairs, saved.values(), strict=True):
        _set(part.name, weight, value)


def _require_same_names(layer: str, wanted: list[str], found: list[str]) -> None:
    if len(wanted) != len(found):
        raise CannotRebuildError(
            _("layer '{name}' has {wanted} weights, and the file {found} for it").format(
                name=layer, wanted=len(wanted), found=len(found)
            )
        )
    for one, other in zip(wanted, found, strict=True):
        leaves = {_leaf(one), _leaf(other)}
        if len(leaves) > 1 and not leaves & _UNNAMED:
            raise CannotRebuildError(
                _("layer '{name}' has a weight '{wanted}' where the file has '{found}'").format(
                    name=layer, wanted=one, found=other
                )
            )


def _assign_numbered(name: str, layer: Any, group: Group) -> None:
    """Assign a layer's own weights in order, and those of layers inside it by the names of its attributes."""
    inside = [key for key in group if key != "vars" and len(group[key].get("vars", {}))]
    missing = [key for key in inside if not hasattr(layer, key)]
    owned_inside = {id(weight) for key in inside if key not in missing for weight in getattr(layer, key).weights}
    weights = [weight for weight in layer.weights if id(weight) not in owned_inside and _leaf(weight.path) != "count"]
    own = group.get("vars", {})
    values = [np.asarray(own[key]) for key in sorted(own, key=int)][: len(weights)]
    if missing or len(values) < len(weights):
        raise CannotRebuildError(
            _("layer '{name}' has {wanted} weights, and the file {found} for it").format(
                name=name, wanted=len(weights), found=len(values)
            )
        )
    for weight, value in zip(weights, values, strict=True):
        _set(name, weight, value)
    for key in inside:
        _assign_numbered(name, getattr(layer, key), group[key])


def _set(name: str, weight: Any, value: Any) -> None:
    if tuple(weight.shape) != value.shape:
        raise CannotRebuildError(
            _("a weight of layer '{name}' has the shape {wanted}, and {found} in the file").format(
                name=name, wanted=[*weight.shape], found=[*value.shape]
            )
        )
    if not np.isfinite(value).all():
        raise CannotRebuildError(_("a weight of layer '{name}' is not finite").format(name=name))
    weight.assign(value)


def _finish(model: Part) -> None:
    for one in model.layers():
        if hasattr(one.layer, "finalize_state"):  # a normalisation computes with what it derives from its weights
            one.layer.finalize_state()


def _weights(part: Part) -> list[tuple[Any, Any]]:
    """Return all weights of a part with the layers they belong to; the count of a normalisation is none."""
    pairs = [(one.layer, weight) for one in part.layers() for weight in one.layer.weights]
    return [(layer, weight) for layer, weight in pairs if _leaf(weight.path) != "count"]


def _in_order(part: Part) -> tuple[list[Any], list[Any]]:
    """Return the weights that Keras 2 saved first, those that were trained, and those that it saved then."""
    if part.layer is not None:
        kept = [weight for _layer, weight in _weights(part)]
        trained = [weight for weight in kept if weight.trainable]
        return (trained, [weight for weight in kept if not weight.trainable]) if part.trainable else ([], kept)
    halves = [_in_order(one) for one in part.parts]
    trained, others = ([weight for half in halves for weight in half[i]] for i in (0, 1))
    return (trained, others) if part.trainable else ([], trained + others)


def _leaf(path: str) -> str:
    """Return the name of a weight without that of its layer: ``kernel`` of ``conv/kernel:0`` or ``conv/kernel_1:0``."""
    name = re.sub(r"(_\d+)?(:\d+)?$", "", path.rpartition("/")[2])
    return "kernel" if name == "depthwise_kernel" else name  # as Keras 3 calls it in a DepthwiseConv2D


def _snake_case(name: str) -> str:
    """Return the name that Keras 2 makes of a class: ``batch_normalization``, ``conv2d``, ``tf_op_lambda``."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _attribute(group: Group, name: str) -> list[Any]:
    """Return a list among a group's attributes, which Keras splits where it is long: ``name0``, ``name1``."""
    if name in group.attrs:
        return [*group.attrs[name]]
    values, number = [], 0
    while f"{name}{number}" in group.attrs:
        values += [*group.attrs[f"{name}{number}"]]
        number += 1
    return values
