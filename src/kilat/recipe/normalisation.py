"""The normalisation that the layers of a network share: its kind, its place and its options."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from kilat.locale import _
from kilat.recipe.section import Section

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Momentum = Annotated[float, Field(ge=0, le=1)]
Epsilon = Annotated[float, Field(gt=0)]
NormPlace = Literal["before", "after"]


class SharedBatchNorm(Section):
    """A batch norm in every layer: ``before`` or ``after`` its activation, with the options of ``BatchNorm``."""

    place: NormPlace = "before"
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3


class SharedLayerNorm(Section):
    """A layer norm in every layer: ``before`` or ``after`` its activation, with the options of ``LayerNorm``."""

    place: NormPlace = "before"
    epsilon: Epsilon = 1e-3


class SharedGroupNorm(Section):
    """A group norm in every layer: ``before`` or ``after`` its activation, with the options of ``GroupNorm``."""

    place: NormPlace = "before"
    groups: Count = 32
    epsilon: Epsilon = 1e-3


SharedNorm = SharedBatchNorm | SharedLayerNorm | SharedGroupNorm


class Normalisation(Section):
    """The normalisation of a layer's output: none, or one kind.

    It is written as the kind alone (``batch_norm``), with its place (``{batch_norm: after}``), or with several options
    (``{batch_norm: {place: after, momentum: 0.9}}``).
    """

    batch_norm: SharedBatchNorm | None = None
    layer_norm: SharedLayerNorm | None = None
    group_norm: SharedGroupNorm | None = None

    @classmethod
    def expand(cls, given: Any) -> Any:
        """Return what was given as its options."""
        if given is None or given == "none":
            return {}
        if isinstance(given, str):
            return {given: {}}
        if not isinstance(given, Mapping):
            return given
        kinds = {kind: cls._options(given[kind]) for kind in given if kind in cls.model_fields}
        beside = {key: value for key, value in given.items() if key not in kinds}
        if "name" in beside:  # the kind by its name; of another one that stood there, the place stays
            name = beside.pop("name")
            before: Any = next(iter(kinds.values()), {})
            place = {"place": before["place"]} if "place" in before else {}
            return {} if name in (None, "none") else {name: {**place, **beside}}
        if len(kinds) == 1 and beside:
            return {kind: {**options, **beside} for kind, options in kinds.items()}
        return {**kinds, **beside}

    @staticmethod
    def _options(value: Any) -> Any:
        return {} if value is None else value if isinstance(value, Mapping | Section) else {"place": value}

    @model_validator(mode="after")
    def _one_kind(self) -> "Normalisation":
        given = [kind for kind in type(self).model_fields if getattr(self, kind) is not None]
        if len(given) > 1:
            message = _("takes one kind, not several: {kinds}. To change the kind, set it alone (normalisation={last})")
            raise ValueError(message.format(kinds=", ".join(given), last=given[-1]))
        return self

    @property
    def options(self) -> SharedNorm | None:
        """The options of its kind; None for no normalisation."""
        return self.batch_norm or self.layer_norm or self.group_norm

    @model_serializer
    def _written(self) -> Any:
        if self.options is None:
            return "none"
        (kind,) = (kind for kind in type(self).model_fields if getattr(self, kind) is not None)
        changed = {name: getattr(self.options, name) for name in self.options.model_fields_set}
        options = {"place": self.options.place, **changed}
        return {kind: options if len(options) > 1 else self.options.place}
