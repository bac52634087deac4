"""Lesson 3: a kernel's steps over a picture, what stride and padding do to them, and what kernels find."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from figures import Translate, figure, grids
from kilat.report.svg_canvas import ACCENT, LINE, MUTED, SIDE, TEXT, Canvas

PICTURE = np.array([[0, 0, 9, 9, 9], [0, 0, 9, 9, 9], [0, 0, 9, 9, 9], [0, 0, 0, 0, 9], [0, 0, 0, 0, 9]], dtype=float)
"""A bright shape on black, small enough to compute with by hand."""

RISING = np.array([[-1, 0, 1]] * 3, dtype=float)
"""Finds where it becomes brighter from left to right."""

_CELL, _SECONDS = 32, 1.6


def convolve(picture: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of products at every place of a kernel, as a layer computes them (no flipping)."""
    windows = sliding_window_view(picture, kernel.shape)
    return np.einsum("ijkl,kl->ij", windows, kernel)


@figure
def convolution_steps(_: Translate) -> str:
    """A kernel of 3×3 over a picture of 5×5, step by step; the first step where nothing moves."""
    canvas = Canvas(SIDE, 252)
    left, kernel_left, map_left, top = 10, 220, 370, 34
    maps = convolve(PICTURE, RISING)
    for x, text in ((left, _("picture")), (kernel_left, _("kernel")), (map_left, _("feature map"))):
        canvas.write(x, 16, text, MUTED)
    grids.grey(canvas, left, top, _CELL, PICTURE / 9 * 0.35 + 0.12)
    canvas.elements.append('<g fill="#fff">')
    grids.numbers(canvas, left, top, _CELL, PICTURE)
    canvas.elements.append("</g>")
    grids.numbers(canvas, kernel_left, top, _CELL, RISING)
    grids.numbers(canvas, map_left, top, _CELL, maps)
    for x, sign in ((195, "×"), (343, "=")):
        canvas.write(x, top + 1.5 * _CELL, sign, MUTED, "middle", 20)
    canvas.elements.append(f"<style>{_motion(maps.shape)}</style>")
    for name, x, size in (("kernel-at", left, 3), ("value-at", map_left, 1)):
        canvas.elements.append(f'<g class="{name}">')
        grids.outline(canvas, x, top, size * _CELL, size * _CELL, "var(--warn)", 3)
        canvas.elements.append("</g>")
    for step, (row, column) in enumerate(np.ndindex(maps.shape)):
        still = "" if step == 0 else ' opacity="0"'
        canvas.elements.append(f'<g class="sum-of-step" style="animation-delay:{step * _SECONDS:g}s"{still}>')
        canvas.write(left, 222, _products(PICTURE[row : row + 3, column : column + 3], maps[row, column]))
        canvas.elements.append("</g>")
    return canvas.to_svg(_("A kernel moves over a picture and writes a feature map"))


def _products(window: NDArray[np.float64], total: float) -> str:
    """Return the sum of a place: its right column less its left one, since the middle is multiplied by 0."""
    right = " + ".join(f"{value:g}" for value in window[:, 2])
    left = " − ".join(f"{value:g}" for value in window[:, 0])
    return f"{right} − {left} = {total:g}"


def _motion(shape: tuple[int, ...]) -> str:
    """Return the style that moves the kernel, for readers who want motion; it stands still under the pointer."""
    steps = int(np.prod(shape))
    places = list(np.ndindex(shape))

    def keyframes(name: str) -> str:
        stops = "".join(
            f"{100 * step / steps:.2f}%{{transform:translate({column * _CELL}px,{row * _CELL}px)}}"
            for step, (row, column) in enumerate(places)
        )
        return f"@keyframes {name}{{{stops}}}"

    whole = f"{steps * _SECONDS:g}s step-end infinite"
    return (
        f"{keyframes('kernel-at')}@keyframes sum-of-step{{0%{{opacity:1}}{100 / steps:.2f}%{{opacity:0}}}}"
        f"@media(prefers-reduced-motion:no-preference){{.kernel-at,.value-at{{animation:kernel-at {whole}}}"
        f".sum-of-step{{animation:sum-of-step {whole}}}"
        "svg:hover .kernel-at,svg:hover .value-at,svg:hover .sum-of-step{animation-play-state:paused}}"
    )


@figure
def stride_and_padding(_: Translate) -> str:
    """The places of a kernel of 3×3 on a picture of 6×6, for both paddings and two strides."""
    canvas = Canvas(SIDE, 452)
    cell, size = 18, 6
    for panel, (padding, stride) in enumerate((("valid", 1), ("same", 1), ("valid", 2), ("same", 2))):
        left, top = 36 + panel % 2 * 230, 66 + panel // 2 * 204
        missing = max(0, 3 - stride) if padding == "same" else 0
        before = missing // 2
        starts = range(-before, size + missing - before - 2, stride)
        canvas.write(left - cell, top - 50, f"{padding}, stride {stride}", TEXT)
        canvas.write(left - cell, top - 32, f"6×6 → {len(starts)}×{len(starts)}", MUTED)
        corner = (left - before * cell, top - before * cell)
        if missing:
            grids.frame(canvas, *corner, cell, (size + missing,) * 2, LINE)
        canvas.boxes(left, top, size * cell, size * cell, [(ACCENT, 0.14)])
        grids.frame(canvas, left, top, cell, (size, size), MUTED)
        places = [(left + (x + 1.5) * cell, top + (y + 1.5) * cell) for y in starts for x in starts]
        canvas.dots([x for x, _y in places], [y for _x, y in places], ACCENT, 3.5)
        grids.outline(canvas, *corner, 3 * cell, 3 * cell, "var(--warn)")
    canvas.write(18, 418, _("Red: the kernel's first place. Dots: the middles of all its places."), MUTED)
    canvas.write(18, 438, _("Pale squares outside: zeros."), MUTED)
    return canvas.to_svg(_("Where a kernel stands, by padding and stride"))


@figure
def kernels_find(_: Translate) -> str:
    """A digit, and what three kernels written by hand make of it."""
    canvas = Canvas(SIDE, 408)
    picture = grids.digit(5)
    canvas.write(18, 16, _("digit, 8×8"), TEXT)
    grids.grey(canvas, 18, 34, 18, picture / 16)
    kernels = (
        (_("brighter to the right"), RISING),
        (_("brighter downwards"), RISING.T),
        (_("mean of nine"), np.full((3, 3), 1 / 9)),
    )
    for panel, (name, kernel) in enumerate(kernels, 1):
        left, top = 18 + panel % 2 * 230, 34 + panel // 2 * 190
        canvas.write(left, top - 18, name, TEXT)
        grids.signed(canvas, left, top, 24, convolve(picture, kernel))
    canvas.write(18, 392, _("Blue: above zero. Red: below. The stronger, the further from it."), MUTED)
    return canvas.to_svg(_("Feature maps of three kernels"))
