"""A network that answers by the mean over a picture and its mirror image, in PyTorch and in the model file."""

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.bundle.penultimate import answering_graph  # noqa: E402
from kilat.model import layers  # noqa: E402
from kilat.model.image_model import PixelNetwork  # noqa: E402
from kilat.model.to_onnx import to_onnx  # noqa: E402
from kilat.recipe import Network  # noqa: E402

SIDE = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
ENDINGS = {
    "pooled": ["global_avg_pool", {"dense": 6}, {"activation": "gelu"}, {"dense": "classes"}],
    "flat": ["flatten", {"dense": "classes"}],
    "maps": [{"conv": 4}, "global_avg_pool"],
}


def model_of(network, **averages):
    return PixelNetwork(network, SIDE, (120.0,) * 3, (60.0,) * 3, **averages).eval()


def network_of(ending):
    body = [{"conv": {"filters": 6, "activation": "relu"}}, "batch_norm", "max_pool"]
    document = {"layers": [*body, *ENDINGS[ending]]}
    return layers.build(Network.model_validate(document), channels=3, size=SIDE, classes=4, seed=0)


def run(graph, name):
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run([name], {"pixels": PIXELS})[0]


def logits(model, pixels):
    with torch.no_grad():
        return model(torch.from_numpy(np.ascontiguousarray(pixels))).numpy()


@pytest.mark.parametrize("network", [*ENDINGS, "another module"])
def test_it_answers_by_the_mean_of_both_ways_round(network):
    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE * 3, 4))
    if network in ENDINGS:
        made = network_of(network)
    plain, average = (model_of(made, flip_average=choice) for choice in (False, True))
    sides = logits(plain, PIXELS), logits(plain, PIXELS[:, :, ::-1])
    assert np.abs(sides[0] - sides[1]).max() > 0.01
    np.testing.assert_allclose(logits(average, PIXELS), np.mean(sides, 0), atol=1e-5)
    planes = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        np.testing.assert_array_equal(average.logits(planes).numpy(), sides[0])  # training takes the picture alone


@pytest.mark.parametrize("flip", [False, True])
def test_moved_pictures_count_as_much_as_the_picture(flip):
    network = network_of("flat")
    padded = np.pad(PIXELS, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    moved = padded[:, :SIDE, :SIDE], padded[:, 4:, 4:]
    views = [(0.5, PIXELS), (0.25, moved[0]), (0.25, moved[1])]
    sides = [1, -1] if flip else [1]
    plain = model_of(network)
    wanted = sum(w / len(sides) * logits(plain, view[:, :, ::side]) for w, view in views for side in sides)
    found = model_of(network, flip_average=flip, shift_average=2)
    np.testing.assert_allclose(logits(found, PIXELS), wanted, atol=1e-5)
    np.testing.assert_allclose(run(to_onnx(found, size=SIDE), "logits"), wanted, atol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_model_file_does_the_same_and_has_one_embedding_of_both(ending):
    plain, average = (model_of(network_of(ending), flip_average=choice) for choice in (False, True))
    graph = to_onnx(average, size=SIDE)
    np.testing.assert_allclose(run(graph, "logits"), logits(average, PIXELS), atol=1e-4)
    one = answering_graph(to_onnx(plain, size=SIDE))
    name = ort.InferenceSession(one).get_outputs()[-1].name
    both = answering_graph(graph)
    found = run(both, ort.InferenceSession(both).get_outputs()[-1].name)
    mirrored = ort.InferenceSession(one).run([name], {"pixels": np.ascontiguousarray(PIXELS[:, :, ::-1])})[0]
    assert found.shape == mirrored.shape
    if ending != "maps":  # whose last weights come before the mean
        np.testing.assert_allclose(found, (run(one, name) + mirrored) / 2, atol=1e-4)
