"""``kilat predict`` and ``kilat.load``: predictions in order, refusals one by one, and what a program may rely on."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binom

import kilat
from kilat.errors import ModelFileError, PictureError


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, other_photos):
    """A folder with three good pictures, two broken ones, and what a system leaves around."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "inner").mkdir()
    (folder / ".hidden").mkdir()
    temple, flower = (sorted((other_photos / label).iterdir()) for label in ("temple", "flower"))
    for name, source in (("b.jpg", temple[0]), ("inner/c.jpg", flower[0]), ("a.jpg", temple[1])):
        (folder / name).write_bytes(source.read_bytes())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    for junk in (".DS_Store", "Thumbs.db", "notes.txt", ".hidden/d.jpg", "._a.jpg"):
        (folder / junk).write_bytes(temple[0].read_bytes())
    return folder


class TestPython:
    @pytest.mark.parametrize("what", ["folder", "file", "text"])
    def test_load_takes_the_folder_and_the_file(self, photos_run, what):
        path = {"folder": photos_run.folder, "file": photos_run.folder / "model.onnx"}.get(what, str(photos_run.folder))
        assert kilat.load(path).classes == ("flower", "temple")

    def test_paths_bytes_and_arrays_in_order(self, photos_run, other_photos):
        paths = [*sorted(other_photos.glob("temple/*"))[:3], *sorted(other_photos.glob("flower/*"))[:3]]
        given = [paths[0], paths[3].read_bytes(), str(paths[1]), np.asarray(Image.open(paths[4])), paths[2]]
        answers = kilat.load(photos_run.folder).predict(given)
        assert [answer.label for answer in answers] == ["temple", "flower", "temple", "flower", "temple"]
        assert [answer.path for answer in answers] == [str(paths[0]), "", str(paths[1]), "", str(paths[2])]

    def test_bytes_and_pixels_of_a_picture_get_the_same_answer(self, photos_run, other_photos):
        path = next(other_photos.glob("temple/*"))
        rows = photos_run.classifier.predict_proba([path, path.read_bytes(), np.asarray(Image.open(path))])
        assert (rows == rows[0]).all()

    def test_probabilities(self, photos_run, other_photos):
        paths = sorted(other_photos.rglob("*.jpg"))
        rows = photos_run.classifier.predict_proba(paths)
        assert rows.dtype == np.float32
        assert rows.shape == (24, 2)
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
        answers = photos_run.classifier.predict(paths)
        for answer, row in zip(answers, rows, strict=True):
            assert answer.probability == row.max()
            assert list(answer.probabilities.values()) == row.tolist()
            assert answer.label == photos_run.classifier.classes[row.argmax()]
            assert answer.label in answer.set
        assert sum(answer.unknown for answer in answers) <= binom.ppf(1 - 1e-4, 24, 0.05)

    def test_accuracy_on_other_pictures(self, photos_run, other_photos):
        paths = sorted(other_photos.rglob("*.jpg"))
        answers = photos_run.classifier.predict(paths)
        assert np.mean([answer.label == path.parent.name for answer, path in zip(answers, paths, strict=True)]) > 0.9

    @pytest.mark.parametrize("shape", [(1, 1), (9, 9, 3), (5, 300, 3), (2, 3), (6, 4, 4)])
    def test_a_single_picture_of_any_shape(self, photos_run, shape):
        assert len(photos_run.classifier.predict(np.zeros(shape, np.uint8))) == 1
        assert photos_run.classifier.predict_proba(np.zeros(shape, np.uint8)).shape == (1, 2)

    def test_one_path_is_not_taken_for_many(self, photos_run, other_photos):
        (answer,) = photos_run.classifier.predict(str(next(other_photos.glob("flower/*"))))
        assert answer.label == "flower"

    def test_a_batch_as_one_array(self, photos_run):
        batch = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
        whole = photos_run.classifier.predict_proba(batch)
        assert (whole == photos_run.classifier.predict_proba(list(batch))).all()

    def test_no_pictures(self, photos_run):
        assert photos_run.classifier.predict([]) == []
        assert photos_run.classifier.predict_proba([]).shape == (0, 2)

    def test_many_pictures_keep_their_order(self, digits_run):
        from sklearn.datasets import load_digits

        pictures = np.rint(load_digits().images[:300] * (255 / 16)).astype(np.uint8)
        rows = digits_run.classifier.predict_proba(pictures)
        backwards = digits_run.classifier.predict_proba(pictures[::-1])
        assert (rows == backwards[::-1]).all()
        assert (rows.argmax(1) == load_digits().target[:300]).mean() > 0.97

    @pytest.mark.parametrize(
        ("picture", "message"),
        [
            (b"", "empty"),
            (b"no picture at all", "not a picture"),
            ("nowhere.jpg", "nowhere.jpg"),
            (np.zeros((4, 4), np.float32), "uint8"),
            (np.zeros((4,), np.uint8), "uint8"),
            (np.zeros((0, 4, 3), np.uint8), "pixels"),
        ],
    )
    def test_a_broken_picture_is_refused_with_its_reason(self, photos_run, picture, message):
        with pytest.raises(PictureError, match=message):
            photos_run.classifier.predict([picture])
        with pytest.raises(PictureError):
            photos_run.classifier.predict_proba([picture])

    def test_labels_travel_with_the_file(self, photos_run, tmp_path):
        moved = tmp_path / "renamed.bin"
        moved.write_bytes((photos_run.folder / "model.onnx").read_bytes())
        assert kilat.load(moved).manifest.measures["test"]["accuracy"] == photos_run.metrics.test.accuracy

    def test_a_missing_model_says_how_to_make_one(self, tmp_path):
        with pytest.raises(ModelFileError, match="kilat train"):
            kilat.load(tmp_path)


class TestCommand:
    def test_json_lines_in_the_order_given(self, cli, photos_run, mixed, json_lines):
        done = cli("predict", photos_run.folder / "model.onnx", mixed / "inner/c.jpg", mixed, "gone.jpg", "--json")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        answers = json_lines(done.stdout)
        names = ("inner/c.jpg", "a.jpg", "b.jpg", "empty.jpg", "text.png", "inner/c.jpg")
        assert [answer["path"] for answer in answers] == [*(str(mixed / name) for name in names), "gone.jpg"]
        labels = [answer.get("label") for answer in answers]
        assert labels == ["flower", "temple", "temple", None, None, "flower", None]
        for answer in answers:
            if "error" in answer:
                assert set(answer) == {"path", "error"}
                assert set(answer["error"]) == {"kind", "message"}
                assert answer["error"]["kind"] == "picture"
            else:
                assert set(answer) == {"path", "label", "probability", "probabilities", "set", "unknown"}
                assert isinstance(answer["unknown"], bool)
                assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
                assert answer["probability"] == max(answer["probabilities"].values())

    def test_a_prediction_for_every_picture_is_success(self, kilat_here, photos_run, other_photos):
        done = kilat_here("predict", photos_run.folder, other_photos)
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert len(lines) == 24
        assert lines[0].startswith(f"{other_photos / 'flower' / 'flower-000.jpg'}: flower ")
        assert lines[0].endswith("%")

    def test_refusals_go_to_standard_error_and_answers_alone_to_standard_output(self, kilat_here, photos_run, mixed):
        done = kilat_here("predict", photos_run.folder, mixed / "empty.jpg", mixed / "a.jpg")
        assert done.returncode == 1
        assert done.stderr == f"{mixed / 'empty.jpg'}: refused: empty file\n"
        (answer,) = done.stdout.splitlines()
        assert answer.startswith(f"{mixed / 'a.jpg'}: temple ")

    def test_so_many_classes_as_were_asked_for(self, kilat_here, photos_run, mixed):
        (answer,) = kilat_here("predict", photos_run.folder, mixed / "a.jpg", "--top", 9).stdout.splitlines()
        shares = [float(share) for share in re.findall(r"(?:temple|flower) ([\d.]+)%", answer)]
        assert len(shares) == 2
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.2)

    def test_a_table_and_a_page_with_every_picture(self, kilat_here, photos_run, mixed, json_lines, tmp_path):
        table, page = tmp_path / "answers.csv", tmp_path / "answers.html"
        done = kilat_here("predict", photos_run.folder, mixed, "--json", "--csv", table, "--html", page, "--top", 2)
        answers = json_lines(done.stdout)
        assert done.returncode == 1
        assert done.stderr == f"wrote {table}\nwrote {page}\n"
        rows = pd.read_csv(table, keep_default_na=False, dtype=str).to_dict("records")
        assert [row["path"] for row in rows] == [answer["path"] for answer in answers]
        for row, answer in zip(rows, answers, strict=True):
            if "error" in answer:
                assert (row["error"], row["label"]) == (answer["error"]["message"], "")
                continue
            assert (row["label"], row["unknown"]) == (answer["label"], str(answer["unknown"]).lower())
            assert row["set"].split("|") == answer["set"]
            assert float(row["probability"]) == pytest.approx(answer["probability"], abs=1e-6)
            assert {row["label"], row["label_2"]} == {"flower", "temple"}
        html = page.read_text("utf-8")
        assert html.count("data:image/") == 3
        assert "default-src 'none'" in html
        assert "empty file" in html
        assert "://" not in html

    def test_a_table_that_cannot_be_written_is_refused_before_any_work(self, kilat_here, photos_run, mixed):
        done = kilat_here("predict", photos_run.folder, mixed, "--csv", "no/such/folder.csv")
        assert (done.returncode, done.stdout) == (2, "")
        assert "there is no folder no/such" in done.stderr

    def test_nothing_to_start_with(self, kilat_here, photos_run, tmp_path, mixed):
        (tmp_path / ".DS_Store").write_text("x")
        (tmp_path / "bad.onnx").write_text("text")
        for arguments in (
            (tmp_path / "none.onnx", mixed),
            (tmp_path / "bad.onnx", mixed),
            (tmp_path, mixed),
            (photos_run.folder, tmp_path),
            (photos_run.folder,),
        ):
            done = kilat_here("predict", *arguments)
            assert done.returncode == 2, arguments
            assert done.stdout == ""
            assert done.stderr
            assert "Traceback" not in done.stderr

    def test_a_reader_that_goes_away_is_no_error(self, photos_run, other_photos):
        command = [sys.executable, "-c", "from kilat.cli import main; main()", "predict", photos_run.folder]
        with subprocess.Popen(
            [*command, other_photos], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            process.stdout.close()
            assert "Traceback" not in process.stderr.read()
