"""The figures of the course: a module for each lesson, in it a function for each figure.

A figure is a function marked ``@figure``. It takes ``_``, which returns an English word in the language of the page,
and returns an SVG from ``kilat.report.svg_canvas``. It follows from formulas, from scikit-learn's digits and from the
results of experiments (``docs/course/results``) alone, so that it comes out the same on every machine: what has to be
trained or measured is an experiment. ``python docs/course.py`` draws each into ``docs/course/images`` and, for other
languages, ``docs/LANGUAGE/course/images``, under the function's name with hyphens.

    @figure
    def strided_kernel(_: Translate) -> str:
        canvas = Canvas(SIDE, 200)
        canvas.write(20, 20, _("input"))
        return canvas.to_svg(_("A kernel moves over the input"))

Words of other languages stand in ``docs/LANGUAGE/course/words.yaml``. Colours are those of the page (``TEXT``,
``MUTED``, ``LINE``, ``ACCENT``, ``var(--warn)``, ``var(--layer-conv)`` and its like), so that one figure serves light
and dark. At most ``SIDE`` wide it can be read on a phone.
"""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kilat.report.palette import DAY, LAYER_COLOURS, NIGHT


class Translate(Protocol):
    """The language of the page."""

    def __call__(self, text: str, /) -> str:
        """Return an English word or sentence in it."""
        ...

    def number(self, value: float, pattern: str = "#,##0.###") -> str:
        """Return a number as it writes numbers; the pattern is Unicode's (CLDR)."""
        ...


Draw = Callable[[Translate], str]

_FIGURES: dict[str, Draw] = {}


def figure(draw: Draw) -> Draw:
    """Mark a function that draws a figure of the course."""
    name = draw.__name__.replace("_", "-")
    assert name not in _FIGURES, f"two figures are named {name}"
    _FIGURES[name] = draw
    return draw


def every_figure() -> dict[str, Draw]:
    """Return all figures by their names."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_FIGURES.items()))


def colours() -> str:
    """Return the style sheet of a figure that stands alone: the colours of light and of dark pages."""
    day, night = ("".join(f"--{name}:{value};" for name, value in one.items()) for one in (DAY | LAYER_COLOURS, NIGHT))
    return f":root{{{day}}}@media(prefers-color-scheme:dark){{:root{{{night}}}}}"


def as_file(svg: str) -> str:
    """Return a figure as a file of its own, which follows the reader's choice of light or dark."""
    namespaces = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, Segoe UI, Roboto, Arial, sans-serif"'
    opening, rest = str(svg).replace("<svg ", f"<svg {namespaces} ", 1).split(">", 1)
    page = '<rect width="100%" height="100%" fill="var(--page)"/>'
    return f"{opening}><style>{colours()}</style>{page}{rest}\n"
