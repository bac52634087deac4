"""``kilat eval --corruptions``: the same pictures, corrupted, in numbers, as a table and as a drawing."""

from xml.etree import ElementTree as ET

from kilat.evaluate.corruptions import CORRUPTIONS


def test_numbers_and_a_drawing(kilat_here, photos_run, other_photos, json_lines, tmp_path):
    out = tmp_path / "drawn.svg"
    done = kilat_here("eval", photos_run.folder, other_photos, "--corruptions", "--limit", 2, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    (printed,) = json_lines(done.stdout)
    metrics = printed["metrics"]
    assert metrics["test"]["n"] == 24
    robustness = metrics["robustness"]
    assert robustness["n"] == 2
    assert list(robustness["corruptions"]) == list(CORRUPTIONS)
    assert 0.3 < robustness["mean"]["accuracy"] <= 1
    assert metrics["timing"]["robustness_s"] > 0
    assert ET.parse(out).getroot().tag.endswith("svg")


def test_a_table(kilat_here, photos_run, other_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = kilat_here("eval", photos_run.folder, other_photos, "--corruptions", "--limit", 2)
    assert done.returncode == 0, done.stderr
    assert "24 test pictures" in done.stdout
    assert "JPEG compression" in done.stdout
    assert "wrote corruptions.svg" in done.stdout
    assert (tmp_path / "corruptions.svg").is_file()
