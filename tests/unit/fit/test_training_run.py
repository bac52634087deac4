"""A trained network: what it computes, that it pickles, and that it can be exported."""

import pickle

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from kilat.fit.training_run import TrainingRun  # noqa: E402
from kilat.model.summary import Counts  # noqa: E402


@pytest.fixture
def trained(make_trainer, tmp_path):
    return TrainingRun(make_trainer().spec, Counts(7, 5, 3), []).train(tmp_path / "checkpoints")


def test_it_pickles_and_gives_the_same(trained):
    copy = pickle.loads(pickle.dumps(trained))
    rows = np.arange(60)
    trained.close()
    np.testing.assert_array_equal(copy.inference.logits(rows), trained.inference.logits(rows))
    for one, other in zip(copy.inference.pixels(rows), trained.inference.pixels(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    assert copy.to_onnx() == trained.to_onnx()
    assert (copy.history, copy.metrics, copy.notes) == (trained.history, trained.metrics, trained.notes)


def test_its_graph_gives_its_logits(trained):
    session = onnxruntime.InferenceSession(trained.to_onnx())
    rows = np.arange(5)
    (pixels,) = trained.inference.pixels(rows)
    (logits,) = session.run(None, {"pixels": pixels})
    np.testing.assert_allclose(logits, trained.inference.logits(rows), atol=1e-4)


def test_its_metrics(trained):
    assert trained.metrics["epochs"] == len(trained.history) == 3
    assert trained.metrics["stop_reason"] == "all_epochs"
    assert (trained.metrics["parameters"], trained.metrics["trainable"], trained.metrics["macs"]) == (7, 5, 3)


def test_a_preview_is_a_picture_only_where_something_is_augmented(make_trainer):
    plain, augmented = (
        TrainingRun(make_trainer(augment=augment).spec, Counts(0, 0, 0), []) for augment in ({}, {"rotation": 20})
    )
    assert plain.preview(np.arange(3), plain.spec.recipe.augment) is None
    assert augmented.preview(np.arange(3), augmented.spec.recipe.augment).startswith(b"\x89PNG")
