"""A network as a drawing of volumes: boxes as high and wide as a feature map, as long as it has channels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from markupsafe import Markup, escape

from kilat.locale import _
from kilat.locale.escapes import visible
from kilat.recipe.network_summary import Row
from kilat.report.svg_canvas import FULL, text_width

_VARIABLES = {
    "input": "layer-input", "dense": "layer-dense",
    "conv": "layer-conv", "depthwise_conv": "layer-conv", "whiten": "layer-conv",
    "max_pool": "layer-pool", "avg_pool": "layer-pool", "global_avg_pool": "layer-pool", "flatten": "layer-shape",
    "batch_norm": "layer-norm", "layer_norm": "layer-norm", "group_norm": "layer-norm",
    "activation": "layer-activation", "dropout": "layer-dropout", "spatial_dropout": "layer-dropout",
    "residual": "layer-residual", "backbone": "layer-backbone",
}  # fmt: skip
"""The colour of each kind of layer, as a CSS variable of the page; any other kind has ``layer-other``."""

_SAME_SHAPE = {"batch_norm", "layer_norm", "group_norm", "activation", "dropout", "spatial_dropout", "rescale"}
"""Kinds that change no shape: slices at the end of the volume before them."""

_SLANT = 0.27  # how far the width of a map goes to the right and up, as a share of its drawn side
_TALLEST, _SLICE, _GAP, _LABELS = 104.0, 3.6, 7.0, 46.0
_OUTLINE = 'fill="none" stroke="var(--page)" stroke-width=".7" stroke-linejoin="round"'
_MAX_VOLUMES = 64  # drawn one by one; in a longer network equal neighbours become one


@dataclass
class _Volume:
    """A box: the output of one layer (or of ``times`` equal ones), with the layers that change no shape after it."""

    kind: str
    shape: tuple[int, ...]
    labels: list[str]
    slices: list[str] = field(default_factory=list)
    times: int = 1
    x: float = 0.0


@dataclass
class _Group:
    """Neighbours of one shape, which is written below them once."""

    label: str
    volumes: list[_Volume]
    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class _Scale:
    """From pixels and channels to lengths in the drawing; logarithmic, since 7 and 224 have to go together."""

    tallest: int

    def box(self, shape: tuple[int, ...]) -> tuple[float, float, float]:
        """Return length, height and slant of a box; what is not a feature map is a thin column."""
        if len(shape) == 3:
            return 3 + 2.8 * math.log2(1 + shape[2]), self._side(shape[0]), _SLANT * self._side(shape[1])
        return 7.0, 14 + 8.5 * math.log2(1 + math.prod(shape)), 5.0

    def _side(self, pixels: int) -> float:
        return 9 + (_TALLEST - 9) * math.log2(max(pixels, 1)) / math.log2(max(self.tallest, 2))

    def length(self, volume: _Volume) -> float:
        """Return how long a volume is with its slices."""
        return self.box(volume.shape)[0] + _SLICE * len(volume.slices)


def volumes(rows: Sequence[Row], input_shape: tuple[int, int, int]) -> Markup:
    """Draw the network as stacked volumes, with a legend and the shapes below.

    Args:
        rows: the layers in order (``Summary.rows``).
        input_shape: height, width and channels of the picture.

    Returns:
        SVG to embed in a page that has the colours; ``svg_canvas.standalone`` makes a file of it.
    """
    boxes = _volumes(rows, input_shape)
    sides = (side for box in boxes if len(box.shape) == 3 for side in box.shape[:2])
    scale = _Scale(max([*input_shape[:2], *sides]))
    legend, top = _legend(boxes)
    parts = [legend]
    for line in _layout(boxes, scale):
        top += max(sum(scale.box(box.shape)[1:]) for group in line for box in group.volumes)
        parts.append(_draw_line(line, scale, top))
        top += _LABELS
    title = _("The network's layers as volumes")
    opening = f'<svg class="figure" width="{FULL}" height="{top:.0f}" viewBox="0 0 {FULL} {top:.0f}" role="img" '
    body = f'aria-label="{escape(title)}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    return Markup(opening + body)  # noqa: S704  every text in it was escaped here


def _volumes(rows: Sequence[Row], input_shape: tuple[int, ...]) -> list[_Volume]:
    """Return one volume a layer, with layers that change no shape as slices of the one before.

    Equal neighbours become one volume where the network is too long to draw them all.
    """
    boxes = [_Volume("input", input_shape, [_("input")])]
    for row in rows:
        if row.kind in _SAME_SHAPE and row.output_shape == boxes[-1].shape:
            boxes[-1].slices.append(row.kind)
            boxes[-1].labels.append(row.label)
        else:
            boxes.append(_Volume(row.kind, row.output_shape or boxes[-1].shape, [row.label]))
    if len(boxes) <= _MAX_VOLUMES:
        return boxes
    merged = []
    for _key, group in groupby(boxes, key=lambda box: (box.kind, box.shape, box.slices)):
        first, *others = group
        first.times = 1 + len(others)
        first.labels += [label for box in others for label in box.labels]
        merged.append(first)
    return merged


def _layout(boxes: list[_Volume], scale: _Scale) -> list[list[_Group]]:
    """Place the volumes from left to right in groups of one shape, wrapped where the page ends."""
    lines: list[list[_Group]] = [[]]
    x = 0.0
    for shape, same in groupby(boxes, key=lambda box: box.shape):
        for part in _split_to_fit(list(same), scale):
            group = _Group("×".join(map(str, shape)), part)
            group.width = _place_side_by_side(part, scale)
            column = max(group.width, text_width(group.label) + 5)
            if lines[-1] and x + column > FULL:
                lines.append([])
                x = 0.0
            group.x = x + (column - group.width) / 2
            for box in part:
                box.x += group.x
            lines[-1].append(group)
            x += column + _GAP
    return lines


def _split_to_fit(boxes: list[_Volume], scale: _Scale) -> list[list[_Volume]]:
    """Cut a group that is longer than a line where the line ends."""
    parts: list[list[_Volume]] = [[]]
    for box in boxes:
        if parts[-1] and _place_side_by_side([*parts[-1], box], scale) > FULL:
            parts.append([])
        parts[-1].append(box)
    return parts


def _place_side_by_side(boxes: list[_Volume], scale: _Scale) -> float:
    """Place volumes one after the other, from 0; return how wide they are together."""
    x = width = 0.0
    for box in boxes:
        slant = scale.box(box.shape)[2]
        box.x = x
        width = x + scale.length(box) + slant
        x = width + _GAP - 0.55 * slant
    return width


def _draw_line(line: list[_Group], scale: _Scale, ground: float) -> str:
    """Draw volumes that stand on one ground, each in front of the one before, and their shapes below."""
    parts = [_draw_volume(box, scale, ground) for group in line for box in group.volumes]
    for group in line:
        if len(group.volumes) > 1:
            end = group.volumes[-1].x + scale.length(group.volumes[-1])
            path = f"M{group.volumes[0].x:.1f} {ground + 6:.1f}H{end:.1f}"
            parts.append(f'<path d="{path}" stroke="var(--line)" stroke-width="2"/>')
        parts.append(_text(group.x + group.width / 2, ground + 21, group.label, "muted"))
    return "".join(parts)


def _draw_volume(box: _Volume, scale: _Scale, ground: float) -> str:
    length, height, slant = scale.box(box.shape)
    tooltip = f"{', '.join(box.labels)}: {'×'.join(map(str, box.shape))}"
    colour = _VARIABLES.get(box.kind, "layer-other")
    parts = [_front_and_top(box.x, ground, (length, height, slant), colour)]
    end = box.x + length
    for kind in box.slices:
        parts.append(_front_and_top(end, ground, (_SLICE, height, slant), _VARIABLES.get(kind, "layer-other")))
        end += _SLICE
    side = f"M{end:.1f} {ground:.1f}v{-height:.1f}l{slant:.1f} {-slant:.1f}v{height:.1f}z"
    parts.append(f'<path d="{side}" fill="var(--{colour})"/><path d="{side}" fill="#000" fill-opacity=".22"/>')
    parts.append(f'<path d="{side}" {_OUTLINE}/>')
    if box.times > 1:
        parts.append(_text((box.x + end) / 2, ground - height / 2 + 4, f"{box.times}×", "page"))
    return f"<g><title>{escape(visible(tooltip))}</title>{''.join(parts)}</g>"


def _front_and_top(x: float, ground: float, sizes: tuple[float, float, float], colour: str) -> str:
    """Draw front and top of a box in oblique projection; light comes from above."""
    length, height, slant = sizes
    front = f"M{x:.1f} {ground:.1f}h{length:.1f}v{-height:.1f}h{-length:.1f}z"
    top = f"M{x:.1f} {ground - height:.1f}h{length:.1f}l{slant:.1f} {-slant:.1f}h{-length:.1f}z"
    shade = f'<path d="{top}" fill="#fff" fill-opacity=".34"/><path d="{front}{top}" {_OUTLINE}/>'
    return f'<path d="{front}{top}" fill="var(--{colour})"/>{shade}'


def _legend(boxes: list[_Volume]) -> tuple[str, float]:
    """Return a square and a name for every colour that is drawn, and where the legend ends."""
    families: dict[str, list[str]] = {}
    for kind in dict.fromkeys(kind for box in boxes for kind in (box.kind, *box.slices)):
        name = _("input") if kind == "input" else kind.replace("_", " ")
        families.setdefault(_VARIABLES.get(kind, "layer-other"), []).append(name)
    parts, x, y = [], 0.0, 5.0
    for colour, kinds in families.items():
        text = visible(", ".join(kinds[:3]) + ("…" if len(kinds) > 3 else ""))
        width = 17 + text_width(text)
        if x and x + width > FULL:
            x, y = 0.0, y + 20
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="11" height="11" rx="2" fill="var(--{colour})"/>')
        parts.append(_text(x + 16, y + 10, text, "muted", anchor="start"))
        x += width + 12
    return "".join(parts), y + 34


def _text(x: float, y: float, text: str, colour: str, anchor: str = "middle") -> str:
    position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {position} font-size="11.5" fill="var(--{colour})">{escape(text)}</text>'
