"""The command line: one short function per verb. The only place that prints or exits."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer

from kilat.errors import KilatError
from kilat.locale import _
from kilat.runtime.progress import ignore

if TYPE_CHECKING:
    from kilat.bundle.predictor import Prediction, Refusal
    from kilat.runtime.progress import Advance

app = typer.Typer(
    name="kilat",
    help=_("Turns a folder of labelled pictures into a tested, explained, portable image classifier."),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SERIOUS = 3
"""Exit code of verbs that look for trouble, and found some."""

Data = Annotated[str, typer.Argument(help=_("Labelled pictures, as for train."))]
RecipeName = Annotated[str, typer.Option(help=_("A built-in recipe, or a YAML file."))]
RecipeArgument = Annotated[str, typer.Argument(help=_("A built-in recipe, or a YAML file."))]
Weights = Annotated[str | None, typer.Option(help=_("File with the network's weights; 'none' for random ones."))]
Size = Annotated[str | None, typer.Option(help=_("Side in pixels at which to look, or 'auto'."))]
Choices = Annotated[
    list[str] | None, typer.Option("--set", help=_("A choice of the recipe, such as features.resize=pad."))
]
Json = Annotated[bool, typer.Option("--json", help=_("Print machine-readable results."))]
Root = Annotated[Path | None, typer.Option(help=_("Folder where copies of a known set lie already."))]
Model = Annotated[Path, typer.Argument(help=_("A model.onnx, or the run folder that holds it."))]


@app.command()
def train(  # noqa: PLR0917 - an option each
    data: Annotated[
        str | None, typer.Argument(help=_("Folder of class folders, CSV table, zip or tar, or a known set."))
    ] = None,
    name: Annotated[str | None, typer.Option(help=_("Name of the run; the data's own by default."))] = None,
    recipe: RecipeName = "transfer",
    preset: Annotated[str | None, typer.Option(help=_("fast, good or best: how much time to spend."))] = None,
    backbone: Annotated[str | None, typer.Option(help=_("The network; any timm name with the extra 'torch'."))] = None,
    weights: Weights = None,
    size: Size = None,
    epochs: Annotated[int | None, typer.Option(help=_("How often a trained network sees every picture."))] = None,
    batch: Annotated[int | None, typer.Option(help=_("Pictures a step of training."))] = None,
    time_limit: Annotated[str | None, typer.Option(help=_("Time for everything, such as 90s, 20m or 1h30m."))] = None,
    device: Annotated[str | None, typer.Option(help=_("auto, cpu, cuda, mps (Apple) or xla (TPUs)."))] = None,
    devices: Annotated[int | None, typer.Option(help=_("How many of them train together."))] = None,
    seed: Annotated[int | None, typer.Option(help=_("Decides everything that is drawn."))] = None,
    choices: Choices = None,
    runs: Annotated[Path, typer.Option(help=_("Folder in which the run's folder is made."))] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help=_("Folder of a stopped run, to go on with it."))] = None,
    labels: Annotated[Path | None, typer.Option(help=_("A suspects.csv with corrected labels."))] = None,
    track: Annotated[bool, typer.Option("--track", help=_("Keep the run in MLflow (extra 'track')."))] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Train a classifier and write its run folder."""
    from kilat.verbs import train

    given = {
        "backbone": backbone, "weights": weights, "size": _size(size), "epochs": epochs, "batch": batch,
        "time_limit": time_limit, "device": device, "devices": devices, "seed": seed,
    }  # fmt: skip
    overrides: dict[str, Any] = _overrides(given, choices)
    with _Bars() as bars:
        done = train.train(
            data,
            recipe,
            preset=preset,
            name=name,
            runs=runs,
            root=root,
            resume=resume,
            labels=labels,
            track=track,
            progress=bars.progress,
            **overrides,
        )
    if as_json:
        _print_json({"run": str(done.folder), "metrics": done.metrics})
    else:
        _print_run(done.folder, done.metrics)


@app.command()
def check(
    data: Data,
    name: Annotated[str | None, typer.Option(help=_("Name of the folder; the data's own by default."))] = None,
    labels: Annotated[Path | None, typer.Option(help=_("A suspects.csv with corrected labels."))] = None,
    out: Annotated[Path, typer.Option(help=_("Folder in which the check's folder is made."))] = Path("checks"),
    choices: Choices = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with labelled pictures; exit code 3 where something serious was found."""
    from kilat.recipe import load
    from kilat.verbs import check, train

    settings = load("transfer", _overrides({}, choices))
    with _Bars() as bars:
        source = train.open_data(data, root, bars.progress, labels)
        done = check.check(
            source, settings, name=name or source.name, out=out, command=f"kilat check {data}", progress=bars.progress
        )
    if as_json:
        _print_json({"folder": str(done.folder), **done.document})
    else:
        _print_check(done.folder, done.document)
    raise typer.Exit(_SERIOUS if done.document["serious"] else 0)


@app.command()
def summary(
    recipe: Annotated[str, typer.Argument(help=_("A recipe, a model.onnx, or a run folder."))],
    classes: Annotated[int | None, typer.Option(help=_("How many classes to assume."))] = None,
    weights: Weights = None,
    size: Size = None,
    choices: Choices = None,
    out: Annotated[Path | None, typer.Option(help=_("Draw the network into this SVG file."))] = None,
    as_json: Json = False,
) -> None:
    """Show the layers of a network: shapes, parameters, multiply-accumulates, receptive fields; and draw it."""
    from kilat.report import network_diagram
    from kilat.runtime.files import write_file
    from kilat.verbs import inspect

    overrides = _overrides({"weights": weights, "size": _size(size)}, choices)
    found = inspect.summarise(recipe, overrides, classes)
    if out:
        write_file(out, network_diagram.standalone(network_diagram.volumes(found.rows, found.input_shape)))
    if as_json:
        _print_json(inspect.document(found))
    else:
        print(inspect.table(found))


@app.command()
def shape(
    question: Annotated[list[str], typer.Argument(help=_("Such as: 7x7, kernel 3, stride 2, valid"))],
) -> None:
    """Say what a kernel, a stride and a padding make of a shape."""
    from kilat.recipe.shapes import answer

    print(answer(" ".join(question)))


@app.command()
def schedule(
    recipe: RecipeArgument,
    steps: Annotated[int, typer.Option(help=_("Updates an epoch."))] = 100,
    choices: Choices = None,
    out: Annotated[Path, typer.Option(help=_("The SVG file to draw into."))] = Path("schedule.svg"),
    as_json: Json = False,
) -> None:
    """Draw the learning rate over the epochs of a recipe."""
    from kilat.recipe import load
    from kilat.report import curves, network_diagram
    from kilat.runtime.files import write_file
    from kilat.verbs import inspect

    settings = load(recipe, _overrides({}, choices))
    epochs, rates = inspect.rates(settings, steps)
    write_file(out, network_diagram.standalone(curves.schedule(epochs, [rates], [settings.fit.schedule.name])))
    if as_json:
        _print_json({"epochs": epochs, "rates": rates, "drawing": str(out)})
        return
    for epoch, rate in list(zip(epochs, rates, strict=True))[:: max(1, len(epochs) // 12)]:
        print(f"{epoch:8.2f}  {rate:.3g}")
    print(_("drawing {path}").format(path=out))


@app.command("lr-find")
def find_rate(  # noqa: PLR0917 - an option each
    data: Data,
    recipe: Annotated[str, typer.Option(help=_("A recipe with a network."))] = "vgg-cifar",
    steps: Annotated[int, typer.Option(min=10, help=_("How many rates to try."))] = 100,
    weights: Weights = None,
    size: Size = None,
    choices: Choices = None,
    out: Annotated[Path, typer.Option(help=_("The SVG file to draw into."))] = Path("lr-find.svg"),
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Try learning rates, from far too low to far too high, and suggest one."""
    from kilat.recipe import load
    from kilat.report import curves, network_diagram
    from kilat.runtime.files import write_file
    from kilat.verbs import inspect, train

    settings = load(recipe, _overrides({"weights": weights, "size": _size(size)}, choices))
    with _Bars() as bars:
        source = train.open_data(data, root, bars.progress)
        found = inspect.find_rate(source, settings, steps, bars.progress)
    write_file(out, network_diagram.standalone(curves.rate_finder(found.rates, found.losses, found.suggestion)))
    if as_json:
        _print_json({**vars(found), "drawing": str(out)})
    else:
        print(_("suggested learning rate {rate:.2g}").format(rate=found.suggestion))
        print(_("drawing {path}").format(path=out))


@app.command()
def preview(
    data: Data,
    recipe: Annotated[str, typer.Option(help=_("A recipe that augments."))] = "vgg-cifar",
    size: Size = None,
    seed: Annotated[int | None, typer.Option(help=_("Decides what is drawn."))] = None,
    choices: Choices = None,
    out: Annotated[Path, typer.Option(help=_("The PNG file to draw into."))] = Path("preview.png"),
    root: Root = None,
) -> None:
    """Show what augmentation makes of pictures."""
    from kilat.recipe import load
    from kilat.runtime.files import write_file
    from kilat.verbs import inspect, train

    settings = load(recipe, _overrides({"size": _size(size), "seed": seed}, choices))
    with _Bars() as bars:
        source = train.open_data(data, root, bars.progress)
    sheet, warnings = inspect.preview(source, settings)
    write_file(out, sheet)
    for warning in warnings:
        print(warning)
    print(_("drawing {path}").format(path=out))


@app.command("import")
def import_model(
    model: Annotated[Path, typer.Argument(help=_("A Keras classifier: model.keras or model.h5."))],
    classes: Annotated[str, typer.Option(help=_("Their names in the order of its answers: daisy,rose,tulip"))],
    pixels: Annotated[str, typer.Option(help=_("What it takes: 0..255, 0..1 or -1..1."))] = "0..255",
    resize: Annotated[str, typer.Option(help=_("How pictures are fitted: crop, squash or pad."))] = "squash",
    data: Annotated[str | None, typer.Option(help=_("Pictures to compare its answers on."))] = None,
    out: Annotated[Path, typer.Option(help=_("The model file to write."))] = Path("model.onnx"),
    as_json: Json = False,
) -> None:
    """Turn a saved Keras classifier into a kilat model, compared with the original on real pictures."""
    from kilat.verbs import inspect, train

    with _Bars() as bars:
        source = None if data is None else train.open_data(data, None, bars.progress)
        facts = inspect.import_keras(model, classes.split(","), pixels, resize, source, out)
    if as_json:
        _print_json({"model": str(out), **facts})
    else:
        print(_("model   {path}").format(path=out))


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help=_("The one to print, to be copied and edited."))] = None,
) -> None:
    """List the built-in recipes, or print one."""
    from kilat.recipe import about, built_in, text

    if name:
        print(text(name), end="")
        return
    for one in built_in():
        print(f"{one}: {about(one)}")


@app.command()
def backbones(
    search: Annotated[str, typer.Argument(help=_("Part of a name, or a pattern such as 'convnext*in22k*'."))] = "",
    sort: Annotated[
        Literal["name", "parameters", "macs", "accuracy"], typer.Option(help=_("What decides the order."))
    ] = "name",
    limit: Annotated[int, typer.Option(min=1, help=_("How many to show."))] = 20,
    here: Annotated[bool, typer.Option("--here", help=_("Only those whose weights are on this machine."))] = False,
    as_json: Json = False,
) -> None:
    """List or search the networks that can look at pictures."""
    from kilat.model import registry

    with _Bars() as bars:
        found = registry.find(search, sort=sort, limit=limit, here=here, advance=bars.progress(_("Counting")))
    if as_json:
        _print_json(registry.document(found))
    else:
        print(registry.table(found))


@app.command("eval")
def evaluate(
    model: Model,
    data: Annotated[str, typer.Argument(help=_("Labelled pictures, as for train."))],
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help=_("Also under noise, blur, weather and compression."))
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help=_("How many pictures to corrupt at most."))] = 200,
    out: Annotated[Path, typer.Option(help=_("The SVG file to draw that into."))] = Path("corruptions.svg"),
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Measure a model on other labelled pictures."""
    from kilat.verbs import train

    with _Bars() as bars:
        metrics = train.evaluate(model, data, root=root, progress=bars.progress, corruptions=corruptions, limit=limit)
    if corruptions:
        _draw_robustness(metrics["robustness"], out)
    if as_json:
        _print_json({"model": str(model), "metrics": metrics})
        return
    _print_measures(metrics)
    if corruptions:
        _print_robustness(metrics["robustness"], out)


@app.command()
def predict(
    model: Model,
    pictures: Annotated[list[Path], typer.Argument(help=_("Pictures, or folders of pictures."))],
    as_json: Json = False,
) -> None:
    """Answer what is on pictures."""
    from kilat.bundle.predictor import Refusal, load
    from kilat.data.listing import list_pictures

    classifier = load(model)
    refused = False
    for answer in classifier.answers(list_pictures(pictures)):
        refused |= isinstance(answer, Refusal)
        print(_answer_json(answer) if as_json else _answer_line(answer), flush=not as_json)
    raise typer.Exit(1 if refused else 0)


@app.command()
def drift(
    model: Model,
    pictures: Annotated[
        str, typer.Argument(help=_("New pictures: a folder, a table, an archive or a known set; labels do not matter."))
    ],
    as_json: Json = False,
) -> None:
    """Say whether new pictures still look like those a model was made for; exit code 3 if they do not."""
    from kilat.verbs import drift

    with _Bars() as bars:
        found = drift.drift(model, pictures, progress=bars.progress)
    if as_json:
        _print_json({"model": str(model), **found})
    else:
        print(*drift.sentences(found), sep="\n")
        print(_("Most different (how far, in standard deviations of known pictures):"))
        for one in found["most_different"][:10]:
            print(f"  {one['score']:5.1f}  {one['path']}")
    raise typer.Exit(3 if found["drifted"] else 0)


@app.command("data")
def known_sets(as_json: Json = False) -> None:
    """List the known data sets."""
    from kilat.data.datasets import list_datasets

    sets = list_datasets()
    if as_json:
        kept = ("name", "description", "pictures", "classes", "download_bytes", "licence", "url", "available")
        _print_json({"sets": [{key: getattr(one, key) for key in kept} for one in sets]})
        return
    for one in sets:
        here = _("here") if one.available else _("to download: {size}").format(size=_bytes(one.download_bytes))
        count = _("{pictures:,} pictures, {classes} classes").format(pictures=one.pictures, classes=len(one.classes))
        print(f"{one.name}: {one.description}\n  {count}; {one.licence}\n  {one.url} ({here})")


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
        self.bars: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars:
            self.bars.stop()

    def progress(self, name: str) -> "Advance":
        """A bar that appears when the stage first says how far it is."""
        if not self.bars:
            return ignore
        bars = self.bars
        tasks: list[Any] = []

        def advance(done: int, total: int, note: str = "") -> None:
            if not tasks:
                tasks.append(bars.add_task(name, total=None, rate=""))
            task = tasks[0]
            elapsed = bars.tasks[task].elapsed or 0.0
            rate = f"{done / elapsed:,.0f}/s" if elapsed else ""
            bars.update(task, completed=done, total=total, rate=rate, description=f"{name}: {note}" if note else name)

        return advance


def _overrides(given: dict[str, Any], choices: list[str] | None) -> dict[str, Any]:
    """The choices of a recipe that were made on the command line."""
    from kilat.recipe import parse_override

    return {key: value for key, value in given.items() if value is not None} | dict(map(parse_override, choices or []))


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
    if metrics.get("comparison"):
        from kilat.report.comparison import sentences

        print(*sentences(metrics["comparison"]), sep="\n")
    if metrics["check"]["serious"]:
        _print_findings([one for one in metrics["check"]["findings"] if one["severity"] == "serious"])
    print(_("report  {path}").format(path=folder / "report.html"))
    print(_("model   {path}").format(path=folder / "model.onnx"))


def _print_check(folder: Path, document: dict[str, Any]) -> None:
    data = document["data"]
    print(
        _("{used:,} pictures of {classes} classes, {refused:,} refused; {seconds:.1f} s").format(
            used=data["used"],
            classes=len(data["classes"]),
            refused=data["refused"],
            seconds=document["timing"]["total_s"],
        )
    )
    _print_findings(document["findings"])
    print(_("page    {path}").format(path=folder / "check.html"))
    print(_("labels  {path}").format(path=folder / "suspects.csv"))


def _print_findings(findings: list[dict[str, Any]]) -> None:
    """The findings, the serious ones first; a mark says how much each matters."""
    marks = {"serious": "!!", "look": " !", "note": "  "}
    for finding in sorted(findings, key=lambda one: list(marks).index(one["severity"])):
        print(f"{marks[finding['severity']]} {finding['title']}")
    if not findings:
        print(_("Nothing was found that is worth a look."))


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
    if sets := test.get("sets"):
        print(
            _(
                "sets hold the right class in {coverage:.1%} (target: {asked:.0%}), {size:.2f} classes on average"
            ).format(coverage=sets["coverage"], asked=sets["target_coverage"], size=sets["size"])
        )
    if unknown := test.get("unknown"):
        print(_("{share:.1%} of them were taken for none of the classes").format(share=unknown["share"]))
        if others := unknown.get("other_classes"):
            print(
                _("of {n:,} pictures of other classes, {share:.1%} were (AUROC {auroc:.3f})").format(
                    n=others["n"], share=others["share"], auroc=others["auroc"]
                )
            )


def _draw_robustness(measured: dict[str, Any], out: Path) -> None:
    from kilat.report import network_diagram, robustness
    from kilat.runtime.files import write_file

    write_file(out, network_diagram.standalone(robustness.figure(measured)))


def _print_robustness(measured: dict[str, Any], out: Path) -> None:
    from kilat.report import robustness

    print(robustness.table(measured))
    print(_("drawing {path}").format(path=out))


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
    if answer.unknown:
        return _("{path}: none of these (nearest: {label} {probability:.1%})").format(**vars(answer))
    others = [f"{name} {answer.probabilities[name]:.1%}" for name in answer.set if name != answer.label]
    more = _(" or {others}").format(others=", ".join(others)) if others else ""
    return f"{answer.path}: {answer.label} {answer.probability:.1%}{more}"


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
