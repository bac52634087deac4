"""``kilat.evaluate``: a finished model measured on other labelled pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from kilat.bundle.predictor import Classifier, load
from kilat.data.catalog import Catalog
from kilat.data.reading import Reading
from kilat.data.source import require_pictures
from kilat.data.source_notes import notes_about
from kilat.data.split import Part, all_used, resolve_duplicates
from kilat.evaluate.metrics import measure
from kilat.evaluate.out_of_distribution import auroc
from kilat.learn import metadata
from kilat.learn.metrics import Evaluation
from kilat.learn.metrics import Part as MainMeasures
from kilat.learn.uncertainty import count_flagged, set_measures
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.report import evaluation_page
from kilat.report.evaluation_page import EvaluationPage
from kilat.report.illustrations import rows_looked_at
from kilat.report.pictures import make_thumbnails
from kilat.runtime import progress_bars
from kilat.runtime.array_types import Flags, Ints
from kilat.runtime.files import UnwritableError, require_writable, write_file
from kilat.runtime.progress import Progress
from kilat.runtime.timer import Timer
from kilat.verbs import request
from kilat.verbs.answers import Answers, classify, select_test_pictures, with_classes_of
from kilat.verbs.open_data import Data, Labels, open_data
from kilat.verbs.robustness import LIMIT, measure_robustness


def evaluate(  # noqa: PLR0913 - a choice each
    model: str | Path | Classifier,
    data: Data,
    *,
    labels: Labels | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
    class_from: str | None = None,
    corruptions: bool = False,
    limit: int = LIMIT,
    progress: Progress | None = None,
    page: str | Path | None = None,
    command: str = "",
) -> Evaluation:
    """Measure a finished model on other labelled pictures, as a run measures its own test pictures.

    Pictures that the model was trained on, byte for byte, are told apart: ``train`` is measured on them, all else
    on the others alone. Where the data brings a test split, only that is used. Notes say what was left out.

    Args:
        model: a ``model.onnx``, the run folder that holds it, or a classifier.
        data: labelled pictures, as for ``kilat.train``; one class is enough.
        labels: with pictures, the label of each; with other data, a table of corrected labels.
        root: a folder that already holds copies of a known set.
        path_column: of a table, where kilat does not find the column with the pictures by itself.
        label_column: of a table, the column with their labels.
        split_column: of a table, the column that says train, validation or test.
        images: the folder with the pictures that a table names.
        class_from: what names the class: ``first-folder``, ``last-folder``, all ``folders``, or the ``file-name``.
        corruptions: whether to measure ``robustness`` as well, on corrupted copies of the test pictures.
        limit: of how many pictures at most.
        progress: that shows its stages (``kilat.runtime.progress``); by default a terminal or a notebook does.
        page: the HTML file in which the result is shown, with mistakes as pictures; None for none.
        command: that asked for this, to be shown there; by default the call.

    Raises:
        KilatError: the model or the data cannot be read, or no picture of a class that the model knows is left.
    """
    timer, begun = Timer(), request.now()
    reading = Reading.of(path_column, label_column, split_column, images, class_from)
    if page is not None:
        require_writable(Path(page))
    with progress_bars.show(progress) as shown:
        with shown.stage(_("Loading the model")):
            classifier = model if isinstance(model, Classifier) else load(model)
        source = open_data(data, labels, root, shown, reading=reading, one_class=True)
        require_pictures(source, source.name)
        catalog = Catalog.from_entries(with_classes_of(source.entries, classifier.classes))
        ood_rows, notes = select_test_pictures(catalog, classifier.classes)
        with timer.measure("answers_s"), shown.stage(_("Classifying pictures")) as stage:
            answers = classify(classifier, source, catalog, stage.advance, ood_rows)
        resolve_duplicates(catalog)
        pictures = all_used(catalog, classifier.classes)
        was_trained_on, unsaid = find_training_pictures(classifier, catalog)
        train, test = (pictures.take(np.flatnonzero(was_trained_on[pictures.rows] == one)) for one in (True, False))
        robustness = {}
        if corruptions and len(test.rows):
            with timer.measure("robustness_s"), shown.stage(_("Classifying corrupted pictures")) as stage:
                rows, truth = test.rows, test.truth
                found = measure_robustness(classifier, source, rows, truth, limit=limit, advance=stage.advance)
                robustness = {"robustness": found}
        evaluation = Evaluation.model_validate(
            {
                "schema": 1,
                "notes": [note.document() for note in [*notes_about(source, catalog), *notes, *unsaid]],
                "data": {
                    "used": len(pictures.rows),
                    "refused": len(catalog.table) - len(pictures.rows),
                    "reasons": catalog.refusal_counts,
                    "classes": list(classifier.classes),
                    "train": len(train.rows),
                    "test": len(test.rows),
                },
                "test": measure_answers(classifier, test, answers, ood_rows[~was_trained_on[ood_rows]]),
                **({"train": measure_train(classifier, train, answers)} if len(train.rows) else {}),
                **robustness,
                "timing": timer.timings(),
            }
        )
        if page is not None:
            with shown.stage(_("Writing the page")):
                parts = [(test, answers.probabilities[test.rows])]
                predictions = metadata.predictions(catalog, list(classifier.classes), parts).assign(split="test")
                content = EvaluationPage(
                    name=request.title(model, data),
                    command=command or request.python_call("evaluate", model, data),
                    begun=begun,
                    evaluation=evaluation,
                    own_test=classifier.manifest.measures.get("test", {}),
                    catalog=catalog.table,
                    predictions=predictions,
                    thumbnails=make_thumbnails(source, catalog, rows_looked_at(catalog, predictions)),
                )
                try:
                    write_file(Path(page), evaluation_page.render(content))
                except UnwritableError as error:
                    error.result = evaluation
                    raise
    return evaluation


def find_training_pictures(classifier: Classifier, catalog: Catalog) -> tuple[Flags, list[Note]]:
    """Return which rows are pictures that a model was trained on, and a note where its file does not say that."""
    found = classifier.was_trained_on(catalog.table["digest"].tolist())
    if found is None:
        return np.zeros(len(catalog.table), bool), [Note("training_pictures_unknown")]
    return found, []


def measure_train(classifier: Classifier, train: Part, answers: Answers) -> dict[str, Any]:
    """Return the main measures of a finished model's answers to pictures that it was trained on."""
    found = measure(train.truth, answers.probabilities[train.rows], classifier.classes)
    return {name: found[name] for name in MainMeasures.model_fields}


def measure_answers(classifier: Classifier, test: Part, answers: Answers, ood_rows: Ints) -> dict[str, Any]:
    """Return the measures of a finished model's answers, sets and unknown pictures included.

    Args:
        classifier: the model.
        test: pictures of its classes.
        answers: to every row of the catalog.
        ood_rows: rows of pictures of other classes.
    """
    probabilities = answers.probabilities[test.rows]
    measures = measure(test.truth, probabilities, classifier.classes)
    measures["sets"] = set_measures(classifier.sets, probabilities, test, classifier.classes)
    if "unknown" in classifier.manifest.thresholds:
        known, others = answers.ood_scores[test.rows], answers.ood_scores[ood_rows]
        others = others[~np.isnan(others)]
        measures["unknown"] = count_flagged(known)
        if len(others):
            measures["unknown"]["other_classes"] = count_flagged(others) | {"auroc": auroc(known, others)}
    return measures
