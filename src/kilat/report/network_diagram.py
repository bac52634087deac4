"""A network drawn as the volumes that a picture becomes: boxes as high and wide as a map, as long as its channels."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from markupsafe import Markup, escape

from kilat.locale import _
from kilat.report.svg_canvas import FULL, printable, text_width

TONES = {
    "input": "tone-input", "conv": "tone-conv", "depthwise_conv": "tone-conv", "dense": "tone-dense",
    "max_pool": "tone-pool", "avg_pool": "tone-pool", "global_avg_pool": "tone-pool", "flatten": "tone-shape",
    "batch_norm": "tone-norm", "layer_norm": "tone-norm", "group_norm": "tone-norm", "activation": "tone-activation",
    "dropout": "tone-dropout", "spatial_dropout": "tone-dropout", "residual": "tone-residual",
    "backbone": "tone-backbone",
}  # fmt: skip
"""The colour of each kind of layer, as a CSS variable of the page."""

THIN = {"batch_norm", "layer_norm", "group_norm", "activation", "dropout", "spatial_dropout", "rescale"}
"""Kinds that change no shape: slices at the end of the volume before them."""

COLOURS = {
    "tone-input": "#c9ccd0", "tone-conv": "#4c86c6", "tone-pool": "#d9724f", "tone-dense": "#4f9d69",
    "tone-shape": "#c0719c", "tone-norm": "#e0b13f", "tone-activation": "#8f6cc0", "tone-dropout": "#a3aab2",
    "tone-residual": "#2f9aa0", "tone-backbone": "#6b7fb3", "tone-other": "#a98467",
}  # fmt: skip
"""What these variables hold: tones that stand out on white and on black."""

_ON_WHITE = COLOURS | {
    "page": "#ffffff", "panel": "#f5f5f3", "text": "#1d1f21", "muted": "#64696f", "line": "#e2e2de",
    "accent": "#1f5f9f", "on-accent": "#ffffff",
}  # fmt: skip

_LEAN = 0.27  # how far the width of a map goes to the right and up, as a share of its drawn side
_TALLEST, _SLICE, _GAP, _BAND = 104.0, 3.6, 7.0, 46.0
_EDGE = 'fill="none" stroke="var(--page)" stroke-width=".7" stroke-linejoin="round"'
_LARGEST = 64  # volumes drawn one by one; in a longer network equal neighbours become one


class Layer(Protocol):
    """A row of a layer table."""

    @property
    def kind(self) -> str:
        """What the layer is, as a recipe calls it."""

    @property
    def label(self) -> str:
        """Its name."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(height, width, channels) or (units,)."""


@dataclass
class _Volume:
    """A box: the answer of one layer (or of ``times`` equal ones), with the layers that change no shape after it."""

    kind: str
    shape: tuple[int, ...]
    labels: list[str]
    slices: list[str] = field(default_factory=list)
    times: int = 1
    x: float = 0.0

    @property
    def alike(self) -> tuple[object, ...]:
        return self.kind, self.shape, tuple(self.slices)


@dataclass
class _Run:
    """Neighbours of one shape, which is written below them once."""

    label: str
    boxes: list[_Volume]
    x: float = 0.0
    length: float = 0.0

    @property
    def label_room(self) -> float:
        return text_width(self.label) + 5

    def set_out(self, scale: "_Scale") -> float:
        """Places the volumes one after the other, from 0; returns how long they are together."""
        at = 0.0
        for box in self.boxes:
            box.x, lean = at, scale.box(box.shape)[2]
            self.length = at + _length(box, scale) + lean
            at = self.length + _GAP - 0.55 * lean
        return self.length

    def move(self, x: float) -> None:
        """Puts the whole run where it belongs."""
        self.x = x
        for box in self.boxes:
            box.x += x


@dataclass(frozen=True)
class _Scale:
    """From pixels and channels to lengths in the drawing; logarithmic, or 7 and 224 would not go together."""

    tallest: int

    def side(self, pixels: int) -> float:
        return 9 + (_TALLEST - 9) * math.log2(max(pixels, 1)) / math.log2(max(self.tallest, 2))

    def box(self, shape: tuple[int, ...]) -> tuple[float, float, float]:
        """Length, height and lean of a box; what has no map is a thin column."""
        if len(shape) == 3:
            return 3 + 2.8 * math.log2(1 + shape[2]), self.side(shape[0]), _LEAN * self.side(shape[1])
        return 7.0, 14 + 8.5 * math.log2(1 + math.prod(shape)), 5.0


def volumes(rows: Sequence[Layer], input_shape: tuple[int, int, int]) -> Markup:
    """The network as stacked volumes, with a legend and the shapes below.

    Args:
        rows: the layers in order, such as ``Summary.rows``.
        input_shape: height, width and channels of the picture.

    Returns:
        SVG to set inline in a page that has the colours; ``standalone`` makes a file of it.
    """
    boxes = _boxes(rows, input_shape)
    scale = _Scale(max([*input_shape[:2], *(side for box in boxes if len(box.shape) == 3 for side in box.shape[:2])]))
    lines = _lines(boxes, scale)
    legend, below = _legend(boxes)
    top, drawn = below, []
    for line in lines:
        rise = max(_height(box, scale) for run in line for box in run.boxes)
        drawn.append(_line(line, scale, top + rise))
        top += rise + _BAND
    title = _("The network's layers as volumes")
    opening = f'<svg class="figure" viewBox="0 0 {FULL} {top:.0f}" style="--width:{FULL}px" role="img" '
    body = f'aria-label="{escape(title)}"><title>{escape(title)}</title>{legend}{"".join(drawn)}</svg>'
    return Markup(opening + body)  # noqa: S704  every text in it was escaped here


def standalone(svg: str) -> str:
    """A figure of a page as a file of its own: on white, in colours that any viewer knows."""
    width, height = re.findall(r"[\d.]+", re.search(r'viewBox="([^"]*)"', svg)[1])[2:]  # type: ignore[index]
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    style = 'font-family="system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"'
    coloured = re.sub(r"var\(--([\w-]+)\)", lambda match: _ON_WHITE[match[1]], svg)
    opening, rest = coloured.split(">", 1)
    opening = opening.replace("<svg", f'<svg {spaces} {style} width="{width}" height="{height}"', 1)
    return f'{opening}><rect width="{width}" height="{height}" fill="{_ON_WHITE["page"]}"/>{rest}\n'


def _boxes(rows: Sequence[Layer], input_shape: tuple[int, ...]) -> list[_Volume]:
    """One volume a layer, layers that change nothing but values as slices of the one before."""
    boxes = [_Volume("input", input_shape, [_("input")])]
    for row in rows:
        if row.kind in THIN and row.output_shape == boxes[-1].shape:
            boxes[-1].slices.append(row.kind)
            boxes[-1].labels.append(row.label)
        else:
            boxes.append(_Volume(row.kind, row.output_shape or boxes[-1].shape, [row.label]))
    return boxes if len(boxes) <= _LARGEST else _merged(boxes)


def _merged(boxes: list[_Volume]) -> list[_Volume]:
    merged = []
    for _alike, group in groupby(boxes, key=lambda box: box.alike):
        first, *others = group
        first.times = 1 + len(others)
        first.labels += [label for box in others for label in box.labels]
        merged.append(first)
    return merged


def _length(box: _Volume, scale: _Scale) -> float:
    return scale.box(box.shape)[0] + _SLICE * len(box.slices)


def _height(box: _Volume, scale: _Scale) -> float:
    _length, height, lean = scale.box(box.shape)
    return height + lean


def _lines(boxes: list[_Volume], scale: _Scale) -> list[list[_Run]]:
    """The volumes from left to right in runs of one shape, wrapped where the page ends; every one learns its place."""
    lines: list[list[_Run]] = [[]]
    x = 0.0
    for shape, group in groupby(boxes, key=lambda box: box.shape):
        for part in _parts(list(group), scale):
            run = _Run(_shape(shape), part)
            room = max(run.set_out(scale), run.label_room)
            if lines[-1] and x + room > FULL:
                lines.append([])
                x = 0.0
            run.move(x + (room - run.length) / 2)
            lines[-1].append(run)
            x += room + _GAP
    return lines


def _parts(boxes: list[_Volume], scale: _Scale) -> list[list[_Volume]]:
    """A run that is longer than a line, cut where the line ends."""
    parts: list[list[_Volume]] = [[]]
    for box in boxes:
        if parts[-1] and _Run("", [*parts[-1], box]).set_out(scale) > FULL:
            parts.append([])
        parts[-1].append(box)
    return parts


def _line(line: list[_Run], scale: _Scale, ground: float) -> str:
    """Volumes that stand on one ground, each in front of the one before, and their shapes below."""
    drawn = [_volume(box, scale, ground) for run in line for box in run.boxes]
    for run in line:
        if len(run.boxes) > 1:
            ends = f"M{run.boxes[0].x:.1f} {ground + 6:.1f}H{run.boxes[-1].x + _length(run.boxes[-1], scale):.1f}"
            drawn.append(f'<path d="{ends}" stroke="var(--line)" stroke-width="2"/>')
        drawn.append(_text(run.x + run.length / 2, ground + 21, run.label, "muted"))
    return "".join(drawn)


def _volume(box: _Volume, scale: _Scale, ground: float) -> str:
    length, height, lean = scale.box(box.shape)
    hint = f"{', '.join(box.labels)}: {_shape(box.shape)}"
    faces = [_faces(box.x, ground, (length, height, lean), _tone(box.kind))]
    end = box.x + length
    for kind in box.slices:
        faces.append(_faces(end, ground, (_SLICE, height, lean), _tone(kind)))
        end += _SLICE
    side = f"M{end:.1f} {ground:.1f}v{-height:.1f}l{lean:.1f} {-lean:.1f}v{height:.1f}z"
    faces.append(f'<path d="{side}" fill="var(--{_tone(box.kind)})"/><path d="{side}" fill="#000" fill-opacity=".22"/>')
    faces.append(f'<path d="{side}" {_EDGE}/>')
    if box.times > 1:
        faces.append(_text((box.x + end) / 2, ground - height / 2 + 4, f"{box.times}×", "page"))
    return f"<g><title>{escape(printable(hint))}</title>{''.join(faces)}</g>"


def _faces(x: float, ground: float, sizes: tuple[float, float, float], tone: str) -> str:
    """Front and top of a box in oblique projection; light comes from above."""
    length, height, lean = sizes
    front = f"M{x:.1f} {ground:.1f}h{length:.1f}v{-height:.1f}h{-length:.1f}z"
    top = f"M{x:.1f} {ground - height:.1f}h{length:.1f}l{lean:.1f} {-lean:.1f}h{-length:.1f}z"
    shade = f'<path d="{top}" fill="#fff" fill-opacity=".34"/><path d="{front}{top}" {_EDGE}/>'
    return f'<path d="{front}{top}" fill="var(--{tone})"/>{shade}'


def _legend(boxes: list[_Volume]) -> tuple[str, float]:
    """A square and a name for every kind that is drawn, and where it ends."""
    kinds = dict.fromkeys(kind for box in boxes for kind in (box.kind, *box.slices))
    groups: dict[str, list[str]] = {}
    for kind in kinds:
        groups.setdefault(_tone(kind), []).append(kind.replace("_", " "))
    parts, x, y = [], 0.0, 5.0
    for tone, names in groups.items():
        text = printable(", ".join(names[:3]) + ("…" if len(names) > 3 else ""))
        room = 17 + text_width(text)
        if x and x + room > FULL:
            x, y = 0.0, y + 20
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="11" height="11" rx="2" fill="var(--{tone})"/>')
        parts.append(_text(x + 16, y + 10, text, "muted", anchor="start"))
        x += room + 12
    return "".join(parts), y + 34


def _tone(kind: str) -> str:
    return TONES.get(kind, "tone-other")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _text(x: float, y: float, text: str, colour: str, anchor: str = "middle") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="11.5" fill="var(--{colour})">{escape(text)}</text>'
