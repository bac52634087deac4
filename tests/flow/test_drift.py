"""``kilat drift``: whether new pictures still look like those a model was made for."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from kilat import drift
from kilat.bundle.manifest import REFERENCE
from kilat.errors import ModelFileError, SourceError


@pytest.fixture
def noisy(other_photos, tmp_path):
    """The other photos as a poor camera takes them, in one folder without classes."""
    folder = tmp_path / "noisy"
    folder.mkdir()
    for path in other_photos.rglob("*.jpg"):
        photo = Image.open(path)
        noise = np.random.default_rng(photo.width).integers(0, 256, (photo.height, photo.width, 3), np.uint8)
        Image.blend(photo, Image.fromarray(noise), 0.5).save(folder / path.name, quality=90)
    return folder


def test_noisy_pictures_have_drifted(photos_run, noisy, kilat_here, json_lines, tmp_path):
    done = kilat_here("drift", photos_run.folder, noisy, "--json")
    assert done.returncode == 3, done.stderr
    (found,) = json_lines(done.stdout)
    assert found["drifted"] is True
    assert found["p_value"] <= 0.01
    assert found["auroc"] > 0.7
    assert (found["schema"], found["pictures"], found["refused"], found["compared"]) == (1, 24, 0, 24)
    assert sum(found["predicted"].values()) == pytest.approx(1)
    assert set(found["predicted"]) == {"temple", "flower"}
    assert set(found["unknown"]) == {"flagged", "share", "expected", "p_value"}
    scores = [one["score"] for one in found["most_different"]]
    assert len(scores) == 20
    assert scores == sorted(scores, reverse=True)
    assert all(Path(one["path"]).parent == noisy for one in found["most_different"])
    assert not list(tmp_path.glob("*.html"))


def test_pictures_of_the_same_kind_have_not(photos_run, make_photos, tmp_path, kilat_here):
    alike = make_photos(tmp_path / "alike", seed=70, temple=10, flower=10)
    done = kilat_here("drift", photos_run.folder, alike)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No drift was found" in done.stdout
    assert "Pictures classified: 20; refused: 0" in done.stdout
    page = (tmp_path / "drift.html").read_text("utf-8")
    assert 'No <a class="word" href="#word-drift">drift</a> was found' in page
    assert page.count('<img src="data:image/jpeg;base64,') == 20


def test_labels_do_not_matter(photos_run, noisy, tmp_path):
    """Neither where there are none, nor where they are in a table, nor as class folders."""
    table = tmp_path / "new.csv"
    names = sorted(path.name for path in noisy.iterdir())
    table.write_text("path,label\n" + "".join(f"noisy/{name},anything\n" for name in names))
    nested = tmp_path / "nested" / "some"
    shutil.copytree(noisy, nested / "other")
    for data in (table, nested.parent, [noisy]):
        found = drift(photos_run.folder, data)
        assert found.pictures == 24
        assert found.p_value == drift(photos_run.folder, noisy).p_value


def test_what_cannot_be_read_is_counted_with_its_reason(photos_run, noisy):
    (noisy / "broken.jpg").write_bytes(b"no picture")
    found = drift(photos_run.folder, noisy)
    assert (found.pictures, found.refused) == (24, 1)
    assert found.reasons == {"not_an_image": 1}
    assert repr(found) == f"DriftReport(drifted={found.drifted}, p_value={found.p_value:.3f}, pictures=24)"


def test_too_few_are_refused(photos_run, noisy, tmp_path, kilat_here):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(noisy.iterdir())[:9]:
        shutil.copy(path, few)
    with pytest.raises(SourceError, match="9 can be read, at least 10 are needed"):
        drift(photos_run.folder, few)
    assert kilat_here("drift", photos_run.folder, few).returncode == 2
    assert kilat_here("drift", photos_run.folder, tmp_path / "gone").returncode == 2


def test_a_model_that_keeps_no_reference_says_what_to_do(photos_run, noisy, tmp_path):
    model = onnx.load(photos_run.folder / "model.onnx")
    kept = {one.key: one.value for one in model.metadata_props if one.key != REFERENCE}
    for name, more in (("none", {}), ("few", {REFERENCE: "1:AAA="}), ("damaged", {REFERENCE: "1:" + "AAAA" * 14})):
        onnx.helper.set_model_props(model, kept | more)
        onnx.save(model, tmp_path / f"{name}.onnx")
    with pytest.raises(ModelFileError, match=r"keeps no pictures[\s\S]*kilat train DATA"):
        drift(tmp_path / "none.onnx", noisy)
    with pytest.raises(ModelFileError, match="keeps 1 picture to compare"):
        drift(tmp_path / "few.onnx", noisy)
    with pytest.raises(ModelFileError, match="damaged"):
        drift(tmp_path / "damaged.onnx", noisy)
