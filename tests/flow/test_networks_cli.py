"""The verbs around networks on the command line: summary, shapes, learning rates, preview, training, refusals."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

import kilat
from kilat.recipe import built_in, load

pytest.importorskip("torch", reason="the extra torch is not installed")

SVG = "{http://www.w3.org/2000/svg}svg"
SMALL = ("--recipe", "mlp-bn", "--size", "8", "--set", "model.layers.2.dense.units=20")
NARROW = [{"conv": {"filters": 4, "padding": "same"}}, "max_pool", "flatten", {"dense": "classes"}]
OPTIONS = {"model.layers": NARROW, "fit.watch": "layers"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def picture():
    """A digit as a file in the current folder."""
    Image.fromarray((load_digits().images[5] * 15).astype(np.uint8)).save("five.png")
    return "five.png"


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A network trained for an epoch on all digits."""
    runs = tmp_path_factory.mktemp("runs")
    return kilat.train("digits", "vgg-cifar", runs=runs, size=8, epochs=1, batch=256, **OPTIONS)


class TestSummary:
    def test_of_a_recipe(self, kilat_here):
        done = kilat_here("summary", "vgg-cifar")
        assert done.returncode == 0
        assert "Total params: 1,186,346" in done.stdout
        assert "Trainable params: 1,184,426" in done.stdout

    def test_as_json_and_drawn(self, kilat_here, json_lines):
        done = kilat_here("summary", "vgg-cifar", "--classes", 100, "--json", "--out", "drawn.svg")
        (document,) = json_lines(done.stdout)
        assert document["input"] == [32, 32, 3]
        assert document["layers"][-1]["output_shape"] == [100]
        assert document["total"] == sum(layer["trainable"] + layer["frozen"] for layer in document["layers"])
        assert document["total"] == 1_186_346 + 90 * 1025
        assert ET.parse("drawn.svg").getroot().tag == SVG

    def test_of_a_run_and_of_its_model(self, kilat_here, json_lines, small_run):
        for given in (small_run.folder, small_run.folder / "model.onnx"):
            (document,) = json_lines(kilat_here("summary", given, "--json").stdout)
            assert document["total"] == small_run.metrics.fit.parameters
            assert document["macs"] == small_run.metrics.fit.macs
            assert document["input"] == [8, 8, 3]

    def test_with_other_choices(self, kilat_here, json_lines):
        done = kilat_here("summary", "vgg-cifar", "--size", 16, "--set", "model.layers.0.conv.filters=8", "--json")
        (document,) = json_lines(done.stdout)
        assert document["layers"][0]["output_shape"] == [16, 16, 8]

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["vgg-cifr"], "Did you mean 'vgg-cifar'"),
            (["vgg-cifar", "--size", "8"], "model.layers.14 (max_pool)"),
        ],
    )
    def test_refusals(self, kilat_here, arguments, sentence):
        done = kilat_here("summary", *arguments)
        assert done.returncode == 2
        assert sentence in done.stderr

    def test_of_a_frozen_backbone_the_head_alone_is_trainable(self, kilat_here, json_lines):
        (document,) = json_lines(kilat_here("summary", "transfer", "--classes", 5, "--size", 64, "--json").stdout)
        head = document["layers"][-1]
        assert (head["label"], head["output_shape"]) == ("head", [5])
        assert document["trainable"] == head["trainable"] == head["macs"] + 5
        assert document["total"] > 3_300_000

    def test_of_fine_tuning_so_many_stages_are(self, kilat_here, json_lines):
        """The same network with all of its batch norms, which the frozen one has in its convolutions."""
        small = ("summary", "finetune", "--size", 64, "--json")
        (every,) = json_lines(kilat_here(*small).stdout)
        (top,) = json_lines(kilat_here(*small, "--set", "fit.unfreeze=1").stdout)
        (frozen,) = json_lines(kilat_here("summary", "transfer", "--size", 64, "--json").stdout)
        assert frozen["trainable"] < top["trainable"] < every["trainable"] < every["total"] == top["total"]
        assert every["macs"] == frozen["macs"]

    @pytest.mark.parametrize(("recipe", "size"), [("tiny", 32), ("transfer", 224)])
    def test_a_size_that_follows_from_the_data_is_assumed_and_said(self, kilat_here, recipe, size):
        assert f"Pictures of {size}×{size} pixels are assumed" in kilat_here("summary", recipe).stdout
        assert "assumed" not in kilat_here("summary", recipe, "--size", 64).stdout

    def test_what_is_drawn_is_said(self, kilat_here):
        done = kilat_here("summary", "mlp-bn", "--size", 8, "--out", "drawn.svg")
        assert done.stdout.endswith("wrote drawn.svg\n")


class TestLayers:
    """What is kept of a training with ``fit.watch: layers``, and what a finished model makes of a picture."""

    def test_are_kept_and_drawn(self, small_run):
        table, watched = small_run.layers, small_run.metrics.fit.watched
        assert list(table["layer"]) == [row.layer for row in watched.layers] == ["conv", "batch_norm", "dense"]
        assert watched.pictures == 64
        assert table["relative_gradient"].tolist() == [row.relative_gradient for row in watched.layers]
        page = small_run.report.read_text("utf-8")
        assert 'id="watched"' in page
        assert page == small_run.render_report()

    def test_activations_as_a_table_and_a_page(self, kilat_here, small_run):
        done = kilat_here("activations", small_run.folder, picture())
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert lines[0].startswith("five.png: ")
        assert [line.split()[0] for line in lines[1:-1]] == ["conv", "batch_norm", "max_pool", "flatten", "dense"]
        page = Path("activations.html").read_text("utf-8")
        assert page.count("data:image/png;base64,") == 1 + 4 + 3 * 4 + 2  # the picture, filters, maps, units
        assert len(page) < 2_000_000

    def test_as_files_and_as_json(self, kilat_here, json_lines, small_run):
        done = kilat_here("activations", small_run.folder, picture(), "--layer", "conv2d", "--out", "maps", "--json")
        (document,) = json_lines(done.stdout)
        (layer,) = document["layers"]
        assert (layer["layer"], layer["shape"]) == ("conv", [8, 8, 4])
        assert layer["min"] <= layer["mean"] <= layer["max"]
        assert {path.name for path in Path("maps").iterdir()} == {
            "000-conv.png", "000-conv-filters.png", "activations.json",
        }  # fmt: skip
        assert json.loads(Path("maps/activations.json").read_text("utf-8")) == document

    def test_the_maps_themselves(self, small_run):
        found = kilat.activations(small_run.folder, picture(), layers=["max_pool", "batch_norm"])
        assert np.array_equal(found["max_pool"], found["batch_norm"].reshape(4, 2, 4, 2, 4).max((1, 3)))
        assert found.prediction.label == small_run.classifier.predict(picture())[0].label

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [(["--layer", "conv_7"], "Did you mean 'conv'"), (["--html", "no/such.html"], "there is no folder no")],
    )
    def test_refusals(self, kilat_here, small_run, arguments, sentence):
        done = kilat_here("activations", small_run.folder, picture(), *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert sentence in done.stderr


class TestShape:
    def test_answers(self, kilat_here):
        assert kilat_here("shape", "7x7,", "kernel", "3,", "stride", "2,", "valid").stdout.endswith("→ 3x3\n")

    def test_refuses_what_it_cannot_read(self, kilat_here):
        done = kilat_here("shape", "how large?")
        assert (done.returncode, done.stdout) == (2, "")
        assert "For example: 7x7, kernel 3, stride 2, valid" in done.stderr


class TestSchedule:
    def test_is_drawn_and_printed(self, kilat_here):
        done = kilat_here("schedule", "small-cnn")
        assert done.returncode == 0
        assert done.stdout.endswith("wrote schedule.svg\n")
        assert ET.parse("schedule.svg").getroot().tag == SVG

    def test_of_phases_one_after_the_other(self, kilat_here, json_lines):
        done = kilat_here("schedule", "xception-fashion", "--steps", 20, "--json", "--out", "rates.svg")
        (document,) = json_lines(done.stdout)
        epochs, rates = document["epochs"], document["rates"]
        assert epochs == sorted(epochs)
        assert (rates[0], max(epochs)) == (0.2, pytest.approx(10, abs=0.1))
        second = next(index for index, epoch in enumerate(epochs) if epoch >= 5 and rates[index] <= 0.01)
        assert rates[second] == pytest.approx(0.01)
        assert rates[second - 1] == pytest.approx(0.2 / (1 + 0.01 * 100), rel=0.05)  # after 5 epochs of 20 steps

    @pytest.mark.parametrize("recipe", ["transfer", "good"])
    def test_a_frozen_backbone_has_none(self, kilat_here, json_lines, recipe):
        done = kilat_here("schedule", recipe)
        assert (done.returncode, list(Path().iterdir())) == (0, [])
        assert "has no learning rate" in done.stdout
        (document,) = json_lines(kilat_here("schedule", recipe, "--json").stdout)
        assert document == {"epochs": [], "rates": [], "drawing": None, "notes": []}

    def test_another_one_is_a_choice_away(self, kilat_here, json_lines):
        done = kilat_here("schedule", "vgg-cifar", "--set", "fit.schedule.name=cosine", "--json")
        (document,) = json_lines(done.stdout)
        assert document["rates"][0] == pytest.approx(5e-4)
        assert document["rates"][-1] < 1e-6
        assert document["notes"] == []

    def test_one_that_training_is_too_short_for(self, kilat_here):
        done = kilat_here("schedule", "small-cnn", "--set", "fit.schedule={name: cosine, warmup: 12}", "--steps", 5)
        assert "The warm-up of 12 epochs takes all of training (12)" in done.stdout


class TestRates:
    def test_one_is_suggested_and_drawn(self, kilat_here, json_lines):
        done = kilat_here("lr-find", "digits", *SMALL, "--steps", 60, "--json")
        assert done.returncode == 0
        (document,) = json_lines(done.stdout)
        assert 1e-5 < document["suggestion"] < 1
        assert document["suggestion"] in document["rates"]
        assert document["reason"] == ""
        assert len(document["rates"]) == len(document["losses"]) == len(document["smoothed"])
        assert ET.parse("lr-find.svg").getroot().tag == SVG

    def test_an_unclear_curve_says_what_to_do(self, kilat_here, json_lines):
        """Ten rates are too few to tell a fall from noise."""
        done = kilat_here("lr-find", "digits", *SMALL, "--steps", 10)
        assert done.returncode == 0
        assert done.stdout.startswith(
            "Unclear: over 10 rates the loss falls by no more than its noise. Keep 0.001, the"
        )
        assert "--steps 30" in done.stdout
        (document,) = json_lines(kilat_here("lr-find", "digits", *SMALL, "--steps", 10, "--json").stdout)
        assert (document["suggestion"], document["reason"]) == (None, "no_fall")
        assert "suggested" not in Path("lr-find.svg").read_text("utf-8")

    def test_not_for_a_frozen_backbone(self, kilat_here):
        done = kilat_here("lr-find", "digits", "--recipe", "transfer")
        assert done.returncode == 2
        assert not list(Path().iterdir())


class TestPreview:
    def test_pictures_and_the_warning(self, kilat_here):
        done = kilat_here("preview", "digits", "--size", 16)
        assert done.returncode == 0
        assert "Pictures are not mirrored (augment.horizontal_flip: auto)" in done.stdout
        with Image.open("preview.png") as sheet:
            assert (sheet.format, sheet.mode) == ("PNG", "RGB")
            enlarged = 96  # 16 pixels, six times
            assert sheet.width > 9 * enlarged
            assert 6 * enlarged < sheet.height < 7 * enlarged

    def test_what_was_chosen_is_done_and_warned_of(self, kilat_here):
        done = kilat_here("preview", "digits", "--size", 16, "--set", "horizontal_flip=true")
        assert "augment.horizontal_flip mirrors pictures left to right" in done.stdout

    def test_no_warning_where_nothing_is_mirrored(self, kilat_here):
        done = kilat_here("preview", "digits", "--size", 16, "--set", "horizontal_flip=false", "--out", "other.png")
        assert done.stdout == "wrote other.png\n"

    @pytest.mark.parametrize(("recipe", "size"), [("mlp-bn", 8), ("transfer", 32), ("transfer", 64)])
    def test_a_recipe_that_augments_nothing_shows_what_its_network_gets(self, kilat_here, recipe, size):
        done = kilat_here("preview", "digits", "--recipe", recipe, "--size", size)
        assert done.returncode == 0
        assert f"as its network gets them, {size}×{size} pixels" in done.stdout
        with Image.open("preview.png") as sheet:
            assert sheet.width < 2 * 96 + 16  # one column

    def test_of_fine_tuning_pictures_have_the_size_of_its_backbone(self, kilat_here):
        kilat_here("preview", "digits", "--recipe", "finetune", "--size", 64)
        with Image.open("preview.png") as sheet:
            assert sheet.height == 4 + 6 * (128 + 4)  # enlarged twice


class TestRecipes:
    def test_are_listed(self, kilat_here):
        lines = kilat_here("recipes").stdout.splitlines()
        assert [line.partition(": ")[0] for line in lines] == built_in()
        assert all(len(line.partition(": ")[2]) > 20 for line in lines)  # each with a sentence about it

    @pytest.mark.parametrize("name", built_in())
    def test_are_printed_to_be_copied(self, kilat_here, name):
        Path("mine.yaml").write_text(kilat_here("recipes", name).stdout, "utf-8")
        assert Path("mine.yaml").read_text("utf-8").startswith("# ")
        assert load("mine.yaml") == load(name)

    def test_an_unknown_one(self, kilat_here):
        done = kilat_here("recipes", "xception-fashio")
        assert (done.returncode, done.stdout) == (2, "")
        assert "Did you mean 'xception-fashion'?" in done.stderr


class TestTrain:
    def test_with_choices_of_all_kinds(self, kilat_here, json_lines):
        done = kilat_here(
            "train", "digits", *SMALL, "--epochs", 2, "--batch", 128, "--set", "optimizer.name=adam",
            "--set", "fit.schedule.name=one_cycle", "--set", "fit.early_stopping=5", "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (document,) = json_lines(done.stdout)
        fit = document["metrics"]["fit"]
        assert (fit["epochs"], fit["batch"], fit["optimizer"], fit["schedule"]) == (2, 128, "adam", "one_cycle")
        recipe = yaml.safe_load((Path(document["run"]) / "recipe.yaml").read_text("utf-8"))
        assert recipe["fit"]["optimizer"]["learning_rate"] == load("mlp-bn").fit.optimizer.rate
        assert recipe["fit"]["early_stopping"]["patience"] == 5
        assert recipe["model"]["layers"][2]["dense"]["units"] == 20

    def test_digits_are_not_mirrored_and_the_report_says_so(self, small_run):
        html = (small_run.folder / "report.html").read_text("utf-8")
        notes = re.search(r'<div class="notes".*?</div>', html, re.DOTALL)
        assert notes is not None
        assert "Pictures are not mirrored (augment.horizontal_flip: auto)" in notes[0]
        assert not small_run.metrics.fit.horizontal_flip

    @pytest.mark.parametrize(
        ("arguments", "sentences"),
        [
            (
                ["--recipe", "xception-fashion", "--epochs", "2"],
                ["fit: takes either epochs or phases", "fit.phases=[]"],
            ),
            (["--recipe", "vgg-cifar", "--backbone", "resnet50"], ["backbone: only for frozen backbones"]),
            (
                ["--epochs", "2", "--batch", "8"],
                ["epochs: only for networks that are trained", "batch: only for networks"],
            ),
            (
                ["--recipe", "vgg-cifar", "--set", "fit.loss=binary_cross_entropy", "--set", "normalise=backbone"],
                ["input.normalise: 'backbone' needs", "fit.loss: binary_cross_entropy needs"],
            ),
            (["--recipe", "vgg-cifar", "--time-limit", "soon"], ["runtime.time_limit: must be a time such as 90s"]),
            (["--recipe", "vgg-cifar", "--set", "fit.optimizr=adam"], ["fit.optimizr: unknown", "'optimizer'"]),
            (
                ["--recipe", "vgg-cifar", "--lr", "0.1"],
                ["No such option: --lr; write --set fit.optimizer.learning_rate=0.1"],
            ),
            (["--batch-size=32"], ["No such option: --batch-size; write --batch 32"]),
            (["--recipe", "vgg-cifar", "--size", "8"], ["model.layers.14 (max_pool)", "Give it 'padding: same'"]),
            (
                ["--recipe", "mlp-bn", "--set", "model.layers.6.dense.units=5"],
                ["ends in 5 units, and there are 10 classes"],
            ),
        ],
    )
    def test_contradictions_are_named_and_nothing_is_left_behind(self, kilat_here, arguments, sentences):
        done = kilat_here("train", "digits", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        for sentence in sentences:
            assert sentence in done.stderr
        assert not [path for path in Path().rglob("*") if path.is_file()]

    def test_a_trained_network_is_a_model_like_any_other(self, kilat_here, json_lines, small_run, photos):
        picture = next(photos.rglob("*.jpg"))
        (answer,) = json_lines(kilat_here("predict", small_run.folder, picture, "--json").stdout)
        assert answer["label"] in {str(digit) for digit in range(10)}
        done = kilat_here("eval", small_run.folder, "digits", "--json")
        measured, trained = json.loads(done.stdout)["metrics"], small_run.metrics
        assert measured["test"]["n"] == trained.test.n
        assert measured["test"]["accuracy"] == pytest.approx(trained.test.accuracy)
        assert measured["train"]["n"] == trained.data.used - trained.test.n
