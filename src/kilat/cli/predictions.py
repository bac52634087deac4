"""The verbs that show pictures to a model: predict, activations."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilat.cli import show
from kilat.cli.options import Images, Json, Model, Open, PathColumn
from kilat.cli.streams import output_failure
from kilat.cli.terminal import say, say_aside, wrapped
from kilat.cli.verb import typed_command, verb
from kilat.locale import N_, _
from kilat.locale.lists import listed

if TYPE_CHECKING:
    from kilat.bundle.prediction import Prediction, RefusedPicture

FAMILY = "Use a model"

_NAMED = 12
"""Layers that are named besides those that are shown."""


@verb(
    FAMILY,
    "kilat predict runs/flowers photo.jpg",
    "kilat predict runs/flowers photos/ --top 3 --csv answers.csv --html answers.html",
    "kilat predict runs/flowers/model.onnx photos/ --json",
)
def predict(
    model: Model,
    pictures: Annotated[
        list[str], typer.Argument(help=N_("Pictures, or folders, tables and archives of pictures; labels are ignored."))
    ],
    top: Annotated[
        int | None, typer.Option(min=1, help=N_("Name so many classes for each picture (JSON always has all)."))
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help=N_("Write the answers into this table as well."))] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help=N_("Write a page with the pictures and their answers as well."))
    ] = None,
    path_column: PathColumn = None,
    images: Images = None,
    as_json: Json = False,
) -> None:
    """Say what is on pictures.

    Answers go to standard output, refusals to standard error. Exit code 1 where some were refused.
    """
    from kilat.bundle.prediction import RefusedPicture
    from kilat.bundle.predictor import load
    from kilat.data.reading import Reading
    from kilat.errors import RecipeError
    from kilat.runtime.files import require_writable, write_file
    from kilat.verbs.predict import Answers, predict_pictures

    for file in filter(None, (csv, html)):
        require_writable(file)
    if csv and html and csv.absolute() == html.absolute():
        raise RecipeError(_("{path} is named twice, as the table and as the page.").format(path=csv))
    classifier = load(model)
    answers = Answers(top, classifier.has_sets, with_pictures=html is not None)
    refused: set[str] = set()
    for prediction, picture in predict_pictures(classifier, pictures, Reading.of(path_column, images=images)):
        if isinstance(prediction, RefusedPicture):
            refused.add(prediction.error.refusal.code)
        if csv or html:
            answers.add(prediction, picture)
        _print_prediction(prediction, top, as_json=as_json, has_sets=classifier.has_sets)
        if output_failure() and not (csv or html):
            break  # nobody gets the answers
    if not as_json:
        _print_hints(refused)
    if csv:
        write_file(csv, "\ufeff" + answers.to_csv())  # spreadsheets read its letters rightly by that mark
        say_aside(_("wrote {path}").format(path=csv))
    if html:
        write_file(html, answers.to_page(str(model), typed_command()))
        say_aside(_("wrote {path}").format(path=html))
    raise typer.Exit(1 if refused else 0)


@verb(
    FAMILY,
    "kilat activations runs/flowers photo.jpg --open",
    "kilat activations runs/flowers photo.jpg --layer conv_3 --layer conv_9 --html inside.html",
    "kilat activations runs/flowers/model.onnx photo.jpg --json",
)
def activations(
    model: Model,
    picture: Annotated[Path, typer.Argument(help=N_("The picture."))],
    layer: Annotated[
        list[str] | None,
        typer.Option(help=N_("A layer to show, by its name in kilat summary; may be repeated. A handful by default.")),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help=N_("The page to write, activations.html by default; with --json or --out none.")),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help=N_("A folder: a PNG with the maps of each layer, and their statistics as JSON.")),
    ] = None,
    open_page: Open = False,
    as_json: Json = False,
) -> None:
    """Show what each layer of a network makes of a picture.

    From the model file alone. The page shows feature maps by layer, each with its shape and range, and the answer.
    """
    from kilat.bundle.prediction import sentence
    from kilat.report.activations_page import chosen_layers, terminal_rows
    from kilat.runtime.files import require_folder, require_writable, write_file
    from kilat.verbs import activations as inside

    page = html or (None if out or as_json else Path("activations.html"))
    if page:
        require_writable(page)
    if out:
        require_folder(out)
    found = inside.activations(model, picture, layer)
    if as_json:
        show.print_json(found.document())
    else:
        say(f"{picture}: {sentence(found.prediction)}")
        shown = found.layers if layer else chosen_layers(found.layers)
        rows = terminal_rows(shown)
        width = max(len(name) for name, _facts in rows)
        for name, facts in rows:
            say(f"  {name:<{width}}  {facts}")
        others = [name for name in found.names if name not in {one.name for one in shown}]
        if others:
            hint = _("{shown} of {all} layers are shown. Others with --layer NAME: {names}.")
            say(wrapped(hint.format(shown=len(shown), all=len(found.names), names=listed(others, _NAMED)), ""))
    if out:
        files = inside.write_files(found, out)
        if not as_json:
            show.print_written(files[-1].parent)
    if page:
        write_file(page, inside.to_page(found, str(model), typed_command(), by_name=bool(layer)))
        show.print_page(page, as_json=as_json, open_page=open_page)


def _print_prediction(
    prediction: "Prediction | RefusedPicture", top: int | None, *, as_json: bool, has_sets: bool
) -> None:
    """Print one prediction, or why there is none; lines for people appear at once."""
    from kilat.bundle.prediction import RefusedPicture, sentence

    if as_json and isinstance(prediction, RefusedPicture):
        error = {"kind": prediction.error.kind, "message": prediction.error.message}
        show.print_json({"path": prediction.path, "error": error})
    elif as_json:
        show.print_json(vars(prediction))
    elif isinstance(prediction, RefusedPicture):
        say_aside(_("{path}: refused: {reason}").format(path=prediction.path, reason=prediction.error.message))
    else:
        say(f"{prediction.path}: {sentence(prediction, top, has_sets=has_sets)}", at_once=True)


def _print_hints(codes: Iterable[str]) -> None:
    """Say what to do about pictures that were refused with these codes."""
    from kilat.locale.refusals import refusal_hint

    for hint in filter(None, map(refusal_hint, sorted(codes))):
        say_aside(hint)
