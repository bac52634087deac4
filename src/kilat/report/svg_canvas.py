"""The canvas for figures: CSS pixels, the page's own colours (CSS variables), SVG text to embed in a page."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import commonprefix

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike

from kilat.locale import localized
from kilat.locale.escapes import visible
from kilat.report.palette import DAY, LAYER_COLOURS
from kilat.runtime.array_types import Doubles

SIDE, FULL = 480, 760
"""Widths in CSS pixels: beside a text, and across the page. One unit of a figure is one CSS pixel at full size."""

TEXT, MUTED, LINE, ACCENT, ON_ACCENT = (f"var(--{name})" for name in ("text", "muted", "line", "accent", "on-accent"))
"""The page's own colours, so that one figure serves light, dark and print."""

OPACITIES = (0.9, 0.55, 0.28, 0.14)
"""Of the accent colour, for series that share a figure."""

FONT_SIZE = 13.5
DASHED, DOTTED = "4 3", "1.5 3"

Colour = str | tuple[str, float]
"""A colour of the page, alone or with its opacity."""


def shorten(name: str, limit: int = 22) -> str:
    """Return a name of at most ``limit`` characters; both ends are kept, since either may tell two names apart."""
    name = visible(name)
    return name if len(name) <= limit else f"{name[: limit // 2]}…{name[1 - limit // 2 :]}"


def short_names(names: Sequence[str], limit: int = 22) -> list[str]:
    """Return names of at most ``limit`` characters; where they then look alike, without what they have in common."""
    short = [shorten(name, limit) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    start = len(commonprefix(names))  # noqa: RUF071 - of letters, not of folders
    end = len(commonprefix([name[start:][::-1] for name in names]))  # noqa: RUF071
    cores = [name[start : len(name) - end] for name in names]
    return [shorten(f"{'…' * bool(start)}{core}{'…' * bool(end)}", limit) for core in cores]


@dataclass
class Canvas:
    """A drawing in CSS pixels from the top left.

    Args:
        width: of the whole.
        height: of the whole.
        elements: what was drawn, as SVG, each in front of those before it.
    """

    width: float
    height: float
    elements: list[str] = field(default_factory=list)

    def boxes(
        self,
        x: ArrayLike,
        y: ArrayLike,
        width: ArrayLike,
        height: ArrayLike,
        colours: Sequence[Colour],
        titles: Sequence[str] = (),
    ) -> None:
        """Draw filled boxes, given by their top left corners; one colour may stand for all.

        Args:
            x: their left sides.
            y: their upper sides.
            width: of each, or of all.
            height: of each, or of all.
            colours: of each, or of all.
            titles: what each says when it is pointed at.
        """
        for i, corner in enumerate(np.broadcast(*np.atleast_1d(x, y, width, height))):
            names = zip(("x", "y", "width", "height"), corner, strict=True)
            place = " ".join(f'{name}="{_number(value)}"' for name, value in names)
            shape = f"<rect {place}{_paint('fill', colours[i % len(colours)])}"
            self.elements.append(f"{shape}><title>{_text(titles[i])}</title></rect>" if titles else f"{shape}/>")

    def tiles(self, x: ArrayLike, y: ArrayLike, width: float, height: float, colour: Colour) -> None:
        """Draw many boxes of one size and colour as a single shape, which weighs little."""
        step = f"h{_number(width)}v{_number(height)}h{_number(-width)}z"
        corners = zip(*np.atleast_1d(x, y), strict=True)
        path = "".join(f"M{_number(left)} {_number(top)}{step}" for left, top in corners)
        self.elements.append(f'<path d="{path}"{_paint("fill", colour)}/>')

    def lines(self, lines: ArrayLike, colour: Colour, width: float = 1, dash: str = "") -> None:
        """Draw lines of one colour, given by their points, ``[lines, points, 2]``."""
        points = np.asarray(lines, dtype=float)
        if points.size:
            self._stroke("".join(map(_path, points)), colour, width, dash)

    def curve(self, x: ArrayLike, y: ArrayLike, colour: Colour, width: float = 2, dash: str = "") -> None:
        """Draw a line through points."""
        points = np.column_stack([x, y])
        if len(points) > 1:
            self._stroke(_path(points), colour, width, dash, is_rounded=True)

    def dots(self, x: ArrayLike, y: ArrayLike, colour: Colour, radius: float = 3, titles: Sequence[str] = ()) -> None:
        """Draw a dot at every point; ``titles`` are what they say when they are pointed at."""
        paint = _paint("fill", colour)
        for i, (across, down) in enumerate(zip(*np.atleast_1d(x, y), strict=True)):
            shape = f'<circle cx="{_number(across)}" cy="{_number(down)}" r="{_number(radius)}"{paint}'
            self.elements.append(f"{shape}><title>{_text(titles[i])}</title></circle>" if titles else f"{shape}/>")

    def rings(self, x: ArrayLike, y: ArrayLike, colour: Colour, radius: float = 3) -> None:
        """Draw an empty circle at every point."""
        paint = _paint("stroke", colour)
        self.elements += [
            f'<circle cx="{_number(across)}" cy="{_number(down)}" r="{_number(radius)}" fill="none"{paint}/>'
            for across, down in zip(*np.atleast_1d(x, y), strict=True)
        ]

    def area(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: Colour) -> None:
        """Fill what lies between two curves."""
        there, back = np.column_stack([x, high]), np.column_stack([x, low])[::-1]
        self.elements.append(f'<path d="{_path(np.concatenate([there, back]))}z"{_paint("fill", colour)}/>')

    def write(  # noqa: PLR0913 - a choice each
        self,
        x: float,
        y: float,
        text: str,
        colour: Colour = TEXT,
        align: str = "start",
        size: float = FONT_SIZE,
        *,
        upright: bool = False,
        clear: bool = False,
        title: str = "",
    ) -> None:
        """Write one line of text, its middle at the height ``y``.

        Args:
            x: where it starts, or its middle or end, as ``align`` says.
            y: its middle.
            text: in any language.
            colour: of its letters.
            align: ``start``, ``middle`` or ``end``.
            size: of the font in pixels.
            upright: whether it runs from bottom to top; ``x`` is its middle then, and ``y`` what ``x`` is otherwise.
            clear: whether what lies below it is pointed at instead.
            title: what it says when it is pointed at.
        """
        # The middle of lower-case letters is about a third of the font's size above their base line.
        attributes = f'x="{_number(x)}" y="{_number(y + 0.35 * size)}"'
        attributes += "" if align == "start" else f' text-anchor="{align}"'
        attributes += "" if size == FONT_SIZE else f' font-size="{_number(size)}"'
        attributes += f' transform="rotate(-90 {_number(x)} {_number(y)})"' if upright else ""
        attributes += "" if colour == TEXT else _paint("fill", colour)
        attributes += ' pointer-events="none"' if clear else ""
        body = _text(text) + (f"<title>{_text(title)}</title>" if title else "")
        self.elements.append(f"<text {attributes}>{body}</text>")

    def legend(self, names: Sequence[str], left: float) -> None:
        """Draw a square of every opacity with its name, along the top."""
        for opacity, name in zip(OPACITIES, names, strict=False):
            self.boxes(left, 5, 12, 12, [(ACCENT, opacity)])
            self.write(left + 18, 11, name, MUTED)
            left += text_width(name) + 42

    def to_svg(self, title: str) -> Markup:
        """Return the drawing as SVG to embed in a page; the title is for screen readers."""
        width, height, name = round(self.width), round(self.height), _text(title)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-size="{FONT_SIZE}"'
        opening = f'<svg class="figure" {size} fill="{TEXT}" role="img" aria-label="{name}"><title>{name}</title>'
        return Markup(opening + "".join(self.elements) + "</svg>")  # noqa: S704  every text in it was escaped

    def _stroke(self, path: str, colour: Colour, width: float, dash: str, *, is_rounded: bool = False) -> None:
        style = f' stroke-width="{_number(width)}"' if width != 1 else ""
        style += f' stroke-dasharray="{dash}"' if dash else ""
        style += ' stroke-linejoin="round" stroke-linecap="round"' if is_rounded else ""
        self.elements.append(f'<path d="{path}" fill="none"{_paint("stroke", colour)}{style}/>')


@dataclass
class Plot:
    """A canvas with a plotting area; ``x`` and ``y`` turn values into pixels."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: int = 58
    top: int = 36

    def __post_init__(self) -> None:
        self.canvas = Canvas(self.width, self.height)
        self.right, self.bottom = self.width - 20, self.height - 52

    def x(self, values: ArrayLike) -> Doubles:
        """Return the horizontal pixels of values."""
        low, high = self.x_range
        return self.left + (np.asarray(values, dtype=float) - low) / (high - low) * (self.right - self.left)

    def y(self, values: ArrayLike) -> Doubles:
        """Return the vertical pixels of values."""
        low, high = self.y_range
        return self.bottom - (np.asarray(values, dtype=float) - low) / (high - low) * (self.bottom - self.top)

    def ticks(self, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]]) -> None:
        """Label values along both axes, with a grid line for each of ``y``."""
        lines = [[(self.left, at), (self.right, at)] for at in self.y([value for value, _text in y])]
        self.canvas.lines(lines, LINE)
        for value, text in x:
            self.canvas.write(float(self.x(value)), self.bottom + 15, text, MUTED, "middle")
        for value, text in y:
            self.canvas.write(self.left - 9, float(self.y(value)), text, MUTED, "end")

    def axis_titles(self, x: str, y: str = "") -> None:
        """Write what the two axes stand for."""
        self.canvas.write((self.left + self.right) / 2, self.height - 12, x, MUTED, "middle")
        if y:
            self.canvas.write(10, (self.top + self.bottom) / 2, y, MUTED, "middle", upright=True)


def text_width(text: str) -> float:
    """Return about how wide a text is in pixels; the reader's font is not known here."""
    return sum(13.5 if unicodedata.east_asian_width(c) in "WF" else 7.8 for c in text)


def column_width(labels: Sequence[str]) -> float:
    """Return how wide a column of these labels is, with a margin, in pixels."""
    return max(text_width(label) for label in labels) + 14


def tick_values(low: float, high: float) -> list[float]:
    """Return about five round values within a range."""
    raw = max(high - low, 1e-6) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def percent_label(share: float) -> str:
    """Return a share as per cent, with a decimal only where it is needed: 90%, 97.5%."""
    digits = 0 if abs(share * 100 - round(share * 100)) < 1e-6 else 1
    return localized(share, f".{digits}%")


def spaced_apart(pixels: Doubles, gap: float) -> list[int]:
    """Return which of these pixels to label, the last one first, so that no two labels touch."""
    labelled: list[int] = []
    for i in range(len(pixels) - 1, -1, -1):
        if not labelled or pixels[labelled[-1]] - pixels[i] >= gap:
            labelled.append(i)
    return labelled


def standalone(svg: str) -> str:
    """Return a figure of a page as a file of its own: on white, without CSS variables."""
    namespaces = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, Segoe UI, Roboto, Arial, sans-serif"'
    # Names in it have their quotes escaped, so that they never look like an attribute.
    coloured = re.sub(r'(?<==")var\(--([\w-]+)\)(?=")', lambda match: (DAY | LAYER_COLOURS)[match[1]], svg)
    opening, rest = coloured.split(">", 1)
    background = f'<rect width="100%" height="100%" fill="{DAY["page"]}"/>'
    return f"{opening.replace('<svg', f'<svg {namespaces}', 1)}>{background}{rest}\n"


def _text(text: str) -> str:
    return str(escape(visible(text)))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _paint(attribute: str, colour: Colour) -> str:
    name, opacity = (colour, 1.0) if isinstance(colour, str) else colour
    return f' {attribute}="{name}"' + (f' {attribute}-opacity="{opacity:g}"' if opacity != 1 else "")


def _path(points: Doubles) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
