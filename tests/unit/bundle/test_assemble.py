"""``model.onnx`` in bare ONNX Runtime: any shape and batch, and the outputs of the fitted parts."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kilat.bundle import assemble
from kilat.bundle.assemble import assemble_frozen, assemble_network
from kilat.bundle.manifest import KEY
from kilat.bundle.predictor import Classifier
from kilat.errors import RunError
from kilat.evaluate.calibration import apply_temperature
from kilat.features import lite
from kilat.features.processing import OnnxRunner
from kilat.features.resize_graph import OPSET, Resizer
from kilat.probe import Head
from kilat.probe.components import standardise


def session(model: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


def probabilities_of(model: bytes, image: np.ndarray) -> np.ndarray:
    return session(model).run(None, {"image": image})[0]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return load_sample_image("china.jpg")


def test_the_contract_of_inputs_and_outputs(small):
    (image,), outputs = session(small).get_inputs(), session(small).get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["batch", "height", "width", 3])
    shapes = {"probabilities": ["batch", 3], "embedding": ["batch", 2], "unknown": ["batch"]}
    assert {one.name: one.shape for one in outputs} == shapes
    assert {one.type for one in outputs} == {"tensor(float)"}


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 300), (4, 4), (333, 222), (3000, 4000)])
def test_any_height_and_width(colours, head, manifest, ood, resize, shape):
    probabilities = probabilities_of(assemble_frozen(colours, resize, head, 1.0, manifest, ood), noise(2, *shape, 3))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (2, 3)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_a_batch_gives_the_outputs_of_its_pictures(small):
    batch = noise(5, 20, 31, 3)
    together = session(small).run(None, {"image": batch})
    for at, picture in enumerate(batch):
        alone = session(small).run(None, {"image": picture[None]})
        for whole, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one[0], whole[at])


def test_channels_are_red_green_blue(small):
    for channel in range(3):
        pixels = np.zeros((1, 5, 8, 3), np.uint8)
        pixels[..., channel] = 255
        assert probabilities_of(small, pixels)[0].argmax() == channel


@pytest.mark.parametrize(("resize", "kept"), [("crop", "green"), ("squash", "all"), ("pad", "grey")])
def test_what_is_left_of_a_wide_picture(colours, head, manifest, ood, resize, kept):
    """Red, green and blue thirds side by side: a crop keeps the middle, squash and pad keep all, pad adds grey."""
    pixels = np.zeros((1, 8, 24, 3), np.uint8)
    for third in range(3):
        pixels[:, :, 8 * third : 8 * third + 8, third] = 255
    probabilities = probabilities_of(assemble_frozen(colours, resize, head, 1.0, manifest, ood), pixels)[0]
    if kept == "green":
        assert probabilities[1] > 0.9
    else:
        np.testing.assert_allclose(probabilities, 1 / 3, atol=0.15)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_it_is_the_fitted_head_on_the_features(resize, manifest, make_ood, photo):
    """The real backbone, in one file with the resize before it and the head behind it, as the parts one by one."""
    backbone = lite.build(64, "fp32")
    random = np.random.default_rng(1)
    head = Head(
        random.normal(0, 1, backbone.width).astype(np.float32),
        random.uniform(0.5, 2, backbone.width).astype(np.float32),
        random.normal(0, 0.02, (backbone.width, 3)).astype(np.float32),
        random.normal(0, 1, 3).astype(np.float32),
    )
    temperature, ood = 1.7, make_ood(backbone.width, methods=("knn", "mahalanobis", "energy"))
    model = session(assemble_frozen(backbone, resize, head, temperature, replace(manifest, size=64), ood))
    resizer, run = Resizer(64, resize), OnnxRunner(backbone)
    for picture in (photo, photo[:100, :333], photo[50:250, 200:260], photo[:30, :20]):
        features = run(resizer(picture)[None])
        logits = head.logits(features)
        embedding = ood.projection(standardise(features, head.mean, head.scale))
        unknown = ood.detector.score(embedding, logits / np.float32(temperature))
        outputs = model.run(["probabilities", "embedding", "unknown"], {"image": picture[None]})
        for output, expected in zip(outputs, (apply_temperature(logits, temperature), embedding, unknown), strict=True):
            np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_a_higher_temperature_gives_less_confident_probabilities(colours, head, manifest, ood, photo):
    low, high = (
        probabilities_of(assemble_frozen(colours, "crop", head, t, manifest, ood), photo[None])[0] for t in (0.5, 5.0)
    )
    assert low.max() > high.max()
    assert low.argmax() == high.argmax()


def test_resizing_is_antialiased(colours, head, manifest, ood):
    """Thin lines must come out as their mean, as in Pillow, and not as whatever column was hit."""
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[:, :, ::2] = 255
    small = np.asarray(Image.fromarray(pixels[0]).resize((4, 4), Image.Resampling.BILINEAR)).mean((0, 1)) / 255
    expected = apply_temperature(head.logits(small[None].astype(np.float32)), 1.0)
    np.testing.assert_allclose(
        probabilities_of(assemble_frozen(colours, "crop", head, 1.0, manifest, ood), pixels), expected, atol=0.02
    )
    assert small.mean() == pytest.approx(0.5, abs=0.02)


def test_the_document_inside(small, manifest):
    document = json.loads(session(small).get_modelmeta().custom_metadata_map[KEY])
    assert document["schema"] == 1
    assert document["classes"] == ["red", "green", "blue"]
    assert set(document) >= {"recipe", "digests", "thresholds", "measures", "versions", "backbone", "size"}
    opset = onnx.load_from_string(small).opset_import[0].version
    assert document["versions"]["opset"] == opset == OPSET


def test_the_same_parts_give_the_same_bytes(colours, head, manifest, ood, small):
    assert assemble_frozen(colours, "crop", head, 1.0, manifest, ood) == small


def test_it_is_a_valid_model_that_keeps_everything_inside(small):
    model = onnx.load_from_string(small)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert all(one.domain in ("", "ai.onnx") for one in model.opset_import)


def means(picture: np.ndarray, resize: str) -> np.ndarray:
    """The features of such a network, float64 ``[1, 3]``."""
    return Resizer(4, resize)(picture).mean((0, 1), keepdims=True)[0].astype(float) / 255


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_a_trained_network_keeps_its_probabilities(trained, manifest, photo, resize):
    weight = np.random.default_rng(2).normal(0, 5, (3, 3))
    file = assemble_network(trained(weight), size=4, resize=resize, temperature=1.7, manifest=manifest)
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    for picture in (photo, photo[:100, :333], photo[50:51, 200:207]):
        expected = apply_temperature(means(picture, resize) @ weight, 1.7)
        np.testing.assert_allclose(probabilities_of(file, picture[None]), expected, atol=1e-5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_unit_is_the_second_of_two_classes(trained, manifest, photo, sign):
    weight = sign * np.array([[9.0], [-2.0], [30.0]])
    two = replace(manifest, classes=("no", "yes"))
    file = assemble_network(trained(weight), size=4, resize="squash", temperature=0.5, manifest=two)
    logit = means(photo, "squash") @ weight / 0.5
    expected = 1 / (1 + np.exp(np.hstack([logit, -logit])))
    np.testing.assert_allclose(
        probabilities_of(file, photo[None]), expected, rtol=1e-4
    )  # of a probability near 1e-18 too
    assert Classifier(file).predict(photo)[0].label == ("yes" if sign > 0 else "no")


def test_the_same_network_gives_the_same_bytes(trained, manifest):
    one, other = (
        assemble_network(trained(np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest)
        for _ in range(2)
    )
    assert one == other


def test_a_network_that_is_too_large_for_a_file(trained, manifest, monkeypatch):
    monkeypatch.setattr(assemble, "MAX_BYTES", 100)
    with pytest.raises(RunError, match=r"has \d+ bytes; one ONNX file holds 100\."):
        assemble_network(trained(np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest)
