"""The feature maps and the filters of a layer as picture files: all of them, where there are not very many."""

from kilat.bundle.feature_maps import LayerOutput
from kilat.report.activations_page import as_map, chosen_channels, in_rows
from kilat.report.map_tiles import filter_image, map_image, png, scale_of, sheet

MOST = 256
"""Maps or filters on a sheet."""


def map_sheet(layer: LayerOutput) -> bytes:
    """Return what a layer gives as a sheet, PNG: a picture for each channel, or a cell for each unit."""
    grid, scale = as_map(layer.values), scale_of(layer.values)
    if grid is None:
        return png(sheet([map_image(in_rows(layer.values), scale)]))
    return png(sheet([map_image(grid[..., i], scale) for i in chosen_channels(grid, MOST)]))


def filter_sheet(layer: LayerOutput) -> bytes:
    """Return the filters of a layer as a sheet, PNG."""
    assert layer.filters is not None
    return png(sheet([filter_image(one) for one in layer.filters[:MOST]]))
