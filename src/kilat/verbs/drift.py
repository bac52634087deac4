"""``kilat.drift``: whether new pictures still look like those that a model was made for; they need no labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kilat.bundle.predictor import Classifier, ModelOutput, load
from kilat.data.catalog import Source
from kilat.data.reading import Reading
from kilat.data.unlabelled import Unlabelled, open_unlabelled
from kilat.errors import ModelFileError, PictureError, SourceError
from kilat.evaluate.drift import MIN_PICTURES, compare
from kilat.locale import _, ngettext
from kilat.locale.notes import Note
from kilat.report import drift_page
from kilat.report.drift_page import DifferentPicture, DriftPage
from kilat.report.pictures import LARGE, Thumbnail, make_thumbnail
from kilat.runtime import progress_bars
from kilat.runtime.array_types import Floats
from kilat.runtime.files import UnwritableError, require_writable, write_file
from kilat.runtime.progress import Advance, Progress
from kilat.verbs import request

LEVEL = 0.01
"""The p-value up to which there is drift: so often it is found in pictures of the same source."""

SHOWN = 20
"""How many of the pictures that differ most are named."""

_REASONS = 3
"""How many reasons of refusals are named."""


@dataclass(frozen=True)
class DriftReport:
    """How new pictures compare with those that a model was made for.

    Args:
        pictures: that were classified.
        refused: that could not be read.
        reasons: how many were refused for each reason, by its code (``kilat.locale.refusals``).
        compared: how many of the new pictures were compared.
        reference: with how many.
        p_value: how often pictures of one source would differ as much, from 0.001 to 1.
        drifted: whether that is at most 0.01.
        distance: by how much pictures of different sides lie farther apart than those of one side, as a share.
        auroc: how well new pictures can be told from the reference; 0.5 is guessing.
        unknown: ``flagged`` pictures, their ``share``, the share ``expected`` and the ``p_value`` of as many or more
            (binomial, one-sided); None where the model has no detector.
        predicted: the share of pictures predicted as each class.
        most_different: ``path`` and ``score`` of up to 20 pictures, the most different first.
    """

    pictures: int
    refused: int
    reasons: dict[str, int]
    compared: int
    reference: int
    p_value: float
    drifted: bool
    distance: float
    auroc: float
    unknown: dict[str, Any] | None
    predicted: dict[str, float]
    most_different: list[dict[str, Any]]

    def __repr__(self) -> str:
        return f"DriftReport(drifted={self.drifted}, p_value={self.p_value:.3f}, pictures={self.pictures})"

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {"schema": 1, **asdict(self)}

    def sentences(self) -> list[str]:
        """Return the result in words, in the language of the environment."""
        verdict = (
            _("Drift: the new pictures differ from those the model was made for (p = {p:.3f}).")
            if self.drifted
            else _("No drift was found: the new pictures may well be of the same kind (p = {p:.3f}).")
        )
        counts = _(
            "Pictures classified: {pictures:,}; refused: {refused:,}; compared: {compared:,} with {reference:,}."
        )
        lines = [
            verdict.format(p=self.p_value),
            _("A new picture can be told from a known one in {auroc:.0%} of pairs; 50% is guessing.").format(
                auroc=self.auroc
            ),
            counts.format(**vars(self)),
        ]
        for code, count in Counter(self.reasons).most_common(_REASONS):
            lines.append(Note("refused", {"count": count, "code": code, "detail": "…"}).sentence())
        if self.unknown:
            line = ngettext(
                "Unlike all training pictures: {share:.1%} ({flagged:,} picture); {expected:.1%} are expected.",
                "Unlike all training pictures: {share:.1%} ({flagged:,} pictures); {expected:.1%} are expected.",
                self.unknown["flagged"],
            )
            lines.append(line.format(**self.unknown))
        return lines


def drift(  # noqa: PLR0913 - a choice each
    model: str | Path | Classifier,
    data: str | Path | Source | Sequence[str | Path],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    images: str | Path | None = None,
    progress: Progress | None = None,
    page: str | Path | None = None,
    command: str = "",
) -> DriftReport:
    """Compare new pictures with those that a model keeps for comparison.

    Args:
        model: a ``model.onnx``, the run folder that holds it, or a classifier.
        data: a folder of pictures at any depth, a table, an archive, the name of a known set, a list of these and of
            pictures, or a source. Labels are ignored, and none are needed.
        path_column: of a table, where kilat does not find the column with the pictures by itself.
        label_column: of a table, the column with their labels.
        split_column: of a table, the column that says train, validation or test.
        images: the folder with the pictures that a table names.
        progress: that shows its stages (``kilat.runtime.progress``); by default a terminal or a notebook does.
        page: the HTML file in which the result is shown, with the pictures that differ most; None for none.
        command: that asked for this, to be shown there; by default the call.

    Raises:
        KilatError: the model cannot be read or keeps too few pictures for comparison, or there are too few new ones.
    """
    begun = request.now()
    if page is not None:
        require_writable(Path(page))
    with progress_bars.show(progress) as shown:
        with shown.stage(_("Loading the model")):
            classifier, name = (model, _("the model")) if isinstance(model, Classifier) else (load(model), str(model))
            reference = _require_reference(classifier, name)
        reading = Reading.of(path_column, label_column, split_column, images)
        with shown.stage(_("Reading new pictures"), unit="bytes") as stage:
            pictures = open_unlabelled(data, reading, stage.advance)
        with shown.stage(_("Classifying pictures")) as stage:
            classified = _classify(classifier, pictures, stage.advance)
        outputs = classified.outputs
        with shown.stage(_("Comparing the pictures")):
            found = compare(reference, _require_embeddings(outputs, reference.shape[1], name))
        answers = np.array([output.probabilities.argmax() for output in outputs])
        counts = np.bincount(answers, minlength=len(classifier.classes))
        first = np.argsort(-found.scores, kind="stable")[:SHOWN]
        paths = [pictures.paths[position] for position in classified.positions]
        report = DriftReport(
            pictures=len(outputs),
            refused=len(pictures.paths) - len(outputs),
            reasons=classified.refusals,
            compared=found.compared,
            reference=len(reference),
            p_value=found.p_value,
            drifted=found.p_value <= LEVEL,
            distance=found.distance,
            auroc=found.auroc,
            unknown=_count_unknown(classifier, outputs),
            predicted=dict(zip(classifier.classes, (counts / len(outputs)).tolist(), strict=True)),
            most_different=[{"path": paths[row], "score": float(found.scores[row])} for row in first],
        )
        if page is not None:
            with shown.stage(_("Writing the page")):
                different = [
                    DifferentPicture(
                        path=paths[row],
                        score=float(found.scores[row]),
                        predicted=classifier.classes[answers[row]],
                        thumbnail=_thumbnail(pictures, classified.positions[row]),
                    )
                    for row in first.tolist()
                ]
                content = DriftPage(
                    name=request.title(name, data),
                    command=command or request.python_call("drift", model, data),
                    begun=begun,
                    pictures=len(outputs),
                    sentences=report.sentences(),
                    predicted=dict(zip(classifier.classes, counts.tolist(), strict=True)),
                    most_different=different,
                )
                try:
                    write_file(Path(page), drift_page.render(content))
                except UnwritableError as error:
                    error.result = report
                    raise
    return report


class _Classified(NamedTuple):
    """What a model answered: the positions of the pictures that could be read, the answers to them, and refusals."""

    positions: list[int]
    outputs: list[ModelOutput]
    refusals: dict[str, int]


def _classify(classifier: Classifier, pictures: Unlabelled, advance: Advance) -> _Classified:
    """Return the answers to new pictures.

    Raises:
        SourceError: there are too few.
    """
    positions: list[int] = []
    outputs: list[ModelOutput] = []
    refusals: Counter[str] = Counter()
    for position, output in enumerate(classifier.outputs(pictures.read())):
        if isinstance(output, PictureError):
            refusals[output.refusal.code] += 1
        else:
            positions.append(position)
            outputs.append(output)
        advance(position + 1, len(pictures.paths))
    if len(outputs) < MIN_PICTURES:
        raise SourceError(
            _("There are too few pictures to compare: {count} can be read, at least {fewest} are needed.").format(
                count=len(outputs), fewest=MIN_PICTURES
            ),
            hint=_("Give more pictures; 200 are enough to notice most changes."),
        )
    return _Classified(positions, outputs, dict(refusals))


def _thumbnail(pictures: Unlabelled, position: int) -> Thumbnail | None:
    try:
        return make_thumbnail(pictures.readers[position](), LARGE)
    except (PictureError, MemoryError):
        return None


def _require_reference(classifier: Classifier, name: str) -> Floats:
    """Return the embeddings that a model keeps for comparison.

    Raises:
        ModelFileError: there are none, or too few.
    """
    reference = classifier.reference
    if reference is None:
        raise ModelFileError(
            _("{model} keeps no pictures to compare new ones with.").format(model=name),
            hint=_("Train it again with this kilat: kilat train DATA"),
        )
    if len(reference) < MIN_PICTURES:
        message = ngettext(
            "{model} keeps {count} picture to compare new ones with; at least {fewest} are needed.",
            "{model} keeps {count} pictures to compare new ones with; at least {fewest} are needed.",
            len(reference),
        )
        raise ModelFileError(
            message.format(model=name, count=len(reference), fewest=MIN_PICTURES),
            hint=_("Train it again with more test pictures: kilat train DATA --set data.test=0.3"),
        )
    return reference


def _require_embeddings(outputs: Sequence[ModelOutput], width: int, name: str) -> Floats:
    """Return the embeddings of the new pictures, ``[n, width]``.

    Raises:
        ModelFileError: they are not as wide as the reference, or not finite.
    """
    if any(output.embedding.shape != (width,) or not np.isfinite(output.embedding).all() for output in outputs):
        raise ModelFileError(
            _("{model} is damaged: its embeddings cannot be compared with its reference.").format(model=name)
        )
    return np.array([output.embedding for output in outputs])


def _count_unknown(classifier: Classifier, outputs: Sequence[ModelOutput]) -> dict[str, Any] | None:
    """Return how many pictures are unlike all training pictures, beside how many known ones would be."""
    from scipy.stats import binomtest

    rate = classifier.manifest.thresholds.get("unknown", {}).get("rate")
    if rate is None:
        return None
    flagged, n = sum(output.ood_score > 0 for output in outputs), len(outputs)
    p_value = float(binomtest(flagged, n, rate, alternative="greater").pvalue)
    return {"flagged": flagged, "share": flagged / n, "expected": rate, "p_value": p_value}
