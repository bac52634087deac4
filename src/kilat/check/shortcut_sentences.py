"""The sentences of shortcuts: what is common to the pictures of a class, beside its subject."""

from collections.abc import Mapping
from typing import Any

from kilat.locale import _, localized
from kilat.locale.lists import listed

Values = Mapping[str, Any]

_FORMATS = {
    "aspect": ".2f",
    "megapixels": ".3g",
    "brightness": ".0%",
    "contrast": ".0%",
    "dark_share": ".0%",
    "light_share": ".0%",
    "border_brightness": ".0f",
    "colourfulness": ".0f",
    "sharpness": ".2g",
    "bytes_per_pixel": ".2f",
}
"""How the values of a trait are written; those of the others as the shortest number."""


def title(values: Values) -> str:
    """Return which classes are given away, by what, and how well that alone classifies held-out pictures."""
    rule, *others = values["rules"]
    low, high = rule["balanced_accuracy_interval"]
    part, whole = rule["others_with"], rule["others"]
    digits = 0 if part in {0, whole} else 1 if 0.001 <= part / whole <= 0.999 else 3  # 0% and 100% mean none and all
    text = _(
        "“{label}” can be told without looking at its subject: {with_it:,} of its {n:,} pictures have {trait}, {share} "
        "of the others. That alone classifies held-out pictures with a balanced accuracy of {accuracy:.1%} (95% "
        "interval {low:.1%} to {high:.1%}; chance is 50%)."
    ).format(
        label=rule["label"],
        with_it=rule["pictures_with"],
        n=rule["pictures"],
        trait=_trait(rule),
        share=localized(part / whole, f".{digits}%"),
        accuracy=rule["balanced_accuracy"],
        low=low,
        high=high,
    )
    if not others:
        return text
    return f"{text} " + _("The same holds for {labels}.").format(labels=listed([f"“{one['label']}”" for one in others]))


def advice(values: Values) -> str:
    """Return what to do about a shortcut, and why where it cannot be the subject itself."""
    group = values["group"]
    text = {
        "size": _("Bring all pictures to sizes that occur in every class, or crop them alike, before they are used."),
        "compression": _(
            "Save the pictures of all classes in the same way: from the originals, with one format and quality."
        ),
        "frame": _("Crop the frame off, from the pictures of every class alike."),
        "camera": _("Take every class with the same cameras, or keep a test set from another camera to find out."),
        "colour": _("Convert all pictures to grey, or collect colour pictures of every class."),
        "light": _("That may be the subject itself. If it is not, take pictures of every class in the same light."),
    }[group]
    if group == "light":
        return text
    danger = _(
        "A classifier may learn this instead of the subject: measured figures then look better than they are, and new "
        "pictures without it are classified wrongly."
    )
    return f"{danger} {text}"


def caption(values: Values) -> str:
    """Return which side of a rule the pictures of a group stand on."""
    if values["inside"]:
        return _("with it: {label}").format(label=values["label"])
    return _("without it: the others")


def _trait(rule: Values) -> str:
    """Return what the pictures of a class have in common, as the end of "They have …"."""
    values = _values(rule)
    return {
        "size": _("a size of {values} pixels"),
        "width": _("a width of {values} pixels"),
        "height": _("a height of {values} pixels"),
        "aspect": _("a width that is {values} times the height"),
        "megapixels": _("{values} megapixels"),
        "format": _("the file format {values}"),
        "jpeg_quality": _("a JPEG quality of {values}"),
        "subsampling": _("chroma subsampling {values}"),
        "progressive": "{values}",
        "quantization": _("the quantisation tables {values}"),
        "frame_width": _("a frame of one tone, {values} pixels wide"),
        "bar_width": _("bars of one tone on two sides, {values} pixels wide"),
        "frame_brightness": _("a frame of brightness {values} of 255"),
        "camera": _("the camera {values}"),
        "exif_orientation": _("the EXIF orientation {values}"),
        "colour_mode": _("the colour mode {values}"),
        "is_grey": "{values}",
        "brightness": _("a mean brightness of {values}"),
        "contrast": _("a contrast of {values}"),
        "dark_share": _("{values} of their pixels nearly black"),
        "light_share": _("{values} of their pixels nearly white"),
        "border_brightness": _("edges of brightness {values} of 255"),
        "colourfulness": _("a colourfulness of {values}"),
        "sharpness": _("a sharpness of {values}"),
        "bytes_per_pixel": _("{values} bytes a pixel"),
    }[rule["trait"]].format(values=values)


def _values(rule: Values) -> str:
    """Return the range of numbers that a rule allows, or the names."""
    if "names" in rule:
        words = {
            ("subsampling", "other"): _("of another kind"),
            ("subsampling", "none"): _("(not a JPEG)"),
            ("progressive", "progressive"): _("a progressive file"),
            ("progressive", "sequential"): _("a file that is not progressive"),
            ("is_grey", "grey"): _("no colour"),
            ("is_grey", "coloured"): _("colour"),
        }
        names = ", ".join(words.get((rule["trait"], name), name or _("(none)")) for name in rule["names"])
        return f"{names}, …" if rule["more_names"] else names
    low, high = (localized(rule[bound], _FORMATS.get(rule["trait"], "g")) for bound in ("low", "high"))
    if low == high:
        return low
    if rule["open"] == "below":
        return _("at most {value}").format(value=high)
    if rule["open"] == "above":
        return _("at least {value}").format(value=low)
    return _("{low} to {high}").format(low=low, high=high)
