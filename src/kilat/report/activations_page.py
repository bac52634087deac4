"""The page of activations: a picture, the filters of a model's first layers, and what each layer makes of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kilat.bundle.feature_maps import Activations, LayerOutput
from kilat.bundle.prediction import answer, likely_classes
from kilat.locale import _, localized, ngettext
from kilat.report.lead import Request
from kilat.report.map_tiles import Tile, filter_image, map_image, scale_of, uri
from kilat.report.template import count, fill, percent
from kilat.runtime.array_types import Floats

HANDFUL = 16
"""Layers that are shown of a network with more, where none are asked for by name."""

MAPS = 24
"""Channels of a layer that are shown at most: the first eight, then those of the others that vary most."""

_FIRST = 8
_ALL_MAPS = 480
"""Maps on the page at most, which keeps it below 2 MB: a map takes 1 to 2 kB, and one of pure noise 3.5 kB."""

_ANSWERS = 10
_PREFIXES = (0, 1, 2, 5)
"""How many tokens of a transformer may stand before those of its patches: of the class, of distillation, registers."""


@dataclass(frozen=True)
class ShownLayer:
    """A layer on the page.

    Args:
        name: of it.
        facts: kind, shape, range and shares, in a row.
        tiles: some of its maps, or one picture of all its units.
        left_out: how many channels are not shown, in a sentence; empty where all are.
        is_units: whether it has no maps, but a number for each unit.
    """

    name: str
    facts: list[str]
    tiles: list[Tile]
    left_out: str
    is_units: bool


def chosen_layers(layers: Sequence[LayerOutput], limit: int = HANDFUL) -> list[LayerOutput]:
    """Return a handful of layers, spread evenly from the first to the last; all where there are no more."""
    if len(layers) <= limit:
        return list(layers)
    return [layers[i] for i in np.unique(np.linspace(0, len(layers) - 1, limit).round().astype(int))]


def render(title: str, command: str, found: Activations, *, by_name: bool) -> str:
    """Return the page as HTML; equal input gives equal text.

    Args:
        title: what the model is called.
        command: that was typed.
        found: what the layers give.
        by_name: whether the layers were chosen by their names, so that all of them are shown.
    """
    shown = list(found.layers) if by_name else chosen_layers(found.layers)
    maps = max(1, min(MAPS, _ALL_MAPS // max(1, len(shown))))
    others = [name for name in found.names if name not in {one.name for one in shown}]
    probabilities = found.prediction.probabilities
    likely = likely_classes(found.prediction, _ANSWERS, has_sets=True)
    return fill(
        "activations.html.j2",
        title=title,
        request=Request(command, []),
        verdict=[_verdict(found)],
        network_input=uri(Image.fromarray(found.pixels)),
        size="×".join(map(str, found.pixels.shape[:2])),
        answers=likely,
        more_classes=len(probabilities) - len(likely),
        filters=[(one.name, *_filter_tiles(one)) for one in found.layers if one.filters is not None],
        layers=[shown_layer(one, maps) for one in shown],
        others=others,
        total=len(found.names),
    )


def shown_layer(layer: LayerOutput, maps: int = MAPS) -> ShownLayer:
    """Return a layer with so many of its maps at most."""
    values, scale = layer.values, scale_of(layer.values)
    facts = _facts(layer)
    grid = as_map(values)
    if grid is None:
        return ShownLayer(layer.name, facts, [_units_tile(values, scale)], "", is_units=True)
    chosen = chosen_channels(grid, maps)
    tiles = [_tile(grid[..., i], scale, str(i)) for i in chosen]
    left = layer.channels - len(chosen)
    sentence = ngettext(
        "Of {all} channels the first ones are shown, then those that vary most over the picture; {n} is not.",
        "Of {all} channels the first ones are shown, then those that vary most over the picture; {n} are not.",
        left,
    )
    return ShownLayer(
        layer.name,
        facts,
        tiles,
        sentence.format(all=count(layer.channels), n=count(left)) if left else "",
        is_units=False,
    )


def chosen_channels(grid: Floats, limit: int) -> list[int]:
    """Return the channels of ``[height, width, channels]`` to show: all, or the first, then those that vary most."""
    channels = grid.shape[-1]
    if channels <= limit:
        return list(range(channels))
    first = min(_FIRST, (limit + 1) // 2)
    spread = grid.std((0, 1), dtype=np.float64)
    rest = sorted(range(first, channels), key=lambda i: (-spread[i], i))
    return [*range(first), *rest[: limit - first]]


def _verdict(found: Activations) -> str:
    prediction = found.prediction
    shown = percent(prediction.probability)
    if prediction.unknown:
        sentence = _("The answer is “{answer}”: the picture is unlike the training pictures (“{label}” has {share}).")
        return sentence.format(answer=answer(prediction), label=prediction.label, share=shown)
    return _("The answer is “{label}”, with a probability of {share}.").format(label=prediction.label, share=shown)


def _facts(layer: LayerOutput) -> list[str]:
    """Return what there is to say of a layer in short: kind, shape, range, mean, zeros."""
    numbers = layer.statistics
    facts = [
        layer.kind.replace("_", " "),
        "×".join(map(str, numbers["shape"])),
        _("{low:.3g} to {high:.3g}").format(low=numbers["min"], high=numbers["max"]),
        _("mean {mean:.3g}").format(mean=numbers["mean"]),
    ]
    if numbers["zero_share"] >= 0.0005:
        facts.append(_("{share} zeros").format(share=percent(numbers["zero_share"])))
    if (dead := numbers["zero_channels"]) and layer.values.ndim > 1:
        facts.append(ngettext("{n} channel of zeros alone", "{n} channels of zeros alone", dead).format(n=count(dead)))
    return facts + ([_("in {layer}").format(layer=layer.inside)] if layer.inside else [])


def as_map(values: Floats) -> Floats | None:
    """Return what a layer gives as ``[height, width, channels]``; None for units, or tokens that are no square."""
    if values.ndim == 3:
        return values if max(values.shape[:2]) > 1 else None
    if values.ndim == 2:
        for prefix in _PREFIXES:
            side = round((len(values) - prefix) ** 0.5)
            if side > 1 and side**2 == len(values) - prefix:
                return values[prefix:].reshape(side, side, -1)
    return None


def _tile(values: Floats, scale: float, caption: str) -> Tile:
    title = _("channel {number}: {low:.3g} to {high:.3g}")
    named = title.format(number=caption, low=float(values.min()), high=float(values.max()))
    return Tile(uri(map_image(values, scale)), caption, named)


def _units_tile(values: Floats, scale: float) -> Tile:
    cells = in_rows(values)
    title = ngettext("{n} unit, row by row", "{n} units, row by row", values.size).format(n=count(values.size))
    return Tile(uri(map_image(cells, scale)), title, title)


def in_rows(values: Floats) -> Floats:
    """Return the values of units as cells ``[rows, columns]``, in about four times as many columns as rows."""
    width = min(values.size, max(8, round((values.size * 4) ** 0.5)))
    cells = np.zeros(-(-values.size // width) * width, np.float32)
    cells[: values.size] = values.reshape(-1)
    return cells.reshape(-1, width)


def _filter_tiles(layer: LayerOutput) -> tuple[list[Tile], str]:
    """Return some filters of a layer, and what they are in a sentence."""
    filters = layer.filters
    assert filters is not None
    number, height, width, channels = filters.shape
    chosen = filters[: 2 * MAPS]
    tiles = [Tile(uri(filter_image(one)), str(i), f"{i}") for i, one in enumerate(chosen)]
    shape = f"{height}×{width}×{channels}"
    sentence = ngettext("{n} filter of {shape}.", "{n} filters of {shape}.", number).format(
        n=count(number), shape=shape
    )
    if channels not in (1, 3):
        sentence += " " + _("Each is shown as the mean over the channels that it looks at.")
    if number > len(chosen):
        sentence += " " + _("The first {n} are shown.").format(n=localized(len(chosen), ","))
    return tiles, sentence


def terminal_rows(layers: Iterable[LayerOutput]) -> list[tuple[str, str]]:
    """Return the name of each layer, and what there is to say of it in a line."""
    return [(one.name, " · ".join(_facts(one))) for one in layers]
