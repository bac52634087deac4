"""The verbs that compare ways to train: lab, search."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilat.cli import show
from kilat.cli.options import (
    Choices,
    ClassFrom,
    Data,
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
    complete_recipe,
    overrides,
    side,
)
from kilat.cli.terminal import linked, say, wrapped
from kilat.cli.verb import typed_command, verb
from kilat.errors import RecipeError
from kilat.locale import N_, _, ngettext
from kilat.locale.notes import Note

if TYPE_CHECKING:
    from kilat.lab.results import Lab

FAMILY = "Train"

Seeds = Annotated[int | None, typer.Option(help=N_("Trials of each variant that is trained; 5 by default."))]
Folds = Annotated[int | None, typer.Option(help=N_("Folds that compare heads on frozen backbones; 5 by default."))]
Repeats = Annotated[int | None, typer.Option(help=N_("How often these folds are drawn; 3 by default."))]
Workers = Annotated[int | None, typer.Option(help=N_("Trials side by side; by default one a core."))]
LabName = Annotated[str | None, typer.Option(help=N_("Name of the lab; the data's own by default."))]
Epochs = Annotated[int | None, typer.Option(help=N_("How often training goes over all pictures."))]
Batch = Annotated[int | None, typer.Option(help=N_("Pictures in each step of training."))]
Device = Annotated[str | None, typer.Option(help=N_("auto, cpu, cuda, mps (Apple) or xla (TPU)."))]
Seed = Annotated[int | None, typer.Option(help=N_("Seed of the test set; trials have the seeds after it."))]
LabsFolder = Annotated[Path, typer.Option(help=N_("Folder in which the lab's folder is made."))]

RESUME, REPORT = "resume", "report"

_OF_THIS_RUN = {
    **dict.fromkeys(("--workers", "--name", "--labs", "--root", "--lang"), True),
    **dict.fromkeys(("--quiet", "-q", "--json", "--open"), False),
}
"""Options that change no result, and whether each has a value."""


@verb(
    FAMILY,
    "kilat lab digits --recipe small-cnn --vary fit.optimizer=sgd,adam --seeds 5",
    "kilat lab flowers/ --question augmentation",
    "kilat lab resume labs/digits",
    "kilat lab report labs/digits",
)
def lab(  # noqa: PLR0917 - an option each
    data: Annotated[
        str | None,
        typer.Argument(help=N_("Labelled pictures, as for train; or resume or report, with the folder of a lab.")),
    ] = None,
    folder: Annotated[Path | None, typer.Argument(help=N_("Folder of a lab, behind resume or report."))] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help=N_("The recipe that is varied; by default transfer."), autocompletion=complete_recipe),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help=N_("Values to compare, such as fit.optimizer=sgd,adam; of several, all combinations.")),
    ] = None,
    question: Annotated[str | None, typer.Option(help=N_("A ready-made comparison, such as augmentation."))] = None,
    questions: Annotated[bool, typer.Option("--questions", help=N_("List the ready-made comparisons."))] = False,
    seeds: Seeds = None,
    folds: Folds = None,
    repeats: Repeats = None,
    time_limit: Annotated[
        str | None, typer.Option(help=N_("Limit for all trials, such as 20m: variants that do worse are dropped."))
    ] = None,
    workers: Workers = None,
    name: LabName = None,
    size: Size = None,
    epochs: Epochs = None,
    batch: Batch = None,
    device: Device = None,
    seed: Seed = None,
    choices: Choices = None,
    labs: LabsFolder = Path("labs"),
    labels: Labels = None,
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
    """Try variants of a recipe side by side, to see what helps.

    Says by how much on these pictures, and how sure that is.
    """
    if questions:
        _print_questions(as_json=as_json)
        return
    action = data if folder is not None else None
    if data in (RESUME, REPORT) and folder is None and not Path(data).exists():
        raise RecipeError(_("The folder of the lab is missing."), hint=f"kilat lab {data} labs/digits")
    if folder is not None and action not in (RESUME, REPORT):
        raise RecipeError(
            _("Two places were given: {one} and {other}.").format(one=data, other=folder),
            hint=_("Give one folder of pictures; or resume or report before the folder of a lab."),
        )
    values = overrides(choices, size=side(size), epochs=epochs, batch=batch, device=device, seed=seed)
    with show.progress(quiet=quiet) as progress:
        with progress.stage(_("Loading kilat")):
            from kilat.lab import lab as labs_of_kilat
            from kilat.lab.variants import vary_of
        if action == REPORT:
            assert folder is not None
            found = labs_of_kilat.report(folder)
        else:
            found = labs_of_kilat.lab(
                None if action == RESUME else data,
                recipe,
                vary=vary_of(vary or []),
                question=question,
                seeds=seeds,
                folds=folds,
                repeats=repeats,
                time_limit=time_limit,
                workers=workers,
                resume=folder,
                labels=labels,
                name=name,
                labs=labs,
                root=root,
                path_column=path_column,
                label_column=label_column,
                split_column=split_column,
                images=images,
                class_from=class_from,
                progress=progress,
                command=_command(),
                **values,
            )
    _print(found, as_json=as_json)
    if open_page:
        show.open_in_browser(found.page)


@verb(
    FAMILY,
    "kilat search digits --recipe small-cnn --vary 'fit.optimizer.learning_rate=1e-4..1e-1(log)'",
    "kilat search flowers/ --vary 'head.components=32..768(log)' --count 10",
)
def search(  # noqa: PLR0917 - an option each
    data: Data,
    recipe: RecipeName = "transfer",
    vary: Annotated[
        list[str] | None,
        typer.Option(help=N_("Range of an option, PATH=LOW..HIGH or PATH=LOW..HIGH(log); or values: PATH=sgd,adam.")),
    ] = None,
    count: Annotated[int, typer.Option(help=N_("How many variants are tried."))] = 20,
    seeds: Seeds = None,
    folds: Folds = None,
    repeats: Repeats = None,
    time_limit: Annotated[
        str | None, typer.Option(help=N_("Limit after which no more are tried, such as 20m."))
    ] = None,
    workers: Workers = None,
    name: LabName = None,
    size: Size = None,
    epochs: Epochs = None,
    batch: Batch = None,
    device: Device = None,
    seed: Seed = None,
    choices: Choices = None,
    labs: LabsFolder = Path("labs"),
    labels: Labels = None,
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
    """Search ranges of values for a better recipe (extra 'search')."""
    values = overrides(choices, size=side(size), epochs=epochs, batch=batch, device=device, seed=seed)
    with show.progress(quiet=quiet) as progress:
        with progress.stage(_("Loading kilat")):
            from kilat.lab.ranges import ranges_of
            from kilat.lab.search import search
        found = search(
            data,
            recipe,
            ranges=ranges_of(vary or []),
            count=count,
            seeds=seeds,
            folds=folds,
            repeats=repeats,
            time_limit=time_limit,
            workers=workers,
            labels=labels,
            name=name,
            labs=labs,
            root=root,
            path_column=path_column,
            label_column=label_column,
            split_column=split_column,
            images=images,
            class_from=class_from,
            progress=progress,
            command=_command(),
            **values,
        )
    _print(found, as_json=as_json)
    if open_page:
        show.open_in_browser(found.page)


def _command() -> str:
    """Return the command without what changes no result, so that equal labs say the same of themselves."""
    words = iter(typed_command().split(" "))
    kept: list[str] = []
    for word in words:
        option = word.partition("=")[0]
        if option in _OF_THIS_RUN:
            if "=" not in word and _OF_THIS_RUN[option]:
                next(words, "")
            continue
        kept.append(word)
    return " ".join(kept)


def _print(lab: "Lab", *, as_json: bool) -> None:
    results = lab.results
    left = lab.unfinished
    if as_json:
        places = {"lab": str(lab.folder), "page": str(lab.page), "winner": str(lab.winner), "unfinished": len(left)}
        show.print_json({**places, "results": results.document()})
        return
    from kilat.report import lab_content, lab_table

    say(*lab_table.lines(results, shutil.get_terminal_size().columns))
    say()
    for sentence in lab_content.verdict(results):
        say(wrapped(sentence))
    for sentence in results.sentences:
        say(wrapped(sentence))
    for variant in results.variants:
        for reason in (*variant.reasons, *(Note(note.code, note.values).sentence() for note in variant.notes)):
            say(wrapped(f"{variant.name}: {' '.join(reason.split())}"))
    if left:
        sentence = ngettext(
            "{count:,} trial was not finished; go on with it: {command}",
            "{count:,} trials were not finished; go on with them: {command}",
            len(left),
        )
        say(wrapped(sentence.format(count=len(left), command=lab.resume_command)))
    say(_("winner  {path}").format(path=linked(lab.winner)))
    say(_("page    {path}").format(path=linked(lab.page)))


def _print_questions(*, as_json: bool) -> None:
    from kilat.lab import questions

    found = questions.listed()
    if as_json:
        show.print_json({"questions": found})
        return
    widest = max(map(len, found))
    for name, forms in found.items():
        say(wrapped("; ".join(forms.values()), " " * (widest + 2), first=f"{name:<{widest}}  "))
