"""An activation function in a recipe: of a network, of a layer with a kernel, or a layer of its own."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import model_serializer

from kilat.recipe.section import Section

ActivationName = Literal[
    "none", "relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softmax"
]


class ActivationFunction(Section):
    """An activation function.

    Args:
        name: ``none`` is linear; ``gelu`` is the exact one.
        slope: of ``leaky_relu`` for negative values.
        shared: ``prelu`` learns one slope a channel instead of one for every pixel of every channel.
    """

    name: ActivationName
    slope: float = 0.2
    shared: bool = False

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        if given is None:
            return {"name": "none"}
        if isinstance(given, str):
            return {"name": given}
        if isinstance(given, Mapping) and len(given) == 1 and "leaky_relu" in given:
            return {"name": "leaky_relu", "slope": given["leaky_relu"]}
        return given

    @model_serializer
    def _written(self) -> Any:
        if self.name == "leaky_relu":
            return {"name": self.name, "slope": self.slope}
        return {"name": self.name, "shared": True} if self.shared else self.name


ACTIVATIONS: tuple[str, ...] = get_args(ActivationName)
