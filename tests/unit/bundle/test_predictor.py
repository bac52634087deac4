"""The classifier from a file: with three packages alone, and with files that are cut off, altered or hostile."""

import gc
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from sklearn.datasets import load_sample_image

from kilat.bundle.assemble import assemble_network
from kilat.bundle.manifest import KEY, MAX_BYTES, REFERENCE
from kilat.bundle.predictor import Classifier, ModelOutput, load
from kilat.errors import ModelFileError, PictureError

ALONE = """
import sys

class Closed:
    allowed = {"kilat", "numpy", "onnxruntime", "PIL", "_distutils_hack", "sitecustomize"}
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in self.allowed and root not in sys.stdlib_module_names and not root.startswith("_"):
            raise ImportError(f"{name} is closed")

sys.meta_path.insert(0, Closed())
import kilat
classifier = kilat.load(sys.argv[1])
(prediction,) = classifier.predict([sys.argv[2]])
print(prediction.label)
third = {n.partition(".")[0] for n, m in sys.modules.items() if "-packages" in (getattr(m, "__file__", "") or "")}
print(sorted(third - {"kilat", "_distutils_hack"}))
"""

HOSTILE = """
import collections, sys
import numpy as np
from kilat.bundle.predictor import Classifier
from kilat.errors import KilatError, ModelFileError

whole = bytearray(open(sys.argv[1], "rb").read())
flips, first, last = map(int, sys.argv[2:])
random = np.random.default_rng(0)
picture = np.zeros((6, 8, 3), np.uint8)
counts = collections.Counter()
for _ in range(flips):
    data = bytearray(whole)
    for _ in range(int(random.integers(1, 4))):
        data[int(random.integers(first, last))] ^= 1 << int(random.integers(8))
    try:
        classifier = Classifier(bytes(data))
    except ModelFileError:
        counts["refused"] += 1
        continue
    try:
        classifier.predict(picture)
        counts["predicted"] += classifier.reference is None or classifier.reference.ndim == 2
    except KilatError:
        counts["no prediction"] += 1
print(sum(counts.values()), dict(counts))
"""


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (9, 5), (255, 0, 0)).save(path)
    return path


def running_threads() -> set[threading.Thread]:
    """The threads of all classifiers."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("kilat-predict")}


def with_document(text: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: helper.set_model_props(model, {KEY: text})


class TestPredictions:
    def test_label_probabilities_and_set(self, small, red):
        classifier = Classifier(small)
        (prediction,) = classifier.predict([red])
        assert (prediction.path, prediction.label, prediction.unknown) == (str(red), "red", False)
        assert list(prediction.probabilities) == ["red", "green", "blue"]
        assert prediction.set == ["red"]
        assert classifier.classes == ("red", "green", "blue")

    def test_the_set_holds_all_that_are_likely_enough_the_likeliest_first(self, small):
        grey = np.full((4, 4, 3), (120, 125, 130), np.uint8)
        (prediction,) = Classifier(small).predict(grey)
        assert prediction.set == ["blue", "green", "red"]
        assert all(prediction.probabilities[label] >= 0.2 for label in prediction.set)

    def test_never_an_empty_set(self, altered, small, manifest, red):
        strict = json.loads(manifest.to_json()) | {"thresholds": {"set": {"coverage": 0.5, "probability": 1.1}}}
        classifier = Classifier(altered(with_document(json.dumps(strict))))
        assert classifier.predict(red)[0].set == ["red"]

    def test_without_thresholds_every_class_is_possible(self, altered, manifest, red):
        bare = json.loads(manifest.to_json()) | {"thresholds": {}}
        classifier = Classifier(altered(with_document(json.dumps(bare))))
        assert set(classifier.predict(red)[0].set) == {"red", "green", "blue"}

    def test_a_set_that_takes_every_class_in(self, altered, manifest, red):
        sets = {"method": "raps", "coverage": 0.9, "thresholds": [None, None, None], "penalty": 0.1, "k_reg": 2}
        wide = json.loads(manifest.to_json()) | {"thresholds": {"set": sets}}
        assert len(Classifier(altered(with_document(json.dumps(wide)))).predict(red)[0].set) == 3

    def test_a_picture_unlike_all_training_pictures_is_unknown(self, small, red):
        """It was trained on red, green and blue, not on white; its label is the likeliest class all the same."""
        white = np.full((9, 5, 3), 255, np.uint8)
        known, white_prediction = Classifier(small).predict([red, white])
        assert (known.unknown, white_prediction.unknown) == (False, True)
        assert white_prediction.label in {"red", "green", "blue"}

    def test_outputs_are_those_of_bare_onnx_runtime(self, small, manifest):
        session, classifier = ort.InferenceSession(small, providers=["CPUExecutionProvider"]), Classifier(small)
        photo = load_sample_image("flower.jpg")
        pictures = [photo, photo[:50, :300], photo[100:300, 200:233], photo[::7, ::7]]
        outputs, predictions = list(classifier.outputs(pictures)), classifier.predict(pictures)
        for picture, output, prediction in zip(pictures, outputs, predictions, strict=True):
            bare = dict(
                zip(("probabilities", "embedding", "unknown"), session.run(None, {"image": picture[None]}), strict=True)
            )
            np.testing.assert_array_equal(output.probabilities, bare["probabilities"][0])
            np.testing.assert_array_equal(output.embedding, bare["embedding"][0])
            assert output.ood_score == bare["unknown"][0]
            assert prediction.unknown == bool(bare["unknown"][0] > 0)
            likely = bare["probabilities"][0] >= manifest.thresholds["set"]["probability"]
            assert set(prediction.set) == set(np.array(manifest.classes)[likely])

    def test_a_file_without_a_detector_predicts_all_the_same(self, trained, manifest, red):
        file = assemble_network(trained(3 * np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest)
        classifier = Classifier(file)
        (prediction,) = classifier.predict(red)
        assert (prediction.label, prediction.unknown) == ("red", False)
        (output,) = classifier.outputs([red])
        assert (output.ood_score, output.embedding.shape) == (-np.inf, (0,))
        assert classifier.reference is None

    @pytest.mark.parametrize("kept", ["unknown", "embedding"])
    def test_embedding_and_unknown_may_be_there_alone(self, altered, small, red, kept):
        def drop(model: onnx.ModelProto) -> None:
            outputs = [one for one in model.graph.output if one.name in ("probabilities", kept)]
            del model.graph.output[:]
            model.graph.output.extend(outputs)

        (output,), (whole,) = (Classifier(file).outputs([red]) for file in (altered(drop), small))
        assert output.ood_score == (whole.ood_score if kept == "unknown" else -np.inf)
        assert output.embedding.tolist() == (whole.embedding.tolist() if kept == "embedding" else [])

    def test_the_reference_is_what_was_put_in(self, small, ood):
        found = Classifier(small).reference
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, ood.reference.astype(np.float16))

    def test_predictions_go_on_after_a_refusal(self, small, red):
        kinds = [
            type(prediction).__name__ for prediction in Classifier(small).predictions([red, b"", red, "gone.png", red])
        ]
        assert kinds == ["Prediction", "RefusedPicture", "Prediction", "RefusedPicture", "Prediction"]

    def test_a_refusal_names_the_picture(self, small, tmp_path):
        (tmp_path / "broken.jpg").write_bytes(b"broken")
        with pytest.raises(PictureError, match=r"broken\.jpg: not a picture"):
            Classifier(small).predict([tmp_path / "broken.jpg"])

    def test_pictures_may_come_one_by_one_from_a_generator(self, small, red):
        predictions = Classifier(small).predict(path for path in [red] * 40)
        assert [prediction.label for prediction in predictions] == ["red"] * 40

    def test_several_threads_may_predict_at_once(self, small):
        classifier = Classifier(small)
        pictures = [np.full((6, 6, 3), value, np.uint8) for value in range(0, 250, 5)]
        expected, found = classifier.predict_proba(pictures), {}
        workers = [
            threading.Thread(target=lambda k=k: found.update({k: classifier.predict_proba(pictures)})) for k in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(found) == 4
        assert all((rows == expected).all() for rows in found.values())

    def test_its_threads_live_as_long_as_it_does(self, small):
        picture, others = np.zeros((4, 4, 3), np.uint8), running_threads()
        with Classifier(small) as classifier:
            assert running_threads() <= others
            classifier.predict([picture] * 50)
            own = running_threads() - others
            classifier.predict([picture] * 50)
            assert own
            assert own <= running_threads()
        assert not own & running_threads()
        assert len(classifier.predict(picture)) == 1  # started again
        own = running_threads() - others
        del classifier
        gc.collect()
        for thread in own:
            thread.join()
        assert not own & running_threads()

    def test_predictions_that_nobody_waits_for_are_not_made(self, small):
        classifier = Classifier(small)
        some = classifier.outputs(np.zeros((4, 4, 3), np.uint8) for _ in range(10_000))
        assert isinstance(next(some), ModelOutput)
        some.close()
        classifier.close()

    def test_a_copy_from_a_pickle_predicts_the_same(self, small, red):
        classifier = Classifier(small)
        expected = classifier.predict(red)
        assert pickle.loads(pickle.dumps(classifier)).predict(red) == expected

    def test_three_packages_are_enough(self, small, red, tmp_path):
        (tmp_path / "model.onnx").write_bytes(small)
        command = [sys.executable, "-c", ALONE, tmp_path, red]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        label, third = done.stdout.splitlines()
        assert label == "red"
        assert third == "['PIL', 'numpy', 'onnxruntime']"


class TestRefusals:
    def test_weights_in_another_file(self, altered, tmp_path):
        def plant(model: onnx.ModelProto) -> None:
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="../../etc/passwd")

        (tmp_path / "model.onnx").write_bytes(altered(plant))
        with pytest.raises(ModelFileError, match="another file") as error:
            load(tmp_path)
        assert str(tmp_path / "model.onnx") in str(error.value)

    def test_an_onnx_file_that_kilat_did_not_make(self, altered):
        with pytest.raises(ModelFileError, match="names no classes"):
            Classifier(altered(lambda model: model.ClearField("metadata_props")))

    def test_an_oversized_header(self, altered):
        with pytest.raises(ModelFileError, match="header"):
            Classifier(altered(with_document('{"classes": "' + "x" * MAX_BYTES + '"}')))

    def test_a_newer_schema(self, altered, manifest):
        newer = json.dumps(json.loads(manifest.to_json()) | {"schema": 2})
        with pytest.raises(ModelFileError, match="newer kilat"):
            Classifier(altered(with_document(newer)))

    @pytest.mark.parametrize("classes", [["red"], ["red", "green", "blue", "black"]])
    def test_more_or_fewer_names_than_probabilities(self, altered, manifest, classes):
        wrong = json.dumps(json.loads(manifest.to_json()) | {"classes": classes})
        with pytest.raises(ModelFileError):
            Classifier(altered(with_document(wrong)))

    @pytest.mark.parametrize("name", ["image", "probabilities"])
    def test_inputs_and_outputs_of_other_names(self, altered, name):
        def rename(model: onnx.ModelProto) -> None:
            for node in model.graph.node:
                node.input[:] = ["other" if one == name else one for one in node.input]
                node.output[:] = ["other" if one == name else one for one in node.output]
            for value in (*model.graph.input, *model.graph.output):
                value.name = "other" if value.name == name else value.name

        with pytest.raises(ModelFileError):
            Classifier(altered(rename))

    def test_a_graph_that_fails_on_pictures_is_no_fault_of_theirs(self, altered, red):
        def narrow(model: onnx.ModelProto) -> None:
            for tensor in model.graph.initializer:
                if tensor.name == "head.mean":
                    tensor.CopyFrom(numpy_helper.from_array(np.zeros(2, np.float32), "head.mean"))

        with pytest.raises(ModelFileError):
            Classifier(altered(narrow)).predict(red)

    def test_probabilities_that_are_not_finite_are_refused(self, altered, red):
        def spoil(model: onnx.ModelProto) -> None:
            for tensor in model.graph.initializer:
                if tensor.name == "head.bias":
                    tensor.CopyFrom(numpy_helper.from_array(np.full(3, np.nan, np.float32), "head.bias"))

        with pytest.raises(ModelFileError, match="probability for each class"):
            Classifier(altered(spoil)).predict(red)

    @pytest.mark.parametrize(
        ("constant", "value"),
        [
            ("unknown.threshold", np.float32(np.nan)),
            ("unknown.threshold", np.zeros(2, np.float32)),
            ("unknown.threshold", np.zeros((2, 2), np.float32)),
            ("unknown.knn.spread", np.float32(np.nan)),
            ("unknown.knn.lengths", np.full(90, np.nan, np.float32)),
            ("unknown.knn.lengths", np.zeros(7, np.float32)),
            ("embedding.offset", np.full(3, np.nan, np.float32)),
            ("embedding.offset", np.zeros((2, 3), np.float32)),
            ("embedding.basis", np.zeros((4, 2), np.float32)),
        ],
    )
    def test_a_damaged_detector(self, altered, red, constant, value):
        def spoil(model: onnx.ModelProto) -> None:
            (tensor,) = (one for one in model.graph.initializer if one.name == constant)
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), constant))

        with pytest.raises(ModelFileError):
            Classifier(altered(spoil)).predict(red)

    def test_a_score_that_is_text(self, altered, red):
        def spoil(model: onnx.ModelProto) -> None:
            for node in model.graph.node:
                node.output[:] = ["number" if one == "unknown" else one for one in node.output]
            model.graph.node.append(
                helper.make_node("Constant", [], ["unknown"], value=helper.make_tensor("t", 8, [1], [b"text"]))
            )
            (output,) = (one for one in model.graph.output if one.name == "unknown")
            output.CopyFrom(helper.make_tensor_value_info("unknown", onnx.TensorProto.STRING, [1]))

        with pytest.raises(ModelFileError):
            Classifier(altered(spoil)).predict(red)

    @pytest.mark.parametrize(
        "sets",
        [
            3,
            [],
            "",
            {},
            {"probability": "high", "coverage": 0.9},
            {"probability": 0.5},
            {"method": "lac", "coverage": 0.9, "thresholds": [0.1, 0.1]},
            {"method": "lac", "coverage": 0.9, "thresholds": [True]},
            {"method": "lac", "coverage": 9, "thresholds": [0.1]},
            {"method": "mine", "coverage": 0.9, "thresholds": [0.1]},
            {"method": "raps", "coverage": 0.9, "thresholds": [0.1], "k_reg": 9},
            {"method": "raps", "coverage": 0.9, "thresholds": [0.1], "penalty": "1"},
        ],
    )
    def test_invalid_prediction_sets(self, altered, manifest, sets):
        wrong = json.loads(manifest.to_json()) | {"thresholds": {"set": sets}}
        with pytest.raises(ModelFileError, match="damaged header: invalid prediction sets"):
            Classifier(altered(with_document(json.dumps(wrong))))

    @pytest.mark.parametrize("text", ["", "2:", "2:????", "x:AAAA", "2:AAA=", "-1:AAAA", "2:AHwAfA=="])
    def test_a_damaged_reference_is_refused_when_it_is_read(self, altered, manifest, red, text):
        props = {KEY: manifest.to_json(), REFERENCE: text}
        classifier = Classifier(altered(lambda model: helper.set_model_props(model, props)))
        assert classifier.predict(red)[0].label == "red"
        if text == "2:":
            assert classifier.reference.shape == (0, 2)
        else:
            with pytest.raises(ModelFileError, match="reference embeddings"):
                _ = classifier.reference

    @pytest.mark.parametrize("content", [b"", b"a text\n" * 100, b"\x00" * 100, b"PK\x03\x04", b"\x08\x09"])
    def test_files_that_are_not_models(self, content, tmp_path):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(ModelFileError):
            load(tmp_path / "model.onnx")

    def test_files_that_cannot_be_opened(self, tmp_path):
        with pytest.raises(ModelFileError, match="no model file"):
            load(tmp_path / "gone.onnx")
        (tmp_path / "model.onnx").mkdir()
        with pytest.raises(ModelFileError):
            load(tmp_path)

    def test_cut_off_anywhere(self, small):
        for length in {*range(0, len(small) - 1, 97), len(small) - 1}:
            with pytest.raises(ModelFileError):
                Classifier(small[:length])

    def test_flipped_bits_are_refused_or_harmless(self, small, tmp_path):
        """In a process of its own, since what runs the file is native code."""
        (tmp_path / "small.onnx").write_bytes(small)
        command = [sys.executable, "-c", HOSTILE, tmp_path / "small.onnx", "400", "0", str(len(small))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.startswith("400 ")  # and nothing that the runtime printed on its own
        assert "refused" in done.stdout
