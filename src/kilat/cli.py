"""The command line: one short function per verb. The only place that prints or exits."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from kilat.errors import KilatError
from kilat.locale import _

if TYPE_CHECKING:
    from kilat.bundle.predictor import Prediction, Refusal

app = typer.Typer(
    name="kilat",
    help=_("Turns a folder of labelled pictures into a tested, explained, portable image classifier."),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help=_("Print machine-readable results."))]
Root = Annotated[Path | None, typer.Option(help=_("Folder where copies of a known set lie already."))]
Model = Annotated[Path, typer.Argument(help=_("A model.onnx, or the run folder that holds it."))]


@app.command()
def train(  # noqa: PLR0917 - an option each
    data: Annotated[str, typer.Argument(help=_("Folder of class folders, CSV table, zip or tar, or a known set."))],
    name: Annotated[str | None, typer.Option(help=_("Name of the run; the data's own by default."))] = None,
    recipe: Annotated[str, typer.Option(help=_("A built-in recipe, or a YAML file."))] = "transfer",
    backbone: Annotated[str | None, typer.Option(help=_("The network; any timm name with the extra 'torch'."))] = None,
    weights: Annotated[Path | None, typer.Option(help=_("File with the network's weights."))] = None,
    size: Annotated[str | None, typer.Option(help=_("Side in pixels at which to look, or 'auto'."))] = None,
    device: Annotated[str | None, typer.Option(help=_("auto, cpu or cuda."))] = None,
    seed: Annotated[int | None, typer.Option(help=_("Decides the test split and the folds."))] = None,
    choices: Annotated[
        list[str] | None, typer.Option("--set", help=_("A choice of the recipe, such as features.resize=pad."))
    ] = None,
    runs: Annotated[Path, typer.Option(help=_("Folder in which the run's folder is made."))] = Path("runs"),
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Train a classifier and write its run folder."""
    from kilat import pipeline
    from kilat.recipe import parse_override

    given = {"backbone": backbone, "weights": weights, "size": _size(size), "device": device, "seed": seed}
    overrides = {key: value for key, value in given.items() if value is not None}
    overrides |= dict(parse_override(choice) for choice in choices or [])
    with _Bars() as bars:
        done = pipeline.train(data, recipe, name=name, runs=runs, root=root, stage=bars.stage, **overrides)
    if as_json:
        _print_json({"run": str(done.folder), "metrics": done.metrics})
    else:
        _print_run(done.folder, done.metrics)


@app.command("eval")
def evaluate(
    model: Model,
    data: Annotated[str, typer.Argument(help=_("Labelled pictures, as for train."))],
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Measure a model on other labelled pictures."""
    from kilat import pipeline

    with _Bars() as bars:
        metrics = pipeline.evaluate(model, data, root=root, stage=bars.stage)
    if as_json:
        _print_json({"model": str(model), "metrics": metrics})
    else:
        _print_measures(metrics)


@app.command()
def predict(
    model: Model,
    pictures: Annotated[list[Path], typer.Argument(help=_("Pictures, or folders of pictures."))],
    as_json: Json = False,
) -> None:
    """Answer what is on pictures."""
    from kilat.bundle.predictor import Refusal, load
    from kilat.data.listing import pictures_under

    classifier = load(model)
    refused = False
    for answer in classifier.answers(pictures_under(pictures)):
        refused |= isinstance(answer, Refusal)
        print(_answer_json(answer) if as_json else _answer_line(answer), flush=not as_json)
    raise typer.Exit(1 if refused else 0)


@app.command("data")
def known_sets(as_json: Json = False) -> None:
    """List the known data sets."""
    from kilat.data.named import describe

    sets = describe()
    if as_json:
        kept = ("name", "about", "pictures", "classes", "download_bytes", "licence", "address", "available")
        _print_json({"sets": [{key: getattr(one, key) for key in kept} for one in sets]})
        return
    for one in sets:
        here = _("here") if one.available else _("to download: {size}").format(size=_bytes(one.download_bytes))
        count = _("{pictures:,} pictures, {classes} classes").format(pictures=one.pictures, classes=len(one.classes))
        print(f"{one.name}: {one.about}\n  {count}; {one.licence}\n  {one.address} ({here})")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help=_("Forget all feature vectors."))] = False,
    as_json: Json = False,
) -> None:
    """Show or clear the feature cache."""
    from kilat.features import cache as features

    if clear:
        freed = features.clear()
        _print_json({"freed": freed}) if as_json else print(_("{size} freed.").format(size=_bytes(freed)))
        return
    folder, size, count = features.usage()
    if as_json:
        _print_json({"folder": str(folder), "bytes": size, "vectors": count, "limit": features.limit()})
        return
    print(
        _("{count:,} feature vectors, {size} of at most {limit}, in {folder}").format(
            count=count, size=_bytes(size), limit=_bytes(features.limit()), folder=folder
        )
    )


def main() -> None:
    """Runs the command line; errors that users can mend are shown as sentences."""
    try:
        app()
    except KilatError as error:
        print(_("Error: {error}").format(error=error), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


class _Bars:
    """Progress bars on standard error; nothing at all where that is no terminal."""

    def __init__(self) -> None:
        self.progress: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress:
            self.progress.stop()

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A bar that appears when the stage first says how far it is."""
        if not self.progress:
            return lambda done, total: None
        bars = self.progress
        tasks: list[Any] = []

        def advance(done: int, total: int) -> None:
            if not tasks:
                tasks.append(bars.add_task(name, total=None, rate=""))
            task = tasks[0]
            elapsed = bars.tasks[task].elapsed or 0.0
            rate = f"{done / elapsed:,.0f}/s" if elapsed else ""
            bars.update(task, completed=done, total=total, rate=rate)

        return advance


def _size(text: str | None) -> int | str | None:
    return int(text) if text and text.isdigit() else text


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str))


def _print_run(folder: Path, metrics: dict[str, Any]) -> None:
    data, timing = metrics["data"], metrics["timing"]
    print(
        _("{used:,} pictures of {classes} classes, {refused:,} refused; {seconds:.1f} s").format(
            used=data["used"], classes=len(data["classes"]), refused=data["refused"], seconds=timing["total_s"]
        )
    )
    _print_measures(metrics)
    print(_("report  {path}").format(path=folder / "report.html"))
    print(_("model   {path}").format(path=folder / "model.onnx"))


def _print_measures(metrics: dict[str, Any]) -> None:
    test = metrics["test"]
    if not test["n"]:
        print(_("No pictures were left to test on."))
        return
    low, high = test["accuracy_interval"]
    print(
        _("accuracy {accuracy:.1%} on {n:,} test pictures (95% interval {low:.1%} to {high:.1%})").format(
            accuracy=test["accuracy"], n=test["n"], low=low, high=high
        )
    )
    print(
        _("balanced {balanced:.1%}, log loss {loss:.3f}, calibration error {ece:.3f}").format(
            balanced=test["balanced_accuracy"], loss=test["log_loss"], ece=test["ece"]
        )
    )


def _answer_json(answer: "Prediction | Refusal") -> str:
    from kilat.bundle.predictor import Refusal

    if isinstance(answer, Refusal):
        error = {"kind": answer.error.kind, "message": answer.error.message}
        return json.dumps({"path": answer.path, "error": error}, ensure_ascii=False)
    return json.dumps(vars(answer), ensure_ascii=False, allow_nan=False)


def _answer_line(answer: "Prediction | Refusal") -> str:
    from kilat.bundle.predictor import Refusal

    if isinstance(answer, Refusal):
        return _("{path}: refused: {reason}").format(path=answer.path, reason=answer.error.message)
    return f"{answer.path}: {answer.label} {answer.probability:.1%}"


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
