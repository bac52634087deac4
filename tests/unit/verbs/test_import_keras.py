"""Keras models as kilat files: the same answers, nothing from the file executed, refusals that say what was found."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the extra keras is not installed")
if importlib.util.find_spec("keras") is None:
    pytest.skip("the extra keras is not installed", allow_module_level=True)
os.environ["KERAS_BACKEND"] = "torch"

import keras
from keras import layers
from sklearn.datasets import load_sample_image

from kilat.bundle.predictor import Classifier
from kilat.data.arrays import ArraySource
from kilat.errors import MissingExtra, ModelFileError, RecipeError, RunError, SourceError
from kilat.features.resize_graph import Resizer
from kilat.verbs.import_keras import import_keras

NAMES = ("ant", "bee", "cat")


def sequential(units: int = 3, activation: str | None = "softmax", size: int = 12, channels: int = 3):
    """A network as a first lesson builds it."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((size, size, channels)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal"),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(units, activation=activation, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5)),
        ]
    )


def functional():
    """Residual, batch norms that are not new, depthwise, strides with `same`, a model inside the model."""
    keras.utils.set_random_seed(2)
    given = keras.Input((15, 15, 3))
    values = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(layers.Rescaling(1 / 255)(given))
    values = layers.ReLU(max_value=6)(layers.BatchNormalization()(values))
    branch = layers.DepthwiseConv2D(3, padding="same", activation="gelu")(values)
    values = layers.Add()([values, layers.BatchNormalization()(branch)])
    values = layers.GlobalAveragePooling2D()(layers.SpatialDropout2D(0.1)(values))
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(3), layers.Softmax()])
    model = keras.Model(given, inner(values))
    for weight in model.weights:
        weight.assign(weight + keras.random.uniform(weight.shape, -0.2, 0.2, seed=len(weight.shape)))
    return model


def saved(model, path):
    model.save(path)
    return path


def pictures() -> list[np.ndarray]:
    china = load_sample_image("china.jpg")
    return [china, china[:200, 100:130], china[7:8, :50], china[100:115, 200:215]]


def keras_answers(model, low: float = 0, high: float = 255, resize: str = "squash") -> np.ndarray:
    size, channels = model.input_shape[1], model.input_shape[3]
    resized = np.stack([Resizer(size, resize)(picture) for picture in pictures()])
    if channels == 1:
        resized = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in resized])[..., None]
    return model.predict(low + resized.astype(np.float32) / 255 * (high - low), verbose=0)


def kilat_answers(file: bytes) -> np.ndarray:
    return Classifier(file).predict_proba(pictures())


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("build", [sequential, functional])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_the_answers_are_those_of_keras(build, suffix, tmp_path):
    model = build()
    file, described = import_keras(saved(model, tmp_path / f"model{suffix}"), classes=NAMES)
    wanted = keras_answers(model)
    np.testing.assert_allclose(kilat_answers(file), wanted, atol=1e-4)
    assert np.ptp(wanted, axis=0).max() > 0.01
    assert described["parity"]["pictures"] == 64
    assert described["parity"]["max_difference"] < 1e-4
    assert (described["classes"], described["size"], described["output"]) == (
        list(NAMES),
        model.input_shape[1],
        "softmax",
    )
    assert described["parameters"] == model.count_params()


def test_one_unit_with_a_sigmoid(tmp_path):
    model = sequential(1, "sigmoid")
    file, described = import_keras(saved(model, tmp_path / "model.keras"), classes=("no", "yes"))
    yes = keras_answers(model)
    np.testing.assert_allclose(kilat_answers(file), np.hstack([1 - yes, yes]), atol=1e-4)
    assert described["output"] == "sigmoid"


def test_a_sigmoid_that_rounds_to_one(tmp_path):
    """Its probabilities are 1 to the last bit of float32, from which no logit comes back."""
    model = sequential(1, "sigmoid")
    model.layers[-1].bias.assign([30.0])
    file, described = import_keras(saved(model, tmp_path / "model.keras"), classes=("no", "yes"))
    assert described["parity"]["max_difference"] < 1e-6
    assert kilat_answers(file)[:, 1].min() > 0.999


@pytest.mark.parametrize("units", [1, 3])
def test_a_model_that_gives_logits(units, tmp_path):
    model = sequential(units, None)
    names = NAMES if units == 3 else ("no", "yes")
    file, described = import_keras(saved(model, tmp_path / "model.keras"), classes=names)
    logits = keras_answers(model).astype(float)
    logits = logits if units == 3 else np.hstack([np.zeros_like(logits), logits])
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(kilat_answers(file), wanted, atol=1e-4)
    assert described["output"] == "linear"


@pytest.mark.parametrize(
    ("scale", "low", "high", "channels"), [("0..255", 0, 255, 1), ("0..1", 0, 1, 3), ("-1..1", -1, 1, 3)]
)
def test_scales_and_grey(scale, low, high, channels, tmp_path):
    model = sequential(channels=channels)
    model.layers[0].scale = 1 / high  # so that each scale shows in the answers
    path = saved(model, tmp_path / "model.keras")
    file, _ = import_keras(path, classes=NAMES, scale=scale, resize="pad")
    np.testing.assert_allclose(kilat_answers(file), keras_answers(model, low, high, "pad"), atol=1e-4)


@pytest.mark.parametrize("mode", ["caffe", "torch"])
def test_scales_by_channel(mode, tmp_path):
    model = sequential()
    model.layers[0].scale = 1.0
    file, described = import_keras(saved(model, tmp_path / "model.keras"), classes=NAMES, scale=mode)
    resized = np.stack([Resizer(12, "squash")(picture) for picture in pictures()]).astype(np.float32)
    wanted = model.predict(keras.applications.imagenet_utils.preprocess_input(resized, mode=mode), verbose=0)
    np.testing.assert_allclose(kilat_answers(file), wanted, atol=1e-4)
    assert described["pixels"] == mode


def test_scales_by_channel_are_none_of_grey_pictures(tmp_path):
    path = saved(sequential(channels=1), tmp_path / "model.keras")
    with pytest.raises(RecipeError, match="'caffe' is one of colours, and the model takes grey pictures"):
        import_keras(path, classes=NAMES, scale="caffe")


def bright_or_dark(low: float, high: float) -> keras.Model:
    """A model that says, for pixels from ``low`` to ``high``, whether more than half are bright."""
    dense = layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.GlobalAveragePooling2D(), dense])
    dense.set_weights([np.full((3, 1), 10 / (high - low)), np.array([-30 * (low + (high - low) / 2) / (high - low)])])
    return model


@pytest.fixture
def bright_and_dark() -> ArraySource:
    random = np.random.default_rng(0)
    picture = [random.integers(*bounds, (9, 9, 3)).astype(np.uint8) for bounds in [(0, 110), (140, 256)] * 20]
    return ArraySource(picture, ["Dark room", "bright"] * 20, "mine")


class TestLabelledPictures:
    def test_they_say_the_scale(self, bright_and_dark, tmp_path):
        path = saved(bright_or_dark(-1, 1), tmp_path / "model.keras")
        file, described = import_keras(path, classes=("dark_room", "bright"), source=bright_and_dark)
        assert described["pixels"] == Classifier(file).manifest.recipe["scale"] == "-1..1"
        assert described["labelled"]["n"] == 40
        assert described["labelled"]["accuracies"] == {
            "0..255": 0.5, "0..1": 0.5, "-1..1": 1.0, "caffe": pytest.approx(0.5, abs=0.5), "torch": 1.0,
        }  # fmt: skip
        assert [note["code"] for note in described["notes"]] == ["pixels_chosen"]

    def test_a_scale_that_was_said_stays(self, bright_and_dark, tmp_path):
        path = saved(bright_or_dark(-1, 1), tmp_path / "model.keras")
        _file, described = import_keras(path, classes=("dark_room", "bright"), source=bright_and_dark, scale="0..255")
        assert described["labelled"]["accuracies"] == {"0..255": 0.5}
        codes = [note["code"] for note in described["notes"]]
        assert codes == ["no_better_than_chance", "import_inconclusive"]  # every probability is 0 or 1

    def test_a_reversed_sigmoid_is_said(self, bright_and_dark, tmp_path):
        path = saved(bright_or_dark(0, 255), tmp_path / "model.keras")
        _file, described = import_keras(path, classes=("bright", "dark room"), source=bright_and_dark)
        assert described["pixels"] == "0..255"
        assert described["labelled"]["accuracy"] == 0
        (note,) = described["notes"]
        assert (note["code"], note["values"]["names"]) == ("classes_in_other_order", "dark room,bright")

    def test_labels_that_are_no_class_are_named(self, bright_and_dark, tmp_path):
        path = saved(bright_or_dark(0, 255), tmp_path / "model.keras")
        _file, described = import_keras(path, classes=("night", "day"), source=bright_and_dark)
        assert described["labelled"] is None
        assert [note["values"]["label"] for note in described["notes"]] == ["Dark room", "bright"]


def test_answers_that_hardly_vary_show_nothing(tmp_path):
    model = sequential()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([1e-4 * kernel, bias])
    _file, described = import_keras(saved(model, tmp_path / "model.keras"), classes=NAMES)
    assert described["parity"]["labels_agree"] == 1
    assert not described["parity"]["conclusive"]
    assert [note["code"] for note in described["notes"]] == ["import_inconclusive"]


@pytest.fixture
def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_becomes_float32(mixed, tmp_path):
    model = sequential()
    file, described = import_keras(saved(model, tmp_path / "model.keras"), classes=NAMES)
    np.testing.assert_allclose(kilat_answers(file), keras_answers(model), atol=0.05)
    assert described["parity"]["max_difference"] < 1e-4


def test_the_file_says_what_it_is(tmp_path):
    file, _ = import_keras(saved(sequential(), tmp_path / "model.keras"), classes=NAMES, scale="0..1")
    manifest = Classifier(file).manifest
    assert manifest.recipe == {"imported": "model.keras", "scale": "0..1", "resize": "squash"}
    assert manifest.backbone["name"].startswith("keras: sequential")
    assert manifest.versions["keras"] == keras.__version__
    answer = Classifier(file).predict(pictures()[0])[0]
    assert set(answer.set) == set(NAMES)  # without a threshold no class is ruled out


def test_the_same_model_gives_the_same_bytes(tmp_path):
    path = saved(functional(), tmp_path / "model.keras")
    assert import_keras(path, classes=NAMES)[0] == import_keras(path, classes=NAMES)[0]


def test_pictures_of_the_user_are_compared_where_they_can_be_read(tmp_path):
    path = saved(sequential(), tmp_path / "model.keras")
    broken = np.zeros((4, 4, 3), np.float32)
    source = ArraySource([*pictures(), broken], ["ant"] * 5, "mine")
    assert import_keras(path, classes=NAMES, source=source)[1]["parity"]["pictures"] == 4
    with pytest.raises(SourceError, match="None of the pictures in mine can be read"):
        import_keras(path, classes=NAMES, source=ArraySource([broken], ["ant"], "mine"))


def test_an_unfaithful_export_is_stopped(tmp_path, monkeypatch):
    path = saved(sequential(), tmp_path / "model.keras")
    predict = keras.Model.predict
    monkeypatch.setattr(keras.Model, "predict", lambda self, pixels, **given: predict(self, 0.3 * pixels, **given))
    with pytest.raises(RunError, match="disagree: a probability differs"):
        import_keras(path, classes=NAMES)


def refused(model_or_path, tmp_path, classes=NAMES) -> str:
    path = model_or_path
    if isinstance(path, keras.Model):
        path = saved(path, tmp_path / "model.keras")
    with pytest.raises(ModelFileError) as caught:
        import_keras(path, classes=classes)
    return str(caught.value)


def test_a_lambda_is_never_run(tmp_path):
    code = layers.Lambda(lambda values: [values, open("executed", "w")][0], output_shape=(12, 12, 3))  # noqa: PTH123, SIM115
    model = keras.Sequential([keras.Input((12, 12, 3)), code, layers.Flatten(), layers.Dense(3)])
    assert "contains a Lambda layer, which is code inside the file" in refused(model, tmp_path)


def altered(path, change):
    """The same file with another description of its layers."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": "os", "class_name": "system"}, "'system' of 'os', which is not part of Keras"),
        ({"module": "mine", "class_name": "Swish"}, "'Swish' of 'mine', which is not part of Keras"),
        ({"class_name": "TorchModuleWrapper"}, "TorchModuleWrapper layer, which is code"),
        ({"module": "keras.utils", "class_name": "get_file"}, "cannot be read"),
        ({"class_name": "NoSuchLayer"}, "cannot be read: Could not deserialize 'keras.layers.NoSuchLayer'"),
    ],
)
def test_what_is_not_keras_is_refused(change, message, tmp_path):
    path = saved(sequential(), tmp_path / "model.keras")
    altered(path, lambda config: config["config"]["layers"][3].update(change))
    assert message in refused(path, tmp_path)


def test_how_it_was_trained_does_not_matter(tmp_path):
    model = sequential()
    model.compile("adam", "sparse_categorical_crossentropy")
    path = saved(model, tmp_path / "model.keras")
    altered(path, lambda config: config["compile_config"].update(loss={"module": "mine", "class_name": "Loss"}))
    np.testing.assert_allclose(kilat_answers(import_keras(path, classes=NAMES)[0]), keras_answers(model), atol=1e-4)


def several_inputs():
    one, two = keras.Input((8, 8, 3)), keras.Input((4,))
    return keras.Model([one, two], layers.Dense(3)(layers.Concatenate()([layers.Flatten()(one), two])))


def plain(shape, *tail):
    return keras.Sequential([keras.Input(shape), *tail])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (several_inputs, "takes [8, 8, 3] and [4] and gives [3]; kilat reads models with one input"),
        (lambda: plain((8, 6, 3), layers.Flatten(), layers.Dense(3)), "takes [8, 6, 3] and gives [3]; kilat reads mod"),
        (lambda: plain((None, None, 3), layers.GlobalMaxPooling2D(), layers.Dense(3)), "takes [any, any, 3]"),
        (lambda: plain((8, 8, 4), layers.Flatten(), layers.Dense(3)), "takes [8, 8, 4]"),
        (lambda: plain((12,), layers.Dense(3)), "takes [12]"),
        (lambda: plain((8, 8, 3), layers.Conv2D(3, 1)), "gives [8, 8, 3]"),
        (lambda: sequential(4), "has 4 outputs, but 3 class names were given: ant, bee, cat."),
        (lambda: sequential(1), "has 1 output, but 3 class names were given: ant, bee, cat."),
        (lambda: sequential(3, "sigmoid"), "ends in sigmoid with 3 outputs"),
        (lambda: sequential(3, "tanh"), "ends in tanh with 3 outputs"),
    ],
)
def test_models_that_are_no_classifiers_of_square_pictures(build, message, tmp_path):
    assert message in refused(build(), tmp_path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_files_that_are_no_keras_models(tmp_path):
    model = sequential()
    whole = {suffix: saved(model, tmp_path / f"m{suffix}").read_bytes() for suffix in (".keras", ".h5")}
    model.save_weights(tmp_path / "model.weights.h5")
    assert "contains weights, but not the layers they belong to" in refused(tmp_path / "model.weights.h5", tmp_path)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    contents = {"cut.keras": whole[".keras"][:3000], "cut.h5": whole[".h5"][:3000]}
    contents |= {"b.keras": b"", "c.keras": empty.getvalue()}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert "is not a Keras model (.keras or .h5), or it is damaged" in refused(tmp_path / name, tmp_path)
    assert "does not exist" in refused(tmp_path / "absent.keras", tmp_path)
    assert "is a folder" in refused(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("model.tflite", "is a model of TensorFlow Lite", "Import the Keras model that it was converted from"),
        ("frozen.pb", "is a graph of TensorFlow", "Import the Keras model that it was made from"),
        ("model.json", "does not contain its weights", "model.load_weights(…)"),
        ("model.onnx", "is not a Keras model; kilat imports .keras and .h5", "model.save('model.keras')"),
        ("saved_model.pb", "is a SavedModel of TensorFlow", "tf.keras.models.load_model('{folder}').save('model.h5')"),
    ],
)
def test_models_of_other_formats(name, what, hint, tmp_path):
    (tmp_path / name).write_bytes(b"content")
    message, advice = refused(tmp_path / name, tmp_path).splitlines()
    assert what in message
    assert hint.format(folder=tmp_path) in advice
    if name == "saved_model.pb":
        assert what in refused(tmp_path, tmp_path)


def test_a_model_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "converted_keras.zip", "w") as archive:
        archive.writestr("keras_model.h5", b"")
        archive.writestr("labels.txt", "0 daisy")
    assert "is an archive that contains keras_model.h5" in refused(tmp_path / "converted_keras.zip", tmp_path)


def test_the_cause_among_many_lines_of_keras_stands_last(tmp_path):
    path = saved(sequential(), tmp_path / "model.keras")
    altered(path, lambda config: config["config"]["layers"][3]["config"].update(groups_of=2, name="first"))
    cause = "layer 'first' (Conv2D): Unrecognized keyword arguments passed to Conv2D: {'groups_of': 2}."
    assert refused(path, tmp_path).splitlines()[0].endswith(cause)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_what_the_file_is_called_does_not_matter(tmp_path):
    model = sequential()
    for suffix, other in [(".keras", ".h5"), (".h5", "")]:
        path = saved(model, tmp_path / f"model{suffix}").rename(tmp_path / f"renamed{other}")
        np.testing.assert_allclose(kilat_answers(import_keras(path, classes=NAMES)[0]), keras_answers(model), atol=1e-4)


def test_sizes_that_keras_takes_from_the_picture(tmp_path):
    """The exporter wants the shape of a layer norm and the padding of a pooling as constants."""
    steps = [layers.LayerNormalization(), layers.MaxPooling2D(3, 2, "same"), layers.AveragePooling2D(3, 2, "same")]
    model = plain((15, 15, 3), layers.Rescaling(1 / 255), *steps, layers.Flatten(), layers.Dense(3))
    path = saved(model, tmp_path / "model.keras")
    assert import_keras(path, classes=NAMES)[1]["parity"]["max_difference"] < 1e-5


def test_weights_that_are_cut_off(tmp_path):
    path = saved(sequential(), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] = members["model.weights.h5"][:2000]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "or it is damaged" in refused(path, tmp_path)


@pytest.mark.parametrize("names", [(), ("one",), ("a", "a"), ("a", "")])
def test_invalid_class_names(names, tmp_path):
    with pytest.raises(RecipeError, match="two classes or more"):
        import_keras(tmp_path / "model.keras", classes=names)


def test_an_unknown_scale(tmp_path):
    with pytest.raises(RecipeError, match=r"no scale '0\.\.2'") as caught:
        import_keras(tmp_path / "model.keras", classes=NAMES, scale="0..2")
    assert "'0..255'" in caught.value.hint


def test_an_unknown_way_to_resize(tmp_path):
    with pytest.raises(RecipeError, match="no way to resize pictures called 'stretch'"):
        import_keras(tmp_path / "model.keras", classes=NAMES, resize="stretch")


def test_without_keras_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs the extra 'keras'"):
        import_keras(tmp_path / "model.keras", classes=NAMES)


def test_keras_on_another_backend(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(RunError, match="Keras already runs on jax") as caught:
        import_keras(tmp_path / "model.keras", classes=NAMES)
    assert "KERAS_BACKEND=torch" in caught.value.hint


def test_the_module_itself_needs_neither_torch_nor_keras():
    code = "import sys, kilat.verbs.import_keras; print({'torch', 'keras', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
