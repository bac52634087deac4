"""The section ``augment``: random changes of training pictures, drawn afresh for every picture every time.

Ranges mean what they mean in Keras's ``ImageDataGenerator``: drawn uniformly, ``0.1`` to both sides.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from kilat.locale import _
from kilat.recipe.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


def _around_one(value: Any) -> Any:
    """Expand a single number to that much to both sides of 1."""
    return (1 - value, 1 + value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _up_to_all(value: Any) -> Any:
    """Expand a single number to that much at least, and 1 at most."""
    return (value, 1.0) if isinstance(value, int | float) and not isinstance(value, bool) else value


Factors = Annotated[tuple[float, float], BeforeValidator(_around_one)]
Shares = Annotated[tuple[float, float], BeforeValidator(_up_to_all)]


class RandAugment(Section):
    """RandAugment (arXiv 1909.13719).

    Args:
        operations: how many are applied to each picture.
        magnitude: of each, 0 to 30.
    """

    operations: Annotated[int, Field(ge=1, le=10)] = 2
    magnitude: Annotated[float, Field(ge=0, le=30)] = 9.0


class Augment(Section):
    """Random changes of training pictures, in the order of these fields; pictures have values 0 to 255 then.

    Args:
        crop: pads by this many pixels on every side (filled as ``fill`` says) and crops the old size at random.
        resized_crop: bounds of the share of the area that is cropped, with an aspect between 3:4 and 4:3, and enlarged
            to the whole (Inception's crop, arXiv 1409.4842); ``0.35`` is 0.35 to 1. None for none.
        rotation: degrees to both sides.
        width_shift: share of the width to both sides.
        height_shift: share of the height to both sides.
        shear: degrees to both sides.
        zoom: factors between which height and width are zoomed independently; ``0.1`` is 0.9 to 1.1.
        horizontal_flip: half of the pictures, left to right, and in the next epoch the other half (alternating flip,
            arXiv 2404.00498, section 3.6), ``true`` or ``false``; ``auto`` does not where labels look like characters
            or directions, nor before a validation has shown that the network classifies mirrored pictures as well as
            others.
        vertical_flip: half of the pictures.
        fill: what lies outside of a picture: the ``nearest`` border pixel, the picture mirrored (``reflect``) or
            repeated (``wrap``), or ``constant``.
        fill_value: the grey level of ``constant``.
        brightness: factors between which all values are multiplied.
        contrast: factors between which differences from the picture's mean are multiplied.
        channel_shift: share of the full range that is added to all values of a picture, to both sides.
        randaugment: RandAugment, or None.
        trivialaugment: TrivialAugment, wide (arXiv 2103.10158).
        cutout: side in pixels of a square that is set to the mean grey (arXiv 1708.04552); 0 for none.
        erasing: share of the pictures in which a rectangle of 2% to 33% of the area is set to the mean grey (Random
            Erasing, arXiv 1708.04896).
        mixup: alpha of MixUp (arXiv 1710.09412); 0 for none.
        cutmix: alpha of CutMix (arXiv 1905.04899); 0 for none. With both, each batch gets one of them.
    """

    crop: Annotated[int, Field(ge=0, le=1024)] = 0
    resized_crop: Shares | None = None
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    width_shift: Share = 0.0
    height_shift: Share = 0.0
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    zoom: Factors = (1.0, 1.0)
    horizontal_flip: bool | Literal["auto"] = False
    vertical_flip: bool = False
    fill: Literal["nearest", "reflect", "constant", "wrap"] = "nearest"
    fill_value: Annotated[float, Field(ge=0, le=255)] = 0.0
    brightness: Factors = (1.0, 1.0)
    contrast: Factors = (1.0, 1.0)
    channel_shift: Share = 0.0
    randaugment: RandAugment | None = None
    trivialaugment: bool = False
    cutout: Annotated[int, Field(ge=0, le=1024)] = 0
    erasing: Share = 0.0
    mixup: Annotated[float, Field(ge=0, le=1000)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=1000)] = 0.0

    @field_validator("zoom", "brightness", "contrast")
    @classmethod
    def _increasing(cls, factors: tuple[float, float], info: Any) -> tuple[float, float]:
        low, high = factors
        if not (0 < low <= high or (low == 0 and high > 0 and info.field_name != "zoom")):
            raise ValueError(_("must be two factors above 0, the smaller first, or one number below 1"))
        return factors

    @field_validator("resized_crop")
    @classmethod
    def _shares(cls, shares: tuple[float, float] | None) -> tuple[float, float] | None:
        if shares is not None and not 0 < shares[0] <= shares[1] <= 1:
            raise ValueError(_("must be two shares above 0 and up to 1, the smaller first, or the smaller alone"))
        return shares

    @property
    def is_active(self) -> bool:
        """Whether anything is changed at all."""
        return self.model_copy(update={"fill": "nearest", "fill_value": 0.0}) != Augment()
