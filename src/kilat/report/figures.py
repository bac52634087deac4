"""Arrays become figures: SVG text to set inline in a page, drawn in the page's own colours (CSS variables)."""

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
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

from kilat.evaluate.metrics import wilson_interval
from kilat.locale import _

NAMED = 30
"""Up to this many classes a figure names every one; above, it shows the shape of the whole."""

SIDE, FULL = 480, 760
"""Widths in CSS pixels: beside a note, and across the page. One unit of a figure is one CSS pixel at full size."""

# Colours stand for the page's CSS variables, so that one figure serves light, dark and print.
TEXT, MUTED, LINE, ACCENT, ON_ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {TEXT: "text", MUTED: "muted", LINE: "line", ACCENT: "accent", ON_ACCENT: "on-accent"}
_IMAGE_RGB = (0.29, 0.50, 0.75)  # pixels know no CSS: a tone that stands out on white and on black
_FONT = 13.5
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TONES = (0.9, 0.55, 0.28)

Floats = NDArray[np.float64]


def printable(text: str) -> str:
    """The text without what no page can hold: control characters, and the lone surrogates of undecodable file names."""
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "backslashreplace").decode("utf-8")


def shorten(name: str, limit: int = 22) -> str:
    """A name that fits beside a figure: both ends are kept, since what tells two names apart may be at either."""
    name = printable(name)
    return name if len(name) <= limit else f"{name[: limit // 2]}…{name[1 - limit // 2 :]}"


def balance(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Markup:
    """How many pictures each class has, stacked by split.

    Args:
        names: the classes, in the order to show them.
        counts: for each split, under the name to show, one number per class.
    """
    stack = np.array(list(counts.values()), dtype=float).reshape(len(counts), len(names))
    draw = _balance_bars if len(names) <= NAMED else _balance_shape
    return _svg(draw(names, list(counts), stack), "balance", _("Pictures per class"))


def _balance_bars(names: Sequence[str], splits: Sequence[str], stack: Floats) -> Axes:
    labels = [shorten(name) for name in names]
    left, row, top = _room(labels), 27, 34
    axes = _sheet(SIDE, top + row * len(names))
    totals = stack.sum(axis=0)
    scale = (SIDE - left - _room([f"{totals.max():,.0f}"])) / max(totals.max(), 1)
    edges = left + np.vstack([np.zeros(len(names)), stack.cumsum(axis=0)]) * scale
    rows = top + row * np.arange(len(names))
    _legend(axes, splits, left)
    for tone, start, end in zip(_TONES, edges, edges[1:], strict=False):
        _boxes(axes, start, rows + 4, end - start, row - 8, [(ACCENT, tone)])
    for label, y, total, end in zip(labels, rows + row / 2, totals, edges[-1], strict=True):
        _write(axes, left - 9, y, label, ha="right")
        _write(axes, end + 7, y, f"{total:,.0f}", color=MUTED)
    return axes


def _balance_shape(names: Sequence[str], splits: Sequence[str], stack: Floats) -> Axes:
    """Bars without names, the largest class first: with many classes the shape is what one can see."""
    order = np.argsort(-stack.sum(axis=0), kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(len(order), 200)).astype(int)]  # a bar is two pixels wide or more
    tops = np.vstack([np.zeros(len(order)), stack[:, order].cumsum(axis=0)])
    plot = _Plot(SIDE, 260, (0, len(names)), (0, max(tops.max(), 1)))
    steps = _round_steps(0, tops.max())
    plot.marks(x=[(1, "1"), (len(names), f"{len(names)}")], y=[(s, f"{s:,.0f}") for s in steps])
    plot.titles(_("classes, the largest first"))
    _legend(plot.axes, splits, plot.left)
    x = plot.x(np.repeat(np.linspace(0, len(names), len(order) + 1), 2)[1:-1]).round(1)
    for tone, low, high in zip(_TONES, tops, tops[1:], strict=False):
        edges = plot.y(np.repeat(low, 2)).round(1), plot.y(np.repeat(high, 2)).round(1)
        plot.axes.fill_between(x, *edges, color=(ACCENT, tone), linewidth=0)
    return plot.axes


def curve(pictures: Sequence[int], accuracy: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Markup:
    """Accuracy against the number of pictures learned from (every doubling is the same step), with intervals."""
    counts = np.log2(np.maximum(np.asarray(pictures, dtype=float), 1))
    margin = max((max(high) - min(low)) * 0.08, 0.005)
    span = max(float(np.ptp(counts)), 1.0)
    reach = (float(counts.min()) - span * 0.04, float(counts.min()) + span)
    plot = _Plot(SIDE, 290, reach, (min(low) - margin, min(max(high) + margin, 1.0)), top=14)
    steps = _round_steps(min(low) - margin, min(max(high) + margin, 1.0))
    digits = 0 if all(abs(s * 100 - round(s * 100)) < 1e-6 for s in steps) else 1
    x = plot.x(counts)
    shown = _apart(x, 46)
    plot.marks(x=[(counts[i], f"{pictures[i]:,}") for i in shown], y=[(s, f"{s:.{digits}%}") for s in steps])
    plot.titles(_("pictures learned from"))
    plot.axes.fill_between(x, plot.y(low), plot.y(high), color=(ACCENT, 0.16), linewidth=0)
    plot.axes.plot(x, plot.y(accuracy), "o-", color=ACCENT, linewidth=2, markersize=6)
    return _svg(plot.axes, "curve", _("Accuracy against the number of pictures learned from"))


def confusion(names: Sequence[str], matrix: ArrayLike) -> Markup:
    """Truth in rows, answers in columns; the tone of a cell is its share of the row. Many classes become an image."""
    counts = np.asarray(matrix, dtype=float)
    # The square root lets a mistake of one in a hundred still be seen.
    tones = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    axes = _confusion_cells(names, counts, tones) if len(names) <= NAMED else _confusion_image(tones)
    return _svg(axes, "confusion", _("Confusion matrix: rows are the truth, columns the answers"))


def _confusion_cells(names: Sequence[str], counts: Floats, tones: Floats) -> Axes:
    """Only cells that hold something are drawn: the matrix of a good classifier is mostly empty."""
    labels = [shorten(name, 18) for name in names]
    left, few = _room([*labels, _("truth ↓")]), len(names) <= 8
    width = min(((SIDE if few else FULL) - left - 2) / len(names), 90.0)
    height = min(width, 46.0) if few else width
    longest = max(_width(label) for label in labels)
    upright = longest > width - 3
    top = 26 + (longest + 10 if upright else 24)
    axes = _sheet(SIDE if few else FULL, top + height * len(names) + 2)
    _write(axes, left, 9, _("answer →"), color=MUTED)
    _write(axes, left - 9, top - 14, _("truth ↓"), color=MUTED, ha="right")
    turn: dict[str, Any] = {"rotation": 90, "rotation_mode": "anchor"} if upright else {"ha": "center"}
    for i, label in enumerate(labels):
        _write(axes, left - 9, top + (i + 0.5) * height, label, ha="right")
        _write(axes, left + (i + 0.5) * width, top - (8 if upright else 14), label, **turn)
    right, bottom, steps = left + width * len(names), top + height * len(names), np.arange(len(names) + 1)
    lines = [[(left, y), (right, y)] for y in top + height * steps]
    lines += [[(x, top), (x, bottom)] for x in left + width * steps]
    axes.add_collection(LineCollection(lines, colors=LINE, linewidths=1), autolim=False)
    row, column = np.nonzero(counts)
    colours = [(ACCENT, round(0.06 + 0.9 * float(tone), 2)) for tone in tones[row, column]]
    _boxes(axes, left + column * width + 1, top + row * height + 1, width - 2, height - 2, colours)
    size = min(_FONT, 1.5 * width / len(f"{counts.max():.0f}"), 0.62 * height)
    for r, c in zip(row, column, strict=True):
        ink = ON_ACCENT if tones[r, c] > 0.6 else TEXT
        centre = left + (c + 0.5) * width, top + (r + 0.5) * height
        _write(axes, *centre, f"{counts[r, c]:.0f}", color=ink, ha="center", fontsize=size)
    return axes


def _confusion_image(tones: Floats) -> Axes:
    plot = _Plot(SIDE, SIDE, (0, len(tones)), (len(tones), 0), left=34, top=26)
    # Pixels smaller than the screen's would be lost: of a block of them, the strongest stays.
    block = math.ceil(len(tones) / 400)
    padded = np.pad(tones, (0, -len(tones) % block))
    side = len(padded) // block
    pixels = np.empty((side, side, 4))
    pixels[..., :3] = _IMAGE_RGB
    pixels[..., 3] = padded.reshape(side, block, side, block).max(axis=(1, 3))
    left, right, top, bottom = *plot.x([0, len(tones)]), *plot.y([0, len(tones)])
    plot.axes.imshow(pixels, extent=(left, right, bottom, top), interpolation="none", aspect="auto")
    frame = [[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]]
    plot.axes.add_collection(LineCollection(frame, colors=LINE, linewidths=1), autolim=False)
    _write(plot.axes, left, 12, _("answer →"), color=MUTED)
    _write(plot.axes, 12, top, _("← truth"), color=MUTED, ha="right", rotation=90, rotation_mode="anchor")
    return plot.axes


def reliability(bins: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] = ()) -> Markup:
    """How often answers were right (with 95% intervals) against how probable they were said to be.

    Args:
        bins: rows with ``n``, ``confidence`` and ``accuracy``; empty ones are left out.
        before: the same before calibration, where it is known.
    """
    plot = _Plot(400, 372, (0, 1), (0, 1), left=62, top=14)
    steps = [(s / 5, f"{s / 5:.0%}") for s in range(6)]
    plot.marks(x=steps, y=steps)
    plot.titles(_("how probable the answer was said to be"), _("how often it was right"))
    plot.axes.plot(plot.x([0, 1]), plot.y([0, 1]), color=MUTED, linewidth=1)
    if earlier := [b for b in before if b.get("n")]:
        x, y = plot.x([b["confidence"] for b in earlier]), plot.y([b["accuracy"] for b in earlier])
        plot.axes.plot(x, y, "o--", color=MUTED, linewidth=1.2, markersize=4)
    if later := [b for b in bins if b.get("n")]:
        x, y = plot.x([b["confidence"] for b in later]), plot.y([b["accuracy"] for b in later])
        reach = [plot.y(wilson_interval(round(b["accuracy"] * b["n"]), b["n"]) or [0, 1]) for b in later]
        bars = [[(at, low), (at, high)] for at, (low, high) in zip(x, reach, strict=True)]
        plot.axes.add_collection(LineCollection(bars, colors=[(ACCENT, 0.4)], linewidths=4), autolim=False)
        plot.axes.plot(x, y, "o-", color=ACCENT, linewidth=2, markersize=6)
    return _svg(plot.axes, "reliability", _("How often answers were right, by how probable they were said to be"))


def _sheet(width: float, height: float) -> Axes:
    """An empty sheet whose coordinates are CSS pixels from the top left: ticks and layouts of Matplotlib cost more."""
    figure = Figure(figsize=(width / 72, height / 72))
    figure.patch.set_visible(False)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return axes


@dataclass
class _Plot:
    """A sheet with a plotting area: ``x`` and ``y`` turn values into places on the sheet."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: int = 58
    top: int = 36

    def __post_init__(self) -> None:
        self.axes = _sheet(self.width, self.height)
        self.right, self.bottom = self.width - 20, self.height - 52

    def x(self, values: ArrayLike) -> Floats:
        low, high = self.x_range
        return self.left + (np.asarray(values, dtype=float) - low) / (high - low) * (self.right - self.left)

    def y(self, values: ArrayLike) -> Floats:
        low, high = self.y_range
        return self.bottom - (np.asarray(values, dtype=float) - low) / (high - low) * (self.bottom - self.top)

    def marks(self, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]]) -> None:
        """Values along both sides, with a line across for each of ``y``."""
        lines = [[(self.left, at), (self.right, at)] for at in self.y([value for value, _text in y])]
        self.axes.add_collection(LineCollection(lines, colors=LINE, linewidths=1), autolim=False)
        for value, text in x:
            _write(self.axes, float(self.x(value)), self.bottom + 15, text, color=MUTED, ha="center")
        for value, text in y:
            _write(self.axes, self.left - 9, float(self.y(value)), text, color=MUTED, ha="right")

    def titles(self, x: str, y: str = "") -> None:
        _write(self.axes, (self.left + self.right) / 2, self.height - 12, x, color=MUTED, ha="center")
        if y:
            middle = (self.top + self.bottom) / 2
            _write(self.axes, 10, middle, y, color=MUTED, ha="center", rotation=90, rotation_mode="anchor")


def _boxes(axes: Axes, x: ArrayLike, y: ArrayLike, width: ArrayLike, height: ArrayLike, colours: list[Any]) -> None:
    left, top, w, h = np.broadcast_arrays(*np.atleast_1d(x, y, width, height))
    corners = [(left, top), (left + w, top), (left + w, top + h), (left, top + h)]
    boxes = np.array(corners, dtype=float).transpose(2, 0, 1)
    axes.add_collection(PolyCollection(list(boxes), facecolors=colours, linewidths=0), autolim=False)


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    # Neither mathtext nor TeX: a class may be called "$a_b$".
    usual: dict[str, Any] = {"color": TEXT, "fontsize": _FONT, "va": "center_baseline"}
    axes.text(x, y, text, **(usual | style), parse_math=False, usetex=False)


def _legend(axes: Axes, names: Sequence[str], left: float) -> None:
    for tone, name in zip(_TONES, names, strict=False):
        _boxes(axes, left, 5, 12, 12, [(ACCENT, tone)])
        _write(axes, left + 18, 11, name, color=MUTED)
        left += _width(name) + 42


def _width(text: str) -> float:
    """About how wide a text is in the reader's font, which nobody knows here."""
    return sum(13.5 if unicodedata.east_asian_width(c) in "WF" else 7.4 for c in text)


def _room(labels: Sequence[str]) -> float:
    return max(_width(label) for label in labels) + 14


def _round_steps(low: float, high: float) -> list[float]:
    """Round values within a range, at most about five."""
    raw = max(high - low, 1e-6) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _apart(places: Floats, gap: float) -> list[int]:
    """The places to label, the last one first, so that no two labels touch."""
    shown: list[int] = []
    for i in range(len(places) - 1, -1, -1):
        if not shown or places[shown[-1]] - places[i] >= gap:
            shown.append(i)
    return shown


def _svg(axes: Axes, name: str, title: str) -> Markup:
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
