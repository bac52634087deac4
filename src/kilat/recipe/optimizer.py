"""Optimizers in a recipe, of a whole network or of its parts. Defaults mean what they mean in Keras 3."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from kilat.locale import _
from kilat.recipe.section import Section

OptimizerName = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "adamax", "lion", "muon"
]
Above = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]

OPTIMIZER_DEFAULTS: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 0.01},
    "momentum": {"learning_rate": 0.01, "momentum": 0.9},
    "nesterov": {"learning_rate": 0.01, "momentum": 0.9},
    "adagrad": {"learning_rate": 0.001, "initial_accumulator": 0.1, "epsilon": 1e-7},
    "rmsprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7},
    "adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adamw": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004},
    "nadam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adamax": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "lion": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99},
    "muon": {
        "learning_rate": 0.02, "momentum": 0.95, "adam_learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999,
        "epsilon": 1e-7, "weight_decay": 0.0,
    },
}  # fmt: skip
"""The options of each optimizer with their defaults; ``weight_decay`` and ``decay`` are options of all of them."""


class Optimizer(Section):
    """The optimizer. What is not given is its own default, as in Keras.

    Args:
        name: ``momentum`` and ``nesterov`` are SGD with them.
        learning_rate: the base rate, before the schedule.
        weight_decay: share of every weight that is subtracted each step, times the rate (decoupled).
        decay: which weights decay: ``all``, as in Keras, or the ``kernels`` alone (no biases, no normalisation).
        momentum: of SGD, RMSprop and Muon.
        rho: of RMSprop.
        beta_1: decay of the mean of gradients.
        beta_2: decay of the mean of their squares.
        epsilon: keeps the division from zero.
        initial_accumulator: what AdaGrad's sums start at.
        adam_learning_rate: with Muon, the rate of what is no hidden kernel; that is trained by Adam.
    """

    name: OptimizerName = "adam"
    learning_rate: Above | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    decay: Literal["all", "kernels"] = "all"
    momentum: Beta | None = None
    rho: Beta | None = None
    beta_1: Beta | None = None
    beta_2: Beta | None = None
    epsilon: Above | None = None
    initial_accumulator: Annotated[float, Field(ge=0)] | None = None
    adam_learning_rate: Above | None = None

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _has_own_options(self) -> "Optimizer":
        known = self.known_options(self.name)
        for option in type(self).model_fields:
            if option not in ("name", *known) and getattr(self, option) is not None:
                message = _("{optimizer} has no {option}; its options: {known}")
                raise ValueError(message.format(optimizer=self.name, option=option, known=", ".join(known)))
        return self

    @staticmethod
    def known_options(name: str) -> list[str]:
        """Return the options of an optimizer."""
        return list(dict.fromkeys(["decay", "weight_decay", *OPTIMIZER_DEFAULTS[name]]))

    def value(self, option: str) -> float:
        """Return an option as given, or the optimizer's default."""
        given = getattr(self, option)
        return float(given if given is not None else OPTIMIZER_DEFAULTS[self.name].get(option, 0.0))

    @property
    def rate(self) -> float:
        """The base learning rate."""
        return self.value("learning_rate")


class OptimizerGroups(Section):
    """Optimizers of parts of a network, each with a rate and a decay of its own; None for that of the whole network.

    All of them follow one schedule, which changes their rates in proportion.

    Args:
        hidden_kernels: of the kernels between the first and the last one.
        first_kernel: of the one nearest to the pixels.
        last_kernel: of the one that gives the logits.
        biases: of all that is no kernel: biases, scales and shifts of normalisation, slopes of activations.
    """

    hidden_kernels: Optimizer | None = None
    first_kernel: Optimizer | None = None
    last_kernel: Optimizer | None = None
    biases: Optimizer | None = None

    @field_validator("biases")
    @classmethod
    def _no_matrices(cls, given: Optimizer | None) -> Optimizer | None:
        if given is not None and given.name == "muon":
            raise ValueError(_("muon is for kernels; biases take another optimizer, such as nesterov or adam"))
        return given


OPTIMIZERS: tuple[str, ...] = get_args(OptimizerName)
