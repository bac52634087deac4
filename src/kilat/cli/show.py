"""What verbs print: results in sentences, or as one line of JSON."""

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilat.locale import _, ngettext
from kilat.locale.lists import listed
from kilat.locale.notes import Note
from kilat.runtime import progress_bars
from kilat.runtime.progress import Progress, silent

if TYPE_CHECKING:
    from kilat.bundle.predictor import Prediction, RefusedPicture
    from kilat.learn.measures import Measures
    from kilat.learn.metrics import Evaluation, Metrics
    from kilat.verbs.check import Check

_MARKS = {"serious": "!!", "warning": " !", "note": "  "}
"""How much a finding matters, the most serious first."""


_NAMED_CLASSES = 10
_LONG_NAME = 40
_LIKELIEST = 3
_WORTH_NAMING = 0.01
"""How many classes a model without prediction sets names, and how likely they are at least."""


def print_json(document: dict[str, Any]) -> None:
    """Print a document as one line of strict JSON."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str))


def progress(*, quiet: bool) -> contextlib.AbstractContextManager[Progress]:
    """Return what shows progress on standard error, in plain lines where that is no terminal, or nothing."""
    return progress_bars.show(silent if quiet else None, plain=True)


def open_page(path: Path) -> None:
    """Open a page in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        print(_("No browser could be started; open {path}.").format(path=path), file=sys.stderr)


def print_run(folder: Path, metrics: "Metrics") -> None:
    """Print what a training came to, and where its report and its model are."""
    _print_counts(metrics.data.used, metrics.data.classes, metrics.data.refused, metrics.timing["total_s"])
    print_test(metrics.test)
    if metrics.comparison is not None:
        from kilat.report.comparison import cost_sentence, sentences

        print(*sentences(metrics.comparison), cost_sentence(metrics.timing), sep="\n")
    print_notes(metrics.document()["notes"])
    _print_findings([one for one in metrics.check.findings if one["severity"] == "serious"])
    print(_("report  {path}").format(path=folder / "report.html"))
    print(_("model   {path}").format(path=folder / "model.onnx"))


def print_check(check: "Check") -> None:
    """Print what a check found, and where its page and its table of suspected labels are."""
    data, seconds = check.document["data"], check.document["timing"]["total_s"]
    _print_counts(data["used"], sorted(data["classes"]), data["refused"], seconds)
    print_notes(check.document["notes"])
    _print_findings(check.document["findings"])
    if not check.findings:
        print(_("Nothing was found that needs your attention."))
    print(_("page    {path}").format(path=check.folder / "check.html"))
    print(_("labels  {path}").format(path=check.folder / "suspects.csv"))


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print how a model did on pictures that it was not trained on, and beside it on those that it was trained on."""
    data = evaluation.data
    _print_counts(data.used, data.classes, data.refused, evaluation.timing["total_s"])
    print_test(evaluation.test)
    if (train := evaluation.train) is not None:
        sentence = ngettext(
            "{count:,} more picture is no test: the model was trained on it (accuracy {accuracy:.1%})",
            "{count:,} more pictures are no test: the model was trained on them (accuracy {accuracy:.1%})",
            train.n,
        )
        print(sentence.format(count=train.n, accuracy=train.accuracy))
    print_notes(evaluation.document()["notes"])


def print_notes(notes: Iterable[dict[str, Any]]) -> None:
    """Print what changes how far a result can be believed; a note is a ``code`` with ``values``."""
    for note in notes:
        print(Note(**note).sentence())


def print_test(test: "Measures") -> None:
    """Print the measures on the test pictures."""
    if test.accuracy is None or test.accuracy_interval is None:
        print(_("There are no pictures to test on."))
        return
    low, high = test.accuracy_interval
    accuracy = ngettext(
        "accuracy {accuracy:.1%} on {count:,} test picture (95% interval {low:.1%} to {high:.1%})",
        "accuracy {accuracy:.1%} on {count:,} test pictures (95% interval {low:.1%} to {high:.1%})",
        test.n,
    )
    print(accuracy.format(accuracy=test.accuracy, count=test.n, low=low, high=high))
    print(
        _("balanced accuracy {balanced:.1%}, log loss {loss:.3f}, calibration error {ece:.3f}").format(
            balanced=test.balanced_accuracy, loss=test.log_loss, ece=test.ece
        )
    )
    if test.sets is not None:
        print(
            _(
                "sets contain the true class in {coverage:.1%} (target {target:.0%}), {size:.2f} classes on average"
            ).format(coverage=test.sets.coverage, target=test.sets.target_coverage, size=test.sets.size)
        )
    if test.unknown is not None:
        print(_("{share:.1%} of them are reported as unknown").format(share=test.unknown.share))
        if (others := test.unknown.other_classes) is not None:
            sentence = ngettext(
                "of {count:,} picture of other classes {share:.1%} is (AUROC {auroc:.3f})",
                "of {count:,} pictures of other classes {share:.1%} are (AUROC {auroc:.3f})",
                others.n,
            )
            print(sentence.format(count=others.n, share=others.share, auroc=others.auroc))


def print_import(described: dict[str, Any]) -> None:
    """Print what an imported model is, how it compares with Keras, and how it does on labelled pictures."""
    names, parity, labelled = described["classes"], described["parity"], described["labelled"]
    _print_names(names)
    sentence = ngettext(
        "as Keras on {count:,} picture: a probability differs by {probability:.1e}, a logit by {logit:.1e} of how "
        "logits vary",
        "as Keras on {count:,} pictures: a probability differs by at most {probability:.1e}, a logit by {logit:.1e} of "
        "how logits vary",
        parity["pictures"],
    )
    values = {"probability": parity["max_difference"], "logit": parity["logit_difference"]}
    print(sentence.format(count=parity["pictures"], **values))
    if labelled:
        taken = described["pixels"]
        print(
            ngettext(
                "accuracy on {count:,} labelled picture, pixels as",
                "accuracy on {count:,} labelled pictures, pixels as",
                labelled["n"],
            ).format(count=labelled["n"])
        )
        for scale, accuracy in labelled["accuracies"].items():
            print(f"  {scale:8}{accuracy:7.1%}" + (_("  taken") if scale == taken else ""))
    print_notes(described["notes"])


def print_prediction(prediction: "Prediction | RefusedPicture", *, as_json: bool, has_sets: bool) -> None:
    """Print one prediction, or why there is none; lines for people appear at once.

    Args:
        prediction: for a picture.
        as_json: whether as one line of JSON.
        has_sets: whether the model rules classes out; otherwise the likeliest are named.
    """
    from kilat.bundle.predictor import RefusedPicture

    if as_json and isinstance(prediction, RefusedPicture):
        error = {"kind": prediction.error.kind, "message": prediction.error.message}
        print_json({"path": prediction.path, "error": error})
    elif as_json:
        print_json(vars(prediction))
    elif isinstance(prediction, RefusedPicture):
        line = _("{path}: refused: {reason}").format(path=prediction.path, reason=prediction.error.message)
        print(line, flush=True)
    elif prediction.unknown:
        line = _("{path}: none of these (nearest: {label} {probability:.1%})").format(**vars(prediction))
        print(line, flush=True)
    else:
        named = [name for name in prediction.set if name != prediction.label]
        if not has_sets:
            named = [name for name in named if prediction.probabilities[name] >= _WORTH_NAMING][: _LIKELIEST - 1]
        others = [f"{name} {prediction.probabilities[name]:.1%}" for name in named]
        more = _(" or {others}").format(others=", ".join(others)) if others else ""
        print(f"{prediction.path}: {prediction.label} {prediction.probability:.1%}{more}", flush=True)


def print_hints(codes: Iterable[str]) -> None:
    """Print what to do about pictures that were refused with these codes."""
    from kilat.locale.refusals import refusal_hint

    for hint in filter(None, map(refusal_hint, sorted(codes))):
        print(hint)


def print_written(path: Path) -> None:
    """Print the name of a file that was written."""
    print(_("wrote {path}").format(path=path))


def size(count: int) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def pictures(count: int) -> str:
    """Return a number of pictures in words."""
    return ngettext("{count:,} picture", "{count:,} pictures", count).format(count=count)


def classes(count: int) -> str:
    """Return a number of classes in words."""
    return ngettext("{count:,} class", "{count:,} classes", count).format(count=count)


def _print_counts(used: int, names: Sequence[str], refused: int, seconds: float) -> None:
    """Print how many pictures there are, and what the classes are called: a wrong one is seen at once."""
    print(
        _("{pictures} of {classes}, {refused:,} refused; {seconds:.1f} s").format(
            pictures=pictures(used), classes=classes(len(names)), refused=refused, seconds=seconds
        )
    )
    _print_names(names)


def _print_names(names: Sequence[str]) -> None:
    shortened = [name if len(name) <= _LONG_NAME else name[: _LONG_NAME - 1] + "…" for name in names]
    print(_("classes: {names}").format(names=listed(shortened, _NAMED_CLASSES)))


def _print_findings(findings: list[dict[str, Any]]) -> None:
    """Print the titles of findings, the serious ones first; a mark says how much each matters."""
    from kilat.check import sentences

    for finding in sorted(findings, key=lambda one: list(_MARKS).index(one["severity"])):
        print(_MARKS[finding["severity"]], sentences.title(finding["kind"], finding["values"]))
