"""``kilat import`` in a terminal: what is printed, and that no model file is lost."""

import importlib.util
import json
import os

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the extra keras is not installed")
if importlib.util.find_spec("keras") is None:
    pytest.skip("the extra keras is not installed", allow_module_level=True)
os.environ["KERAS_BACKEND"] = "torch"

import keras
from keras import layers
from typer.testing import CliRunner

from kilat.cli import app
from kilat.errors import RecipeError

COLOURS = ("red", "green", "blue", "grey")


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A folder of pictures in each of four colours, and a model that tells them apart, for pixels from -1 to 1."""
    folder, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for i, name in enumerate(COLOURS):
        (folder / "photos" / name).mkdir(parents=True)
        for j in range(12):
            pixels = random.integers(0, 90, (10, 14, 3))
            pixels[..., i % 3 if i < 3 else slice(None)] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / name / f"{j}.png")
    dense = layers.Dense(4, activation="softmax")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.GlobalAveragePooling2D(), dense])
    dense.set_weights([np.hstack([3 * np.eye(3) - 1, np.full((3, 1), 2.0)]), np.array([0, 0, 0, -1.0])])
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(COLOURS)))
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_import_and_predict(colours, tmp_path):
    out = tmp_path / "model.onnx"
    given = ["import", colours / "model.keras", "--classes", colours / "labels.txt", "--data", colours / "photos"]
    done = run(*given, "--out", out)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "classes: red, green, blue, grey"
    assert lines[1].startswith("as Keras on 48 pictures: a probability differs by at most ")
    assert lines[2] == "accuracy on 48 labelled pictures, pixels as"
    assert "  -1..1    100.0%  taken" in lines
    assert lines[-2].startswith("Pixels are scaled as -1..1: 100% of the labelled pictures")
    assert lines[-1] == f"wrote {out}"

    before = out.read_bytes()
    refused = run(*given, "--out", out)
    assert isinstance(refused.exception, RecipeError)
    assert "is there already" in refused.exception.message
    assert "--force" in refused.exception.hint
    assert out.read_bytes() == before
    done = run(*given, "--out", out, "--force", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["pixels"], document["labelled"]["accuracy"]) == ("-1..1", 1.0)

    picture = colours / "photos" / "red" / "0.png"
    line = run("predict", out, picture).stdout.strip()
    answer = json.loads(run("predict", out, picture, "--json").stdout)
    assert set(answer["set"]) == set(COLOURS)  # nothing is ruled out
    shown = [name for name, probability in answer["probabilities"].items() if probability >= 0.01]
    assert line.startswith(f"{picture}: red ")
    assert 1 <= sum(name in line.removeprefix(str(picture)) for name in COLOURS) == min(len(shown), 3) < 4
