"""Keeps a run in MLflow: the recipe, every epoch, the outcome and the files. Without a server: in ./mlruns."""

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kilat.errors import MissingExtra, RunError
from kilat.fit.signals import Stopped
from kilat.locale import _

FOLDER = "mlruns"
_LONGEST = 6000  # characters of a parameter, in MLflow
_AT_ONCE = 100  # parameters in one request


class Tracker:
    """A run in MLflow, for as long as the block lasts.

    ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` count where they are set. A block that ends in an error is
    marked as failed, one that was interrupted as killed. Training never ends because its tracking does: what went
    wrong stands in ``trouble``, and nothing more is sent.

    Args:
        experiment: the name that runs are gathered under.
        run: the run's own name.
        recipe: the resolved recipe.
    """

    def __init__(self, experiment: str, run: str, recipe: Mapping[str, Any]) -> None:
        self.experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment
        self.run, self.recipe = run, recipe
        self.trouble = ""
        self._client: Any = None
        self._id = ""
        self._epochs = 0

    def __enter__(self) -> Self:
        """Starts the run.

        Raises:
            MissingExtra: MLflow is not installed.
            RunError: its server or folder cannot be used.
        """
        place = os.environ.get("MLFLOW_TRACKING_URI") or Path(FOLDER).resolve().as_uri()
        try:
            self._client = _client(place)
            self._start()
        except MissingExtra:
            raise
        except Exception as error:  # MLflow's own, those of its HTTP client, and those of the disk
            message = _("MLflow at {place} cannot be used: {reason}").format(place=place, reason=_reason(error))
            raise RunError(message, hint=_("Check MLFLOW_TRACKING_URI, or train without tracking.")) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the run as finished, failed or killed."""
        trouble, self.trouble = self.trouble, ""  # a server that was away may be back
        self._send(lambda: self._client.set_terminated(self._id, _status(kind)))
        self.trouble = trouble or self.trouble

    def epoch(self, row: Mapping[str, float]) -> None:
        """Keeps what was measured in an epoch; ``row["epoch"]`` is its number, or they are counted from 1."""
        self._epochs += 1
        step = int(row.get("epoch", self._epochs))
        self._send(lambda: self._measure({name: value for name, value in row.items() if name != "epoch"}, step))

    def finish(self, metrics: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Keeps the numbers in each section of ``metrics.json`` (as ``test.accuracy``), and files that exist."""
        numbers = {
            f"{section}.{name}": value
            for section, values in metrics.items()
            if isinstance(values, Mapping)
            for name, value in values.items()
        }
        self._send(lambda: self._measure(numbers, self._epochs))
        for file in filter(Path.is_file, files):
            self._send(partial(self._client.log_artifact, self._id, str(file)))

    def _start(self) -> None:
        from mlflow.entities import Param

        known = self._client.get_experiment_by_name(self.experiment)
        number = known.experiment_id if known else self._client.create_experiment(self.experiment)
        self._id = self._client.create_run(number, run_name=self.run).info.run_id
        choices = [Param(name, text) for name, text in flatten(self.recipe)]
        for start in range(0, len(choices), _AT_ONCE):
            self._client.log_batch(self._id, params=choices[start : start + _AT_ONCE])

    def _measure(self, numbers: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000  # MLflow counts milliseconds
        metrics = [Metric(name, float(value), now, step) for name, value in numbers.items() if _is_number(value)]
        self._client.log_batch(self._id, metrics=metrics)

    def _send(self, send: Callable[[], object]) -> None:
        if self.trouble:
            return
        try:
            send()
        except Exception as error:  # noqa: BLE001 - MLflow's own, those of its HTTP client, and those of the disk
            self.trouble = _("MLflow stopped keeping this run: {reason}").format(reason=_reason(error))


def flatten(choices: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested choices as dotted names and texts, such as ``fit.optimizer.name``; lists are written as JSON."""
    for name, value in choices.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            yield f"{prefix}{name}", text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _client(place: str) -> Any:
    """MLflow's client, which tells its makers nothing about its use."""
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtra(_("Tracking with MLflow"), "track")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read while MLflow is imported
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its 7 keep a run waiting for minutes
    if place.startswith("file:") or "://" not in place:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions refuse a folder without it
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=place)


def _status(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "FINISHED"
    return "KILLED" if issubclass(kind, Stopped) or not issubclass(kind, Exception) else "FAILED"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
