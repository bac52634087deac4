"""The canvas for figures: CSS pixels, the page's own colours (CSS variables), SVG text to embed in a page."""

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kilat.report.palette import DAY, LAYER_COLOURS
from kilat.runtime.array_types import Doubles

SIDE, FULL = 480, 760
"""Widths in CSS pixels: beside a text, and across the page. One unit of a figure is one CSS pixel at full size."""

# Each stands for one of the page's CSS variables, so that one figure serves light, dark and print.
TEXT, MUTED, LINE, ACCENT, ON_ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {TEXT: "text", MUTED: "muted", LINE: "line", ACCENT: "accent", ON_ACCENT: "on-accent"}
OPACITIES = (0.9, 0.55, 0.28, 0.14)
"""Of the accent colour, for series that share a figure."""

FONT_SIZE = 13.5
DASHED = (0, (3, 3))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return the text without what no page can hold: control characters and lone surrogates of file names."""
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "backslashreplace").decode("utf-8")


def shorten(name: str, limit: int = 22) -> str:
    """Return a name of at most ``limit`` characters; both ends are kept, since either may tell two names apart."""
    name = printable(name)
    return name if len(name) <= limit else f"{name[: limit // 2]}…{name[1 - limit // 2 :]}"


def new_canvas(width: float, height: float) -> Axes:
    """Return empty axes in CSS pixels from the top left: Matplotlib's own ticks and layouts cost more time."""
    figure = Figure(figsize=(width / 72, height / 72))
    figure.patch.set_visible(False)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return axes


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
        self.axes = new_canvas(self.width, self.height)
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
        draw_lines(self.axes, lines, LINE)
        for value, text in x:
            write(self.axes, float(self.x(value)), self.bottom + 15, text, color=MUTED, ha="center")
        for value, text in y:
            write(self.axes, self.left - 9, float(self.y(value)), text, color=MUTED, ha="right")

    def axis_titles(self, x: str, y: str = "") -> None:
        """Write what the two axes stand for."""
        write(self.axes, (self.left + self.right) / 2, self.height - 12, x, color=MUTED, ha="center")
        if y:
            middle = (self.top + self.bottom) / 2
            write(self.axes, 10, middle, y, color=MUTED, ha="center", rotation=90, rotation_mode="anchor")


def draw_boxes(axes: Axes, x: ArrayLike, y: ArrayLike, width: ArrayLike, height: ArrayLike, colours: list[Any]) -> None:
    """Draw filled boxes, given by their top left corners."""
    left, top, w, h = np.broadcast_arrays(*np.atleast_1d(x, y, width, height))
    corners = [(left, top), (left + w, top), (left + w, top + h), (left, top + h)]
    boxes = np.array(corners, dtype=float).transpose(2, 0, 1)
    axes.add_collection(PolyCollection(list(boxes), facecolors=colours, linewidths=0), autolim=False)


def draw_lines(axes: Axes, lines: ArrayLike, colour: Any, width: float = 1, style: Any = "solid") -> None:
    """Draw lines of one colour, given by their points, ``[lines, points, 2]``."""
    collection = LineCollection(
        list(np.asarray(lines, dtype=float)), colors=[colour], linewidths=width, linestyles=[style]
    )
    axes.add_collection(collection, autolim=False)


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write one line of text, its middle at the height ``y``."""
    # Neither mathtext nor TeX: a class may be called "$a_b$".
    usual: dict[str, Any] = {"color": TEXT, "fontsize": FONT_SIZE, "va": "center_baseline"}
    axes.text(x, y, text, **(usual | style), parse_math=False, usetex=False)


def legend(axes: Axes, names: Sequence[str], left: float) -> None:
    """Draw a square of every opacity with its name, along the top."""
    for opacity, name in zip(OPACITIES, names, strict=False):
        draw_boxes(axes, left, 5, 12, 12, [(ACCENT, opacity)])
        write(axes, left + 18, 11, name, color=MUTED)
        left += text_width(name) + 42


def text_width(text: str) -> float:
    """Return about how wide a text is in pixels; the reader's font is not known here."""
    return sum(13.5 if unicodedata.east_asian_width(c) in "WF" else 7.4 for c in text)


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
    return f"{share:.{digits}%}"


def spaced_apart(pixels: Doubles, gap: float) -> list[int]:
    """Return which of these pixels to label, the last one first, so that no two labels touch."""
    labelled: list[int] = []
    for i in range(len(pixels) - 1, -1, -1):
        if not labelled or pixels[labelled[-1]] - pixels[i] >= gap:
            labelled.append(i)
    return labelled


def to_svg(axes: Axes, name: str, title: str) -> Markup:
    """Return a canvas as SVG to embed in a page.

    Args:
        axes: of ``new_canvas``.
        name: prefix of its ids, so that they are unique in a page.
        title: for screen readers.
    """
    figure, buffer = axes.get_figure(root=True), io.StringIO()
    assert figure is not None
    for artist in axes.get_children():
        artist.set_clip_on(False)
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "svg.image_inline": True}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts draw the text, not these
        backend: Any = FigureCanvasSVG(figure)  # its own method: Figure.savefig draws everything twice
        backend.print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    body = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    used_ids = set(re.findall(r'href="#(\w+)"', body))
    body = re.sub(r"<[^<>]+>", lambda tag: _tag_for_page(tag.group(), name, used_ids), body)
    body = re.sub(r">\s+<", "><", body).replace("<defs></defs>", "")
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    opening = f'<svg class="figure" viewBox="0 0 {width} {height}" style="--width:{width}px" role="img" '
    head = f'{opening}aria-label="{escape(title)}"><title>{escape(title)}</title>'
    return Markup(head + body.strip())  # noqa: S704  every text in it was escaped by Matplotlib


def _tag_for_page(tag: str, name: str, used_ids: set[str]) -> str:
    """Return one tag of the SVG (never its text) with unique ids and the page's fonts and colours."""
    tag = re.sub(r' id="(\w+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used_ids else "", tag)
    tag = re.sub(r'href="#(\w+)"', rf'href="#{name}-\1"', tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return " ".join(tag.split()) if "base64" not in tag else tag


def standalone(svg: str) -> str:
    """Return a figure of a page as a file of its own: on white, without CSS variables."""
    width, height = re.findall(r"[\d.]+", re.search(r'viewBox="([^"]*)"', svg)[1])[2:]  # type: ignore[index]
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    font = 'font-family="system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"'
    coloured = re.sub(r"var\(--([\w-]+)\)", lambda match: (DAY | LAYER_COLOURS)[match[1]], svg)
    opening, rest = coloured.split(">", 1)
    opening = opening.replace("<svg", f'<svg {namespaces} {font} width="{width}" height="{height}"', 1)
    return f'{opening}><rect width="{width}" height="{height}" fill="{DAY["page"]}"/>{rest}\n'
