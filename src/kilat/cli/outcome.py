"""How train, check and eval end: what came out, how far to believe it, what to look at, what to do next."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilat.cli.show import classes, glossary_command, pictures, print_names
from kilat.cli.terminal import linked, say, wrapped
from kilat.locale import _, ngettext
from kilat.locale.escapes import shell_command
from kilat.locale.notes import Note

if TYPE_CHECKING:
    from kilat.data.reading import Reading
    from kilat.learn.measures import Measures
    from kilat.learn.metrics import Evaluation, Metrics, NoteSection
    from kilat.verbs.check import Check
    from kilat.verbs.run import Run

_MARKS = {"serious": "!! ", "warning": " ! ", "note": "   "}
"""How much a finding matters, the most serious first."""

_LOOKED_AT = 3


def print_run(run: "Run") -> None:
    """Print what a training came to, what follows from it, what to do next, and where its report and its model are."""
    from kilat.report.diagnosis import diagnose
    from kilat.report.lead import DIAGNOSED

    metrics, start = run.metrics, run.start
    diagnosis = diagnose(run.content().evidence())
    said = {note.code for note in diagnosis}
    serious = [one for one in metrics.check.findings if one["severity"] == "serious"]
    _print_counts(metrics.data.used, metrics.data.classes, metrics.data.refused, metrics.timing["total_s"])
    say()
    _print_accuracy(metrics.measured, _measured_on(metrics))
    _print_uncertainty(metrics.test)
    if metrics.comparison is not None:
        from kilat.report.comparison import cost_sentence, sentences

        for sentence in (*sentences(metrics.comparison), cost_sentence(metrics.timing)):
            say(wrapped(sentence))
    say()
    for note in diagnosis:
        say(wrapped(note.sentence()))
    noted = _print_notes(metrics.notes, [one for one in serious if DIAGNOSED.get(one["kind"]) not in said])
    _print_mistakes(metrics.measured, metrics.data.classes)
    check = [] if start.data is None else [_check_command(start.data, start.root, start.reading, start.labels)]
    _print_next(_predict_command(run.folder), *check)
    say(_("report  {path}").format(path=linked(run.report)))
    say(_("model   {path}").format(path=linked(run.folder / "model.onnx")))
    if any(one["kind"] == "suspected_labels" for one in metrics.check.findings):
        say(_("labels  {path}").format(path=linked(run.folder / "suspects.csv")))
    _print_glossary("\n".join([*(note.sentence() for note in diagnosis), noted]))


def print_check(check: "Check") -> None:
    """Print what a check found, and where its page and its table of suspected labels are."""
    data, seconds = check.document["data"], check.document["timing"]["total_s"]
    _print_counts(data["used"], sorted(data["classes"]), data["refused"], seconds)
    noted = _print_notes([Note(**note) for note in check.document["notes"]], check.document["findings"])
    if not check.findings:
        say(_("Nothing was found that needs your attention."))
    say()
    say(_("page    {path}").format(path=linked(check.folder / "check.html")))
    say(_("labels  {path}").format(path=linked(check.folder / "suspects.csv")))
    _print_glossary(noted)


def print_evaluation(
    evaluation: "Evaluation", model: Path, data_given: str, root: Path | None, reading: "Reading"
) -> None:
    """Print how a model did on pictures that it was not trained on, and beside it on those that it was trained on.

    Args:
        evaluation: what was measured.
        model: the model file, or its run folder.
        data_given: the pictures, as they were named.
        root: a folder with copies of known sets.
        reading: how the pictures were read.
    """
    data = evaluation.data
    _print_counts(data.used, data.classes, data.refused, evaluation.timing["total_s"])
    say()
    _print_accuracy(evaluation.test, _on_test_pictures(evaluation.test.n))
    _print_uncertainty(evaluation.test)
    if (train := evaluation.train) is not None:
        sentence = ngettext(
            "{count:,} more picture is no test: the model was trained on it (accuracy {accuracy:.1%})",
            "{count:,} more pictures are no test: the model was trained on them (accuracy {accuracy:.1%})",
            train.n,
        )
        say(wrapped(sentence.format(count=train.n, accuracy=train.accuracy)))
    noted = _print_notes(evaluation.notes)
    _print_mistakes(evaluation.test, data.classes)
    _print_next(_predict_command(model), _check_command(data_given, None if root is None else str(root), reading))
    _print_glossary(noted)


def _print_counts(used: int, names: Sequence[str], refused: int, seconds: float) -> None:
    """Print how many pictures there are, and what the classes are called: a wrong one is seen at once."""
    say(
        _("{pictures} of {classes}, {refused:,} refused; {seconds:.1f} s").format(
            pictures=pictures(used), classes=classes(len(names)), refused=refused, seconds=seconds
        )
    )
    print_names(names)


def _on_test_pictures(count: int) -> str:
    return ngettext("on {count:,} test picture", "on {count:,} test pictures", count).format(count=count)


def _measured_on(metrics: "Metrics") -> str:
    """Return which pictures were measured on."""
    if metrics.test.n:
        return _on_test_pictures(metrics.test.n)
    sentence = _("in cross-validation on {pictures}, as there is no test set")
    if metrics.is_trained:
        sentence = _("on {pictures} for validation, which also chose the epoch, as there is no test set")
    return sentence.format(pictures=pictures(metrics.validation.n))


def _print_accuracy(measured: "Measures", pictures_measured_on: str) -> None:
    if measured.accuracy is None or measured.accuracy_interval is None:
        say(_("There are no pictures to test on."))
        return
    low, high = measured.accuracy_interval
    accuracy = _("accuracy {accuracy:.1%} {on} (95% interval {low:.1%} to {high:.1%})").format(
        accuracy=measured.accuracy, on=pictures_measured_on, low=low, high=high
    )
    say(wrapped(accuracy, "  ", first=""))
    if measured.majority.label is not None:
        baseline = _("baseline {accuracy:.1%}: always answering '{label}'")
        say(wrapped(baseline.format(accuracy=measured.majority.accuracy, label=measured.majority.label), "  "))
    scores = _("balanced accuracy {balanced:.1%}, log loss {loss:.3f}, calibration error {ece:.3f}").format(
        balanced=measured.balanced_accuracy, loss=measured.log_loss, ece=measured.ece
    )
    say(wrapped(scores, "  "))


def _print_uncertainty(test: "Measures") -> None:
    """Print what prediction sets and the detector of unknown pictures do on the test pictures."""
    if test.n and test.sets is not None:
        sets = _("sets contain the true class in {coverage:.1%} (target {target:.0%}), {size:.2f} classes on average")
        values = {"coverage": test.sets.coverage, "target": test.sets.target_coverage, "size": test.sets.size}
        say(wrapped(sets.format(**values), "  "))
    if test.n and test.unknown is not None:
        say(wrapped(_("{share:.1%} of them are reported as unknown").format(share=test.unknown.share), "  "))
        if (others := test.unknown.other_classes) is not None:
            sentence = ngettext(
                "of {count:,} picture of other classes {share:.1%} is (AUROC {auroc:.3f})",
                "of {count:,} pictures of other classes {share:.1%} are (AUROC {auroc:.3f})",
                others.n,
            )
            say(wrapped(sentence.format(count=others.n, share=others.share, auroc=others.auroc), "  "))


def _print_notes(notes: Sequence["Note | NoteSection"], findings: Iterable[Mapping[str, Any]] = ()) -> str:
    """Print what changes how far a result can be believed: findings, then notes, the weighty ones of both first.

    Returns:
        What they say.

    Args:
        notes: about the result.
        findings: in the data; a mark says how much each matters.
    """
    from kilat.check import sentences
    from kilat.report.lead import by_weight

    lines = [
        (_MARKS[one["severity"]], sentences.title(one["kind"], one["values"]))
        for one in sorted(findings, key=lambda one: list(_MARKS).index(one["severity"]))
    ]
    lines += [(" - ", sentence) for weight in by_weight(notes) for sentence in weight]
    if lines:
        say(_("\nNotes:"))
    for mark, sentence in lines:
        say(wrapped(sentence, "   ", first=mark))
    return "\n".join(sentence for _mark, sentence in lines)


def _print_glossary(text: str) -> None:
    """Print the command that explains the words of what was said."""
    if command := glossary_command(text):
        say(_("words   {command}").format(command=command))


def _print_mistakes(measured: "Measures", names: Sequence[str]) -> None:
    """Print the most frequent mistakes; where none happened twice, the classes that are recognised least."""
    from kilat.report.tables import confused_pairs

    pairs = confused_pairs(names, measured.confusion)[:_LOOKED_AT]
    if not pairs:
        return
    say(_("\nLook at:"))
    if pairs[0].count > 1:
        template = _("'{truth}' answered as '{predicted}': {count:,} of {support:,}")
        lines = [template.format(**vars(pair)) for pair in pairs]
    else:
        template = _("'{label}': {recall:.0%} of {pictures} recognised")
        known = [
            (one.recall, label, one.support) for label, one in measured.per_class.items() if one.recall is not None
        ]
        weakest = [one for one in sorted(known) if one[0] < 1]
        lines = [
            template.format(recall=one[0], label=one[1], pictures=pictures(one[2])) for one in weakest[:_LOOKED_AT]
        ]
    for line in lines:
        say(wrapped(line, "     ", first="   "))


def _print_next(*commands: str) -> None:
    """Print commands as they can be pasted, whole however wide the terminal is."""
    say(_("\nNext:"))
    for command in commands:
        say(f"   {command}")
    say()


def _predict_command(model: Path) -> str:
    return shell_command("kilat", "predict", str(model), "photo.jpg")


def _check_command(data: str, root: str | None, reading: "Reading", labels: str | None = None) -> str:
    """Return the command that checks the data that was given; paths below the folder that one is in are short."""
    names = ("path_column", "label_column", "split_column", "images", "class_from")
    said = {f"--{name.replace('_', '-')}": getattr(reading, name) for name in names}
    options = {"--root": root, "--labels": labels, **said}
    given = [part for name, value in options.items() if value is not None for part in (name, _short(value))]
    return shell_command("kilat", "check", _short(data), *given)


def _short(path: str) -> str:
    """Return an absolute path relative to the current folder where it is in it; anything else as it is."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
