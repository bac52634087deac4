"""Every recipe with a network, from pictures to a finished model, and what each of them promises beside that."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import kilat
from kilat import Run
from kilat.data.arrays import ArraySource
from kilat.recipe import Recipe, built_in, load

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.fit import prepare  # noqa: E402 - comes with the extra
from kilat.fit.training_run import TrainingRun  # noqa: E402
from kilat.learn.network import read_dataset  # noqa: E402
from kilat.runtime.progress import silent  # noqa: E402
from kilat.verbs.open_data import open_data  # noqa: E402

COLUMNS = "epoch loss accuracy validation_loss validation_accuracy learning_rate seconds pictures_per_second".split()
TWO_PHASES = {"fit.phases.0.epochs": 1, "fit.phases.1.epochs": 1}
BACKBONES = {"residual-head", "vgg16-binary", "flowers-mobilenet", "xception-fashion"}
"""Those that start with a pretrained network; its weights are random here, since tests fetch none."""
WITH_BATCH_NORM = {
    "fast-cifar", "fast-cifar-90", "fast-cifar-915", "mlp-bn", "residual-head", "small-cnn", "strided-cnn", "tiny",
    "vgg-cifar", "xception-fashion",
}  # fmt: skip
"""The last one trains those of an unfrozen stage, since its weights are random here."""


@dataclass(frozen=True)
class Small:
    """A recipe cut down to what a test has time for."""

    pictures: str
    choices: dict[str, Any]

    @property
    def epochs(self) -> int:
        return int(self.choices.get("epochs", len(TWO_PHASES)))


SMALL = {
    "fast-cifar": Small("digits", {"size": 16, "epochs": 2}),
    "fast-cifar-90": Small("digits", {"size": 16, "epochs": 2}),
    "fast-cifar-915": Small("digits", {"size": 16, "epochs": 2}),
    "flowers-dense": Small("photos", {"size": 32, "epochs": 2}),
    "flowers-mobilenet": Small("photos", {"size": 64, "epochs": 1}),
    "mlp-bn": Small("digits", {"size": 8, "epochs": 2}),
    "mlp-dropout": Small("digits", {"size": 8, "epochs": 2}),
    "mlp-leaky-relu": Small("digits", {"size": 8, "epochs": 2}),
    "mlp-selu": Small("digits", {"size": 8, "epochs": 2}),
    "residual-head": Small("photos", {"size": 64, "epochs": 1}),
    "small-cnn": Small("digits", {"size": 12, "epochs": 2}),
    "strided-cnn": Small("digits", {"size": 16, "epochs": 2}),
    "tiny": Small("digits", {"epochs": 8, "min_steps": 24, "batch": 64}),
    "vgg-cifar": Small("digits", {"size": 16, "epochs": 2}),
    "vgg16-binary": Small("photos", {"size": 32, "epochs": 1}),
    "xception-fashion": Small("few digits", {"size": 64, **TWO_PHASES}),
}


def small(name: str) -> Recipe:
    return load(name, SMALL[name].choices | ({"weights": "none"} if name in BACKBONES else {}))


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grey pictures of 8 × 8 pixels."""
    sets = load_digits()
    return (sets.images * 15).astype(np.uint8), sets.target


@pytest.fixture(scope="module")
def pictures(
    digits: Any, make_photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ArraySource | Path]:
    images, truth = digits
    return {
        "digits": ArraySource(images[:200], [str(digit) for digit in truth[:200]], "digits"),
        "few digits": ArraySource(images[truth < 3][:36], [str(digit) for digit in truth[truth < 3][:36]], "digits"),
        "photos": make_photos(tmp_path_factory.mktemp("few") / "sights", sides=(64, 96), temple=10, flower=10),
    }


@pytest.fixture(scope="module")
def trained(pictures: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """The finished run of a recipe; each is trained once."""
    runs = tmp_path_factory.mktemp("runs")
    done: dict[str, Run] = {}

    def run(name: str) -> Run:
        if name not in done:
            done[name] = kilat.train(pictures[SMALL[name].pictures], small(name), name=name, runs=runs)
        return done[name]

    return run


def history(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader((run.folder / "history.csv").read_text("utf-8").splitlines()))


def begin(name: str, source: Any) -> TrainingRun:
    """A training whose network can be inspected while it goes on."""
    recipe = small(name)
    if isinstance(source, Path):
        source = open_data(source)
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    return prepare.network_run(source, dataset, recipe, device="cpu", name=name)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def copy(begun: TrainingRun) -> dict[str, Any]:
    return {key: value.clone() for key, value in begun.spec.network.state_dict().items()}


def first_weights(name: str, classes: int = 10) -> prepare.LayerNetwork:
    """The network of a recipe at its own size, its backbone drawn at random."""
    recipe = load(name, {"model.weights": "none"})
    assert isinstance(recipe.input.size, int)
    return prepare.build_network(recipe, recipe.input.size, classes)


def count(network: Any) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_every_recipe_with_a_network_is_here() -> None:
    assert set(SMALL) == {name for name in built_in() if load(name).model is not None}


@pytest.mark.parametrize("name", SMALL)
class TestEveryRecipe:
    def test_its_model_answers_as_the_network_did(self, name: str, trained: Any, digits: Any) -> None:
        run = trained(name)
        classifier = kilat.load(run.folder / "model.onnx")
        (answer,) = classifier.predict(digits[0][0])
        assert answer.label in classifier.classes
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
        parity = run.metrics.parity
        assert parity.pictures > 0
        assert parity.max_difference <= parity.tolerance
        assert parity.labels_agree == 1

    def test_its_history_has_a_row_for_every_epoch(self, name: str, trained: Any) -> None:
        rows = history(trained(name))
        assert [list(row) for row in rows] == [COLUMNS] * SMALL[name].epochs
        assert all(np.isfinite(float(value)) for row in rows for value in row.values())

    def test_it_says_how_it_went(self, name: str, trained: Any) -> None:
        run = trained(name)
        metrics = json.loads((run.folder / "metrics.json").read_text("utf-8"))
        assert metrics["fit"]["epochs"] == SMALL[name].epochs
        assert metrics["fit"]["optimizer"] == load(name).fit.optimizer.name
        assert metrics["fit"]["schedule"] == load(name).fit.schedule.name
        html = (run.folder / "report.html").read_text("utf-8")
        # So few updates leave batch norm where it began; frozen ones do not count.
        assert (metrics["fit"]["precise_batch_norm"] > 0) == (name in WITH_BATCH_NORM)
        assert "Batch norm had only" not in html
        assert '<section id="training">' in html
        assert '<section id="network">' in html
        augment = load(name).augment.model_copy(update={"horizontal_flip": metrics["fit"]["horizontal_flip"]})
        assert ('<section id="augmented">' in html) == augment.is_active

    def test_its_run_keeps_the_recipe_as_it_was(self, name: str, trained: Any) -> None:
        assert load(trained(name).folder / "recipe.yaml") == small(name)


class TestSizes:
    def test_vgg_cifar(self) -> None:
        network = first_weights("vgg-cifar")
        buffers = sum(value.numel() for value in network.buffers())
        assert (count(network), count(network) + buffers) == (1_184_426, 1_186_346)

    def test_residual_head(self) -> None:
        layers = list(first_weights("residual-head").layers)
        assert layers[0].output_shape == (7, 7, 2048)
        assert count(layers[1]) == 2048 * 64 * 9 + 64 == 1_179_712
        assert layers[-1].output_shape == (10,)

    @pytest.mark.parametrize("name", ["mlp-bn", "mlp-dropout", "mlp-leaky-relu", "mlp-selu"])
    def test_dense_networks(self, name: str) -> None:
        kernels = [weights for weights in first_weights(name).parameters() if weights.ndim == 2]
        assert [tuple(kernel.shape) for kernel in kernels] == [(300, 784), (100, 300), (10, 100)]


def test_tiny_learns_digits_in_two_dozen_updates(trained: Any) -> None:
    """Of 200 digits, 40 are tested on; chance is a tenth, and nearest neighbours answer nine tenths."""
    assert trained("tiny").metrics.test.accuracy > 0.8


class TestBackbones:
    def test_vgg16_binary_trains_only_its_head(self, pictures: Any, tmp_path: Path) -> None:
        begun = begin("vgg16-binary", pictures["photos"])
        before = copy(begun)
        begun.train(tmp_path)
        backbone = {key for key in before if "layers.0." in key}
        trained = changed(before, copy(begun))
        assert len(backbone) > 20
        assert not trained & backbone
        assert {key for key, _ in begun.spec.network.named_parameters()} - backbone <= trained

    def test_vgg16_binary_answers_two_classes_from_one_unit(self, trained: Any, digits: Any) -> None:
        run = trained("vgg16-binary")
        assert run.classifier.classes == ("flower", "temple")
        both = run.classifier.predict_proba(list(digits[0][:5]))
        assert both.shape == (5, 2)
        np.testing.assert_allclose(both.sum(1), 1, atol=1e-6)

    def test_xception_fashion_opens_its_top_stage_in_the_second_phase(self, pictures: Any, tmp_path: Path) -> None:
        begun = begin("xception-fashion", pictures["few digits"])
        states = [copy(begun)]
        rows: list[dict[str, float]] = []

        def on_epoch(row: dict[str, float]) -> None:
            rows.append(row)
            states.append(copy(begun))

        begun.train(tmp_path, on_epoch=on_epoch)
        first, second = changed(states[0], states[1]), changed(states[1], states[2])
        assert {key.partition("layers.")[2] for key in first} == {"2.weight", "2.bias"}
        assert first < second
        opened = {key.partition("layers.0.network.")[2].partition(".")[0] for key in second - first}
        assert opened == {"block12", "conv3", "bn3", "conv4", "bn4"}  # timm ends the stage before inside block12
        assert rows[0]["learning_rate"] == pytest.approx(0.2, rel=0.05)
        assert rows[1]["learning_rate"] == pytest.approx(0.01, rel=0.05)

    def test_grey_pictures_are_made_into_three_channels(self, trained: Any, digits: Any) -> None:
        classifier = trained("xception-fashion").classifier
        grey = digits[0][0]
        np.testing.assert_array_equal(
            classifier.predict_proba(grey), classifier.predict_proba(np.stack([grey] * 3, axis=2))
        )


class TestSelu:
    def test_first_weights_are_lecuns_and_nothing_is_wrong(self, pictures: Any) -> None:
        begun = begin("mlp-selu", pictures["digits"])
        assert not begun.notes
        kernels = [weights for weights in begun.spec.network.parameters() if weights.ndim == 2]
        for kernel in kernels[:2]:
            assert float(kernel.detach().std()) == pytest.approx(kernel.shape[1] ** -0.5, rel=0.05)

    def test_dropout_would_be_alpha_dropout(self) -> None:
        layers = ["flatten", {"dense": 30}, {"dropout": 0.1}, {"dense": "classes"}]
        network = prepare.build_network(load("mlp-selu", {"model.layers": layers}), 8, 10)
        assert any(isinstance(part, torch.nn.AlphaDropout) for part in network.modules())
        assert not network.notes
