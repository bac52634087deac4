"""The recipe as a whole: its sections, each option with its default and its check."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, field_validator, model_serializer, model_validator

from kilat.errors import nearest
from kilat.locale import _
from kilat.recipe.augment import Augment
from kilat.recipe.fit import Fit, Seconds
from kilat.recipe.network import Network, Weighted, refuse_data_set, walk
from kilat.recipe.section import Section

Resize = Literal["crop", "squash", "pad"]
METHODS = ("knn", "mahalanobis", "energy", "max_softmax")
"""The methods that detect pictures unlike all training pictures (``kilat.evaluate.out_of_distribution``)."""

_FROZEN = ("features", "head")
_TRAINED = ("input", "augment", "model", "fit")
_FINE_TUNED = ("augment", "fit")
"""What counts besides the sections of a frozen backbone where some of its stages are unfrozen."""


_MAX_BACKBONES = 10


def _check_size(size: int | str, low: int) -> int | str:
    if isinstance(size, int) and not low <= size <= 1024:
        raise ValueError(_("must be 'auto' or {low} to 1024 pixels").format(low=low))
    return size


class Data(Section):
    """How pictures are split.

    Args:
        test: share of pictures in the test set, where the data does not bring its own.
        validation: share of the rest that a network trained by gradient is measured on between epochs, where the data
            does not bring its own. (A frozen network's head is cross-validated instead.)
        calibration: share of the rest on which the probabilities, sets and thresholds of a network trained by gradient
            are fitted; it is neither trained nor measured on them before.
        near_duplicates: ``together`` keeps pictures that are nearly the same on one side of every split and fold;
            ``apart`` lets them fall as they may.
    """

    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.05
    near_duplicates: Literal["together", "apart"] = "together"


class Features(Section):
    """How features are extracted by a frozen backbone.

    Args:
        backbone: its name; of several joined by ``+`` the head gets the features side by side.
        weights: a file with the weights of a timm network; None, or ``hub``, for those of timm's hub.
        size: side in pixels; ``auto`` is four times the pictures' own, at most the backbone's usual one.
        resize: how pictures that are not square are fitted: crop, squash or pad.
        precision: ``int8`` or ``fp32``; ``auto`` is int8 where the backbone has it.
        flip_average: whether features are the mean of those of the picture and of its mirror image (test-time flips).
        small_network: the recipe of a small network that is trained as well where there are at least 1,000 pictures of
            at most 64 pixels, and kept where it is better on validation pictures; ``none`` for no such network.
    """

    backbone: str = "efficientnet_lite0"
    weights: Path | None = None
    size: Annotated[int | Literal["auto"], AfterValidator(partial(_check_size, low=16))] = "auto"
    resize: Resize = "crop"
    precision: Literal["auto", "int8", "fp32"] = "auto"
    flip_average: bool = False
    small_network: Literal["tiny", "none"] = "tiny"

    @field_validator("weights", mode="before")
    @classmethod
    def _not_random(cls, weights: Any) -> Any:
        if weights == "none":
            raise ValueError(
                _(
                    "'none' are random weights, which only a network of a section model can begin with (its first "
                    "layer may be a backbone); a frozen or fine-tuned backbone needs trained ones: a file, or the hub's"
                )
            )
        return None if weights == "hub" else refuse_data_set(weights)

    @field_validator("backbone")
    @classmethod
    def _few(cls, backbone: str) -> str:
        if (count := backbone.count("+") + 1) > _MAX_BACKBONES:
            message = _("at most {most} backbones can stand side by side; these are {count:,}")
            raise ValueError(message.format(most=_MAX_BACKBONES, count=count))
        return backbone

    @property
    def backbones(self) -> tuple[str, ...]:
        """The names of the backbones, one by one."""
        return tuple(name.strip() for name in self.backbone.split("+"))


class Head(Section):
    """How the linear head on a frozen backbone is fitted.

    Args:
        l2: L2 penalties that cross-validation chooses from.
        folds: of the cross-validation.
        components: principal components of the features that the head is fitted on, at most.
        class_weight: ``balanced``: every class weighs the same, however many pictures it has.
    """

    l2: tuple[float, ...] = Field((2e-4, 4e-5, 1e-5, 2e-6), min_length=1, max_length=100)
    folds: int = Field(5, ge=2, le=20)
    components: int = Field(768, ge=1, le=4096)
    class_weight: Literal["balanced"] | None = None

    @field_validator("l2")
    @classmethod
    def _above_zero(cls, l2: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < penalty < 1e3 for penalty in l2):
            raise ValueError(_("every penalty must be above 0 and below 1000"))
        return l2


class Input(Section):
    """The input of a network trained by gradient.

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

    size: Annotated[int | Literal["auto"], AfterValidator(partial(_check_size, low=8))] = "auto"
    resize: Resize = "crop"
    colour: Literal["rgb", "grey"] = "rgb"
    normalise: Literal["auto", "scale", "zscore", "channel_zscore", "backbone", "none"] = "auto"
    cache: Literal["auto", "memory", "stream"] = "auto"


class Trust(Section):
    """What every prediction comes with, besides its probabilities.

    Args:
        coverage: how often a prediction set shall hold the right class.
        sets: how they are made: ``lac`` gives the smallest, ``raps`` sets whose size follows the difficulty.
        per_class: whether that coverage is guaranteed for every class by itself.
        unknown: the methods that detect pictures unlike all training pictures: ``knn``, ``mahalanobis``, ``energy``,
            ``max_softmax``, several joined by ``+``; ``auto`` chooses those that tell left-out classes best.
        false_positive_rate: the share of pictures of the classes that may be taken for unknown.
    """

    coverage: float = Field(0.9, gt=0, lt=1)
    sets: Literal["lac", "raps"] = "lac"
    per_class: bool = False
    unknown: str = "auto"
    false_positive_rate: float = Field(0.05, gt=0, lt=1)

    @property
    def methods(self) -> tuple[str, ...] | None:
        """The methods that detect unknown pictures; None where they are to be chosen."""
        return None if self.unknown == "auto" else tuple(dict.fromkeys(map(str.strip, self.unknown.split("+"))))

    @field_validator("unknown")
    @classmethod
    def _known(cls, unknown: str) -> str:
        methods = [] if unknown == "auto" else [name.strip() for name in unknown.split("+")]
        if "auto" in methods:
            raise ValueError(_("'auto' cannot be combined with other methods"))
        for name in methods:
            if name not in METHODS:
                message = _("unknown method '{name}'. {hint}")
                raise ValueError(message.format(name=name, hint=nearest(name, ("auto", *METHODS))))
        return unknown


class Runtime(Section):
    """Where it runs, and the seed that everything random follows from.

    Args:
        device: ``auto`` is a GPU (NVIDIA's, or Apple's) where there is one and the extra ``torch`` is installed.
            ``mps`` (Apple) and ``xla`` (TPUs, by torch_xla) are untested, and train only: frozen backbones run on the
            CPU.
        devices: how many of them train together, one process each; several GPUs are untested.
        seed: decides splits, folds, first weights, order and augmentation.
        time_limit: seconds (or ``20m``) within which everything ends, with a finished model.
    """

    device: Literal["auto", "cpu", "cuda", "mps", "xla"] = "auto"
    devices: int = Field(1, ge=1, le=1024)
    seed: int = Field(0, ge=0, lt=2**32)
    time_limit: Seconds | None = None


class Recipe(Section):
    """One document that says what is done.

    With a section ``model`` a network is trained by gradient, and ``input``, ``augment`` and ``fit`` say how. Without
    one a head is fitted on a frozen backbone, and ``features`` and ``head`` say how; where ``fit`` unfreezes some of
    its stages, it is then trained further, as ``augment`` and ``fit`` say (fine-tuning).
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
        problems = [*self._foreign_sections(), *self._network_problems()]
        if self.runtime.devices > 1 and self.model is None and not self.is_finetuning:
            problems.append(_("runtime.devices: a frozen backbone runs on one device; several are for training"))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _foreign_sections(self) -> Iterator[str]:
        """Yield what is wrong with sections that were given and do not count."""
        foreign = [name for name in type(self).model_fields if name not in self.sections]
        given = [name for name in foreign if name in self.model_fields_set and getattr(self, name) is not None]
        if not given:
            return
        if self.model is not None:
            message = _("{sections}: only for frozen backbones; this recipe trains the network of its section model")
        elif self.is_finetuning:
            message = _("{sections}: only for networks of a section model; features has the input of a backbone")
        else:
            message = _(
                "{sections}: nothing is trained by gradient; unfreeze the backbone (fit.unfreeze=all, or how many of "
                "its top stages), or describe a network in the section model"
            )
        yield message.format(sections=_(" and ").join(given))

    def _network_problems(self) -> Iterator[str]:
        if self.model is None:
            return
        for option, default in (("when", "always"), ("backbones", "all")):
            if getattr(self.fit, option) != default:
                yield _("fit.{option}: only where frozen backbones are trained further").format(option=option)
        if not self.model.layers:
            return
        if self.model.backbone is None:
            yield from self._options_for_backbones(self.model)
        elif self.input.colour == "grey":
            yield _("input.colour: a backbone takes rgb; grey pictures are converted")
        last = next((layer for layer in reversed(list(walk(self.model.layers))) if isinstance(layer, Weighted)), None)
        is_one_unit = getattr(last, "units", getattr(last, "filters", None)) == 1
        if is_one_unit and self.fit.loss.name == "cross_entropy":
            yield _("fit.loss: a network that ends in one unit needs binary_cross_entropy or focal")
        if not is_one_unit and self.fit.loss.name == "binary_cross_entropy":
            yield _("fit.loss: binary_cross_entropy needs a network that ends in one unit (dense: 1)")

    def _options_for_backbones(self, model: Network) -> Iterator[str]:
        """Yield what is wrong with options that need a backbone, in a recipe whose network has none."""
        if self.input.normalise == "backbone":
            yield _("input.normalise: 'backbone' needs a network that starts with a backbone")
        if isinstance(model.weights, Path):
            yield _("model.weights: the network has no backbone to load them into")
        if self.fit.unfreezes:
            option = "phases" if self.fit.phases else "unfreeze"
            yield _("fit.{option}: the network has no backbone to unfreeze").format(option=option)
        if self.fit.layer_decay != 1:
            yield _("fit.layer_decay: the network has no backbone, whose stages could have rates of their own")
        if self.fit.weight_interpolation != 1:
            yield _("fit.weight_interpolation: the network has no pretrained backbone to interpolate with")
        if self.fit.batch_norm != "auto":
            yield _("fit.batch_norm: only for the batch norms of a backbone; a layer has trainable: false")

    @model_serializer(mode="wrap")
    def _written(self, dump: Any) -> Any:
        return {name: options for name, options in dump(self).items() if name in self.sections}

    @property
    def is_finetuning(self) -> bool:
        """Whether a frozen backbone is trained further after its head was fitted."""
        return self.model is None and self.fit.unfreezes

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections that count."""
        foreign = (
            _FROZEN
            if self.model is not None
            else tuple(name for name in _TRAINED if name not in _FINE_TUNED or not self.is_finetuning)
        )
        return tuple(name for name in type(self).model_fields if name not in foreign)

    @property
    def resize(self) -> Resize:
        """How pictures that are not square are fitted."""
        return self.features.resize if self.model is None else self.input.resize

    def to_yaml(self) -> str:
        """Return the recipe as YAML with every option written out."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))

    def differences_to_yaml(self) -> str:
        """Return what differs from the defaults as YAML; empty where nothing does."""
        chosen = self.model_dump(mode="json", exclude_defaults=True)
        return str(yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True)) if chosen else ""
