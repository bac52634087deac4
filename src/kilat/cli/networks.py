"""The verbs about recipes and networks before training: recipes, backbones, summary, shape, schedule, lr-find."""

import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from kilat.cli import show
from kilat.cli.options import (
    Choices,
    ClassFrom,
    Data,
    Images,
    Json,
    LabelColumn,
    PathColumn,
    RecipeArgument,
    RecipeName,
    Root,
    Size,
    SplitColumn,
    Weights,
    complete_recipe,
    overrides,
    side,
)
from kilat.cli.terminal import is_terminal, say
from kilat.cli.verb import verb
from kilat.locale import N_, _, localized
from kilat.runtime import progress_bars

FAMILY = "Recipes and networks"


@verb(FAMILY, "kilat recipes", "kilat recipes vgg-cifar > mine.yaml")
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help=N_("The one to print, to be copied and edited."), autocompletion=complete_recipe),
    ] = None,
) -> None:
    """List the built-in recipes, or print one."""
    from kilat.recipe import about, built_in, text

    if name:
        say(*text(name).splitlines())
        return
    for one in built_in():
        say(f"{one}: {about(one)}")


@verb(FAMILY, "kilat backbones convnext --sort accuracy", "kilat backbones --here")
def backbones(
    search: Annotated[str, typer.Argument(help=N_("Part of a name, or a pattern such as 'convnext*in22k*'."))] = "",
    sort: Annotated[
        Literal["name", "parameters", "macs", "accuracy"], typer.Option(help=N_("What decides the order."))
    ] = "name",
    limit: Annotated[int, typer.Option(min=1, help=N_("How many to show."))] = 20,
    here: Annotated[bool, typer.Option("--here", help=N_("Only those whose weights are on this machine."))] = False,
    as_json: Json = False,
) -> None:
    """List or search the pretrained networks."""
    from kilat.model import registry

    with progress_bars.show() as progress, progress.stage(_("Counting parameters"), unit="networks") as stage:
        found = registry.find(search, sort=sort, limit=limit, here=here, advance=stage.advance)
    if as_json:
        show.print_json(registry.document(found))
    else:
        say(registry.table(found))


@verb(FAMILY, "kilat summary vgg-cifar", "kilat summary best", "kilat summary runs/flowers --out network.svg")
def summary(
    recipe: Annotated[
        str, typer.Argument(help=N_("A recipe, a model.onnx, or a run folder."), autocompletion=complete_recipe)
    ],
    classes: Annotated[int | None, typer.Option(min=2, max=1_000_000, help=N_("How many classes to assume."))] = None,
    weights: Weights = None,
    size: Size = None,
    choices: Choices = None,
    out: Annotated[Path | None, typer.Option(help=N_("Draw the network into this SVG file."))] = None,
    as_json: Json = False,
) -> None:
    """Show the layers of a network, and draw it.

    Shapes, parameters, multiply-accumulates and receptive fields.
    """
    from kilat.recipe.network_summary import table
    from kilat.report import network_diagram, svg_canvas
    from kilat.runtime.files import write_file
    from kilat.verbs import inspect

    found = inspect.summarise(recipe, overrides(choices, weights=weights, size=side(size)), classes)
    if out:
        write_file(out, svg_canvas.standalone(network_diagram.volumes(found.rows, found.input_shape)))
    if as_json:
        show.print_json(inspect.summary_document(found))
    else:
        say(table(found, shutil.get_terminal_size().columns if is_terminal() else None))
        if out:
            show.print_written(out)


@verb(FAMILY, "kilat shape 32x32, kernel 3, stride 2, same")
def shape(
    question: Annotated[list[str], typer.Argument(help=N_("Such as: 7x7, kernel 3, stride 2, valid"))],
) -> None:
    """Calculate what kernel, stride and padding make of a shape."""
    from kilat.recipe.shapes import answer

    say(answer(" ".join(question)))


@verb(FAMILY, "kilat schedule vgg-cifar --set fit.schedule.name=one_cycle")
def schedule(
    recipe: RecipeArgument,
    steps: Annotated[int, typer.Option(min=1, max=10**9, help=N_("Steps in each epoch."))] = 100,
    choices: Choices = None,
    out: Annotated[Path, typer.Option(help=N_("The SVG file to draw into."))] = Path("schedule.svg"),
    as_json: Json = False,
) -> None:
    """Draw the learning rate over the epochs of a recipe."""
    from kilat.recipe import load
    from kilat.recipe.schedule_notes import unreached
    from kilat.report import curves, svg_canvas
    from kilat.runtime.files import write_file
    from kilat.verbs import inspect

    settings = load(recipe, overrides(choices))
    epochs, rates = inspect.learning_rates(settings, steps)
    if not epochs:
        if as_json:
            show.print_json({"epochs": [], "rates": [], "drawing": None, "notes": []})
        else:
            say(_("This recipe has no learning rate: it fits a head on a frozen backbone, not step by step."))
        return
    write_file(out, svg_canvas.standalone(curves.schedule(epochs, [rates], [settings.fit.schedule.name])))
    notes = [note.document() for note in unreached(settings.fit, steps)]
    if as_json:
        show.print_json({"epochs": epochs, "rates": rates, "drawing": str(out), "notes": notes})
        return
    for epoch, rate in list(zip(epochs, rates, strict=True))[:: max(1, len(epochs) // 12)]:
        say(f"{localized(epoch, '8.2f')}  {localized(rate, '.3g')}")
    show.print_notes(notes)
    show.print_written(out)


@verb(FAMILY, "kilat lr-find flowers/ --recipe small-cnn", name="lr-find")
def find_rate(  # noqa: PLR0917 - an option each
    data: Data,
    recipe: RecipeName = "vgg-cifar",
    steps: Annotated[int, typer.Option(min=10, max=100_000, help=N_("How many rates to try."))] = 100,
    weights: Weights = None,
    size: Size = None,
    choices: Choices = None,
    out: Annotated[Path, typer.Option(help=N_("The SVG file to draw into."))] = Path("lr-find.svg"),
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    images: Images = None,
    class_from: ClassFrom = None,
    as_json: Json = False,
) -> None:
    """Try rising learning rates, and suggest one.

    It is one where the loss falls by more than its noise; where none does, that is said.
    """
    from kilat.data.reading import Reading
    from kilat.recipe import load
    from kilat.report import curves, svg_canvas
    from kilat.runtime.files import require_writable, write_file
    from kilat.verbs import inspect
    from kilat.verbs.open_data import open_data

    require_writable(out)
    settings = load(recipe, overrides(choices, weights=weights, size=side(size)))
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    with progress_bars.show() as progress:
        source = open_data(data, root=root, progress=progress, reading=reading)
        found = inspect.find_learning_rate(source, settings, steps, progress)
    drawing = curves.rate_finder(found.rates, found.losses, found.smoothed, found.suggestion)
    write_file(out, svg_canvas.standalone(drawing))
    if as_json:
        show.print_json({**vars(found), "drawing": str(out)})
    else:
        say(inspect.rate_sentence(found, settings.fit.optimizer.rate))
        show.print_written(out)
