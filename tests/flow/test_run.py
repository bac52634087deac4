"""A finished run is its folder: opened again anywhere it says the same, and its report is the same page."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import kilat
from kilat.errors import RunError, SourceError
from kilat.runtime.progress import Progress, Silent


@pytest.fixture(scope="module")
def moved(make_photos, tmp_path_factory):
    """A run whose pictures are gone since, with a refused picture, and mistakes and findings on its page."""
    home = tmp_path_factory.mktemp("moved")
    photos = make_photos(home / "sights", temple=24, flower=24)
    (photos / "temple" / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(photos / "temple" / "temple-000.jpg", photos / "flower" / "temple.jpg")
    run = kilat.train(photos, runs=home / "runs", size=32)
    shutil.rmtree(photos)
    return run


class TestOpenedAgain:
    def test_it_says_what_it_said(self, moved):
        again = kilat.Run.open(moved.folder)
        assert again.metrics == moved.metrics
        assert again.metrics.document() == json.loads((moved.folder / "metrics.json").read_text("utf-8"))
        pd.testing.assert_frame_equal(again.predictions, moved.predictions)
        pd.testing.assert_frame_equal(again.catalog, moved.catalog)
        assert again.classifier.classes == ("flower", "temple")
        assert again.recipe.features.size == 32
        assert again.history.empty

    def test_it_pickles(self, moved):
        assert pickle.loads(pickle.dumps(kilat.Run.open(moved.folder))).metrics == moved.metrics

    def test_the_report_is_the_same_page_in_another_process_with_the_pictures_gone(self, moved, cli):
        before = moved.report.read_bytes()
        moved.report.unlink()
        done = cli("report", moved.folder)
        assert done.returncode == 0, done.stderr
        assert moved.report.read_bytes() == before
        assert str(moved.report) in done.stdout

    def test_moved_to_another_place_it_is_still_a_run(self, moved, tmp_path):
        shutil.copytree(moved.folder, tmp_path / moved.folder.name)
        again = kilat.Run.open(tmp_path / moved.folder.name)
        again.report.unlink()
        assert again.write_report().read_bytes() == moved.report.read_bytes()


class TestShown:
    def test_the_repr_is_short(self, digits_run):
        assert len(repr(digits_run)) < 300
        assert "accuracy=0.9" in repr(digits_run)

    def test_a_notebook_shows_headline_confusion_and_links(self, moved):
        html = moved._repr_html_()
        assert "test pictures" in html
        assert "<svg" in html
        assert "report.html" in html
        assert "<script" not in html


class TestNotARun:
    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(RunError, match=r"not the folder of a finished run: it has no metrics\.json"):
            kilat.Run.open(tmp_path)

    def test_one_that_was_only_begun_says_how_to_go_on(self, digits_run, tmp_path):
        shutil.copy(digits_run.folder / "run.json", tmp_path)
        with pytest.raises(RunError, match="kilat train --resume"):
            kilat.Run.open(tmp_path)

    def test_metrics_of_another_version_name_the_key(self, digits_run, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(digits_run.folder, folder)
        document = json.loads((folder / "metrics.json").read_text("utf-8"))
        document["test"]["accuracyy"] = 1.0
        (folder / "metrics.json").write_text(json.dumps(document), "utf-8")
        with pytest.raises(RunError, match=r"not written by this version of kilat: its test\.accuracyy"):
            _ = kilat.Run.open(folder).metrics


class TestPicturesFromPython:
    @pytest.fixture(scope="class")
    def pictures(self):
        data = load_digits()
        chosen = np.flatnonzero(data.target < 3)[:150]
        return (data.images[chosen] * 15).astype(np.uint8), data.target[chosen]

    def test_arrays_with_labels(self, pictures, tmp_path):
        images, labels = pictures
        run = kilat.train(images, labels=labels, runs=tmp_path)
        assert run.metrics.data.classes == ["0", "1", "2"]
        assert run.metrics.data.used == len(labels)

    def test_paths_with_labels(self, make_photos, tmp_path):
        folder = make_photos(tmp_path / "photos", temple=12, flower=12)
        paths = sorted(folder.rglob("*.jpg"))
        run = kilat.train(paths, labels=[path.parent.name for path in paths], runs=tmp_path / "runs", size=32)
        assert run.metrics.data.classes == ["flower", "temple"]

    def test_without_labels(self, pictures):
        with pytest.raises(SourceError, match="without labels"):
            kilat.train(pictures[0])

    def test_with_another_number_of_labels(self, pictures):
        images, labels = pictures
        with pytest.raises(SourceError, match="150 pictures and 149 labels"):
            kilat.train(images, labels=labels[:-1])

    def test_labels_for_data_that_has_its_own(self):
        with pytest.raises(SourceError, match="brings its own"):
            kilat.train("digits", labels=[1, 2, 3])


class TestCallbacks:
    def test_progress_is_reported_by_stage(self, digits_run, tmp_path):
        class Kept(Silent):
            def __init__(self):
                self.counts, self.names = [], []

            def begin(self, stage):
                self.names.append(stage.name)

            def update(self, stage):
                self.counts.append((stage.done, stage.total))

        kept = Kept()
        kilat.train("digits", runs=tmp_path, progress=Progress(kept))
        assert kept.counts[-1] == (1797, 1797)
        assert kept.counts == sorted(kept.counts)
        assert kept.names == [
            "Reading digits",
            "Loading the backbone",
            "Extracting features",
            "Finding near-duplicates",
            "Fitting the head",
            "Estimating uncertainty",
            "Checking the data",
            "Exporting the model",
            "Comparing the model file",
            "Writing the report",
        ]

    def test_a_misspelt_option_gets_the_nearest_name(self, tmp_path):
        with pytest.raises(kilat.KilatError, match="epochs=3"):
            kilat.train("digits", "small-cnn", runs=tmp_path, epoch=3)
