"""Whether new pictures still look like those that a model was made for; they need no labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.predictor import Answer, Classifier, load
from kilat.data.archive import SUFFIXES as ARCHIVES
from kilat.data.catalog import Picture, Source
from kilat.data.image_file import read_file
from kilat.data.listing import list_pictures
from kilat.data.source import TABLES, find_source, require_pictures
from kilat.errors import ModelFileError, PictureError, SourceError
from kilat.evaluate.drift import FEWEST, compare
from kilat.locale import _
from kilat.runtime.progress import Progress, silent

LEVEL = 0.01
"""Pictures of the same source are said to have drifted as rarely as that."""

SHOWN = 20
"""How many of the pictures that differ most are named."""

Data = str | Path | Source | Sequence[str | Path]
Read = Callable[[], Picture]


def drift(model: str | Path, data: Data, *, progress: Progress = silent) -> dict[str, Any]:
    """Compares new pictures with those that the model keeps to be compared with.

    Args:
        model: a ``model.onnx``, or the run folder that holds it.
        data: a folder of pictures at any depth, a list of pictures and folders, a table, an archive, a known set or a
            source. Labels are passed over; a table must have them, and the pictures of an archive stand in folders.
        progress: told about long tasks as they begin.

    Returns:
        - ``schema`` 1; ``pictures`` that were answered, ``refused``, and ``reasons``: how many by refusal code;
          ``compared`` and ``reference``: how many were compared with how many.
        - ``p_value``, ``drifted`` (whether it is at most 0.01), ``distance``, ``auroc``: see
          ``kilat.evaluate.drift.Drift``.
        - ``unknown``: ``flagged`` pictures, their ``share``, the share ``expected`` and the ``p_value`` of as many or
          more (binomial, one-sided); None where the model has no detector.
        - ``answers``: the share of answers that each class is.
        - ``most_different``: ``path`` and ``score`` of 20 pictures, the most different first.

    Raises:
        KilatError: the model cannot be read or keeps too few pictures to compare with, or there are too few new ones.
    """
    classifier = load(model)
    reference = _reference(classifier, model)
    paths, reads = _pictures(data, progress)
    asked: list[str] = []
    answers: list[Answer] = []
    refusals: Counter[str] = Counter()
    advance = progress(_("Asking the model"))
    for done, (path, outcome) in enumerate(zip(paths, classifier.outcomes(_content(reads)), strict=True), 1):
        if isinstance(outcome, PictureError):
            refusals[outcome.refusal.code] += 1
        else:
            asked.append(path)
            answers.append(outcome)
        advance(done, len(paths))
    if len(answers) < FEWEST:
        raise SourceError(
            _("Of so few pictures nothing can be said: {count} can be read, at least {fewest} are needed.").format(
                count=len(answers), fewest=FEWEST
            ),
            hint=_("Give more pictures; 200 notice most changes."),
        )
    found = compare(reference, _embeddings(answers, reference.shape[1], model))
    return {
        "schema": 1,
        "pictures": len(answers),
        "refused": len(paths) - len(answers),
        "reasons": dict(refusals),
        "compared": found.compared,
        "reference": len(reference),
        "p_value": found.p_value,
        "drifted": found.p_value <= LEVEL,
        "distance": found.distance,
        "auroc": found.auroc,
        "unknown": _unknown(classifier, answers),
        "answers": _answers(classifier.classes, answers),
        "most_different": _most_different(asked, found.scores),
    }


def sentences(found: dict[str, Any]) -> list[str]:
    """What ``drift`` found, in words."""
    verdict = (
        _("Drift: the new pictures differ from those that the model was made for (p = {p:.3f}).")
        if found["drifted"]
        else _("No drift was found: the new pictures may well be of the same kind (p = {p:.3f}).")
    )
    lines = [
        verdict.format(p=found["p_value"]),
        _("A new picture is told from one of those in {auroc:.0%} of pairs; 50% would be guessing.").format(**found),
        _("Pictures answered: {pictures:,}; refused: {refused:,}; compared: {compared:,} with {reference:,}.").format(
            **found
        ),
    ]
    if found["unknown"]:
        line = _("Unlike all training pictures: {share:.1%} ({flagged:,}); {expected:.1%} were to be expected.")
        lines.append(line.format(**found["unknown"]))
    return lines


def _reference(classifier: Classifier, model: str | Path) -> NDArray[np.float32]:
    """The embeddings to compare with.

    Raises:
        ModelFileError: there are none, or too few.
    """
    reference = classifier.reference
    hint = _("Train it again with this kilat: kilat train DATA")
    if reference is None:
        raise ModelFileError(_("{model} keeps no pictures to compare new ones with.").format(model=model), hint=hint)
    if len(reference) < FEWEST:
        raise ModelFileError(
            _("Of pictures to compare new ones with, {model} keeps {count}; at least {fewest} are needed.").format(
                model=model, count=len(reference), fewest=FEWEST
            ),
            hint=_("Train it again with more test pictures: kilat train DATA --set data.test=0.3"),
        )
    return reference


def _pictures(data: Data, progress: Progress) -> tuple[list[str], list[Read]]:
    """The path of every picture, and what reads it."""
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        if path.is_dir() or (path.exists() and not path.name.lower().endswith((*ARCHIVES, *TABLES))):
            return _files([path])
        source = find_source(data, advance=progress(_("Downloading (bytes)")))
        require_pictures(source, str(data))
        return _entries(source)
    if isinstance(data, Sequence):
        return _files([Path(one) for one in data])
    return _entries(data)


def _files(given: list[Path]) -> tuple[list[str], list[Read]]:
    paths = list_pictures(given)
    return paths, [partial(read_file, path) for path in paths]


def _entries(source: Source) -> tuple[list[str], list[Read]]:
    """What a source offers; pictures that it refuses for want of a label are tried all the same."""
    rows = [row for row, entry in enumerate(source.entries) if not (entry.refused and entry.label)]
    return [source.entries[row].path for row in rows], [partial(source.read, row) for row in rows]


def _content(reads: Iterable[Read]) -> Iterator[Picture | PictureError]:
    for read in reads:
        try:
            yield read()
        except PictureError as error:
            yield error


def _embeddings(answers: Sequence[Answer], width: int, model: str | Path) -> NDArray[np.float32]:
    """Where the new pictures lie, ``[n, width]``.

    Raises:
        ModelFileError: not where the reference lies.
    """
    if any(answer.embedding.shape != (width,) or not np.isfinite(answer.embedding).all() for answer in answers):
        raise ModelFileError(
            _("{model} is damaged: its embeddings cannot be compared with those that it keeps.").format(model=model)
        )
    return np.array([answer.embedding for answer in answers])


def _unknown(classifier: Classifier, answers: Sequence[Answer]) -> dict[str, Any] | None:
    """How many pictures are unlike all training pictures, beside how many known ones would be."""
    from scipy.stats import binomtest

    rate = classifier.manifest.thresholds.get("unknown", {}).get("rate")
    if rate is None:
        return None
    flagged, n = sum(answer.unknown > 0 for answer in answers), len(answers)
    p_value = float(binomtest(flagged, n, rate, alternative="greater").pvalue)
    return {"flagged": flagged, "share": flagged / n, "expected": rate, "p_value": p_value}


def _answers(classes: Sequence[str], answers: Sequence[Answer]) -> dict[str, float]:
    counts = np.bincount([answer.probabilities.argmax() for answer in answers], minlength=len(classes))
    return {name: float(count / len(answers)) for name, count in zip(classes, counts, strict=True)}


def _most_different(paths: Sequence[str], scores: NDArray[np.float32]) -> list[dict[str, Any]]:
    first = np.argsort(-scores, kind="stable")[:SHOWN]
    return [{"path": paths[row], "score": float(scores[row])} for row in first]
