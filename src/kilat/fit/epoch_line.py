"""A line for every epoch of a training, under a heading: what Keras prints, in 80 columns."""

from kilat.fit.train_state import Row
from kilat.locale import _, localized, pgettext
from kilat.runtime.progress_figures import duration

_WIDTHS = 9, 9, 10, 11, 15, 14, 12
_LARGE = 100.0
"""A loss from which on decimals say nothing."""


def heading() -> str:
    """Return the heading of the lines."""
    validation = _("val. loss"), _("val. accuracy")
    rate = pgettext("heading of a column, up to 13 characters", "learning rate")
    return _columns(_("epoch"), _("loss"), _("accuracy"), *validation, rate, _("time"))


def line(row: Row, epochs: int) -> str:
    """Return the line of an epoch.

    Args:
        row: of the history.
        epochs: how many there are at most.
    """
    return _columns(
        f"{row['epoch']}/{epochs}",
        _loss(row["loss"]),
        localized(row["accuracy"], ".1%"),
        _loss(row["validation_loss"]),
        localized(row["validation_accuracy"], ".1%"),
        localized(row["learning_rate"], ".2g"),
        duration(row["seconds"]),
    )


def _loss(value: float) -> str:
    return localized(value, ".4f" if value < _LARGE else ".3g")


def _columns(*cells: str) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
