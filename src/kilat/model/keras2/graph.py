"""A model of Keras 2, rebuilt from its description: its layers are called as they were."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from kilat.locale import _
from kilat.model.keras2.cannot_rebuild import CannotRebuildError
from kilat.model.keras2.layer_config import make_layer
from kilat.model.keras2.tensor_ops import apply, apply_node

MODELS = ("Functional", "Model", "Sequential")
"""Classes that hold layers."""

_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
_TAKE_LISTS = ("concat", "stack")
_CONSTANT = "_CONSTANT_VALUE"


@dataclass(frozen=True)
class Part:
    """A layer, an operation or a model inside a model.

    Args:
        name: its name.
        class_name: its class in Keras 2.
        config: its description.
        layer: the layer of Keras 3; None for an operation and a model.
        parts: those of a model, in order.
        calls: the inputs of each of its calls; empty in a sequence.
    """

    name: str
    class_name: str
    config: dict[str, Any]
    layer: Any = None
    parts: list["Part"] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)

    def __call__(self, inputs: Any) -> Any:
        """Return the outputs for a tensor, or for a list of them."""
        if self.layer is not None:
            return self.layer(inputs)
        if self.class_name != "Sequential":
            return _Run(self, inputs).outputs()
        for part in self.parts:
            with _naming(part):
                inputs = part(inputs)
        return inputs

    @property
    def trainable(self) -> bool:
        """Whether it was trained."""
        return self.config.get("trainable") is not False

    def layers(self) -> Iterator["Part"]:
        """Yield every layer, those of models inside as well."""
        if self.layer is not None:
            yield self
        for part in self.parts:
            yield from part.layers()


def rebuild(description: dict[str, Any]) -> tuple[Any, Part]:
    """Return a model of Keras 3 with first weights, and its parts.

    Args:
        description: ``class_name`` and ``config``, as Keras 2 saved them.

    Raises:
        CannotRebuildError: it holds something that has no counterpart here.
    """
    if description.get("class_name") not in MODELS:
        raise CannotRebuildError(
            _("it is a {name}, whose layers the file does not describe").format(name=description.get("class_name"))
        )
    model = _part(description)
    image = keras.Input(_picture_shape(description), name="image")
    return keras.Model(image, model(image), name=_valid(model.name)), model


def _part(description: dict[str, Any]) -> Part:
    """Return a layer or a model, with the layers of Keras 3 made."""
    class_name, config = str(description["class_name"]), description["config"]
    if isinstance(config, list):  # a sequence, before TensorFlow 1.13
        config = {"layers": config}
    name = str(description.get("name") or config.get("name") or class_name)
    part = Part(name, class_name, config, calls=description.get("inbound_nodes") or [])
    if class_name in MODELS:
        inputs = ["InputLayer"] if class_name == "Sequential" else []
        part.parts.extend(_part(one) for one in config["layers"] if one["class_name"] not in inputs)
    elif class_name not in {*_OPERATIONS, "InputLayer"}:
        with _naming(part):
            layer = make_layer(class_name, {**config, "name": _valid(name)})
        return Part(name, class_name, config, layer, calls=part.calls)
    return part


def _valid(name: str) -> str:
    """Return a name that Keras 3 accepts."""
    return name.replace("/", "_")


@contextlib.contextmanager
def _naming(part: Part) -> Iterator[None]:
    """Name a layer or an operation in what is raised inside."""
    try:
        yield
    except Exception as error:  # Keras raises many kinds
        if part.class_name in MODELS:
            raise
        cause = str(error) if isinstance(error, CannotRebuildError) else first_sentence(error)
        raise CannotRebuildError(
            _("layer '{name}' ({class_name}): {cause}").format(name=part.name, class_name=part.class_name, cause=cause)
        ) from error


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an exception, on one line, without the point at its end."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    text = next((line for line in lines if line), "") or type(error).__name__
    return text.partition(". ")[0].rstrip(".:")[:300]


def _picture_shape(description: dict[str, Any]) -> tuple[int | None, ...]:
    """Return the shape of one picture, from the first layer or model that says it."""
    config = description["config"]
    if isinstance(config, list):
        config = {"layers": config}
    first = config["layers"][0] if config.get("layers") else {}
    if description["class_name"] != "Sequential":
        names = {name for name, _node, _tensor in _references(config["input_layers"])}
        if len(names) > 1:
            raise CannotRebuildError(_("it takes {count} inputs").format(count=len(names)))
        first = next(one for one in config["layers"] if one["name"] in names)
    own: dict[str, Any] = first["config"] if isinstance(first.get("config"), dict) else {}
    built = (description.get("build_config") or {}).get("input_shape")
    for shape in (own.get("batch_input_shape"), own.get("batch_shape"), config.get("build_input_shape"), built):
        if shape:
            return tuple(shape[1:])
    if first.get("class_name") in MODELS:
        return _picture_shape(first)
    raise CannotRebuildError(_("it does not say which size its pictures have"))


class _Run:
    """One pass through a functional model: its layers are called as soon as their inputs are there."""

    def __init__(self, model: Part, inputs: Any) -> None:
        self._outputs = _references(model.config["output_layers"])
        names = _references(model.config["input_layers"])
        given = inputs if isinstance(inputs, list) else [inputs]
        self._tensors = {(name, node): [tensor] for (name, node, _t), tensor in zip(names, given, strict=True)}
        highest: dict[str, int] = {}
        for name, node, _tensor in (*_references([part.calls for part in model.parts]), *self._outputs):
            highest[name] = max(node, highest.get(name, 0))
        waiting = []
        for part in model.parts:
            # A model counts its own making as node 0, so that its first call may be node 1.
            first = int(bool(part.calls) and highest.get(part.name, 0) >= len(part.calls))
            waiting += [(part, first + i, call) for i, call in enumerate(part.calls)]
        while waiting:
            left = [one for one in waiting if not self._call_if_ready(*one)]
            if len(left) == len(waiting):
                raise CannotRebuildError(_("layer '{name}' takes what no layer gives").format(name=left[0][0].name))
            waiting = left

    def outputs(self) -> Any:
        """Return the model's output, or a list of them."""
        found = [self._tensor(*one) for one in self._outputs]
        return found[0] if len(found) == 1 else found

    def _tensor(self, name: str, node: int, tensor: int) -> Any:
        return self._tensors[name, node][tensor]

    def _call_if_ready(self, part: Part, node: int, call: Any) -> bool:
        if not all((name, index) in self._tensors for name, index, _tensor in _references(call)):
            return False
        with _naming(part):
            outputs = self._call(part, call)
        self._tensors[part.name, node] = [*outputs] if isinstance(outputs, list | tuple) else [outputs]
        return True

    def _call(self, part: Part, call: Any) -> Any:
        entries = [call] if isinstance(call[0], str) else call
        tensors = [self._resolved(entry[:3]) for entry in entries]
        arguments = {key: self._resolved(value) for entry in entries for key, value in (entry[3:] or [{}])[0].items()}
        if part.class_name == "TensorFlowOpLayer":
            return _apply_node(part.config, tensors)
        function = part.config.get("function", "__operators__.getitem")
        given = tensors if len(tensors) > 1 or function in _TAKE_LISTS else tensors[0]
        if part.class_name in _OPERATIONS:
            return apply(function, given, arguments)
        arguments = {key: value for key, value in arguments.items() if key not in {"training", "mask"}}
        return part.layer(given, **arguments) if arguments else part(given)

    def _resolved(self, value: Any) -> Any:
        """Return an argument with the tensors that it names."""
        if _is_reference(value):
            return value[2] if value[0] == _CONSTANT else self._tensor(*value[:3])
        return [self._resolved(one) for one in value] if isinstance(value, list) else value


def _apply_node(config: dict[str, Any], tensors: list[Any]) -> Any:
    node = config.get("node_def")
    if not isinstance(node, dict):
        raise CannotRebuildError(_("its operation is written in a form that only TensorFlow reads"))
    constants = {int(index): value for index, value in (config.get("constants") or {}).items()}
    return apply_node(str(node.get("op")), tensors, constants)


def _is_reference(value: Any) -> bool:
    """Return whether a value names a tensor: layer, node, tensor, and perhaps arguments."""
    return isinstance(value, list) and len(value) in {3, 4} and isinstance(value[0], str) and isinstance(value[1], int)


def _references(value: Any) -> list[tuple[str, int, int]]:
    """Return all tensors that a description names, in arguments too."""
    found = []
    if _is_reference(value):
        if value[0] != _CONSTANT:
            found.append((value[0], value[1], value[2]))
        value = value[3:]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [one for entry in entries for one in _references(entry)]
