"""The layer table: one row a layer, with its shape, parameters, work and receptive field; and as text."""

import re
from dataclasses import dataclass

from kilat.locale import _, localized
from kilat.locale.escapes import Shown

_KERAS = {
    "conv": "Conv2D", "depthwise_conv": "DepthwiseConv2D", "dense": "Dense", "batch_norm": "BatchNormalization",
    "layer_norm": "LayerNormalization", "group_norm": "GroupNormalization", "activation": "Activation",
    "max_pool": "MaxPooling2D", "avg_pool": "AveragePooling2D", "global_avg_pool": "GlobalAveragePooling2D",
    "flatten": "Flatten", "dropout": "Dropout", "spatial_dropout": "SpatialDropout2D", "rescale": "Rescaling",
}  # fmt: skip
"""What Keras calls the kinds of layers of recipes; the others are not in Keras."""

KERNELS = ("conv", "depthwise_conv", "dense")
"""Kinds of layers that multiply by a kernel: what a network mostly learns."""

_KERAS_COLUMNS = 3
"""Columns that Keras's own table has, the first ones."""


@dataclass(frozen=True)
class Row:
    """One layer.

    Args:
        label: its name, which no other row has.
        kind: as a recipe calls it; of a module that recipes do not know, the name of its class.
        output_shape: (height, width, channels) or (units,), of one picture.
        trainable: parameters that training changes.
        frozen: the others; a batch norm's running statistics are among them, as Keras counts them.
        macs: multiply-accumulates for one picture.
        receptive_field: side, in pixels of the picture, of what one output pixel depends on; None is all of it, or in
            every row that it is unknown. Normalisation, which depends on more, does not count.
    """

    label: str
    kind: str
    output_shape: tuple[int, ...]
    trainable: int
    frozen: int
    macs: int
    receptive_field: int | None


@dataclass(frozen=True)
class Summary:
    """A network's layers in the order in which a picture goes through them.

    Args:
        name: of the network.
        input_shape: (height, width, channels) of a picture.
        rows: the layers.
        is_size_assumed: whether the size of a picture follows from the data, and is assumed here.
    """

    name: str
    input_shape: tuple[int, int, int]
    rows: list[Row]
    is_size_assumed: bool = False

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(row.trainable + row.frozen for row in self.rows)

    @property
    def trainable(self) -> int:
        """Parameters that training changes."""
        return sum(row.trainable for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture."""
        return sum(row.macs for row in self.rows)


def table(summary: Summary, width: int | None = None) -> str:
    """Return the layers as text, in the form in which Keras prints them; a column that no layer fills is left out.

    Args:
        summary: the layers.
        width: that the table has at most; its last columns are left out for it, which is said. None for any width.
    """
    title = _('Model: "{name}"').format(name=summary.name)
    head: tuple[str, ...] = (_("Layer (type)"), _("Output Shape"), _("Param #"), _("MACs"), _("Receptive Field"))
    cells: list[tuple[str, ...]] = [
        (
            _named(row),
            f"({', '.join(['None', *map(str, row.output_shape)])})" if row.output_shape else _("never reached"),
            localized(row.trainable + row.frozen, ","),
            localized(row.macs, ","),
            _("all") if row.receptive_field is None else f"{row.receptive_field}×{row.receptive_field}",
        )
        for row in summary.rows
    ]
    if all(row.receptive_field is None for row in summary.rows):
        head, cells = head[:-1], [row[:-1] for row in cells]
    framed = _framed(head, cells)
    left_out: list[str] = []
    while width is not None and len(framed[0]) > width and len(head) > _KERAS_COLUMNS:
        left_out.insert(0, head[-1])
        head, cells = head[:-1], [row[:-1] for row in cells]
        framed = _framed(head, cells)
    trainable, frozen = summary.trainable, summary.total - summary.trainable
    totals = [
        " " + _("Total params: {count:,} ({size})").format(count=summary.total, size=_memory(summary.total)),
        " " + _("Trainable params: {count:,} ({size})").format(count=trainable, size=_memory(trainable)),
        " " + _("Non-trainable params: {count:,} ({size})").format(count=frozen, size=_memory(frozen)),
        " " + _("Multiply-accumulates a picture: {count:,}").format(count=summary.macs),
    ]
    if summary.is_size_assumed:
        sentence = _(
            "Pictures of {size}×{size} pixels are assumed, for their size follows from the data; --size sets it."
        )
        totals.append(" " + sentence.format(size=summary.input_shape[0]))
    if left_out:
        totals.append(" " + _("Left out in so narrow a terminal: {columns}").format(columns=", ".join(left_out)))
    return Shown("\n").join([title, *framed, *totals])


def _named(row: Row) -> str:
    return f"{keras_name(row.kind, row.label)} ({_KERAS.get(row.kind, row.kind)})"


def keras_name(kind: str, label: str) -> str:
    """Return a layer's name as in Keras: ``conv_1`` of kind ``conv`` is ``conv2d_1``.

    A module's path (``blocks.0.conv``) stays as it is.
    """
    number = label.removeprefix(kind)
    is_numbered = number != label and not number.strip("_0123456789")
    snake_case = re.sub(r"([a-z])([A-Z])", r"\1_\2", _KERAS.get(kind, kind)).lower()
    return f"{snake_case}{number}" if is_numbered else label


def _framed(head: tuple[str, ...], cells: list[tuple[str, ...]]) -> list[str]:
    """Frame columns; all but the first two are numbers and aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]

    def line(row: tuple[str, ...], bar: str) -> str:
        texts = (text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True)))
        return f"{bar} {f' {bar} '.join(texts)} {bar}"

    def rule(left: str, stroke: str, cross: str, right: str) -> str:
        return left + cross.join(stroke * (width + 2) for width in widths) + right

    body = [line(row, "│") for row in cells]
    return [rule("┏", "━", "┳", "┓"), line(head, "┃"), rule("┡", "━", "╇", "┩"), *body, rule("└", "─", "┴", "┘")]


def _memory(parameters: int) -> str:
    """Return the memory of parameters of four bytes, in Keras's units."""
    size, unit = parameters * 4.0, 0
    while size >= 1024 and unit < 3:
        size, unit = size / 1024, unit + 1
    return f"{localized(size, '.2f')} {('B', 'KB', 'MB', 'GB')[unit]}"
