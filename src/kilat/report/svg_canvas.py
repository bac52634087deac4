"""The sheet that figures are drawn on: CSS pixels, the page's own colours (CSS variables), SVG text to set inline."""

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
from numpy.typing import ArrayLike, NDArray

SIDE, FULL = 480, 760
"""Widths in CSS pixels: beside a note, and across the page. One unit of a figure is one CSS pixel at full size."""

# Colours stand for the page's CSS variables, so that one figure serves light, dark and print.
TEXT, MUTED, LINE, ACCENT, ON_ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {TEXT: "text", MUTED: "muted", LINE: "line", ACCENT: "accent", ON_ACCENT: "on-accent"}
FONT = 13.5
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TONES = (0.9, 0.55, 0.28, 0.14)

Floats = NDArray[np.float64]


def printable(text: str) -> str:
    """The text without what no page can hold: control characters, and the lone surrogates of undecodable file names."""
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "backslashreplace").decode("utf-8")


def shorten(name: str, limit: int = 22) -> str:
    """A name that fits beside a figure: both ends are kept, since what tells two names apart may be at either."""
    name = printable(name)
    return name if len(name) <= limit else f"{name[: limit // 2]}…{name[1 - limit // 2 :]}"


def sheet(width: float, height: float) -> Axes:
    """An empty sheet whose coordinates are CSS pixels from the top left: ticks and layouts of Matplotlib cost more."""
    figure = Figure(figsize=(width / 72, height / 72))
    figure.patch.set_visible(False)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return axes


@dataclass
class Plot:
    """A sheet with a plotting area: ``x`` and ``y`` turn values into places on the sheet."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: int = 58
    top: int = 36

    def __post_init__(self) -> None:
        self.axes = sheet(self.width, self.height)
        self.right, self.bottom = self.width - 20, self.height - 52

    def x(self, values: ArrayLike) -> Floats:
        """Places of values along the sheet."""
        low, high = self.x_range
        return self.left + (np.asarray(values, dtype=float) - low) / (high - low) * (self.right - self.left)

    def y(self, values: ArrayLike) -> Floats:
        """Places of values up the sheet."""
        low, high = self.y_range
        return self.bottom - (np.asarray(values, dtype=float) - low) / (high - low) * (self.bottom - self.top)

    def marks(self, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]]) -> None:
        """Values along both sides, with a line across for each of ``y``."""
        lines = [[(self.left, at), (self.right, at)] for at in self.y([value for value, _text in y])]
        self.axes.add_collection(LineCollection(lines, colors=LINE, linewidths=1), autolim=False)
        for value, text in x:
            write(self.axes, float(self.x(value)), self.bottom + 15, text, color=MUTED, ha="center")
        for value, text in y:
            write(self.axes, self.left - 9, float(self.y(value)), text, color=MUTED, ha="right")

    def titles(self, x: str, y: str = "") -> None:
        """What the two sides stand for."""
        write(self.axes, (self.left + self.right) / 2, self.height - 12, x, color=MUTED, ha="center")
        if y:
            middle = (self.top + self.bottom) / 2
            write(self.axes, 10, middle, y, color=MUTED, ha="center", rotation=90, rotation_mode="anchor")


def boxes(axes: Axes, x: ArrayLike, y: ArrayLike, width: ArrayLike, height: ArrayLike, colours: list[Any]) -> None:
    """Filled boxes, given by their top left corners."""
    left, top, w, h = np.broadcast_arrays(*np.atleast_1d(x, y, width, height))
    corners = [(left, top), (left + w, top), (left + w, top + h), (left, top + h)]
    boxes = np.array(corners, dtype=float).transpose(2, 0, 1)
    axes.add_collection(PolyCollection(list(boxes), facecolors=colours, linewidths=0), autolim=False)


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """One line of text, its middle at the height ``y``."""
    # Neither mathtext nor TeX: a class may be called "$a_b$".
    usual: dict[str, Any] = {"color": TEXT, "fontsize": FONT, "va": "center_baseline"}
    axes.text(x, y, text, **(usual | style), parse_math=False, usetex=False)


def legend(axes: Axes, names: Sequence[str], left: float) -> None:
    """A square of every tone with its name, along the top."""
    for tone, name in zip(TONES, names, strict=False):
        boxes(axes, left, 5, 12, 12, [(ACCENT, tone)])
        write(axes, left + 18, 11, name, color=MUTED)
        left += text_width(name) + 42


def text_width(text: str) -> float:
    """About how wide a text is in the reader's font, which nobody knows here."""
    return sum(13.5 if unicodedata.east_asian_width(c) in "WF" else 7.4 for c in text)


def room(labels: Sequence[str]) -> float:
    """How wide a column must be for all of these labels."""
    return max(text_width(label) for label in labels) + 14


def round_steps(low: float, high: float) -> list[float]:
    """Round values within a range, at most about five."""
    raw = max(high - low, 1e-6) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def apart(places: Floats, gap: float) -> list[int]:
    """The places to label, the last one first, so that no two labels touch."""
    shown: list[int] = []
    for i in range(len(places) - 1, -1, -1):
        if not shown or places[shown[-1]] - places[i] >= gap:
            shown.append(i)
    return shown


def to_svg(axes: Axes, name: str, title: str) -> Markup:
    """The sheet as SVG text for a page: its colours, its fonts, a spoken title, and ids that are nowhere else."""
    figure, buffer = axes.get_figure(root=True), io.StringIO()
    assert figure is not None
    for artist in axes.get_children():
        artist.set_clip_on(False)
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "svg.image_inline": True}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts draw the text, not these
        canvas: Any = FigureCanvasSVG(figure)  # its own method: Figure.savefig draws everything twice
        canvas.print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawing = buffer.getvalue()
    body = re.sub(r"<style.*?</style>", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    used = set(re.findall(r'href="#(\w+)"', body))
    body = re.sub(r"<[^<>]+>", lambda tag: _for_page(tag.group(), name, used), body)
    body = re.sub(r">\s+<", "><", body).replace("<defs></defs>", "")
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    opening = f'<svg class="figure" viewBox="0 0 {width} {height}" style="--width:{width}px" role="img" '
    head = f'{opening}aria-label="{escape(title)}"><title>{escape(title)}</title>'
    return Markup(head + body.strip())  # noqa: S704  every text in it was escaped by Matplotlib


def _for_page(tag: str, name: str, used: set[str]) -> str:
    """One tag of the drawing (never its texts) as the page wants it."""
    tag = re.sub(r' id="(\w+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    tag = re.sub(r'href="#(\w+)"', rf'href="#{name}-\1"', tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return " ".join(tag.split()) if "base64" not in tag else tag
