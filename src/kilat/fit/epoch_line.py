"""A line for every epoch of a training, under a heading: what Keras prints, in 80 columns."""

from kilat.fit.train_state import Row
from kilat.locale import _

_WIDTHS = 8, 9, 10, 17, 10, 9, 9


def heading() -> str:
    """Return the heading of the lines."""
    names = _("epoch"), _("loss"), _("accuracy"), _("validation loss"), _("accuracy"), _("rate"), _("time")
    return "".join(f"{name:>{width}}" for name, width in zip(names, _WIDTHS, strict=True))


def line(row: Row, epochs: int) -> str:
    """Return the line of an epoch.

    Args:
        row: of the history.
        epochs: how many there are at most.
    """
    cells = (
        f"{row['epoch']}/{epochs}",
        f"{row['loss']:.4f}",
        f"{row['accuracy']:.1%}",
        f"{row['validation_loss']:.4f}",
        f"{row['validation_accuracy']:.1%}",
        f"{row['learning_rate']:.2g}",
        _("{seconds:.1f} s").format(seconds=row["seconds"]),
    )
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
