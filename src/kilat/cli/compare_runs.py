"""The verb that compares finished runs: compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilat.cli import show
from kilat.cli.options import Json
from kilat.cli.terminal import linked, say, wrapped
from kilat.cli.verb import verb
from kilat.locale import N_, _, localized, ngettext
from kilat.locale.escapes import visible

if TYPE_CHECKING:
    from kilat.report.run_comparison import ComparedPair, RunComparison

FAMILY = "Train"

_WIDTH, _LONGEST_NAME, _LEAST_VALUE = 80, 24, 12


@verb(FAMILY, "kilat compare runs/flowers runs/flowers-2", "kilat compare runs/* --json", name="compare")
def compare(
    runs: Annotated[list[Path], typer.Argument(help=N_("Folders of two or more finished runs."))],
    out: Annotated[Path, typer.Option(help=N_("The page to write."))] = Path("comparison.html"),
    as_json: Json = False,
) -> None:
    """Compare runs on the test pictures that they share."""
    from kilat.report import compare_page
    from kilat.runtime.files import require_writable, write_file
    from kilat.verbs.compare import compare
    from kilat.verbs.run_folder import fitting_together

    require_writable(out)
    comparison = compare(*runs)
    with fitting_together(", ".join(map(str, runs))):
        page = compare_page.render(comparison)
        document = comparison.document()
    write_file(out, page)
    if as_json:
        show.print_json({"page": str(out), **document})
        return
    _print_runs(comparison)
    say()
    say(wrapped(" ".join(comparison.verdict())))
    for pair in comparison.main_pairs:
        _print_pair(pair)
    for note in comparison.notes:
        say(wrapped(note.sentence()))
    _print_options(comparison)
    say(_("page    {path}").format(path=linked(out)))


def _print_runs(comparison: "RunComparison") -> None:
    """Print a line for every run, its measures on the common test pictures."""
    sentence = ngettext(
        "{runs} runs on the {count:,} test picture that they have in common",
        "{runs} runs on the {count:,} test pictures that they have in common",
        comparison.n,
    )
    say(sentence.format(runs=len(comparison.runs), count=comparison.n))
    say()
    rows = [("", _("accuracy"), _("95% interval"), _("log loss"), _("time"), _("model"))]
    for run in comparison.runs:
        found = run.document()
        low, high = found["accuracy_interval"]
        rows.append(
            (
                _shortened(found["name"], _LONGEST_NAME),
                localized(found["accuracy"], ".1%"),
                f"{localized(low, '.1%')} – {localized(high, '.1%')}",
                localized(found["log_loss"], ".3f"),
                _("{s:.1f} s").format(s=found["seconds"]),
                show.size(found["model_bytes"]),
            )
        )
    say(*_aligned(rows))


def _print_pair(pair: "ComparedPair") -> None:
    """Print how the second of two runs differs from the first."""
    test = pair.test
    (low, high), (least, most) = test.accuracy.interval, test.log_loss.interval
    differences = _("accuracy {points} ({low} to {high}), log loss {loss} ({least} to {most}), {p}").format(
        points=localized(test.accuracy.value * 100, "+.1f"),
        low=localized(low * 100, "+.1f"),
        high=localized(high * 100, "+.1f"),
        loss=localized(test.log_loss.value, "+.3f"),
        least=localized(least, "+.3f"),
        most=localized(most, "+.3f"),
        p=pair.p_text,
    )
    counts = _("right only in {first}: {lost:,}, only in {second}: {gained:,}").format(
        first=pair.first.name, second=pair.second.name, gained=test.only_second, lost=test.only_first
    )
    say(f"  {pair.first.name} → {pair.second.name}")
    say(wrapped(differences, "    "))
    say(wrapped(counts, "    "))


def _print_options(comparison: "RunComparison") -> None:
    """Print what differs in the recipes, a line an option; long values are shortened."""
    if not comparison.options:
        say(_("The recipes are the same."))
        return
    say(_("What differs in the recipes:"))
    count = len(comparison.runs)
    longest = min(max(len(path) for path, _values in comparison.options), 34)
    room = max(_LEAST_VALUE, (_WIDTH - 2 - longest - 2 * count) // count)
    rows = [("", *(_shortened(run.name, room) for run in comparison.runs))]
    for path, values in comparison.options:
        rows.append((_shortened(path, longest), *("–" if v is None else _shortened(v, room) for v in values)))
    say(*_aligned(rows, right=False))


def _aligned(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """Return rows as lines whose columns are aligned, all but the first to the right or to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [one.rjust(width) if right else one.ljust(width) for one, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip())
    return lines


def _shortened(text: str, width: int) -> str:
    text = visible(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"
