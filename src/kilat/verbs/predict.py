"""``kilat predict``: what a finished model says of pictures, wherever they come from; that as a table and a page."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kilat.bundle.prediction import Prediction, RefusedPicture, answer, likely_classes
from kilat.bundle.predictor import Classifier, load
from kilat.data.image_file import printable
from kilat.data.reading import Reading
from kilat.data.unlabelled import open_unlabelled
from kilat.errors import PictureError
from kilat.runtime.csv_tables import rows_to_csv

if TYPE_CHECKING:
    from kilat.data.catalog import Picture
    from kilat.report.pictures import Thumbnail

# What only pages need is imported when one is made: predictions start light.


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
    for prediction, _picture in predict_pictures(model, pictures, reading):
        yield prediction


def predict_pictures(
    model: str | Path | Classifier, pictures: str | Path | Sequence[str | Path], reading: Reading | None = None
) -> "Iterator[tuple[Prediction | RefusedPicture, Picture | PictureError]]":
    """Yield every picture with its prediction; arguments as of ``predict``, few are in memory at a time."""
    classifier = model if isinstance(model, Classifier) else load(model)
    given = open_unlabelled(pictures, reading)
    in_hand: deque[Picture | PictureError] = deque()

    def read() -> "Iterator[Picture | PictureError]":
        for picture in given.read():
            in_hand.append(picture)
            yield picture
            del picture  # it may be done with while the next is read

    for path, prediction in zip(given.paths, classifier.predictions(read()), strict=True):
        yield replace(prediction, path=path), in_hand.popleft()


@dataclass
class Answers:
    """Predictions collected for a table and a page.

    Args:
        top: how many classes to name for a picture; None for those of its prediction set.
        has_sets: whether the model rules classes out.
        with_pictures: whether the pictures are kept as well, made small.
    """

    top: int | None = None
    has_sets: bool = True
    with_pictures: bool = False
    predictions: list[Prediction | RefusedPicture] = field(default_factory=list)
    thumbnails: "dict[int, Thumbnail]" = field(default_factory=dict)

    def add(self, prediction: Prediction | RefusedPicture, picture: "Picture | PictureError") -> None:
        """Take one more prediction."""
        self.predictions.append(prediction)
        if self.with_pictures and not isinstance(picture, PictureError):
            self._keep_small(picture)

    def to_csv(self) -> str:
        """Return a table with a row for every picture.

        ``answer`` is the class, or that it is none of them; ``label`` the likeliest class, ``probability`` its own in
        case that it is one of the classes; ``unknown`` and ``set`` as in JSON, classes separated by ``|``; then
        ``label_2``, ``probability_2`` and so on where several were asked for; ``error`` says why a picture was refused.
        """
        classes = next((len(one.probabilities) for one in self.predictions if isinstance(one, Prediction)), 1)
        count = min(self.top or 1, classes)
        further = [f"{name}_{rank}" for rank in range(2, count + 1) for name in ("label", "probability")]
        rows = [["path", "answer", "label", "probability", "unknown", "set", *further, "error"]]
        for one in self.predictions:
            if isinstance(one, RefusedPicture):
                rows.append([printable(one.path), *[""] * (5 + len(further)), one.error.message])
                continue
            likely = likely_classes(one, count, has_sets=self.has_sets)
            (label, probability), *others = [(name, f"{value:.6f}") for name, value in likely]
            known = [printable(one.path), answer(one), label, probability, str(one.unknown).lower(), "|".join(one.set)]
            rows.append([*known, *itertools.chain(*others), ""])
        return rows_to_csv(rows)

    def to_page(self, title: str, command: str) -> str:
        """Return a page with the pictures and their answers, as HTML.

        Args:
            title: what the model is called.
            command: that was typed.
        """
        from kilat.report import predictions_page

        return predictions_page.render(
            title, command, self.predictions, self.thumbnails, self.top, has_sets=self.has_sets
        )

    def _keep_small(self, picture: "Picture") -> None:
        from kilat.report.pictures import LARGE, make_thumbnail
        from kilat.report.predictions_page import MOST_SHOWN

        if len(self.thumbnails) < MOST_SHOWN and (small := make_thumbnail(picture, LARGE)):
            self.thumbnails[len(self.predictions) - 1] = small
