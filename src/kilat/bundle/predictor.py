"""Answers from a model file, with ONNX Runtime, NumPy and Pillow alone."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from kilat.bundle.manifest import KEY, REFERENCE, Manifest, unpack
from kilat.bundle.onnx_safety import refuse_foreign
from kilat.data.decode import decode
from kilat.data.image_file import read_file
from kilat.errors import ModelFileError, PictureError
from kilat.evaluate.conformal import ConformalSets
from kilat.locale import _
from kilat.runtime.array_types import Pixels
from kilat.runtime.cores import threads
from kilat.runtime.onnx_session import make_session

_ANSWERED = ("probabilities", "unknown", "embedding")
_NEVER = np.full(1, -np.inf, np.float32)
_NOWHERE = np.zeros((1, 0), np.float32)

Given = str | os.PathLike[str] | bytes | Pixels
"""A picture as a caller has it: a path, the bytes of an image file, or uint8 pixels ``[height, width(, 3)]``."""


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Args:
        path: of the picture; empty where it came as bytes or pixels.
        label: the likeliest class.
        probability: its calibrated probability.
        probabilities: those of all classes.
        set: the classes that are likely enough for the set to hold the right one as often as was promised.
        unknown: whether the picture is unlike all training pictures, so that none of the classes may be meant; False
            where the file has no detector for it.
    """

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    set: list[str]
    unknown: bool


@dataclass(frozen=True)
class Refusal:
    """A picture that got no answer, and why."""

    path: str
    error: PictureError


@dataclass(frozen=True)
class Answer:
    """What the file says of one picture.

    Args:
        probabilities: calibrated, float32 ``[classes]``.
        unknown: how far it lies above the threshold of unknown pictures; below 0 where it is like those that were
            learnt, and -infinity where the file has no detector.
        embedding: where it lies among pictures, float32 ``[d]``; empty where the file gives none.
    """

    probabilities: NDArray[np.float32]
    unknown: float
    embedding: NDArray[np.float32]


class Classifier:
    """A finished classifier: one ``model.onnx``. Safe to use from several threads."""

    def __init__(self, data: bytes, where: str = "the model") -> None:
        refuse_foreign(data, where)
        self._data, self._where = data, where
        try:
            self._session = make_session(data)
        except Exception as error:  # noqa: BLE001 - onnxruntime's own exceptions share no public base
            raise ModelFileError(
                _("{where} cannot be run by ONNX Runtime {version}: {error}").format(
                    where=where, version=ort.__version__, error=error
                )
            ) from None
        self.manifest = Manifest.from_json(_document(self._session, where), where)
        _require_contract(self._session, len(self.classes), where)
        self._outputs = [one.name for one in self._session.get_outputs() if one.name in _ANSWERED]
        self.sets = _sets(self.manifest, where)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process is made from the same bytes."""
        return Classifier, (self._data, self._where)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.manifest.classes

    def predict(self, pictures: Iterable[Given] | Given) -> list[Prediction]:
        """An answer for every picture.

        Args:
            pictures: paths, bytes of image files, or uint8 pixels ``[height, width(, 3)]``; one or many.

        Raises:
            PictureError: a picture cannot be read; ``answers`` goes on instead.
        """
        return [_answered(answer) for answer in self.answers(pictures)]

    def predict_proba(self, pictures: Iterable[Given] | Given) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 ``[n, classes]``.

        Raises:
            PictureError: a picture cannot be read.
        """
        rows = [_raised(outcome).probabilities for outcome in self.outcomes(_many(pictures))]
        return np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def embed(self, pictures: Iterable[Given] | Given) -> NDArray[np.float32]:
        """Where pictures lie among others: near ones look alike to the network. float32 ``[n, d]``.

        Raises:
            ModelFileError: the file gives no embedding, as those of imported networks.
            PictureError: a picture cannot be read.
        """
        if "embedding" not in self._outputs:
            raise ModelFileError(
                _("{where} gives no embedding.").format(where=self._where), hint=_("Train it again with this kilat.")
            )
        rows = [_raised(outcome).embedding for outcome in self.outcomes(_many(pictures))]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def answers(self, pictures: Iterable[Given] | Given) -> Iterator[Prediction | Refusal]:
        """Answers in the order given, as they come, with a refusal for every picture that cannot be read."""
        given = list(_many(pictures))
        for picture, outcome in zip(given, self.outcomes(given), strict=True):
            path = os.fspath(picture) if isinstance(picture, str | os.PathLike) else ""
            yield Refusal(path, outcome) if isinstance(outcome, PictureError) else self._prediction(path, outcome)

    @property
    def reference(self) -> NDArray[np.float32] | None:
        """Embeddings of pictures that stand for what it was made for, ``[n, d]``; None where the file keeps none."""
        text = self._session.get_modelmeta().custom_metadata_map.get(REFERENCE)
        return None if text is None else unpack(text, self._where)

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """The bare graph: uint8 ``[batch, height, width, 3]`` to float32 ``[batch, classes]``."""
        (probabilities,) = self._session.run(["probabilities"], {"image": pixels})
        return np.asarray(probabilities, np.float32)

    def outcomes(self, pictures: Iterable[Given | PictureError]) -> Iterator[Answer | PictureError]:
        """An answer or a refusal for every picture, in order, a few asked ahead.

        A refusal among the pictures comes out as it went in.
        """
        workers = threads()
        with ThreadPoolExecutor(workers, thread_name_prefix="kilat-predict") as pool:
            waiting: deque[Future[Answer | PictureError]] = deque()
            for picture in pictures:
                waiting.append(pool.submit(self._one, picture))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _one(self, picture: Given | PictureError) -> Answer | PictureError:
        if isinstance(picture, PictureError):
            return picture
        try:
            image, _unused = decode(_content(picture), shrink_to=self.manifest.size)
        except PictureError as error:
            return error
        try:
            found = self._session.run(self._outputs, {"image": np.asarray(image)[None]})
            given = dict(zip(self._outputs, (np.asarray(one, np.float32) for one in found), strict=True))
        except Exception as error:  # noqa: BLE001 - onnxruntime's own exceptions share no public base
            raise ModelFileError(
                _("{where} cannot be run by ONNX Runtime {version}: {error}").format(
                    where=self._where, version=ort.__version__, error=error
                )
            ) from None
        rows, unknown = given["probabilities"], given.get("unknown", _NEVER)
        embedding = given.get("embedding", _NOWHERE)
        if rows.shape != (1, len(self.classes)) or not np.isfinite(rows).all():
            raise ModelFileError(
                _("{where} is damaged: its answer is no probability for each class.").format(where=self._where)
            )
        if unknown.shape != (1,) or np.isnan(unknown).any():
            raise ModelFileError(
                _("{where} is damaged: it does not say how unknown a picture is.").format(where=self._where)
            )
        if embedding.ndim != 2 or len(embedding) != 1 or not np.isfinite(embedding).all():
            raise ModelFileError(
                _("{where} is damaged: it does not say where a picture lies among others.").format(where=self._where)
            )
        return Answer(rows[0], float(unknown[0]), embedding[0])

    def _prediction(self, path: str, answer: Answer) -> Prediction:
        row = answer.probabilities
        best = int(row.argmax())
        members = np.flatnonzero(self.sets.members(row[None], never_empty=True)[0])
        likely = [self.classes[i] for i in members[np.argsort(-row[members], kind="stable")]]
        probabilities = {name: float(p) for name, p in zip(self.classes, row, strict=True)}
        return Prediction(path, self.classes[best], float(row[best]), probabilities, likely, answer.unknown > 0)


def load(path: str | os.PathLike[str]) -> Classifier:
    """The classifier in a model file (or in a run folder).

    Raises:
        ModelFileError: there is none, or it is not one that kilat made.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.onnx"
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(
            _("There is no model file {file}.").format(file=file), hint=_("Make one with: kilat train FOLDER")
        ) from None
    except OSError as error:
        raise ModelFileError(
            _("The model file {file} cannot be read: {reason}.").format(file=file, reason=error.strerror or error)
        ) from None
    return Classifier(data, str(file))


def _document(session: ort.InferenceSession, where: str) -> str | None:
    try:
        text: str | None = session.get_modelmeta().custom_metadata_map.get(KEY)
    except UnicodeDecodeError as error:
        raise ModelFileError(_("{where} has a damaged header: {error}.").format(where=where, error=error)) from None
    return text


def _require_contract(session: ort.InferenceSession, classes: int, where: str) -> None:
    """Refuses a file whose graph does not take pictures, or does not answer with a probability for each class."""
    try:
        given, answered = (
            [(one.name, one.type, one.shape[-1:]) for one in ends]
            for ends in (session.get_inputs(), session.get_outputs())
        )
    except UnicodeDecodeError as error:
        raise ModelFileError(
            _("{where} has names in its graph that are no text: {error}.").format(where=where, error=error)
        ) from None
    if given != [("image", "tensor(uint8)", [3])] or ("probabilities", "tensor(float)", [classes]) not in answered:
        raise ModelFileError(
            _("{where} does not take 8-bit pictures and give {classes} probabilities, as kilat's do.").format(
                where=where, classes=classes
            )
        )


def _sets(manifest: Manifest, where: str) -> ConformalSets:
    """How the file makes prediction sets; with every class in them where it does not say."""
    given = manifest.thresholds.get("set")
    try:
        if given is None:
            return ConformalSets("lac", 1.0, (-math.inf,))
        return ConformalSets.from_dict(given, len(manifest.classes))
    except ValueError as error:
        raise ModelFileError(
            _("{where} has a damaged header: its prediction sets cannot be meant ({error}).").format(
                where=where, error=error
            )
        ) from None


def _many(pictures: Iterable[Given] | Given) -> Iterable[Any]:
    single = isinstance(pictures, str | os.PathLike | bytes) or (
        isinstance(pictures, np.ndarray)
        and (pictures.ndim == 2 or (pictures.ndim == 3 and pictures.shape[-1] in (3, 4)))
    )
    return [pictures] if single else pictures  # type: ignore[return-value]


def _content(picture: Given) -> bytes | Pixels:
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
            raise PictureError("wrong_pixels", f"{picture.dtype} {list(picture.shape)}")
        return picture
    if isinstance(picture, bytes):
        return picture
    return read_file(os.fspath(picture))


def _answered(answer: Prediction | Refusal) -> Prediction:
    if isinstance(answer, Refusal):
        raise PictureError(answer.error.refusal.code, answer.error.refusal.detail, answer.path)
    return answer


def _raised(outcome: Answer | PictureError) -> Answer:
    if isinstance(outcome, PictureError):
        raise outcome
    return outcome
