"""The recipe as a whole: its sections, each choice with its default and its check."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_serializer, model_validator

from kilat.errors import nearest
from kilat.recipe.augment import Augment
from kilat.recipe.fit import Fit, Seconds
from kilat.recipe.network import Network, Weighted, walk
from kilat.recipe.section import Section

Resize = Literal["crop", "squash", "pad"]
METHODS = ("knn", "mahalanobis", "energy", "max_softmax")
"""By which pictures are noticed that are unlike all training pictures (``kilat.evaluate.out_of_distribution``)."""

_FROZEN = ("features", "head")
_TRAINED = ("input", "augment", "model", "fit")
_OPENED = ("augment", "fit")
"""What counts beside the sections of a frozen backbone where some of its stages are opened to training."""


def _check_size(size: int | str, low: int) -> int | str:
    if isinstance(size, int) and not low <= size <= 1024:
        raise ValueError(f"must be 'auto' or {low} to 1024 pixels")
    return size


class Data(Section):
    """Which pictures take part, and in what.

    Args:
        test: share of pictures kept for the test, where the data does not bring its own.
        validation: share of the rest that a network trained by gradient is measured on between epochs, where the data
            does not bring its own. (A frozen network's head is cross-validated instead.)
        calibration: share of the rest that a network trained by gradient never sees, neither to learn from nor to be
            measured on, until its probabilities, sets and thresholds are fitted on it.
        near_duplicates: ``together`` keeps pictures that are nearly the same on one side of every split and fold;
            ``apart`` lets them fall as they may.
    """

    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.05
    near_duplicates: Literal["together", "apart"] = "together"


class Features(Section):
    """How a frozen backbone looks at pictures.

    Args:
        backbone: its name; several joined by ``+`` look side by side, and the head sees the features of all of them.
        weights: a file of weights instead of the backbone's own.
        size: side in pixels; ``auto`` is four times the pictures' own, at most the backbone's usual one.
        resize: how pictures that are not square are fitted: crop, squash or pad.
        precision: ``int8`` or ``fp32``; ``auto`` is int8 where the backbone has it.
        flip_average: whether each picture is looked at from both sides, and what is seen averaged (test-time flips).
    """

    backbone: str = "efficientnet_lite0"
    weights: Path | None = None
    size: int | Literal["auto"] = "auto"
    resize: Resize = "crop"
    precision: Literal["auto", "int8", "fp32"] = "auto"
    flip_average: bool = False

    @property
    def backbones(self) -> tuple[str, ...]:
        """Their names, one by one."""
        return tuple(name.strip() for name in self.backbone.split("+"))

    @field_validator("size")
    @classmethod
    def _possible(cls, size: int | str) -> int | str:
        return _check_size(size, 16)


class Head(Section):
    """How the linear head on a frozen backbone is fitted."""

    l2: tuple[float, ...] = Field((2e-4, 4e-5, 1e-5, 2e-6), min_length=1)
    folds: int = Field(5, ge=2, le=20)
    components: int = Field(768, ge=1, le=4096)
    class_weight: Literal["balanced"] | None = None

    @field_validator("l2")
    @classmethod
    def _above_zero(cls, l2: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < penalty < 1e3 for penalty in l2):
            raise ValueError("must all be above 0")
        return l2


class Input(Section):
    """What a network trained by gradient gets to see.

    Args:
        size: side in pixels; ``auto`` is the pictures' own, at most 224, or the backbone's.
        resize: how pictures that are not square are fitted: crop, squash or pad.
        colour: ``rgb``, or ``grey`` for one channel.
        normalise: ``scale`` to 0..1; ``zscore``: by the mean and standard deviation of all training pixels;
            ``channel_zscore``: of each channel; ``backbone``: as the backbone was trained; ``none``: 0 to 255;
            ``auto``: the backbone's where there is one, else ``channel_zscore``.
        cache: ``memory`` keeps all pictures decoded, ``stream`` decodes them again every epoch; ``auto``: in memory
            where they take at most a quarter of it.
    """

    size: int | Literal["auto"] = "auto"
    resize: Resize = "crop"
    colour: Literal["rgb", "grey"] = "rgb"
    normalise: Literal["auto", "scale", "zscore", "channel_zscore", "backbone", "none"] = "auto"
    cache: Literal["auto", "memory", "stream"] = "auto"

    @field_validator("size")
    @classmethod
    def _possible(cls, size: int | str) -> int | str:
        return _check_size(size, 8)


class Trust(Section):
    """What every answer comes with, beside its probabilities.

    Args:
        coverage: how often a prediction set shall hold the right class.
        sets: how they are made: ``lac`` gives the smallest, ``raps`` sets whose size follows the difficulty.
        per_class: whether that coverage is promised for every class by itself.
        unknown: by what pictures unlike all training pictures are noticed: ``knn``, ``mahalanobis``, ``energy``,
            ``max_softmax``, several joined by ``+``; ``auto`` chooses what tells left-out classes best.
        false_alarms: the share of ordinary pictures that may be taken for unknown.
    """

    coverage: float = Field(0.9, gt=0, lt=1)
    sets: Literal["lac", "raps"] = "lac"
    per_class: bool = False
    unknown: str = "auto"
    false_positive_rate: float = Field(0.05, gt=0, lt=1)

    @property
    def methods(self) -> tuple[str, ...] | None:
        """The methods by which unknown pictures are noticed; None where they are to be chosen."""
        return None if self.unknown == "auto" else tuple(dict.fromkeys(map(str.strip, self.unknown.split("+"))))

    @field_validator("unknown")
    @classmethod
    def _known(cls, unknown: str) -> str:
        methods = [] if unknown == "auto" else [name.strip() for name in unknown.split("+")]
        if "auto" in methods:
            raise ValueError("'auto' stands alone: it chooses by itself")
        if strange := [name for name in methods if name not in METHODS]:
            raise ValueError(f"there is no '{strange[0]}'. {nearest(strange[0], ('auto', *METHODS))}")
        return unknown


class Runtime(Section):
    """Where it runs, and the seed that everything random follows from.

    Args:
        device: ``auto`` is a GPU (NVIDIA's, or Apple's) where there is one and the extra ``torch`` is installed.
            ``mps`` (Apple) and ``xla`` (TPUs, by torch_xla) are untested, and train only: frozen backbones look on the
            CPU.
        devices: how many of them train together, one process each; several GPUs are untested.
        seed: decides splits, folds, first weights, order and augmentation.
        time_limit: seconds (or ``20m``) within which everything ends, with a finished model.
    """

    device: Literal["auto", "cpu", "cuda", "mps", "xla"] = "auto"
    devices: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    time_limit: Seconds | None = None


class Recipe(Section):
    """One document that says what is done.

    With a section ``model`` a network is trained by gradient, and ``input``, ``augment`` and ``fit`` say how. Without
    one a frozen backbone looks, and ``features`` and ``head`` say how; where ``fit`` unfreezes some of its stages, it
    is then trained further, as ``augment`` and ``fit`` say (fine-tuning).
    """

    data: Data = Data()
    features: Features = Features()
    head: Head = Head()
    input: Input = Input()
    augment: Augment = Augment()
    model: Network | None = None
    fit: Fit = Fit()
    trust: Trust = Trust()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        if problems := [*self._one_way(), *self._network_fits(), *self._shared_out()]:
            raise ValueError("\n".join(problems))
        return self

    def _one_way(self) -> Iterator[str]:
        foreign = [name for name in type(self).model_fields if name not in self.sections]
        given = [name for name in foreign if name in self.model_fields_set and getattr(self, name) is not None]
        if not given:
            return
        names = " and ".join(given)
        if self.model is not None:
            yield f"{names}: for frozen backbones; with a section model a network is trained"
        elif self.is_opened:
            yield f"{names}: for the networks of a section model; a backbone that is fine-tuned sees what features says"
        else:
            yield (
                f"{names}: nothing is trained by gradient; open the backbone (fit.unfreeze=all, or how many of its top "
                "stages), or give a network to train in the section model"
            )

    def _shared_out(self) -> Iterator[str]:
        if self.runtime.devices > 1 and self.model is None and not self.is_opened:
            yield "runtime.devices: a frozen backbone looks with one device; several are for training by gradient"

    def _network_fits(self) -> Iterator[str]:
        if self.model is None or not self.model.layers:
            return
        if self.model.backbone is None:
            yield from self._without_backbone(self.model)
        elif self.input.colour == "grey":
            yield "input.colour: a backbone sees rgb; grey pictures are made into it"
        last = next((layer for layer in reversed(list(walk(self.model.layers))) if isinstance(layer, Weighted)), None)
        is_one_unit = getattr(last, "units", getattr(last, "filters", None)) == 1
        if is_one_unit and self.fit.loss.name == "cross_entropy":
            yield "fit.loss: a network that ends in one unit needs binary_cross_entropy or focal"
        if not is_one_unit and self.fit.loss.name == "binary_cross_entropy":
            yield "fit.loss: binary_cross_entropy needs a network that ends in one unit (dense: 1)"

    def _without_backbone(self, model: Network) -> Iterator[str]:
        if self.input.normalise == "backbone":
            yield "input.normalise: backbone needs a network that starts with a backbone"
        if isinstance(model.weights, Path):
            yield "model.weights: there is no backbone that they could be for"
        if self.fit.opens:
            yield f"fit.{'phases' if self.fit.phases else 'unfreeze'}: there is no backbone to unfreeze"
        if self.fit.layer_decay != 1:
            yield "fit.layer_decay: there is no backbone with stages that could learn at rates of their own"
        if self.fit.weight_interpolation != 1:
            yield "fit.weight_interpolation: there is no pretrained backbone whose weights could be blended with"
        if self.fit.batch_norm != "auto":
            yield "fit.batch_norm: it is for a backbone's, and there is none; a layer has trainable: false"

    @model_serializer(mode="wrap")
    def _written(self, dump: Any) -> Any:
        return {name: choices for name, choices in dump(self).items() if name in self.sections}

    @property
    def is_opened(self) -> bool:
        """Whether a frozen backbone is trained further."""
        return self.model is None and self.fit.opens

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections that count."""
        foreign = (
            _FROZEN if self.model is not None else tuple(n for n in _TRAINED if n not in _OPENED or not self.is_opened)
        )
        return tuple(name for name in type(self).model_fields if name not in foreign)

    @property
    def resize(self) -> Resize:
        """How pictures that are not square are fitted."""
        return self.features.resize if self.model is None else self.input.resize

    def to_yaml(self) -> str:
        """The recipe with every choice written out."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
