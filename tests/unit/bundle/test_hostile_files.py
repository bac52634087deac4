"""Model files that are no files, or no model files, or that answer what no classifier answers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from kilat.bundle.layer_table import summarise
from kilat.bundle.predictor import Classifier, load
from kilat.errors import ModelFileError

PICTURE = np.zeros((9, 7, 3), np.uint8)

MUTANTS = """
import collections, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from model_mutants import model_mutants
from kilat.bundle.feature_maps import look_inside
from kilat.bundle.layer_table import summarise
from kilat.bundle.predictor import Classifier
from kilat.errors import KilatError

data, picture = open(sys.argv[2], "rb").read(), np.zeros((6, 8, 3), np.uint8)
counts = collections.Counter()
for mutant in model_mutants(data, int(sys.argv[3]), int(sys.argv[4])):
    try:
        classifier = Classifier(mutant)
        list(classifier.outputs([picture]))
        classifier.reference, classifier.was_trained_on(["0" * 64])
        summarise(mutant)
        look_inside(classifier, picture)
        counts["answered"] += 1
    except KilatError:
        counts["refused"] += 1
print(dict(counts))
"""


@pytest.mark.parametrize("kind", ["link to a device", "pipe", "folder", "sparse", "huge"])
def test_what_is_no_file_of_a_model_is_refused_before_it_is_read(tmp_path, kind, small):
    path = tmp_path / "model.onnx"
    if kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(small)
        os.truncate(path, (1 << 40) if kind == "huge" else (1 << 31) - 1)
    for given in (path, tmp_path):
        with pytest.raises(ModelFileError, match=r"model\.onnx"):
            load(given)


def test_a_large_file_of_sound_fields_is_read(tmp_path, small, manifest):
    model = onnx.load_from_string(small)
    model.doc_string = "x" * (65 << 20)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert load(tmp_path).classes == manifest.classes


def answering(altered, *rows: float) -> bytes:
    """The small classifier with these answers in the place of its own."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["own" if name == "probabilities" else name for name in node.output]
            node.input[:] = ["own" if name == "probabilities" else name for name in node.input]
        zero = numpy_helper.from_array(np.float32(0), "zero")
        answers = numpy_helper.from_array(np.array([rows], np.float32), "answers")
        model.graph.initializer.extend([zero, answers])
        model.graph.node.append(helper.make_node("Mul", ["own", "zero"], ["nothing"]))
        model.graph.node.append(helper.make_node("Add", ["nothing", "answers"], ["probabilities"]))

    return altered(change)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((1.5, -0.5, 0), r"it gives probabilities outside of 0 to 1 \(-0\.5 to 1\.5\)"),
        ((0.5, 0.5, 0.5), r"the probabilities of all classes add up to 1\.5"),
        ((0, 0, 0), r"the probabilities of all classes add up to 0"),
        ((np.nan, 0, 1), "it does not give a probability for each class"),
        ((np.inf, 0, 1), "it does not give a probability for each class"),
    ],
)
def test_answers_that_are_no_probabilities_are_the_fault_of_the_model(altered, answers, reason):
    classifier = Classifier(answering(altered, *answers))
    for answer in (classifier.predict, classifier.predict_proba, lambda one: classifier.probabilities(one[None])):
        with pytest.raises(ModelFileError, match=f"the model is damaged: {reason}"):
            answer(PICTURE)


def test_answers_may_be_as_far_off_as_rounding(altered):
    rows = Classifier(answering(altered, 0.3333, 0.3333, 0.3333)).predict_proba(PICTURE)
    assert rows.sum() == pytest.approx(0.9999)


def test_a_summary_is_made_of_checked_files_alone(altered):
    def plant(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("NonZero", ["probabilities"], ["where"]))

    with pytest.raises(ModelFileError, match="'NonZero'"):
        summarise(altered(plant))


def run_mutants(path: Path, count: int, seed: int) -> str:
    """Answer with mutants of a model file, in a process of its own since what runs them is native code."""
    command = [sys.executable, "-c", MUTANTS, str(Path(__file__).parents[2]), str(path), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_mutants_are_refused_or_harmless(small, tmp_path):
    (tmp_path / "small.onnx").write_bytes(small)
    assert "refused" in run_mutants(tmp_path / "small.onnx", 80, 0)


@pytest.mark.slow
def test_thousands_of_mutants_are_refused_or_harmless(small, tmp_path):
    (tmp_path / "small.onnx").write_bytes(small)
    for seed in range(1, 5):
        assert "refused" in run_mutants(tmp_path / "small.onnx", 1_500, seed)
