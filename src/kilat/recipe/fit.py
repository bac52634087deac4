"""The section ``fit``: how a network is trained by gradient. Defaults mean what they mean in Keras 3."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_serializer, model_validator

from kilat.locale import _
from kilat.recipe.optimizer import Above, Optimizer, OptimizerGroups
from kilat.recipe.section import Section

MAX_EPOCHS = 1_000_000
_MAX_BATCH = 1_000_000
_MAX_STEPS = 10**9
_MAX_PARTS = 100
"""Of a training: phases, and sides of its pictures."""

Epochs = Annotated[float, Field(ge=0, le=MAX_EPOCHS)]

_EPOCHS = 20


class Schedule(Section):
    """How the learning rate changes from its base rate. Lengths are in epochs, whole or not."""

    name: ClassVar[str]

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        if given == cls.name:
            return {}
        return {key: value for key, value in given.items() if key != "name"} if isinstance(given, Mapping) else given

    @model_serializer(mode="wrap")
    def _written(self, dump: Any) -> Any:
        return {"name": self.name, **dump(self)}


class Constant(Schedule):
    """The base rate throughout."""

    name = "constant"


class _Decaying(Schedule):
    epochs: Above | None = None
    steps: Above | None = None

    @model_validator(mode="after")
    def _one_length(self) -> "_Decaying":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(_("needs a length, either in epochs or in steps"))
        return self


class Power(_Decaying):
    """``rate / (1 + t / length) ** power``; Keras's ``InverseTimeDecay``, and the old ``decay=0.01`` with 100 steps."""

    name = "power"
    power: Above = 1.0


class Exponential(_Decaying):
    """``rate × factor ** (t / length)``; Keras's ``ExponentialDecay``.

    Args:
        factor: by which the rate falls every length.
        staircase: whether it falls at once, at the end of each length.
    """

    name = "exponential"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    staircase: bool = False


class Piecewise(Schedule):
    """One factor of the base rate after another: ``factors`` has one more than ``boundaries`` (in epochs)."""

    name = "piecewise"
    boundaries: tuple[Epochs, ...] = Field(max_length=_MAX_PARTS)
    factors: tuple[Above, ...]

    @model_validator(mode="after")
    def _matching(self) -> "Piecewise":
        if len(self.factors) != len(self.boundaries) + 1:
            raise ValueError(_("needs one more factor than boundaries"))
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(_("boundaries must increase"))
        return self


class Performance(Schedule):
    """Lower when validation stops getting better (Keras's ``ReduceLROnPlateau``).

    Args:
        factor: by which the rate is multiplied.
        patience: epochs without progress before that.
        floor: the lowest rate.
        cooldown: epochs after a fall that do not count.
        min_delta: what counts as progress.
        monitor: the validation's ``loss`` or ``accuracy``.
    """

    name = "performance"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 10
    floor: Annotated[float, Field(ge=0)] = 0.0
    cooldown: Annotated[int, Field(ge=0)] = 0
    min_delta: Annotated[float, Field(ge=0)] = 1e-4
    monitor: Literal["loss", "accuracy"] = "loss"


class OneCycle(Schedule):
    """Up and down again, along cosines (Smith, arXiv 1708.07120; PyTorch's ``OneCycleLR``).

    Args:
        rise: share of all steps in which the rate rises.
        start: share of the base rate at which it starts.
        end: share of the base rate at which it ends.
    """

    name = "one_cycle"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start: Annotated[float, Field(gt=0, le=1)] = 1 / 25
    end: Annotated[float, Field(ge=0, le=1)] = 1 / 250_000


class Cosine(Schedule):
    """Down along a cosine, after a linear warm-up (Loshchilov and Hutter, arXiv 1608.03983; Keras's ``CosineDecay``).

    Args:
        warmup: epochs in which the rate rises from 0.
        end: share of the base rate at which it ends.
    """

    name = "cosine"
    warmup: Epochs = 0.0
    end: Annotated[float, Field(ge=0, le=1)] = 0.0


class Linear(Schedule):
    """Down in a straight line, after a linear warm-up of some epochs."""

    name = "linear"
    warmup: Epochs = 0.0
    end: Annotated[float, Field(ge=0, le=1)] = 0.0


_SCHEDULES: tuple[type[Schedule], ...] = (
    Constant, Power, Exponential, Piecewise, Performance, OneCycle, Cosine, Linear,
)  # fmt: skip
SCHEDULES: dict[str, type[Schedule]] = {one.name: one for one in _SCHEDULES}


def _named(given: Any) -> str | None:
    """Return the name of the schedule that was given."""
    if isinstance(given, Schedule):
        return given.name
    if isinstance(given, Mapping):
        given = given.get("name")
    return given if isinstance(given, str) else None


if TYPE_CHECKING:
    AnySchedule = Schedule
else:
    Schedules = Union[tuple(Annotated[one, Tag(one.name)] for one in _SCHEDULES)]  # noqa: UP007 - made, not written
    AnySchedule = Annotated[Schedules, Discriminator(_named)]


class Loss(Section):
    """The loss that training minimises.

    Args:
        name: ``cross_entropy`` over a softmax; ``binary_cross_entropy`` of one sigmoid unit, for two classes;
            ``focal`` (Lin et al., arXiv 1708.02002), of either.
        label_smoothing: share of the true class's probability that is spread over all classes.
        gamma: of ``focal``: how little easy pictures count.
        alpha: of ``focal``: its scale. Without effect with one sigmoid unit, as in Keras.
    """

    name: Literal["cross_entropy", "binary_cross_entropy", "focal"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gamma: Annotated[float, Field(ge=0)] = 2.0
    alpha: Above = 0.25

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        return {"name": given} if isinstance(given, str) else given


class Clip(Section):
    """How large gradients are clipped; by at most one of these, as in Keras.

    Args:
        value: every element is kept between minus and plus this.
        norm: the gradient of every variable is shortened to this Euclidean norm.
        global_norm: all gradients together are shortened to this Euclidean norm.
    """

    value: Above | None = None
    norm: Above | None = None
    global_norm: Above | None = None

    @model_validator(mode="after")
    def _one(self) -> "Clip":
        if sum(choice is not None for choice in (self.value, self.norm, self.global_norm)) > 1:
            raise ValueError(_("takes value, norm or global_norm, but only one of them"))
        return self


class EarlyStopping(Section):
    """Ends training when validation stops getting better (Keras's ``EarlyStopping``).

    Args:
        patience: epochs without progress.
        min_delta: what counts as progress.
        monitor: the validation's ``loss`` or ``accuracy``.
        from_start: whether the network before its training counts as an epoch, so that one that gains nothing at all
            is given up: for networks that begin with fitted weights.
    """

    patience: Annotated[int, Field(ge=0)] = 10
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    monitor: Literal["loss", "accuracy"] = "loss"
    from_start: bool = False

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        return {"patience": given} if isinstance(given, int) and not isinstance(given, bool) else given


Stages = Annotated[int, Field(ge=0)] | Literal["all"]
"""How many of a backbone's top stages."""


class Phase(Section):
    """A part of training with an optimizer, a rate and a schedule of its own.

    Args:
        epochs: how many.
        unfreeze: how many of the backbone's top stages are trained as well; ``all`` for the whole backbone.
        learning_rate: the base rate in this phase; None for the optimizer's.
    """

    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
    unfreeze: Stages = 0
    learning_rate: Above | None = None


_LONGEST_TIME = 100  # characters
_NUMBER = r"(\d+(?:\.\d+)?)"
_TIME = re.compile(rf"(?:{_NUMBER}\s*h)?\s*(?:{_NUMBER}\s*m(?:in)?)?\s*(?:{_NUMBER}\s*s?)?")


def _seconds(given: Any) -> Any:
    """Convert ``90``, ``90s``, ``20m``, ``1.5h`` or ``1h30m`` to seconds."""
    if not isinstance(given, str):
        return given
    parts = _TIME.fullmatch(given.strip()) if len(given) <= _LONGEST_TIME else None
    if not given.strip() or parts is None:
        raise ValueError(_("must be a time such as 90s, 20m or 1h30m"))
    return sum(float(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))


Seconds = Annotated[float, Field(gt=0), BeforeValidator(_seconds)]


def _check_side(side: float) -> float:
    """Refuse what is neither a side in pixels nor a share of the input's."""
    is_in_pixels = isinstance(side, int) and side != 1
    if not (16 <= side <= 1024 if is_in_pixels else 0.25 <= side <= 1):
        raise ValueError(_("must be 16 to 1024 pixels, or a share of the input's side, 0.25 to 1.0"))
    return side


Side = Annotated[int | float, AfterValidator(_check_side)]
"""Of training pictures: pixels, or a share of the input's side."""


class Fit(Section):
    """How a network is trained.

    Args:
        epochs: passes over the training pictures, at most; 20 where neither this nor phases are given.
        min_steps: updates at least: where pictures are few there are as many more epochs. Phases have their own.
        batch: pictures a step.
        optimizer: how gradients become steps.
        optimizer_groups: optimizers of parts of the network, where they are to be others.
        schedule: how the learning rate changes.
        loss: what is minimised.
        class_weight: ``balanced``, or a factor for every class by its name.
        clip: how large gradients are clipped.
        ema: how much of the running mean of the weights stays each step, such as 0.999; None for no such mean.
            Where there is one, it is what is measured and kept.
        early_stopping: when to end before the last epoch.
        keep: the weights of the ``best`` epoch by validation, or of the ``last``.
        phases: parts of training one after the other, instead of ``epochs`` and ``unfreeze``.
        unfreeze: how many of a backbone's top stages are trained; ``all`` for the whole backbone.
        backbones: whether of several backbones side by side ``all`` are trained further, or the ``first`` by itself.
        when: ``always``, or where it is ``promising``: backbones are trained further only where the frozen result is
            wrong often enough for a gain to show on validation pictures, and where the pictures are unlike those that
            the backbone was pretrained on.
        layer_decay: by which the rate falls from each stage of a backbone to the one below it (arXiv 2106.08254); the
            head has the full rate, the top stage one factor less.
        batch_norm: whether batch norms of a backbone's unfrozen stages keep their pretrained statistics (``frozen``)
            or update them (``train``); ``auto`` is ``frozen``, but ``train`` where weights are random. Those of frozen
            stages always keep them.
        precise_batch_norm: whether batch norms' running statistics are estimated anew on training pictures before each
            validation and for the finished network (arXiv 2105.07576), ``true`` or ``false`` (as in Keras); ``auto``
            does so where they are not those of the weights that are measured: where an epoch has few updates for their
            momentum, and where weights are averaged.
        drop_path: share of the residual branches that are left out, picture by picture, in the topmost block of a
            backbone while it is trained, rising in a straight line from 0 in the lowest (stochastic depth, arXiv
            1603.09382). Frozen stages leave out nothing.
        resolution: sides of training pictures, one after the other in equal shares of the epochs (progressive
            resizing): in pixels, such as ``[128, 160, 192]``, or shares of the input's, such as ``[0.75, 1.0]``; none
            for the size of the network's input.
        weight_interpolation: the share of the trained weights in those that are kept; the rest are the weights that a
            backbone and its head began with (WiSE-FT, arXiv 2109.01903). 1 keeps the trained weights alone.
        swa_epochs: over how many of the last epochs the weights are averaged in the end (stochastic weight averaging,
            arXiv 1803.05407); 0 for no averaging.
        precision: ``bf16``, ``fp16`` (on a GPU, its gradients scaled) or ``fp32``; ``auto`` is bf16 where the processor
            computes in it and there are convolutions, and fp16 on other GPUs.
        compile: whether ``torch.compile`` is used.
        watch: ``layers`` to keep, by layer and epoch, how large gradients and updates are beside the weights, and what
            the layers give: mean, standard deviation, zeros, dead units, saturated values. Nothing else changes by it.
        checkpoint: seconds between checkpoints within an epoch; the end of each epoch always has one.
    """

    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] | None = None
    min_steps: Annotated[int, Field(ge=0, le=_MAX_STEPS)] = 0
    batch: Annotated[int, Field(ge=1, le=_MAX_BATCH)] = 64
    optimizer: Optimizer = Optimizer()
    optimizer_groups: OptimizerGroups = OptimizerGroups()
    schedule: AnySchedule = Constant()
    loss: Loss = Loss()
    class_weight: Literal["balanced"] | dict[str, Above] | None = None
    clip: Clip = Clip()
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: EarlyStopping | None = None
    keep: Literal["best", "last"] = "best"
    phases: tuple[Phase, ...] = Field((), max_length=_MAX_PARTS)
    unfreeze: Stages = 0
    backbones: Literal["all", "first"] = "all"
    when: Literal["always", "promising"] = "always"
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    batch_norm: Literal["auto", "frozen", "train"] = "auto"
    precise_batch_norm: bool | Literal["auto"] = "auto"
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    resolution: tuple[Side, ...] = Field((), max_length=_MAX_PARTS)
    weight_interpolation: Annotated[float, Field(gt=0, le=1)] = 1.0
    swa_epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] = 0
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    compile: bool = False
    watch: Literal["layers"] | None = None
    checkpoint: Annotated[float, Field(ge=0)] = 60.0

    @model_validator(mode="after")
    def _one_length(self) -> "Fit":
        if self.epochs is not None and self.phases:
            message = _(
                "takes either epochs or phases, each with epochs of its own. Set those of a phase "
                "(fit.phases.0.epochs=3), or leave one of the two out (fit.phases=[] or fit.epochs=null)"
            )
            raise ValueError(message)
        if self.min_steps and self.phases:
            raise ValueError(_("takes either min_steps or phases, each with epochs of its own"))
        if self.unfreeze and self.phases:
            raise ValueError(_("takes either unfreeze or phases, each with an unfreeze of its own"))
        if self.swa_epochs and self.ema:
            raise ValueError(_("takes either ema or swa_epochs: both average the weights"))
        return self

    @property
    def all_phases(self) -> tuple[Phase, ...]:
        """The phases; without any, one of all epochs."""
        return self.phases or (Phase(epochs=self.epochs or _EPOCHS, unfreeze=self.unfreeze),)

    def epochs_of(self, phase: Phase, steps_per_epoch: int) -> int:
        """Return how many epochs a phase has, where an epoch has so many updates."""
        return max(phase.epochs, -(-self.min_steps // steps_per_epoch))

    @property
    def unfreezes(self) -> bool:
        """Whether any stage of a backbone is trained."""
        return any(phase.unfreeze for phase in self.all_phases)
