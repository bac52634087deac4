"""A run in MLflow's folder: what is logged, how it ends, and that training goes on where tracking fails."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("mlflow", reason="the extra track is not installed")

from kilat.errors import MissingExtra, RunError
from kilat.fit.tracking import Tracker, flatten
from kilat.runtime.signals import Stopped

RECIPE = {"fit": {"epochs": 2, "optimizer": {"name": "adam"}}, "model": {"layers": [{"dense": 3}, "softmax"]}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # so that the fixture takes back what Tracker sets
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mlruns"


def the_run(place, experiment="flowers"):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=place.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, run


def test_a_run_from_beginning_to_end(folder, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>good</p>")
    metrics = {"schema": 1, "test": {"n": 4, "accuracy": 0.75, "ece": None, "accuracy_interval": [0.3, 0.9]}}
    with Tracker("flowers", "flowers-2", RECIPE) as tracker:
        tracker.epoch({"epoch": 1, "train_loss": 0.9, "validation_accuracy": 0.5})
        tracker.epoch({"epoch": 2, "train_loss": 0.4, "validation_accuracy": float("nan")})
        tracker.finish(metrics, [report, tmp_path / "absent.onnx"])
    assert tracker.failure == ""
    client, run = the_run(folder)
    assert (run.info.run_name, run.info.status) == ("flowers-2", "FINISHED")
    assert run.data.params == {
        "fit.epochs": "2",
        "fit.optimizer.name": "adam",
        "model.layers": '[{"dense": 3}, "softmax"]',
    }
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in losses] == [(1, 0.9), (2, 0.4)]
    assert run.data.metrics == {"train_loss": 0.4, "validation_accuracy": 0.5, "test.n": 4, "test.accuracy": 0.75}
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.html"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RunError("no"), "FAILED"),
        (ValueError(), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "KILLED"),
        (Stopped(signal.SIGTERM), "KILLED"),
    ],
)
def test_the_status_of_a_run_that_did_not_finish(folder, error, status):
    with pytest.raises(type(error)), Tracker("flowers", "a", {}):
        raise error
    assert the_run(folder)[1].info.status == status


def test_the_environment_says_where(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "elsewhere").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    for _ in range(2):
        with Tracker("flowers", "a", {}):
            pass
    assert not folder.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "third").as_uri())
    with Tracker("flowers", "a", {}):
        pass
    assert the_run(tmp_path / "third", "mine")[1].info.run_name == "a"


def test_epochs_without_a_number_are_counted(folder):
    with Tracker("flowers", "a", {}) as tracker:
        tracker.epoch({"loss": 3})
        tracker.epoch({"loss": 2})
    client, run = the_run(folder)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]


def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with (
        pytest.raises(RunError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be used") as caught,
        Tracker("a", "b", {}),
    ):
        pass
    assert "MLFLOW_TRACKING_URI" in caught.value.hint


def test_training_goes_on_where_tracking_fails(folder):
    with Tracker("flowers", "a", {}) as tracker:
        tracker.epoch({"a name that MLflow refuses: \0": 1})
        assert tracker.failure
        tracker.epoch({"loss": 1})
    _, run = the_run(folder)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {})


def test_long_choices_are_cut_and_many_are_kept(folder):
    with Tracker("flowers", "a", {"long": "x" * 9000, **{f"n{i}": i for i in range(250)}}):
        pass
    params = the_run(folder)[1].data.params
    assert len(params) == 251
    assert params["long"].startswith("xxx")
    assert len(params["long"]) == 6000


def test_nested_choices_get_dotted_names():
    assert dict(flatten({"a": {"b": {"c": None}}, "d": True, "e": "é", "f": [1, "é"]})) == {
        "a.b.c": "null",
        "d": "true",
        "e": "é",
        "f": '[1, "é"]',
    }


def test_without_mlflow_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs the extra 'track'"), Tracker("flowers", "a", {}):
        pass


def test_telemetry_is_off(monkeypatch):
    from mlflow.telemetry import utils

    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)  # as outside of tests
    assert not utils.is_telemetry_disabled()
    with Tracker("flowers", "a", {}):
        assert utils.is_telemetry_disabled()


def test_telemetry_is_off_before_mlflow_is_imported(tmp_path):
    package = tmp_path / "mlflow"
    package.mkdir()
    package.joinpath("__init__.py").write_text("import os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])")
    code = "from kilat.fit.tracking import Tracker; Tracker('a', 'b', {}).__enter__()"
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**environment, "PYTHONPATH": path}, cwd=tmp_path
    )
    assert done.stdout == "true\n"
    assert "MLflow at file:" in done.stderr
