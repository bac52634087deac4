"""Predictions from a model file, with ONNX Runtime, NumPy and Pillow alone."""

import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import onnxruntime as ort

from kilat.bundle import training_digests
from kilat.bundle.gallery import ImageLike
from kilat.bundle.graph.cost import MAX_PLANNED
from kilat.bundle.graph.onnx_file import begins_well
from kilat.bundle.manifest import KEY, REFERENCE, Manifest, unpack
from kilat.bundle.onnx_safety import MAX_BYTES, require_bounded, require_self_contained
from kilat.bundle.prediction import Prediction, Predictions, RefusedPicture
from kilat.data.decode import decode
from kilat.data.image_file import read_file
from kilat.data.picture_failure import picture_failure
from kilat.data.pixel_array import pixel_array
from kilat.data.resize_bounds import shortened
from kilat.errors import ModelFileError, PictureError
from kilat.evaluate.conformal import ConformalSets
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.array_types import Flags, Floats, Pixels
from kilat.runtime.byte_budget import bytes_of, decoded_bytes
from kilat.runtime.cores import available_cores
from kilat.runtime.files import require_possible
from kilat.runtime.interruptible import interruptible
from kilat.runtime.onnx_session import Runs, make_session
from kilat.runtime.ordered_map import ordered_map
from kilat.runtime.regular_file import open_regular_file, read_regular_file

if TYPE_CHECKING:
    from kilat.data.catalog import Picture

_OUTPUTS = ("probabilities", "unknown", "embedding")
_NO_DETECTOR = np.full(1, -np.inf, np.float32)
_NO_EMBEDDING = np.zeros((1, 0), np.float32)
_USUAL_MEMORY = 128 << 20
"""Bytes that a network may take for a picture on every core at once; those that take more wait for each other."""

_BLANK = 32, 32, 3
_LOOKED_INTO = 64 << 20
"""Bytes of a file from which on it is looked into before it is read."""

_ROUNDING = 1e-3
"""How far probabilities may be from between 0 and 1, and their sum from 1."""

_AHEAD = 4
"""Pictures per thread that are read before they are asked for."""


@dataclass(frozen=True)
class ModelOutput:
    """What the file computes for one picture.

    Args:
        probabilities: calibrated, float32 ``[classes]``.
        ood_score: how far it lies above the threshold of unknown pictures; below 0 where it is like the training
            pictures, and -infinity where the file has no detector.
        embedding: float32 ``[d]``; empty where the file has none.
    """

    probabilities: Floats
    ood_score: float
    embedding: Floats


class Classifier:
    """A finished classifier: one ``model.onnx``. Safe to use from several threads.

    Its threads are started when they are first needed, and live until ``close`` or as long as the classifier. It
    pickles: a copy in another process is made from the same bytes, with threads of its own.

    Args:
        data: content of the file.
        where: the name of the file, for messages; without it they call it the model.

    Raises:
        ModelFileError: the file is damaged, or not one that kilat made.
    """

    def __init__(self, data: bytes, where: str = "") -> None:
        where = where or _("the model")
        file = require_self_contained(data, where)
        self._data, self._where, self._properties = data, where, file.properties
        self.manifest = Manifest.from_json(file.properties.get(KEY), where)
        cost = require_bounded(file, self.manifest.size, where, len(data))
        self._memory, self._framing = cost.memory, cost.framing
        try:
            self._session = interruptible(partial(make_session, data, plan_memory=len(file.nodes) <= MAX_PLANNED))
        except Exception as error:  # noqa: BLE001 - onnxruntime's own exceptions share no public base
            raise self._unusable(error) from None
        _require_contract(self._session, len(self.classes), where)
        self._outputs = [output.name for output in self._session.get_outputs() if output.name in _OUTPUTS]
        self.sets = _conformal_sets(self.manifest, where)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_process = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Classifier, (self._data, self._where)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; they are started again if pictures come after all."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    @property
    def content(self) -> bytes:
        """The content of the file."""
        return self._data

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self.manifest.classes

    @property
    def has_sets(self) -> bool:
        """Whether it has thresholds for prediction sets; without them every class is in every set."""
        return "set" in self.manifest.thresholds

    @property
    def reference(self) -> Floats | None:
        """Embeddings of pictures like those it was trained for, ``[n, d]``; None where the file has none."""
        text = self._properties.get(REFERENCE)
        return None if text is None else unpack(text, self._where)

    def was_trained_on(self, digests: Sequence[str]) -> Flags | None:
        """Return which contents it was trained on, bool ``[n]``; None where the file does not say.

        Args:
            digests: SHA-256 of the pictures' files, or as ``kilat.data.catalog.content_digest`` makes it of pixels,
                hexadecimal. Another copy of a picture, such as one saved anew, has another digest.
        """
        text = self._properties.get(training_digests.KEY)
        if text is None:
            return None
        return training_digests.are_among(digests, training_digests.unpack(text, self._where))

    def predict(self, pictures: Iterable[ImageLike] | ImageLike) -> Predictions:
        """Return a prediction for every picture, in a list that a notebook shows with the pictures.

        Args:
            pictures: paths, bytes of image files, or uint8 pixels ``[height, width(, 3)]``; one or many.

        Raises:
            PictureError: a picture cannot be read; ``predictions`` goes on instead.
        """
        found = []
        given = _as_many(pictures)
        for prediction in self.predictions(given):
            if isinstance(prediction, RefusedPicture):
                refusal = prediction.error.refusal
                raise PictureError(refusal.code, refusal.detail, prediction.path)
            found.append(prediction)
        return Predictions(found, list(given) if isinstance(given, Sequence | np.ndarray) else ())

    def predict_proba(self, pictures: Iterable[ImageLike] | ImageLike) -> Floats:
        """Return calibrated probabilities, float32 ``[n, classes]``.

        Raises:
            PictureError: a picture cannot be read.
        """
        rows = [output.probabilities for output in self._outputs_or_raise(pictures)]
        return np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def embed(self, pictures: Iterable[ImageLike] | ImageLike) -> Floats:
        """Return embeddings, float32 ``[n, d]``: pictures that look alike to the network lie near each other.

        Raises:
            ModelFileError: the file has no embedding, as those of imported networks.
            PictureError: a picture cannot be read.
        """
        if "embedding" not in self._outputs:
            raise ModelFileError(
                _("{where} has no embedding.").format(where=self._where), hint=_("Train it again with this kilat.")
            )
        rows = [output.embedding for output in self._outputs_or_raise(pictures)]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def predictions(
        self, pictures: Iterable[ImageLike | PictureError] | ImageLike
    ) -> Iterator[Prediction | RefusedPicture]:
        """Yield predictions in the order of the pictures, as they come; pictures that cannot be read come refused.

        An error among the pictures is one that could not be read before.
        """
        paths: deque[str] = deque()

        def noted() -> Iterator[ImageLike | PictureError]:
            for picture in _as_many(pictures):
                paths.append(os.fspath(picture) if isinstance(picture, str | os.PathLike) else "")
                yield picture
                del picture  # it may be done with while the next is read

        for output in self.outputs(noted()):
            path = paths.popleft()
            if isinstance(output, PictureError):
                yield RefusedPicture(path, output)
                continue
            row = output.probabilities
            best = int(row.argmax())
            members = np.flatnonzero(self.sets.members(row[None], never_empty=True)[0])
            likely = [self.classes[i] for i in members[np.argsort(-row[members], kind="stable")]]
            probabilities = {name: float(p) for name, p in zip(self.classes, row, strict=True)}
            is_unknown = output.ood_score > 0
            yield Prediction(path, self.classes[best], float(row[best]), probabilities, likely, is_unknown)

    def outputs(self, pictures: Iterable[ImageLike | PictureError]) -> Iterator[ModelOutput | PictureError]:
        """Yield what the file computes for every picture, or why it cannot, in order; some pictures are read ahead.

        An error among the pictures comes out as it went in.
        """
        workers = available_cores()
        with self._lock:
            if self._pool is None or self._pool_process != os.getpid():  # threads do not outlive a fork
                self._pool = ThreadPoolExecutor(workers, thread_name_prefix="kilat-predict")
                self._pool_process = os.getpid()
            pool = self._pool
        runs = Runs()
        try:
            yield from ordered_map(pool, partial(self._run, runs), map(_content, pictures), bytes_of, _AHEAD * workers)
        finally:
            runs.stop()

    def pixels(self, picture: "Picture") -> Pixels:
        """Return a picture as the file takes it, uint8 ``[1, height, width, 3]``; to be held in ``decoded_bytes``.

        Raises:
            PictureError: it cannot be decoded.
        """
        size = self.manifest.size
        try:
            image, _size = decode(picture, shrink_to=size)
            return pixel_array(shortened(image, size, self.manifest.resize))[None]
        except Exception as error:
            raise picture_failure(error) from error

    def probabilities(self, pixels: Pixels) -> Floats:
        """Return probabilities ``[batch, classes]`` of a batch of pixels, uint8 ``[batch, height, width, 3]``."""
        (probabilities,) = self._session.run(["probabilities"], {"image": pixels})
        return self._sound(np.asarray(probabilities, np.float32), len(pixels))

    def _run(self, runs: Runs, picture: "Picture | PictureError") -> ModelOutput | PictureError:
        if isinstance(picture, PictureError):
            return picture
        if isinstance(picture, np.ndarray) and (picture.dtype != np.uint8 or picture.ndim not in (2, 3)):
            return PictureError("wrong_pixels", f"{picture.dtype} {list(picture.shape)}")
        with decoded_bytes.hold():
            try:
                pixels = self.pixels(picture)
            except PictureError as error:
                return picture_failure(error)
            if self._memory > _USUAL_MEMORY:
                decoded_bytes.take(self._memory)
            try:
                found = self._compute(runs, pixels)
            except Exception as error:  # noqa: BLE001 - onnxruntime's own exceptions share no public base
                return self._fault_of_picture(runs, error)
        probabilities = self._sound(found["probabilities"], 1)
        scores, embedding = found.get("unknown", _NO_DETECTOR), found.get("embedding", _NO_EMBEDDING)
        if scores.shape != (1,) or np.isnan(scores).any():
            raise self._damaged(_("its score of unknown pictures is not one number"))
        if embedding.ndim != 2 or len(embedding) != 1 or not np.isfinite(embedding).all():
            raise self._damaged(_("its embedding is not a row of finite numbers"))
        return ModelOutput(probabilities[0], float(scores[0]), embedding[0])

    def _sound(self, probabilities: Floats, pictures: int) -> Floats:
        """Return probabilities ``[pictures, classes]``, if they are.

        Raises:
            ModelFileError: they are none, which is the fault of the file.
        """
        if probabilities.shape != (pictures, len(self.classes)) or not np.isfinite(probabilities).all():
            raise self._damaged(_("it does not give a probability for each class"))
        low, high = float(probabilities.min(initial=0)), float(probabilities.max(initial=0))
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise self._damaged(
                _("it gives probabilities outside of 0 to 1 ({low:.3g} to {high:.3g})").format(low=low, high=high)
            )
        totals = probabilities.sum(1, dtype=np.float64)
        if np.abs(totals - 1).max(initial=0) > _ROUNDING:
            worst = float(totals[np.abs(totals - 1).argmax()])
            raise self._damaged(_("the probabilities of all classes add up to {total:.3g}").format(total=worst))
        return probabilities

    def _compute(self, runs: Runs, pixels: Pixels) -> dict[str, Floats]:
        """Return what the graph gives for a picture, by the names of its outputs.

        Raises:
            PictureError: fitting it into the network's square would take too much memory.
        """
        if not self._framing.fits(*pixels.shape[1:3]):
            raise PictureError("out_of_memory")
        values = runs.run(self._session, self._outputs, {"image": pixels})
        return dict(zip(self._outputs, (np.asarray(value, np.float32) for value in values), strict=True))

    def _fault_of_picture(self, runs: Runs, error: Exception) -> PictureError:
        """Return the refusal of a picture on which the graph failed.

        Raises:
            ModelFileError: it fails on a small blank picture as well.
        """
        try:
            self._compute(runs, np.zeros((1, *_BLANK), np.uint8))
        except Exception:  # noqa: BLE001 - onnxruntime's own exceptions share no public base
            raise self._unusable(error) from None
        return picture_failure(error)

    def _outputs_or_raise(self, pictures: Iterable[ImageLike] | ImageLike) -> Iterator[ModelOutput]:
        for output in self.outputs(_as_many(pictures)):
            if isinstance(output, PictureError):
                raise output
            yield output

    def _unusable(self, error: Exception) -> ModelFileError:
        return ModelFileError(
            _("{where} cannot be run by ONNX Runtime {version}: {error}").format(
                where=self._where, version=ort.__version__, error=error
            )
        )

    def _damaged(self, reason: str) -> ModelFileError:
        return ModelFileError(_("{where} is damaged: {reason}.").format(where=self._where, reason=reason))


def load(path: str | os.PathLike[str]) -> Classifier:
    """Return the classifier in a model file, or in a run folder.

    Raises:
        ModelFileError: there is none, it is damaged, or not one that kilat made.
    """
    file = Path(path)
    require_possible(file)
    if file.is_dir():
        file = file / "model.onnx"
    try:
        with open_regular_file(file, MAX_BYTES) as opened:
            size = os.fstat(opened.fileno()).st_size
            if size > _LOOKED_INTO and not begins_well(opened, size):
                raise ModelFileError(_("{where} is not an ONNX file, or it is damaged.").format(where=file))
        data = read_regular_file(file, MAX_BYTES)
    except FileNotFoundError:
        raise ModelFileError(
            _("There is no model file {file}.").format(file=file), hint=_("Make one with: kilat train FOLDER")
        ) from None
    except OSError as error:
        raise ModelFileError(
            _("The model file {file} cannot be read: {reason}.").format(file=file, reason=system_reason(error))
        ) from None
    return Classifier(data, str(file))


def _require_contract(session: ort.InferenceSession, classes: int, where: str) -> None:
    """Raise unless the graph takes pictures and gives a probability for each class."""
    try:
        inputs, outputs = (
            [(value.name, value.type, value.shape[-1:]) for value in values]
            for values in (session.get_inputs(), session.get_outputs())
        )
    except UnicodeDecodeError as error:
        raise ModelFileError(
            _("{where} has names in its graph that are not text: {error}.").format(where=where, error=error)
        ) from None
    if inputs != [("image", "tensor(uint8)", [3])] or ("probabilities", "tensor(float)", [classes]) not in outputs:
        raise ModelFileError(
            _("{where} does not take 8-bit pictures or does not give {classes} probabilities.").format(
                where=where, classes=classes
            )
        )


def _conformal_sets(manifest: Manifest, where: str) -> ConformalSets:
    """Return how the file makes prediction sets: with every class in them where it has no thresholds."""
    thresholds = manifest.thresholds.get("set")
    try:
        if thresholds is None:
            return ConformalSets("lac", 1.0, (-math.inf,))
        return ConformalSets.from_dict(thresholds, len(manifest.classes))
    except ValueError as error:
        raise ModelFileError(
            _("{where} has a damaged header: invalid prediction sets ({error}).").format(where=where, error=error)
        ) from None


def _as_many(pictures: Iterable[ImageLike | PictureError] | ImageLike) -> Iterable[Any]:
    single = isinstance(pictures, str | os.PathLike | bytes) or (
        isinstance(pictures, np.ndarray)
        and (pictures.ndim == 2 or (pictures.ndim == 3 and pictures.shape[-1] in (3, 4)))
    )
    return [pictures] if single else pictures  # type: ignore[return-value]


def _content(picture: ImageLike | PictureError) -> "Picture | PictureError":
    """Return the content of a picture, or why its file cannot be read."""
    if isinstance(picture, bytes | np.ndarray | PictureError):
        return picture
    path = os.fspath(picture)
    try:
        return read_file(path)
    except (PictureError, MemoryError) as error:
        return picture_failure(error)
