"""Who trains, who decides and who tests: duplicates resolved, near-duplicates kept together, and splits drawn."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from kilat.check.near_duplicates import NearDuplicates
from kilat.check.near_duplicates import find as find_near_duplicates
from kilat.data.catalog import Catalog, Source
from kilat.data.label_corrections import CorrectedSource
from kilat.data.source_notes import notes_about
from kilat.data.split import Part, assign_splits, hold_out, merge_groups, resolve_duplicates
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.runtime.result_cache import Result, ResultCache

_PREVIEWED = 5


def split_catalog(
    source: Source, catalog: Catalog, recipe: Recipe, results: ResultCache | None = None
) -> tuple[list[Note], NearDuplicates]:
    """Resolve duplicates, find near-duplicates and draw the splits of a catalog whose pictures were read."""
    resolve_duplicates(catalog, source.changed if isinstance(source, CorrectedSource) else ())
    near_duplicates = _find_near_duplicates(catalog, results or ResultCache())
    if recipe.data.near_duplicates == "together":
        merge_groups(catalog, near_duplicates.groups)
    notes = notes_about(source, catalog)
    notes += assign_splits(catalog, recipe.data.test, recipe.runtime.seed)
    return notes, near_duplicates


def _find_near_duplicates(catalog: Catalog, results: ResultCache) -> NearDuplicates:
    used = np.flatnonzero(catalog.used)
    found = results.recall(
        "near_duplicates",
        {"thumbnails": catalog.image_stats["thumbnail"][used], "used": used},
        lambda: Result(vars(find_near_duplicates(catalog.image_stats, used)), {}),
    )
    return NearDuplicates(*(tuple(map(tuple, found.document[field.name])) for field in fields(NearDuplicates)))


def hold_out_parts(pictures: Part, classes: list[str], recipe: Recipe) -> tuple[Part, Part, Part]:
    """Return the pictures to train on, for validation and for calibration; with too few for the last, validation twice.

    Args:
        pictures: all but the test pictures.
        classes: their names.
        recipe: whose sections ``data`` and ``runtime`` decide.

    Raises:
        SourceError: there are too few to hold any out.
    """
    seed = recipe.runtime.seed
    rest, validation = (pictures.take(at) for at in hold_out(pictures, recipe.data.validation, seed))
    train, calibration = (rest.take(at) for at in hold_out(rest, recipe.data.calibration, seed, "calibration"))
    if not len(validation.rows):
        raise SourceError(
            _("There are too few pictures to hold any out for validation: {count:,} of {classes} classes.").format(
                count=len(pictures.rows), classes=len(classes)
            ),
            hint=_("Bring more, raise data.validation, or use the recipe 'transfer', which cross-validates."),
        )
    return train, validation, calibration if len(calibration.rows) else validation


def shared_calibration(validation: Part, calibration: Part) -> list[Note]:
    """Return a note where the validation pictures serve for calibration as well."""
    return [Note("validation_serves_calibration", {"count": len(validation.rows)})] if calibration is validation else []


def preview_rows(train: Part) -> NDArray[np.int64]:
    """Return the rows of a few training pictures of different classes, to show augmentation on."""
    firsts = np.unique(train.truth, return_index=True)[1]
    chosen = firsts[np.unique(np.linspace(0, len(firsts) - 1, _PREVIEWED).round().astype(int))]
    rows: NDArray[np.int64] = train.rows[chosen]
    return rows


def left_out_notes(catalog: Catalog) -> list[Note]:
    """Return a note where a time limit left pictures out."""
    count = catalog.refusal_counts.get("time_limit", 0)
    return [Note("time_limit_pictures", {"count": count, "total": len(catalog.table)})] if count else []
