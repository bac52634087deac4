"""Models of tf.keras 2 give the answers that tf.keras gave, or are refused with the layer and the reason.

The models and their answers were made by TensorFlow 2.15 (``make_fixtures.py``).
"""

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra keras is not installed")
if importlib.util.find_spec("keras") is None:
    pytest.skip("the extra keras is not installed", allow_module_level=True)
os.environ["KERAS_BACKEND"] = "torch"

import h5py

from kilat.errors import ModelFileError
from kilat.model.keras_file import load_model

HERE = Path(__file__).parent
NAMES = ["caffe", "misc", "nested", "operations", "sequence", "sigmoid", "teachable", "tf", "torch", "twice"]


@dataclass
class Saved:
    """A model as tf.keras saved it."""

    config: dict[str, Any]
    layers: list[str]
    weights: dict[str, np.ndarray]
    answers: np.ndarray
    version: str

    @classmethod
    def read(cls, name: str) -> "Saved":
        with np.load(HERE / f"{name}.npz") as file:
            document = json.loads(str(file["document"]))
            weights = {key: file[key] for key in file.files if "|" in key}
            return cls(document["config"], document["layers"], weights, file["answers"], document["version"])

    def write(self, path: Path) -> Path:
        """Write it as ``.h5``, in the form of tf.keras."""
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(self.config)
            file.attrs["keras_version"] = self.version
            file.attrs["backend"] = "tensorflow"
            group = file.create_group("model_weights")
            group.attrs["layer_names"] = self.layers
            for layer in self.layers:
                own = [key.partition("|")[2] for key in self.weights if key.partition("|")[0] == layer]
                group.create_group(layer).attrs["weight_names"] = own
                for name in own:
                    group[layer][name] = self.weights[f"{layer}|{name}"]
        return path

    def find(self, class_name: str) -> dict[str, Any]:
        """Return the description of the first layer of a class, in models inside the model too."""
        waiting = [self.config]
        while waiting:
            one = waiting.pop(0)
            if one["class_name"] == class_name:
                return one
            waiting += one["config"].get("layers", [])
        raise AssertionError(class_name)


def pixels(channels: int) -> np.ndarray:
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 4, channels)).astype(np.uint8)
    return coarse.repeat(3, 1).repeat(3, 2)


def answers_of(path: Path) -> np.ndarray:
    model = load_model(path)
    return model.predict(pixels(model.input_shape[-1]).astype(np.float32), verbose=0)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Differences are small beside those between the pictures, which hardly vary in some of these models."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-3 * np.ptp(expected, axis=0).max()


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_h5_files_answer_as_tf_keras_did(name, tmp_path):
    saved = Saved.read(name)
    assert_same(answers_of(saved.write(tmp_path / "model.h5")), saved.answers)


def test_a_keras_file_answers_as_tf_keras_did():
    assert_same(answers_of(HERE / "nested.keras"), Saved.read("nested").answers)


def test_what_a_file_is_called_does_not_matter(tmp_path):
    saved = Saved.read("tf")
    assert_same(answers_of(saved.write(tmp_path / "model.keras")), saved.answers)  # as before TensorFlow 2.12


def test_names_that_older_versions_gave(tmp_path):
    """A functional model was a ``Model``, its inputs had no layer of their own, a batch norm was a ``V1``."""
    saved = Saved.read("caffe")
    saved.config["class_name"] = "Model"
    saved.find("BatchNormalization")["class_name"] = "BatchNormalizationV1"
    assert_same(answers_of(saved.write(tmp_path / "model.h5")), saved.answers)


def test_operations_before_tensorflow_2_4(tmp_path):
    saved = Saved.read("tf")
    operations = [one for one in saved.config["config"]["layers"] if one["class_name"] == "TFOpLambda"]
    for layer, (op, value) in zip(operations, [("RealDiv", 127.5), ("Sub", 1.0)], strict=True):
        layer["class_name"] = "TensorFlowOpLayer"
        node = {"name": op, "op": op, "input": ["x", "y"], "attr": {"T": {"type": "DT_FLOAT"}}}
        layer["config"] = {
            "name": op,
            "trainable": True,
            "dtype": "float32",
            "node_def": node,
            "constants": {"1": value},
        }
        layer["inbound_nodes"] = [[[*layer["inbound_nodes"][0][:3], {}]]]
    assert_same(answers_of(saved.write(tmp_path / "model.h5")), saved.answers)
    operations[0]["config"]["node_def"]["op"] = "ResizeBicubic"
    assert "(TensorFlowOpLayer): the operation ResizeBicubic is not one that kilat knows." in refusal(
        saved.write(tmp_path / "other.h5")
    )


def test_how_it_was_trained_has_no_part_in_it(tmp_path):
    """Initializers, regularizers and constraints of one's own would stop Keras from reading the model."""
    saved = Saved.read("sequence")
    own = {"class_name": "Mine", "config": {}}
    saved.find("Dense")["config"] |= {"kernel_initializer": own, "kernel_regularizer": own, "bias_constraint": own}
    saved.find("Conv2D")["config"]["dtype"] = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    assert_same(answers_of(saved.write(tmp_path / "model.h5")), saved.answers)


def test_a_frozen_part_whose_weights_lost_their_names(tmp_path):
    """Weights are then in the order in which they were: trained ones first."""
    saved = Saved.read("teachable")
    saved.weights = {name.replace("conv2d", "renamed"): value for name, value in saved.weights.items()}
    assert_same(answers_of(saved.write(tmp_path / "model.h5")), saved.answers)


class TestRefusals:
    """The cause comes last, whole, with the layer."""

    @pytest.mark.parametrize(
        ("layer", "change", "cause"),
        [
            ("DepthwiseConv2D", {"groups": 2}, "(DepthwiseConv2D): Keras 3 has no groups=2 there."),
            ("ReLU", {"class_name": "Swish6"}, "(Swish6): it is not a layer of Keras."),
            ("Dense", {"activation": "mine"}, "(Dense): the activation 'mine' is not one of Keras."),
            ("TFOpLambda", {"function": "image.adjust_hue"}, "the operation tf.image.adjust_hue is not one that kilat"),
            ("Dense", {"units": 4}, "a weight of layer 'dense"),
        ],
    )
    def test_a_part_without_counterpart(self, layer, change, cause, tmp_path):
        saved = Saved.read("tf")
        description = saved.find(layer)
        (description if "class_name" in change else description["config"]).update(change)
        message = refusal(saved.write(tmp_path / "model.h5"))
        assert "saved by Keras 2.15.0, cannot be read: " in message
        assert cause in message.splitlines()[0]
        assert "new.save('model.keras')" in message.splitlines()[1]

    def test_code(self, tmp_path):
        saved = Saved.read("tf")
        saved.find("TFOpLambda")["class_name"] = "Lambda"
        assert "contains a Lambda layer, which is code inside the file" in refusal(saved.write(tmp_path / "model.h5"))

    def test_missing_weights(self, tmp_path):
        saved = Saved.read("tf")
        gone = saved.layers.pop()
        assert f"there are no weights for layer '{gone}'." in refusal(saved.write(tmp_path / "model.h5"))

    def test_one_weight_less(self, tmp_path):
        saved = Saved.read("tf")
        saved.weights.pop(next(name for name in saved.weights if "gamma" in name))
        assert "has 4 weights, and the file 3 for it." in refusal(saved.write(tmp_path / "model.h5"))

    def test_weights_of_another_kind(self, tmp_path):
        saved = Saved.read("tf")
        saved.weights = {name.replace("moving_mean", "moving_median"): value for name, value in saved.weights.items()}
        message = refusal(saved.write(tmp_path / "model.h5"))
        assert "has a weight 'batch_normalization" in message
        assert "moving_median:0'." in message

    def test_weights_that_are_not_finite(self, tmp_path):
        saved = Saved.read("tf")
        name = next(iter(saved.weights))
        saved.weights[name] = np.full_like(saved.weights[name], np.nan)
        assert "is not finite." in refusal(saved.write(tmp_path / "model.h5"))

    @pytest.mark.parametrize("key", ["layers", "output_layers", "input_layers"])
    def test_a_damaged_description(self, key, tmp_path):
        saved = Saved.read("tf")
        del saved.config["config"][key]
        assert "cannot be read: its layers or its weights are damaged." in refusal(saved.write(tmp_path / "model.h5"))

    def test_a_layer_whose_input_is_not_there(self, tmp_path):
        saved = Saved.read("tf")
        saved.find("Dense")["inbound_nodes"] = [[["elsewhere", 0, 0, {}]]]
        assert "takes what no layer gives." in refusal(saved.write(tmp_path / "model.h5"))

    def test_keras_1(self, tmp_path):
        saved = Saved.read("tf")
        saved.version = "1.2.2"
        assert "was written by Keras 1.2.2; kilat reads Keras 2 and 3." in refusal(saved.write(tmp_path / "model.h5"))
