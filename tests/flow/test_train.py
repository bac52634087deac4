"""``kilat train``: what comes out, where it lies, what programs may rely on, and how it refuses."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest
import yaml
from PIL import Image

import kilat
from kilat.data.source import ArraySource
from kilat.errors import RecipeError, SourceError
from kilat.runtime.extras import has_torch

FILES = {
    "model.onnx", "report.html", "metrics.json", "recipe.yaml", "catalog.csv", "predictions.csv", "suspects.csv",
    "run.json", "report.json",
}  # fmt: skip
LABELS = (
    "a,b",
    'say "hi"',
    "two\nlines",
    "tab\there",
    "naïve 🌩 日本",
    "<script>alert(1)</script>",
    "NA",
    "=1+1",
    "back\\slash",
    "'; --",
)


@pytest.fixture(scope="module")
def blobs():
    """Arrays of one colour with noise: cheap pictures that any network tells apart."""

    def make(label: int, count: int, side: int = 12) -> list[np.ndarray]:
        random = np.random.default_rng(label)
        colour = np.random.default_rng(label + 1000).integers(20, 235, 3)
        noise = random.integers(-20, 20, (count, side, side, 3))
        return list(np.clip(colour + noise, 0, 255).astype(np.uint8))

    return make


def write(folder: Path, pictures) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{i}.png")


class TestDigits:
    def test_accuracy(self, digits_run):
        assert digits_run.metrics.test.accuracy >= 0.975
        assert digits_run.metrics.validation.accuracy >= 0.975

    def test_every_file_is_there_and_nothing_else(self, digits_run):
        assert {path.name for path in digits_run.folder.iterdir()} == FILES
        assert all(path.stat().st_size for path in digits_run.folder.iterdir())

    def test_metrics_hold_the_contract(self, digits_run, json_lines):
        text = (digits_run.folder / "metrics.json").read_text("utf-8")
        (metrics,) = json_lines(json.dumps(json.loads(text)))
        assert metrics == digits_run.metrics.document()
        assert metrics["schema"] == 1
        assert metrics["data"]["used"] == 1797
        assert metrics["data"]["refused"] == 0
        assert metrics["data"]["classes"] == [str(digit) for digit in range(10)]
        assert {"total_s", "features_s"} <= set(metrics["timing"])
        for part in ("test", "validation"):
            measured = metrics[part]
            low, high = measured["accuracy_interval"]
            assert 0 <= low <= measured["accuracy"] <= high <= 1
            assert isinstance(measured["n"], int)
            for key in ("accuracy", "balanced_accuracy", "log_loss", "brier", "ece"):
                assert isinstance(measured[key], float), key
            assert list(measured["per_class"]) == metrics["data"]["classes"]
            for row in measured["per_class"].values():
                assert set(row) == {"precision", "recall", "f1", "support", "brier", "ece", "reliability"}
        assert metrics["test"]["n"] + metrics["validation"]["n"] == 1797

    def test_the_catalog_and_the_predictions_account_for_every_picture(self, digits_run):
        catalog = pd.read_csv(digits_run.folder / "catalog.csv", dtype=str)
        assert list(catalog.columns[:4]) == ["path", "label", "split", "status"]
        assert (catalog["status"] == "used").all()
        assert catalog["digest"].is_unique
        predictions = pd.read_csv(digits_run.folder / "predictions.csv", dtype={"label": str, "predicted": str})
        assert sorted(predictions["path"]) == sorted(catalog["path"])
        test = predictions[predictions["split"] == "test"]
        assert (test["label"] == test["predicted"]).mean() == pytest.approx(digits_run.metrics.test.accuracy)

    def test_the_recipe_is_written_out_and_trains_again(self, digits_run):
        recipe = yaml.safe_load((digits_run.folder / "recipe.yaml").read_text("utf-8"))
        assert recipe["features"]["backbone"] == "efficientnet_lite0"
        assert recipe["runtime"]["seed"] == 0

    def test_the_report_asks_nothing_of_the_network(self, digits_run):
        html = (digits_run.folder / "report.html").read_text("utf-8")
        assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", html)
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", html)


class TestCommand:
    def test_json_is_one_object_and_runs_are_numbered(self, kilat_here, photos, tmp_path, json_lines):
        runs = tmp_path / "runs"
        first = kilat.train(photos, runs=runs, size=32)
        done = kilat_here("train", photos, "--runs", runs, "--size", 32, "--json")
        assert done.returncode == 0, done.stderr
        (printed,) = json_lines(done.stdout)
        assert set(printed) == {"run", "metrics"}
        assert printed["run"] == str(runs / "sights-2")
        assert json.loads((runs / "sights-2" / "metrics.json").read_text("utf-8")) == printed["metrics"]
        assert first.folder == runs / "sights"
        assert {path.name for path in first.folder.iterdir()} == FILES

    def test_choices_reach_the_recipe(self, kilat_here, photos, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        recipe = tmp_path / "mine.yaml"
        recipe.write_text("data:\n  test: 0.4\nhead:\n  folds: 3\n")
        choices = ("--set", "features.resize=pad", "--set", "head.components=64", "--seed", 7, "--name", "pilot")
        done = kilat_here("train", photos, "--recipe", recipe, "--size", 32, *choices)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "runs" / "pilot"
        assert "accuracy" in done.stdout
        assert str(Path("runs") / "pilot" / "report.html") in done.stdout
        resolved = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
        assert resolved["data"]["test"] == 0.4
        assert resolved["head"] | {"folds": 3, "components": 64} == resolved["head"]
        assert resolved["features"] | {"resize": "pad", "size": 32} == resolved["features"]
        assert resolved["runtime"]["seed"] == 7

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nowhere"], "nowhere"),
            (["digits", "--recipe", "trnsfer"], "transfer"),
            (["digits", "--set", "features.sise=64", "--set", "head.folds=1"], "did you mean 'size'"),
            (["digits", "--set", "nothing"], "PATH=VALUE"),
            (["digits", "--size", "20"], "multiple of 32"),
            (["digits", "--size", "huge"], "huge"),
            (["digits", "--backbone", "efficientnet_lite00"], "did you mean" if has_torch() else "kilat[torch]"),
            (["digits", "--no-such-option"], "no-such-option"),
            ([], "data"),
        ],
    )
    def test_what_cannot_start_is_said_in_sentences(self, kilat_here, tmp_path, arguments, words):
        done = kilat_here("train", *arguments, "--runs", tmp_path / "runs")
        assert done.returncode == 2
        assert words.lower() in done.stderr.lower()
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert not list(tmp_path.glob("runs/*"))

    def test_a_runs_folder_that_cannot_be_made(self, kilat_here, tmp_path):
        (tmp_path / "taken").write_text("a file")
        done = kilat_here("train", "digits", "--runs", tmp_path / "taken")
        assert done.returncode == 2
        assert "taken" in done.stderr
        assert "Traceback" not in done.stderr

    def test_all_problems_of_a_recipe_at_once(self, photos, tmp_path):
        document = {"data": {"test": 2}, "feature": {}, "head": {"l2": [-1]}}
        with pytest.raises(RecipeError) as error:
            kilat.train(photos, document, runs=tmp_path, sed=3)
        for words in ("data.test", "feature", "head.l2", "sed", "'seed'"):
            assert words in str(error.value)

    def test_names_become_folder_names(self, tmp_path, blobs):
        source = ArraySource([*blobs(0, 6), *blobs(1, 6)], ["a"] * 6 + ["b"] * 6, "x")
        run = kilat.train(source, runs=tmp_path / "runs", name="../../etc/my run", size=32)
        assert run.folder.parent == tmp_path / "runs"
        assert {path.name for path in run.folder.iterdir()} == FILES


class TestSplits:
    def test_ready_made_folders_are_kept(self, tmp_path, blobs):
        for split, count in (("train", 12), ("valid", 5), ("test", 4)):
            for label in (0, 1):
                write(tmp_path / "set" / split / f"c{label}", blobs(label + 10 * len(split), count))
        run = kilat.train(tmp_path / "set", runs=tmp_path / "runs", size=32)
        catalog = pd.read_csv(run.folder / "catalog.csv")
        named = catalog["path"].str.split("/").str[0].replace("valid", "validation")
        assert (catalog["split"] == named).all()
        assert (run.metrics.test.n, run.metrics.validation.n) == (8, 10)

    def test_without_a_test_folder_one_is_drawn_from_training(self, tmp_path, blobs):
        for split, count in (("train", 30), ("val", 6)):
            for label in (0, 1):
                write(tmp_path / "set" / split / f"c{label}", blobs(label + 10 * len(split), count))
        run = kilat.train(tmp_path / "set", runs=tmp_path / "runs", size=32)
        catalog = pd.read_csv(run.folder / "catalog.csv")
        assert (catalog.loc[catalog["path"].str.startswith("val/"), "split"] == "validation").all()
        assert set(catalog.loc[catalog["path"].str.startswith("train/"), "split"]) == {"train", "test"}
        assert run.metrics.validation.n == 12
        assert run.metrics.test.n > 0

    def test_a_table_with_a_split_column(self, tmp_path, blobs):
        for label in (0, 1):
            write(tmp_path / f"c{label}", blobs(label, 14))
        with (tmp_path / "set.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["Path", "Class", "Split"])
            for label in (0, 1):
                for i in range(14):
                    rows.writerow([f"c{label}/{i}.png", f"class {label}", ("train", "test", "dev")[min(i % 7, 2) % 3]])
        run = kilat.train(tmp_path / "set.csv", runs=tmp_path / "runs", size=32)
        assert run.classifier.classes == ("class 0", "class 1")
        data = run.metrics.data
        assert (data.train, data.test, data.validation) == (4, 4, 20)
        assert run.metrics.test.n == 4

    def test_no_test_at_all_where_none_is_wanted(self, tmp_path, blobs):
        source = ArraySource([*blobs(0, 8), *blobs(1, 8)], ["a"] * 8 + ["b"] * 8, "x")
        run = kilat.train(source, runs=tmp_path, size=32, test=0)
        assert run.metrics.test.n == 0
        assert run.metrics.test.accuracy is None
        assert run.metrics.validation.n == 16
        assert (run.folder / "report.html").stat().st_size > 0

    def test_adding_pictures_moves_nobody(self, tmp_path, blobs):
        def split_of(count: int) -> dict[str, str]:
            source = ArraySource([*blobs(0, count), *blobs(1, 20)], ["a"] * count + ["b"] * 20, "x")
            run = kilat.train(source, runs=tmp_path, size=32)
            catalog = pd.read_csv(run.folder / "catalog.csv")
            return dict(zip(catalog["digest"], catalog["split"], strict=True))

        before, after = split_of(20), split_of(26)
        assert before.items() <= after.items()

    def test_another_seed_draws_another_test(self, tmp_path, blobs):
        source = ArraySource([*blobs(0, 40), *blobs(1, 40)], ["a"] * 40 + ["b"] * 40, "x")
        splits = [
            tuple(pd.read_csv(kilat.train(source, runs=tmp_path, size=32, seed=seed).folder / "catalog.csv")["split"])
            for seed in (0, 1)
        ]
        assert splits[0] != splits[1]


class TestClasses:
    def test_binary(self, photos_run):
        assert photos_run.classifier.classes == ("flower", "temple")
        assert photos_run.metrics.test.accuracy > 0.9
        assert photos_run.metrics.test.top_k == {}

    def test_classes_of_three_two_and_one_picture(self, tmp_path, blobs):
        labels = ["a"] * 12 + ["three"] * 3 + ["two"] * 2 + ["one"]
        source = ArraySource([*blobs(0, 12), *blobs(1, 3), *blobs(2, 2), *blobs(3, 1)], labels, "few")
        run = kilat.train(source, runs=tmp_path, size=32)
        assert run.classifier.classes == ("a", "one", "three", "two")
        assert run.metrics.data.used == 18
        html = (run.folder / "report.html").read_text("utf-8")
        assert "one" in html
        assert "cannot be tested" in html

    def test_two_classes_of_one_picture_each(self, tmp_path, blobs):
        source = ArraySource([*blobs(0, 1), *blobs(1, 1)], ["a", "b"], "tiny")
        run = kilat.train(source, runs=tmp_path, size=32)
        assert [answer.label for answer in run.classifier.predict([*blobs(0, 1), *blobs(1, 1)])] == ["a", "b"]
        assert run.metrics.test.n == run.metrics.validation.n == 0

    def test_strong_imbalance_is_told_and_balancing_finds_more_of_the_rare_class(self, tmp_path):
        random = np.random.default_rng(0)
        brightness = np.concatenate([random.normal(115, 14, 120), random.normal(140, 14, 20)])
        noise = random.normal(0, 4, (140, 16, 16, 3))
        pictures = np.clip(brightness[:, None, None, None] + noise, 0, 255).astype(np.uint8)
        source = ArraySource(pictures, ["common"] * 120 + ["rare"] * 20, "skewed")
        few = {"size": 32, "components": 4}  # so that the classes cannot be told apart by heart
        plain = kilat.train(source, runs=tmp_path, **few)
        html = (plain.folder / "report.html").read_text("utf-8")
        assert "class_weight=balanced" in html
        balanced = kilat.train(source, runs=tmp_path, class_weight="balanced", **few)
        assert "class_weight=balanced" not in (balanced.folder / "report.html").read_text("utf-8")
        recall = [run.metrics.validation.per_class["rare"].recall for run in (plain, balanced)]
        assert recall[1] > recall[0] + 0.1

    def test_one_class_is_refused(self, tmp_path, blobs):
        write(tmp_path / "set" / "only", blobs(0, 5))
        with pytest.raises(SourceError, match="one class, 'only', with 5 pictures"):
            kilat.train(tmp_path / "set", runs=tmp_path / "runs")
        assert not list(tmp_path.glob("runs/*"))

    def test_odd_labels_survive_everywhere(self, kilat_here, tmp_path, blobs, json_lines):
        with (tmp_path / "odd.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label"])
            for number, label in enumerate(LABELS):
                write(tmp_path / str(number), blobs(number, 6))
                rows.writerows([f"{number}/{i}.png", label] for i in range(6))
        run = kilat.train(tmp_path / "odd.csv", runs=tmp_path / "runs", size=32)
        on_one_line = {label.replace("\n", " ").replace("\t", " ") for label in LABELS}
        expected = sorted(on_one_line)
        assert run.metrics.data.classes == expected
        assert list(json.loads((run.folder / "metrics.json").read_text("utf-8"))["test"]["per_class"]) == expected
        for name in ("catalog.csv", "predictions.csv"):
            with (run.folder / name).open(newline="", encoding="utf-8") as file:
                written = {row["label"] for row in csv.DictReader(file)}
            assert written == {f"'{label}" if label.startswith("=") else label for label in on_one_line}, name
        assert kilat.load(run.folder).classes == tuple(expected)
        session = ort.InferenceSession(run.folder / "model.onnx", providers=["CPUExecutionProvider"])
        assert json.loads(session.get_modelmeta().custom_metadata_map["kilat"])["classes"] == expected
        html = (run.folder / "report.html").read_text("utf-8")
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert" in html
        done = kilat_here("predict", run.folder, tmp_path / "0" / "0.png", "--json")
        (answer,) = json_lines(done.stdout)
        assert list(answer["probabilities"]) == expected
