"""The map of the pictures as data: which of them it shows, where they lie, and small copies of all in one image."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog
from kilat.data.image_stats import THUMBNAIL
from kilat.evaluate.neighbour_embedding import FEWEST, embed
from kilat.evaluate.out_of_distribution import stratified_sample
from kilat.runtime.array_types import Flags, Floats, Ints, Pixels
from kilat.runtime.result_cache import Result

if TYPE_CHECKING:
    from kilat.learn.learned import Learned

MOST = 1_000
"""Pictures on a map: their small copies take a quarter of a megabyte."""

MOST_MARKED = MOST // 2
"""Of them at most so many are there because they were answered wrongly, or their label is suspected."""

WIDTH, HIGHEST, MARGIN = 1000, 760, 22
"""Of a map: its width, its height at most, and how far its pictures stay from the edge."""

TILES_A_ROW = 32
TILE = THUMBNAIL
"""Side of a small copy in pixels."""

_QUALITY = 40


class PictureMap(BaseModel):
    """Where pictures lie on the map, and small copies of them.

    Args:
        rows: of the pictures in the catalog, rising.
        x: from the left, of ``WIDTH``.
        y: from the top, likewise.
        height: of the map.
        is_neighbour_embedding: whether they lie so that neighbours stay near; otherwise these are the two leading
            principal components.
        neighbours_kept: the share of a picture's nearest neighbours that are among its nearest on the map.
        tiles: a JPEG file in Base64 with a copy of each picture, squashed to a square, ``TILES_A_ROW`` in a row; None
            where nothing was measured of pictures as they were decoded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: list[int]
    x: list[int]
    y: list[int]
    height: int
    is_neighbour_embedding: bool
    neighbours_kept: float
    tiles: str | None = None


@dataclass(frozen=True)
class Marks:
    """What the map marks: masks over the rows of the catalog.

    Args:
        mistakes: pictures that were answered wrongly.
        suspected: pictures whose label is suspected to be wrong.
    """

    mistakes: Flags
    suspected: Flags

    @classmethod
    def of(cls, catalog: pd.DataFrame, predictions: pd.DataFrame, findings: Iterable[Finding]) -> "Marks":
        """Return the marks of a catalog's rows; mistakes are those on the test set, without one those in validation."""
        measured = "test" if (predictions["split"] == "test").any() else "validation"
        wrong = (predictions["label"] != predictions["predicted"]) & (predictions["split"] == measured)
        mistakes = catalog["path"].isin(predictions.loc[wrong, "path"]) & (catalog["status"] == "used")
        suspected = np.zeros(len(catalog), bool)
        for finding in findings:
            if finding.kind == "suspected_labels":
                suspected[[row for group in finding.groups for row in group]] = True
        return cls(mistakes.to_numpy(bool), suspected)


def map_pictures(learned: "Learned", predictions: pd.DataFrame, findings: Iterable[Finding]) -> PictureMap | None:
    """Return the map of a classifier's pictures, or None where there are fewer than three.

    Args:
        learned: the classifier; of a network trained by gradient only some pictures have embeddings.
        predictions: with the columns ``path``, ``split``, ``label`` and ``predicted``.
        findings: what was found in the data.
    """
    catalog = learned.catalog
    available = learned.artifact.embedded_rows
    available = available[catalog.used[available]]
    if len(available) < 3:
        return None
    rows = choose_rows(catalog.table, available, Marks.of(catalog.table, predictions, findings))
    points = learned.artifact.embeddings(rows)

    def place() -> Result:
        placed = embed(points)
        return Result({"kept": placed.neighbours_kept}, {"places": placed.places})

    found = learned.results.recall("picture_map", {"points": points}, place)
    x, y, height = _on_the_page(found.arrays["places"])
    return PictureMap(
        rows=rows.tolist(),
        x=x,
        y=y,
        height=height,
        is_neighbour_embedding=len(points) >= FEWEST,
        neighbours_kept=round(found.document["kept"], 4),
        tiles=tiles(catalog, rows),
    )


def choose_rows(catalog: pd.DataFrame, available: Ints, marks: Marks) -> Ints:
    """Return the rows that a map shows, rising: what is marked, as far as there is room, and some of all others.

    Args:
        catalog: the table of all pictures.
        available: rows to choose from, rising.
        marks: over all rows.
    """
    classes = pd.factorize(catalog["label"], sort=True)[0]
    marked = (marks.mistakes | marks.suspected)[available]
    first = available[marked]
    others = available[~marked]
    first = first[stratified_sample(classes[first], max(MOST_MARKED, MOST - len(others)))]
    others = others[stratified_sample(classes[others], MOST - len(first))]
    return np.sort(np.concatenate([first, others]))


def tiles(catalog: Catalog, rows: Ints) -> str | None:
    """Return small copies of pictures as one JPEG file in Base64, without reading them: from what is known of each.

    Luminance and a coarser grid of colours were measured of every picture as it was decoded, as in a JPEG file itself.

    Args:
        catalog: every picture that came in.
        rows: of some of them.

    Returns:
        ``TILES_A_ROW`` copies in a row, in the order of the rows; None where nothing was measured.
    """
    if not len(catalog.image_stats):
        return None
    stats = catalog.image_stats
    fine = Image.fromarray(_sheet(stats["thumbnail"][rows][..., None])[..., 0])
    chroma = Image.fromarray(_sheet(stats["colour_grid"][rows])).convert("YCbCr").split()[1:]
    file = io.BytesIO()
    bands = (fine, *(one.resize(fine.size, Image.Resampling.BILINEAR) for one in chroma))
    Image.merge("YCbCr", bands).save(file, "JPEG", quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")


def small_copies(placed: PictureMap, rows: Iterable[int]) -> dict[int, Image.Image]:
    """Return the small copies of some pictures on a map, squashed to squares, by their rows; of others there is none.

    Args:
        placed: the map.
        rows: of the catalog.
    """
    if placed.tiles is None:
        return {}
    sheet = Image.open(io.BytesIO(base64.b64decode(placed.tiles)))
    places = {row: divmod(place, TILES_A_ROW) for place, row in enumerate(placed.rows)}
    return {
        row: sheet.crop((TILE * across, TILE * down, TILE * (across + 1), TILE * (down + 1)))
        for row in rows
        if row in places
        for down, across in [places[row]]
    }


def _on_the_page(places: Floats) -> tuple[list[int], list[int], int]:
    """Return places as whole numbers on a map, no two the same, and the height that it takes."""
    low, extent = places.min(0), np.ptp(places, axis=0)
    room = WIDTH - 2 * MARGIN, HIGHEST - 2 * MARGIN
    scale = min(side / max(float(wide), 1e-12) for side, wide in zip(room, extent, strict=True))
    size = np.rint(extent * min(scale, 1e9)).astype(np.int64)
    height = max(int(size[1]), room[1] // 2) + 2 * MARGIN
    corner = (np.array([WIDTH, height]) - size) // 2
    spots = np.rint((places - low) * min(scale, 1e9)).astype(np.int64) + corner
    taken: set[tuple[int, int]] = set()
    for spot in spots:
        # Copies of one picture lie side by side, so that each of them can be reached.
        while (across := (int(spot[0]), int(spot[1]))) in taken:
            spot[0] = spot[0] + 1 if spot[0] < WIDTH - MARGIN else MARGIN
            spot[1] += spot[0] == MARGIN
        taken.add(across)
    return spots[:, 0].tolist(), spots[:, 1].tolist(), height


def _sheet(tiles: Pixels) -> Pixels:
    """Return tiles ``[n, side, side, channels]`` beside each other, ``TILES_A_ROW`` in a row."""
    count, side, _side, channels = tiles.shape
    down = -(-count // TILES_A_ROW)
    filled = np.zeros((down * TILES_A_ROW, side, side, channels), np.uint8)
    filled[:count] = tiles
    sheet = filled.reshape(down, TILES_A_ROW, side, side, channels).transpose(0, 2, 1, 3, 4)
    return sheet.reshape(down * side, TILES_A_ROW * side, channels)
