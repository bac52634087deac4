"""The verbs that measure and make models from others: eval, import."""

from pathlib import Path
from typing import Annotated

import typer

from kilat.cli import outcome, show
from kilat.cli.options import (
    ClassFrom,
    Data,
    Images,
    Json,
    LabelColumn,
    Model,
    Open,
    Page,
    PathColumn,
    Quiet,
    Root,
    SplitColumn,
)
from kilat.cli.terminal import say
from kilat.cli.verb import typed_command, verb
from kilat.locale import N_, _
from kilat.runtime import progress_bars

FAMILY = "Use a model"


@verb(FAMILY, "kilat eval runs/flowers new-photos/", "kilat eval runs/flowers new-photos/ --corruptions", name="eval")
def evaluate(  # noqa: PLR0917 - an option each
    model: Model,
    data: Data,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help=N_("Also under noise, blur, weather and compression."))
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help=N_("How many pictures to corrupt at most."))] = 200,
    out: Annotated[Path, typer.Option(help=N_("The SVG file to draw that into."))] = Path("corruptions.svg"),
    page: Page = None,
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
    """Measure a model on other labelled pictures."""
    page = page or (None if as_json else Path("evaluation.html"))
    with show.progress(quiet=quiet) as progress:
        with progress.stage(_("Loading kilat")):
            from kilat.data.reading import Reading
            from kilat.report import robustness, svg_canvas
            from kilat.runtime.files import UnwritableError, require_writable, write_file
            from kilat.verbs.evaluate import evaluate
        if corruptions:
            require_writable(out)
        failure = None
        try:
            evaluation = evaluate(
                model,
                data,
                root=root,
                path_column=path_column,
                label_column=label_column,
                split_column=split_column,
                images=images,
                class_from=class_from,
                corruptions=corruptions,
                limit=limit,
                progress=progress,
                page=page,
                command=typed_command(),
            )
        except UnwritableError as error:
            if error.result is None:
                raise
            evaluation, failure = error.result, error  # which is shown all the same
    if as_json:
        show.print_json({"model": str(model), "metrics": evaluation.document()})
    else:
        reading = Reading.of(path_column, label_column, split_column, images, class_from)
        outcome.print_evaluation(evaluation, model, data, root, reading)
        if evaluation.robustness is not None:
            say(robustness.table(evaluation.robustness))
    if failure is not None:
        raise failure
    if evaluation.robustness is not None:
        write_file(out, svg_canvas.standalone(robustness.figure(evaluation.robustness)))
        if not as_json:
            show.print_written(out)
    if page:
        show.print_page(page, as_json=as_json, open_page=open_page)


@verb(
    FAMILY,
    "kilat import model.keras --classes daisy,rose,tulip --data photos/",
    "kilat import keras_model.h5 --classes labels.txt --pixels=-1..1",
    name="import",
)
def import_model(
    model: Annotated[Path, typer.Argument(help=N_("A Keras classifier: model.keras or model.h5."))],
    classes: Annotated[
        str,
        typer.Option(
            help=N_("Class names in the order of its outputs: daisy,rose,tulip, or a labels.txt or JSON file.")
        ),
    ],
    pixels: Annotated[
        str | None,
        typer.Option(
            help=N_(
                "How its pixels are scaled: 0..255, 0..1, -1..1, caffe or torch. Default: as labelled --data clearly "
                "says, otherwise 0..255."
            )
        ),
    ] = None,
    resize: Annotated[
        str, typer.Option(help=N_("How pictures that are not square are resized: crop, squash or pad."))
    ] = "squash",
    data: Annotated[
        str | None, typer.Option(help=N_("Pictures to compare the two models on and, with labels, to measure it on."))
    ] = None,
    out: Annotated[Path, typer.Option(help=N_("The model file to write."))] = Path("model.onnx"),
    force: Annotated[bool, typer.Option("--force", help=N_("Overwrite a model file that is there."))] = False,
    as_json: Json = False,
) -> None:
    """Turn a saved Keras classifier into a kilat model.

    The two are compared on real pictures.
    """
    from kilat.data.class_names import parse_class_names
    from kilat.runtime.files import refuse_overwriting, require_writable, write_file
    from kilat.verbs.import_keras import import_keras
    from kilat.verbs.open_data import open_data

    if not force:
        refuse_overwriting(out, hint=_("Give another name with --out, or --force to overwrite it."))
    require_writable(out, is_text=False)
    with progress_bars.show() as progress:
        source = None if data is None else open_data(data, progress=progress, one_class=True)
    names = parse_class_names(classes)
    file, described = import_keras(model, classes=names, scale=pixels, resize=resize, source=source)
    write_file(out, file)
    if as_json:
        show.print_json({"model": str(out), **described})
    else:
        show.print_import(described)
        show.print_written(out)
