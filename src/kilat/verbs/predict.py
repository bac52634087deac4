"""``kilat predict``: what a finished model says of pictures, wherever they come from."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kilat.bundle.predictor import Classifier, Prediction, RefusedPicture, load
from kilat.data.reading import Reading
from kilat.data.unlabelled import open_unlabelled


def predict(
    model: str | Path | Classifier, pictures: str | Path | Sequence[str | Path], reading: Reading | None = None
) -> Iterator[Prediction | RefusedPicture]:
    """Yield a prediction for every picture, in order, as they come; pictures that cannot be read come refused.

    Args:
        model: a ``model.onnx``, the run folder that holds it, or a classifier.
        pictures: pictures, folders, tables, archives and names of known sets, one or a list; labels are ignored.
        reading: what the user says about how a table is read.

    Raises:
        KilatError: the model cannot be read, or there are no pictures.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    given = open_unlabelled(pictures, reading)
    for path, prediction in zip(given.paths, classifier.predictions(given.read()), strict=True):
        yield replace(prediction, path=path)
