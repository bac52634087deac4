"""Fine-tuning from end to end: beside the frozen result, kept only if better, stopped and gone on with in any phase."""

import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

timm = pytest.importorskip("timm")
torch = pytest.importorskip("torch")

import kilat  # noqa: E402
from kilat.errors import RecipeError  # noqa: E402

BACKBONE = "test_efficientnet"
SIZE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny backbone whose weights nobody trained: fine-tuning has much to gain."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(BACKBONE).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def tuning(weights):
    """Choices that open the tiny backbone."""
    return {
        "features": {"backbone": BACKBONE, "weights": str(weights), "size": SIZE},
        "head": {"components": 4},
        "data": {"test": 0.25, "validation": 0.25},
        "augment": {"resized_crop": 0.7},
        "fit": {
            "phases": [{"epochs": 1, "unfreeze": 1}, {"epochs": 1, "unfreeze": "all"}], "batch": 64, "checkpoint": 0,
            "optimizer": {"name": "adamw", "learning_rate": 1e-3}, "schedule": {"name": "cosine", "warmup": 0.2},
            "layer_decay": 0.9, "ema": 0.9,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tuning, tmp_path_factory):
    return kilat.train("digits", tuning, runs=tmp_path_factory.mktemp("tuned"))


def test_it_is_kept_where_it_is_better(tuned):
    comparison = tuned.metrics.comparison
    assert comparison.kept == "fine_tuned"
    assert comparison.fine_tuned.test.accuracy > comparison.frozen.test.accuracy
    assert comparison.validation.log_loss_gain > comparison.validation.needed
    assert tuned.metrics.test.accuracy == comparison.fine_tuned.test.accuracy
    assert tuned.metrics.parity.max_difference < 1e-3
    assert tuned.metrics.fit.temperature is not None
    assert tuned.metrics.head.temperature is None


def test_the_report_says_which_won_and_by_how_much(tuned):
    page = (tuned.folder / "report.html").read_text("utf-8")
    assert "The fine-tuned network is kept: on" in page
    assert "which decided nothing" in page


def test_some_pictures_are_kept_aside_for_what_it_promises(tuned):
    """Which training neither used nor was measured on: sets and thresholds come from them."""
    from kilat.data.source import open_source
    from kilat.evaluate.conformal import ConformalSets

    catalog = pd.read_csv(tuned.folder / "catalog.csv")
    used = catalog[catalog["status"] == "used"]
    counts = used["split"].value_counts()
    assert set(counts.index) == {"train", "validation", "calibration", "test"}
    assert tuned.metrics.validation.n == counts["validation"]
    assert 0.02 < counts["calibration"] / (counts["calibration"] + counts["train"]) < 0.1
    predictions = pd.read_csv(tuned.folder / "predictions.csv")
    assert predictions["split"].value_counts().to_dict() == counts.drop("train").to_dict()
    source, rows = open_source("digits"), used.index[used["split"] == "calibration"]
    answers = list(tuned.classifier.outputs(source.read(int(row)) for row in rows))
    truth = np.array([tuned.classifier.classes.index(str(catalog.loc[row, "label"])) for row in rows])
    sets = ConformalSets.fit(np.stack([answer.probabilities for answer in answers]), truth)
    thresholds = tuned.classifier.manifest.thresholds
    assert thresholds["set"]["thresholds"] == pytest.approx(sets.thresholds, abs=1e-3)
    assert thresholds["unknown"]["rate"] == 0.05
    assert sum(answer.ood_score > 0.01 for answer in answers) < 0.05 * len(rows)


def test_what_is_no_digit_is_unknown(tuned):
    noise = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    answers = list(kilat.load(tuned.folder).outputs(noise))
    assert np.mean([answer.ood_score > 0 for answer in answers]) > 0.9
    assert {len(answer.embedding) for answer in answers} == {tuned.classifier.reference.shape[1]}
    assert tuned.metrics.parity.max_ood_difference < 0.01


def test_the_model_file_answers_alike(tuned):
    from kilat.data.source import open_source

    source = open_source("digits")
    pictures = [source.read(row) for row in range(40)]
    labels = [source.entries[row].label for row in range(40)]
    right = [
        prediction.label == label
        for prediction, label in zip(kilat.load(tuned.folder).predict(pictures), labels, strict=True)
    ]
    assert np.mean(right) > 0.8


def test_the_frozen_result_is_kept_where_nothing_is_gained(tuning, tmp_path):
    still = {**tuning, "fit": {**tuning["fit"], "optimizer": {"name": "sgd", "learning_rate": 1e-9}}}
    run = kilat.train("digits", still, runs=tmp_path)
    comparison = run.metrics.comparison
    assert comparison.kept == "frozen"
    assert run.metrics.test.accuracy == comparison.frozen.test.accuracy
    assert run.metrics.model.backbone == BACKBONE
    assert run.metrics.data.calibration == run.metrics.data.validation == 0  # cross-validated instead
    assert set(pd.read_csv(run.folder / "predictions.csv")["split"]) == {"validation", "test"}
    assert run.metrics.head.temperature is not None
    assert "The frozen backbone is kept" in (run.folder / "report.html").read_text("utf-8")
    # and where training begins is where the head ended
    assert comparison.validation.log_loss_gain == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("stop", [3, pytest.param(19, marks=pytest.mark.slow)])
def test_gone_on_with_in_every_phase_it_ends_with_the_same_bytes(tuned, tuning, tmp_path, stop, start, assert_same_run):
    from kilat import recipe as recipes

    file = tmp_path / "tuning.yaml"
    file.write_text(recipes.load(tuning).to_yaml(), "utf-8")
    process = start("train", "digits", "--recipe", file, "--runs", tmp_path)
    folder = tmp_path / "digits"
    while process.poll() is None and not any(
        int(f.stem[5:]) >= stop for f in (folder / "checkpoints").glob("step-*.json")
    ):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (folder / "metrics.json").exists()
    kilat.train(resume=folder)
    assert_same_run(folder, tuned.folder)
    newest = [max((one / "checkpoints").glob("*.safetensors")) for one in (folder, tuned.folder)]
    assert newest[0].read_bytes() == newest[1].read_bytes()


def test_one_choice_opens_a_frozen_recipe(weights, tmp_path):
    choices = {"backbone": BACKBONE, "weights": str(weights), "size": SIZE, "fit.unfreeze": 1, "epochs": 1}
    run = kilat.train("digits", runs=tmp_path, **choices)
    assert run.metrics.fit.epochs == 1
    assert run.metrics.fit.optimizer == "adamw"  # as in the recipe finetune
    assert run.metrics.comparison.kept in ("frozen", "fine_tuned")


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"preset": "goood"}, "no preset 'goood'"),
        ({"preset": "good", "recipe": "vgg-cifar"}, "Both a preset and a recipe"),
        ({"fit.unfreeze": 99, "backbone": BACKBONE}, "has 5 stages"),
        ({"epochs": 3}, "this recipe fits a head on a frozen backbone"),
    ],
)
def test_what_cannot_be_is_refused(weights, tmp_path, choices, words):
    more = {"weights": str(weights), "size": SIZE} if "backbone" in choices else {}
    with pytest.raises(RecipeError, match=words):
        kilat.train("digits", runs=tmp_path, **choices, **more)


def test_a_frozen_recipe_takes_a_time_limit_and_within_it_leaves_nothing_out(tmp_path):
    run = kilat.train("digits", preset="fast", runs=tmp_path, time_limit="60s")
    assert run.metrics.data.refused == 0
    assert json.loads((run.folder / "metrics.json").read_text("utf-8"))["test"]["n"] > 300
    shutil.rmtree(run.folder)


PAIR = {
    "preset": "best", "backbone": "efficientnet_lite0+efficientnet_lite1", "size": SIZE,
    "fit.early_stopping.patience": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def some_digits():
    """Pictures and labels of a third of the digits."""
    digits = load_digits()
    return {"data": (digits.images[:600] * 15).astype(np.uint8), "labels": digits.target[:600].astype(str)}


def test_it_is_not_begun_where_the_frozen_result_is_nearly_perfect(some_digits, tmp_path):
    run = kilat.train(**some_digits, runs=tmp_path, **PAIR)
    prospects = run.metrics.prospects
    assert prospects.mistakes <= 5
    assert prospects.domain_shift > 0.1  # digits are no photographs
    assert run.metrics.comparison is None
    assert run.metrics.fit is None
    (note,) = [note for note in run.metrics.notes if note.code == "finetuning_few_mistakes"]
    assert note.values == {"count": prospects.mistakes, "pictures": prospects.pictures}
    assert "was not trained further" in (run.folder / "report.html").read_text("utf-8")


@pytest.mark.slow  # two backbones are trained
def test_the_first_of_two_backbones_is_trained_by_itself_where_there_is_much_to_gain(some_digits, tmp_path):
    """Two components leave much wrong."""
    run = kilat.train(**some_digits, runs=tmp_path, epochs=2, components=2, **{**PAIR, "data.validation": 0.25})
    assert run.metrics.prospects.expected_gain > run.metrics.prospects.needed_gain
    assert run.metrics.comparison.kept == "fine_tuned"
    assert run.metrics.model.network == "efficientnet_lite0"
    assert run.metrics.comparison.frozen.validation.n > run.metrics.comparison.fine_tuned.validation.n


def test_it_is_given_up_after_an_epoch_without_gain(some_digits, tmp_path):
    choices = {**PAIR, "backbone": "efficientnet_lite0", "data.validation": 0.25, "components": 2, "epochs": 5}
    choices["learning_rate"] = 1e-12
    run = kilat.train(**some_digits, runs=tmp_path, **choices)
    assert run.metrics.comparison.kept == "frozen"
    assert run.metrics.fit.epochs == 1
    assert run.metrics.model.backbone == "efficientnet_lite0"
    assert "finetuning_given_up" in [note.code for note in run.metrics.notes]
    page = (run.folder / "report.html").read_text("utf-8")
    assert "was given up after its first epoch" in page
    assert "The training took" in page
