"""The verb about what kilat keeps between runs: cache."""

from typing import Annotated

import typer

from kilat.cli import show
from kilat.cli.options import Json
from kilat.cli.verb import verb
from kilat.locale import N_, _, ngettext

FAMILY = "Housekeeping"


@verb(FAMILY, "kilat cache", "kilat cache --clear")
def cache(
    clear: Annotated[bool, typer.Option("--clear", help=N_("Delete all that is kept."))] = False,
    as_json: Json = False,
) -> None:
    """Show or clear what is kept between runs."""
    from kilat.features import cache as features
    from kilat.runtime import result_cache as results

    kept = results.folder()
    if clear:
        freed = features.clear() + results.clear(kept)
        show.print_json({"freed": freed}) if as_json else print(_("freed {size}").format(size=show.size(freed)))
        return
    folder, size, count = features.usage()
    if as_json:
        document = {"folder": str(folder), "bytes": size, "vectors": count, "limit": features.limit()}
        show.print_json({**document, "result_bytes": results.usage(kept)})
        return
    sentence = ngettext(
        "{count:,} feature vector, {size} of at most {limit}, in {folder}",
        "{count:,} feature vectors, {size} of at most {limit}, in {folder}",
        count,
    )
    print(sentence.format(count=count, size=show.size(size), limit=show.size(features.limit()), folder=folder))
    print(_("results that follow from them: {size}").format(size=show.size(results.usage(kept))))
