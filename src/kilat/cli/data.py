"""The verbs about pictures and labels: check, drift, preview, data."""

from pathlib import Path
from typing import Annotated

import typer

from kilat.cli import outcome, show
from kilat.cli.options import (
    Choices,
    ClassFrom,
    Data,
    Images,
    Json,
    LabelColumn,
    Labels,
    Model,
    Open,
    Page,
    PathColumn,
    Quiet,
    RecipeName,
    Root,
    Size,
    SplitColumn,
    overrides,
    side,
)
from kilat.cli.terminal import say
from kilat.cli.verb import typed_command, verb
from kilat.locale import N_, _, localized
from kilat.runtime import progress_bars

FAMILY = "Know the data"

FOUND = 3
"""Exit code of verbs that search for trouble, and found some."""


@verb(FAMILY, "kilat check flowers/", "kilat check flowers/ --labels checks/flowers/suspects.csv")
def check(  # noqa: PLR0917 - an option each
    data: Data,
    name: Annotated[str | None, typer.Option(help=N_("Name of the folder; the data's own by default."))] = None,
    labels: Labels = None,
    out: Annotated[Path, typer.Option(help=N_("Folder in which the check's folder is made."))] = Path("checks"),
    choices: Choices = None,
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    images: Images = None,
    class_from: ClassFrom = None,
    open_page: Open = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find what is wrong with labelled pictures.

    Exit code 3 where something serious was found.
    """
    with show.progress(quiet=quiet) as progress:
        with progress.stage(_("Loading kilat")):
            from kilat.verbs.check import check
        done = check(
            data,
            labels=labels,
            name=name,
            out=out,
            root=root,
            path_column=path_column,
            label_column=label_column,
            split_column=split_column,
            images=images,
            class_from=class_from,
            command=typed_command(),
            progress=progress,
            **overrides(choices),
        )
    if as_json:
        show.print_json({"folder": str(done.folder), **done.document})
    else:
        outcome.print_check(done)
    if open_page:
        show.open_in_browser(done.folder / "check.html")
    raise typer.Exit(FOUND if done.document["serious"] else 0)


@verb(FAMILY, "kilat drift runs/flowers photos-of-this-week/")
def drift(  # noqa: PLR0917 - an option each
    model: Model,
    pictures: Annotated[
        str, typer.Argument(help=N_("New pictures: a folder, table, archive or known set; labels are ignored."))
    ],
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    images: Images = None,
    page: Page = None,
    open_page: Open = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare new pictures with those a model was made for.

    Exit code 3 where they differ.
    """
    page = page or (None if as_json else Path("drift.html"))
    with show.progress(quiet=quiet) as progress:
        with progress.stage(_("Loading kilat")):
            from kilat.runtime.files import UnwritableError
            from kilat.verbs.drift import drift
        failure = None
        try:
            report = drift(
                model,
                pictures,
                path_column=path_column,
                label_column=label_column,
                split_column=split_column,
                images=images,
                progress=progress,
                page=page,
                command=typed_command(),
            )
        except UnwritableError as error:
            if error.result is None:
                raise
            report, failure = error.result, error  # which is shown all the same
    if as_json:
        show.print_json({"model": str(model), **report.document()})
    else:
        say(*report.sentences())
        say(_("Most different (how far, in standard deviations of known pictures):"))
        for one in report.most_different[:10]:
            say(f"  {localized(one['score'], '5.1f')}  {one['path']}")
    if failure is not None:
        raise failure
    if page:
        show.print_page(page, as_json=as_json, open_page=open_page)
    raise typer.Exit(FOUND if report.drifted else 0)


@verb(FAMILY, "kilat preview flowers/ --set augment.rotation=15", "kilat preview digits --recipe mlp-bn")
def preview(  # noqa: PLR0917 - an option each
    data: Data,
    recipe: RecipeName = "vgg-cifar",
    size: Size = None,
    seed: Annotated[int | None, typer.Option(help=N_("Seed of everything random."))] = None,
    choices: Choices = None,
    out: Annotated[Path, typer.Option(help=N_("The PNG file to draw into."))] = Path("preview.png"),
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    images: Images = None,
    class_from: ClassFrom = None,
) -> None:
    """Show what augmentation makes of pictures."""
    from kilat.data.reading import Reading
    from kilat.recipe import load
    from kilat.runtime.files import require_writable, write_file
    from kilat.verbs import inspect
    from kilat.verbs.open_data import open_data

    require_writable(out, is_text=False)
    settings = load(recipe, overrides(choices, size=side(size), seed=seed))
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    with progress_bars.show() as progress:
        source = open_data(data, root=root, progress=progress, reading=reading)
    sheet, notes = inspect.preview(source, settings)
    write_file(out, sheet)
    for note in notes:
        say(note.sentence())
    show.print_written(out)


@verb(FAMILY, "kilat data", "kilat data --json", name="data")
def known_sets(as_json: Json = False) -> None:
    """List the known data sets."""
    from kilat.data.datasets import list_datasets

    sets = list_datasets()
    if as_json:
        kept = ("name", "description", "pictures", "classes", "download_bytes", "licence", "url", "available")
        show.print_json({"sets": [{key: getattr(one, key) for key in kept} for one in sets]})
        return
    for one in sets:
        here = _("here") if one.available else _("to download: {size}").format(size=show.size(one.download_bytes))
        counts = f"{show.pictures(one.pictures)}, {show.classes(len(one.classes))}"
        say(f"{one.name}: {_(one.description)}", f"  {counts}; {_(one.licence)}", f"  {one.url} ({here})")
