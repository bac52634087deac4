"""Labels as people write them and files as they collect them: what was made of them is said wherever the result is."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilat import ImageClassifier, Run
from kilat.errors import SourceError

PAGES = "One file has several frames or pages: the first is used, 4 more are not."
HEIC = "6 pictures were refused: a HEIC picture, which kilat does not read. Convert them to JPEG"


@pytest.fixture(scope="module")
def collected(make_photos, tmp_path_factory) -> Path:
    """Classes that differ in case or in a blank, a scan of five pages, and photos of an iPhone."""
    folder = make_photos(tmp_path_factory.mktemp("collected") / "collected", sides=(64, 96), temple=10, flower=6)
    more = make_photos(folder.parent / "more", sides=(64, 96), seed=9, temple=6, flower=10)
    (more / "flower").rename(folder / "Flower")
    (more / "temple").rename(folder / "temple ")
    pages = [Image.open(path) for path in sorted((folder / "temple").iterdir())[:5]]
    pages[0].rotate(180).save(folder / "temple" / "scan.tif", save_all=True, append_images=pages[1:])
    for number in range(6):
        content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes([number] * 99)
        (folder / "flower" / f"IMG_{number}.HEIC").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def collected_run(collected, tmp_path_factory) -> Run:
    from kilat import train

    return train(collected, runs=tmp_path_factory.mktemp("runs"))


def test_train_says_what_it_made_of_them(collected, kilat_here, tmp_path):
    done = kilat_here("train", collected, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "33 pictures of 3 classes, 6 refused" in done.stdout
    assert "classes: Flower, flower, temple\n" in done.stdout
    assert "'Flower' (10), 'flower' (12). If they are one class" in done.stdout
    assert PAGES in done.stdout
    assert HEIC in done.stdout
    run = Run.open(tmp_path / "collected")
    codes = [note.code for note in run.metrics.notes]
    assert {"similar_labels", "frames_left", "refused"} <= set(codes)
    assert "several frames or pages" in (run.folder / "report.html").read_text("utf-8")


def test_check_says_the_same_from_the_cache(collected_run, collected, kilat_here, tmp_path):
    done = kilat_here("check", collected, "--out", tmp_path)
    assert "classes: Flower, flower, temple\n" in done.stdout
    assert (
        " ! Labels differ only in case, blanks, hyphens or Unicode form: “Flower” (10), “flower” (12)." in done.stdout
    )
    assert PAGES in done.stdout
    assert HEIC in done.stdout


def test_eval_names_the_class_that_is_spelled_in_another_way(collected_run, make_photos, kilat_here, tmp_path):
    other = make_photos(tmp_path / "other", sides=(64, 96), seed=30, temple=5, flower=5)
    (other / "temple").rename(other / "TEMPLE ")
    (other / "flower").rename(other / " flower")
    done = kilat_here("eval", collected_run.folder, other)
    assert done.returncode == 0, done.stderr
    assert "on 5 test pictures" in done.stdout
    assert "5 pictures of class “TEMPLE” were left out: the model's class is spelled “temple”." in done.stdout


def test_predict_takes_tables_and_archives_without_labels(
    collected_run, other_photos, kilat_here, tmp_path, json_lines
):
    photos = sorted(other_photos.rglob("*.jpg"))[::8]
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for photo in photos:
            archive.write(photo, photo.name)
    (tmp_path / "photos.csv").write_text("path\n" + "".join(f"{photo}\n" for photo in reversed(photos)))
    answers = [
        json_lines(kilat_here("predict", collected_run.folder, *given, "--json").stdout)
        for given in (photos, [tmp_path / "flat.zip"], [tmp_path / "photos.csv"])
    ]
    assert [one["path"] for one in answers[1]] == [photo.name for photo in photos]
    labels, *others = ([one["label"] for one in some] for some in answers)
    assert others == [labels, labels[::-1]]


def test_predict_says_what_to_do_about_what_it_refuses(collected_run, collected, kilat_here):
    done = kilat_here("predict", collected_run.folder, collected / "flower" / "IMG_0.HEIC")
    assert done.returncode == 1
    assert "refused: a HEIC picture, which kilat does not read\nConvert them to JPEG" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("verb", ["train", "check", "eval", "predict", "drift"])
def test_no_verb_takes_an_address_for_a_path(verb, photos_run, kilat_here):
    model = [] if verb in ("train", "check") else [photos_run.folder]
    done = kilat_here(verb, *model, "https://example.org/cats.zip")
    assert done.returncode == 2
    assert "https://example.org/cats.zip is an address, not a path: kilat does not download" in done.stderr
    assert "curl -L -O https://example.org/cats.zip" in done.stderr


def test_among_files_an_address_is_refused_like_any_other(collected_run, collected, kilat_here):
    photo = next((collected / "temple").glob("*.jpg"))
    done = kilat_here("predict", collected_run.folder, "https://example.org/1.jpg", photo, "--json")
    refused, answered = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    message = "an address, not a file: kilat does not download"
    assert refused == {"path": "https://example.org/1.jpg", "error": {"kind": "picture", "message": message}}
    assert answered["path"] == str(photo)


class TestEstimator:
    PICTURES = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)

    def test_missing_labels_and_files_are_named(self, tmp_path):
        with pytest.raises(SourceError, match=r"2 of 12 labels are missing \(None, NaN or blank\): y\[1\], y\[11\]"):
            ImageClassifier().fit(self.PICTURES, ["a", None, *"ababababa", float("nan")])
        with pytest.raises(SourceError, match=r"12 of 12 pictures in X were not found: '0.jpg'"):
            ImageClassifier().fit([f"{i}.jpg" for i in range(12)], ["a", "b"] * 6)

    def test_flat_arrays_are_to_be_reshaped(self):
        with pytest.raises(SourceError, match="12, 64") as refused:
            ImageClassifier().fit(self.PICTURES.reshape(12, 64), ["a", "b"] * 6)
        assert "X.reshape(-1, 8, 8)" in refused.value.hint

    def test_blanks_around_labels_are_no_part_of_them(self):
        fitted = ImageClassifier().fit(self.PICTURES, ["a", "a ", "b"] * 4)
        assert fitted.classes_.tolist() == ["a", "b"]
        assert set(fitted.predict(self.PICTURES)) <= {"a", "b"}
