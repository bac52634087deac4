"""Figures of lesson 7: batch norm."""

import numpy as np
from sklearn.datasets import load_digits

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, DASHED, LINE, MUTED, SIDE, Canvas, Plot

_EPSILON = 1e-3


def _sums(count: int) -> np.ndarray:
    """Return what one unit with random weights adds up for some digits, ``[count]``."""
    random = np.random.default_rng(4)
    pixels = random.permutation(load_digits().data)[:count] / 16
    weights = random.normal(0, np.sqrt(2 / pixels.shape[1]), pixels.shape[1])
    return pixels @ weights


def _normalise(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / np.sqrt(values.var() + _EPSILON)


@figure
def batch_norm_places(_: Translate) -> str:
    """The values of a unit over a batch: as they are, with batch norm before the ReLU, and with batch norm after it."""
    sums = _sums(256)
    rows = {
        "weighted sums": sums,
        "batch norm, then ReLU": np.maximum(_normalise(sums), 0),
        "ReLU, then batch norm": _normalise(np.maximum(sums, 0)),
    }
    canvas, height = Canvas(SIDE, 0), 112
    plot = Plot(SIDE, height, (-3.5, 3.5), (0, 1), left=8)
    plot.right = SIDE - 8
    edges = np.linspace(-3.5, 3.5, 57)
    for row, (name, values) in enumerate(rows.items()):
        base = height * (row + 1) - 24
        counts, _edges = np.histogram(values, edges)
        tall = 60 * counts / counts.max()
        bar = float(plot.x(edges[1]) - plot.x(edges[0])) - 1
        canvas.boxes(plot.x(edges[:-1]), base - tall, bar, tall, [(ACCENT, 0.9)])
        canvas.lines([[(plot.left, base), (plot.right, base)]], LINE)
        canvas.write(0, base - 78, _(name))
        mean, deviation = (_.number(round(abs(float(value)), 2), "0.00") for value in (values.mean(), values.std()))
        moments = _("mean {mean}, standard deviation {deviation}").format(mean=mean, deviation=deviation)
        canvas.write(SIDE, base - 78, moments, MUTED, "end")
    for value in range(-3, 4):
        canvas.write(float(plot.x(value)), height * len(rows) - 10, _.number(value), MUTED, "middle")
    canvas.height = height * len(rows) + 2
    return canvas.to_svg(
        _("A unit with batch norm before its ReLU, and after it: only after it are the values around 0")
    )


@figure
def running_statistics(_: Translate) -> str:
    """How much of running statistics is what they began with, by the number of steps, for two momenta."""
    steps = np.arange(401)
    plot = Plot(SIDE, 280, (0, 400), (0, 1))
    plot.right -= 30
    plot.ticks([(n, str(n)) for n in range(0, 401, 100)], [(n / 4, _.number(n / 4, "0%")) for n in range(5)])
    ready = float(plot.y(0.05))
    plot.canvas.curve([plot.left, plot.right], [ready, ready], MUTED, 1, DASHED)
    plot.canvas.write(plot.right + 6, ready, _.number(0.05, "0%"), MUTED)
    for momentum, colour, x, y in ((0.99, ACCENT, 72, 0.62), (0.9, "var(--layer-pool)", 20, 0.16)):
        plot.canvas.curve(plot.x(steps), plot.y(momentum**steps), colour)
        name = _("momentum {value}").format(value=_.number(momentum))
        plot.canvas.write(float(plot.x(x)), float(plot.y(y)), name, colour)
    plot.canvas.write(0, 12, _("share of the running statistics that is still what they began with"), MUTED)
    plot.axis_titles(_("steps"))
    return plot.canvas.to_svg(
        _("With a momentum of 0.99 the beginning is forgotten after 299 steps, with 0.9 after 29")
    )


@figure
def small_batches(_: Translate) -> str:
    """The means of one unit over forty batches, for four sizes of batches."""
    sums, random, sizes = _sums(1797), np.random.default_rng(0), (2, 8, 32, 128)
    plot = Plot(SIDE, 280, (0.5, len(sizes) + 0.5), (-2.5, 2.5))
    plot.ticks([(i, _.number(size)) for i, size in enumerate(sizes, 1)], [(n, _.number(n)) for n in range(-2, 3)])
    for i, size in enumerate(sizes, 1):
        means = np.array([random.choice(sums, size, replace=False).mean() for _batch in range(40)])
        across = i + random.uniform(-0.22, 0.22, len(means))
        plot.canvas.dots(plot.x(across), plot.y((means - sums.mean()) / sums.std()), (ACCENT, 0.6))
    plot.canvas.write(0, 12, _("mean of a batch, in standard deviations; 0 is that of all pictures"), MUTED)
    plot.axis_titles(_("pictures in a batch"))
    return plot.canvas.to_svg(_("The smaller the batch, the further its mean is from that of all pictures"))
