"""The verbs that train: train, report."""

import time
from pathlib import Path
from typing import Annotated

import typer

from kilat.cli import outcome, show
from kilat.cli.options import (
    Choices,
    ClassFrom,
    Images,
    Json,
    LabelColumn,
    Labels,
    Open,
    PathColumn,
    Quiet,
    RecipeName,
    Root,
    Size,
    SplitColumn,
    Weights,
    overrides,
    side,
)
from kilat.cli.verb import typed_command, verb
from kilat.locale import N_, _

FAMILY = "Train"


@verb(
    FAMILY,
    "kilat train flowers/",
    "kilat train flowers/ --preset best --time-limit 20m",
    "kilat train cifar10 --recipe vgg-cifar --epochs 30 --set fit.optimizer.name=adam",
)
def train(  # noqa: PLR0917 - an option each
    data: Annotated[
        str | None,
        typer.Argument(help=N_("A folder of class folders, a CSV table, a zip or tar, or a known set.")),
    ] = None,
    name: Annotated[str | None, typer.Option(help=N_("Name of the run; the data's own by default."))] = None,
    recipe: RecipeName = "transfer",
    preset: Annotated[str | None, typer.Option(help=N_("fast, good or best: how much time to spend."))] = None,
    backbone: Annotated[
        str | None, typer.Option(help=N_("The pretrained network; any timm name with the extra 'torch'."))
    ] = None,
    weights: Weights = None,
    size: Size = None,
    epochs: Annotated[int | None, typer.Option(help=N_("How often training goes over all pictures."))] = None,
    batch: Annotated[int | None, typer.Option(help=N_("Pictures in each step of training."))] = None,
    time_limit: Annotated[str | None, typer.Option(help=N_("Limit for the whole run: 90s, 20m or 1h30m."))] = None,
    device: Annotated[str | None, typer.Option(help=N_("auto, cpu, cuda, mps (Apple) or xla (TPU)."))] = None,
    devices: Annotated[int | None, typer.Option(help=N_("How many devices train together."))] = None,
    seed: Annotated[int | None, typer.Option(help=N_("Seed of everything random."))] = None,
    choices: Choices = None,
    runs: Annotated[Path, typer.Option(help=N_("Folder in which the run's folder is made."))] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help=N_("Folder of a stopped run, to go on with it."))] = None,
    labels: Labels = None,
    track: Annotated[bool, typer.Option("--track", help=N_("Log the run to MLflow (extra 'track')."))] = False,
    root: Root = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    images: Images = None,
    class_from: ClassFrom = None,
    open_report: Open = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a classifier and write its run folder."""
    started = time.perf_counter()  # imports count for who waits
    values = overrides(
        choices, backbone=backbone, weights=weights, size=side(size), epochs=epochs, batch=batch,
        time_limit=time_limit, device=device, devices=devices, seed=seed,
    )  # fmt: skip
    with show.progress(quiet=quiet) as progress:
        with progress.stage(_("Loading kilat")):
            from kilat.verbs.train import train
        run = train(
            data,
            recipe,
            preset=preset,
            name=name,
            runs=runs,
            root=root,
            path_column=path_column,
            label_column=label_column,
            split_column=split_column,
            images=images,
            class_from=class_from,
            resume=resume,
            labels=labels,
            track=track,
            progress=progress,
            started=started,
            command=typed_command(),
            **values,
        )
    if as_json:
        show.print_json({"run": str(run.folder), "metrics": run.metrics.document()})
    else:
        outcome.print_run(run)
    if open_report:
        show.open_in_browser(run.report)


@verb(FAMILY, "kilat report runs/flowers")
def report(
    run: Annotated[Path, typer.Argument(help=N_("Folder of a finished run."))],
    open_report: Open = False,
) -> None:
    """Write the report of a finished run again, from its folder."""
    from kilat.verbs.run import Run

    path = Run.open(run).write_report()
    show.print_written(path)
    if open_report:
        show.open_in_browser(path)
