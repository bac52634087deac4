"""Logging of a run to MLflow: the recipe, every epoch, the metrics and the files. Without a server: in ./mlruns."""

import contextlib
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
from kilat.locale import _
from kilat.runtime.signals import Stopped

FOLDER = "mlruns"
_MAX_LENGTH = 6000  # characters of a parameter, in MLflow
_MAX_PARAMETERS = 100  # in one request


class Tracker:
    """A run in MLflow, for as long as the block lasts.

    ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` are used if they are set. A block that ends in an error is
    marked as failed, one that was interrupted as killed. Training goes on where tracking fails: ``failure`` says why it
    did, and nothing more is sent. Variables that keep MLflow quiet are set in the environment inside the block only.

    Args:
        experiment: the name of the experiment.
        run: the run's own name.
        recipe: the resolved recipe.
    """

    def __init__(self, experiment: str, run: str, recipe: Mapping[str, Any]) -> None:
        self.experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment
        self.run, self.recipe = run, recipe
        self.failure = ""
        self._environment = contextlib.ExitStack()
        self._client: Any = None
        self._id = ""
        self._epochs = 0

    def __enter__(self) -> Self:
        """Start the run.

        Raises:
            MissingExtra: MLflow is not installed.
            RunError: its server or folder cannot be used.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI") or Path(FOLDER).resolve().as_uri()
        if importlib.util.find_spec("mlflow") is None:
            raise MissingExtra(_("Tracking with MLflow"), "track")
        with contextlib.ExitStack() as on_error:
            on_error.enter_context(_quiet_mlflow(uri))
            try:
                from mlflow.tracking import MlflowClient

                self._client = MlflowClient(tracking_uri=uri)
                self._start()
            except Exception as error:  # MLflow's own, those of its HTTP client, and those of the disk
                message = _("MLflow at {uri} cannot be used: {reason}").format(uri=uri, reason=_reason(error))
                raise RunError(message, hint=_("Check MLFLOW_TRACKING_URI, or train without tracking.")) from error
            self._environment = on_error.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run as finished, failed or killed."""
        status = "FINISHED"
        if kind is not None:
            is_killed = issubclass(kind, Stopped) or not issubclass(kind, Exception)
            status = "KILLED" if is_killed else "FAILED"
        failure, self.failure = self.failure, ""  # a server that was away may be back
        with self._environment:
            self._send(lambda: self._client.set_terminated(self._id, status))
        self.failure = failure or self.failure

    def epoch(self, row: Mapping[str, float]) -> None:
        """Log an epoch; ``row["epoch"]`` is its number, or they are counted from 1."""
        self._epochs += 1
        step = int(row.get("epoch", self._epochs))
        self._send(lambda: self._log({name: value for name, value in row.items() if name != "epoch"}, step))

    def finish(self, metrics: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Log the numbers in each section of ``metrics.json`` (as ``test.accuracy``), and files that exist."""
        numbers = {
            f"{section}.{name}": value
            for section, values in metrics.items()
            if isinstance(values, Mapping)
            for name, value in values.items()
        }
        self._send(lambda: self._log(numbers, self._epochs))
        for file in filter(Path.is_file, files):
            self._send(partial(self._client.log_artifact, self._id, str(file)))

    def _start(self) -> None:
        from mlflow.entities import Param

        known = self._client.get_experiment_by_name(self.experiment)
        number = known.experiment_id if known else self._client.create_experiment(self.experiment)
        self._id = self._client.create_run(number, run_name=self.run).info.run_id
        choices = [Param(name, text) for name, text in flatten(self.recipe)]
        for start in range(0, len(choices), _MAX_PARAMETERS):
            self._client.log_batch(self._id, params=choices[start : start + _MAX_PARAMETERS])

    def _log(self, numbers: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000  # MLflow counts milliseconds
        metrics = [
            Metric(name, float(value), now, step)
            for name, value in numbers.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def _send(self, send: Callable[[], object]) -> None:
        if self.failure:
            return
        try:
            send()
        except Exception as error:  # noqa: BLE001 - MLflow's own, those of its HTTP client, and those of the disk
            self.failure = _reason(error)


def flatten(choices: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested choices as dotted names, such as ``fit.optimizer.name``, with texts; lists are written as JSON."""
    for name, value in choices.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            yield f"{prefix}{name}", text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


@contextlib.contextmanager
def _quiet_mlflow(uri: str) -> Iterator[None]:
    """Set, inside the block, what keeps MLflow from reporting its use and from waiting for minutes."""
    variables = {
        "MLFLOW_DISABLE_TELEMETRY": "true",  # read while MLflow is imported
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),  # of 7
    }
    if uri.startswith("file:") or "://" not in uri:  # newer versions refuse a folder without it
        variables["MLFLOW_ALLOW_FILE_STORE"] = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "true")
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
