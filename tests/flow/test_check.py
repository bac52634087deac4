"""``kilat check`` and what every training says of its data: leaks, copies, wrong labels, shortcuts, corrections."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

import kilat
from kilat.check import sentences
from kilat.errors import RecipeError, SourceError

SERIOUS = 3


def write_digits(folder, classes=(0, 1, 4, 7), count=40):
    """Class folders of handwritten digits as PNG files of 8×8 pixels."""
    data = load_digits()
    for name in classes:
        (folder / str(name)).mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(data.target == name)[:count]):
            pixels = (data.images[row] * 15.9).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(name) / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits") / "numbers")


def findings(document, kind):
    return [one for one in document["findings"] if one["kind"] == kind]


def check(kilat_here, json_lines, data, tmp_path, *options):
    done = kilat_here("check", data, "--out", tmp_path / "checks", "--json", *options)
    assert done.returncode in {0, SERIOUS}, done.stderr
    (document,) = json_lines(done.stdout)
    return done.returncode, document


def altered(picture):
    """A copy as people make them: mirrored, smaller, brighter, saved again."""
    width, height = picture.size
    copy = ImageOps.mirror(picture).resize((round(width * 0.7), round(height * 0.7)), Image.Resampling.LANCZOS)
    return copy.point(lambda value: min(255, round(value * 1.1)))


def test_a_sound_set_ends_with_0_and_leaves_a_page_and_a_table(kilat_here, json_lines, photos, tmp_path):
    code, document = check(kilat_here, json_lines, photos, tmp_path)
    assert (code, document["serious"]) == (0, 0)
    folder = Path(document["folder"])
    assert sorted(file.name for file in folder.iterdir()) == ["catalog.csv", "check.html", "check.json", "suspects.csv"]
    page = (folder / "check.html").read_text("utf-8")
    assert page.count("<script") == 1
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert json.loads((folder / "check.json").read_text("utf-8")) == {
        k: v for k, v in document.items() if k != "folder"
    }


def test_a_second_check_leaves_the_first_one_alone(kilat_here, json_lines, digits, tmp_path):
    _, first = check(kilat_here, json_lines, digits, tmp_path)
    table = Path(first["folder"]) / "suspects.csv"
    table.write_text("filled in by a person")
    _, second = check(kilat_here, json_lines, digits, tmp_path)
    assert second["folder"] != first["folder"]
    assert table.read_text() == "filled in by a person"


def test_altered_copies_in_a_ready_made_test_are_a_leak(kilat_here, json_lines, make_photos, tmp_path):
    data = tmp_path / "leaky"
    make_photos(data / "train", seed=1, temple=20, flower=20)
    make_photos(data / "test", seed=90, temple=10, flower=10)
    for name in ("temple-000", "temple-001", "temple-002"):
        with Image.open(data / "train" / "temple" / f"{name}.jpg") as picture:
            altered(picture).save(data / "test" / "temple" / f"copy-of-{name}.jpg", quality=60)
    code, document = check(kilat_here, json_lines, data, tmp_path)
    (leak,) = findings(document, "leak")
    assert (code, leak["severity"]) == (SERIOUS, "serious")
    found = {Path(path).stem for group in leak["pictures"] for path in group}
    assert {"copy-of-temple-000", "copy-of-temple-001", "copy-of-temple-002"} <= found
    test = kilat.train(data, runs=tmp_path / "runs").metrics.test
    assert test.without_leaked.leaked == 3
    assert test.without_leaked.n == test.n - 3


def test_near_duplicates_stay_on_one_side_of_the_split(make_photos, tmp_path):
    data = make_photos(tmp_path / "data", seed=5, temple=30, flower=30)
    for path in sorted(data.rglob("*-0[0-9]0.jpg")) + sorted(data.rglob("*-0[0-9]5.jpg")):
        with Image.open(path) as picture:
            altered(picture).save(path.with_name(f"{path.stem}-copy.jpg"), quality=70)
    for seed in range(3):
        run = kilat.train(data, runs=tmp_path / "runs", seed=seed)
        table = pd.read_csv(run.folder / "catalog.csv")
        table["stem"] = table["path"].map(lambda path: Path(path).stem.removesuffix("-copy"))
        pairs = table[table["path"].str.contains("-copy")]["stem"]
        together = table[table["stem"].isin(pairs)].groupby("stem")
        assert len(together) == 12
        assert all(len(set(own)) == 1 for column in ("split", "group") for _, own in together[column])
    apart = kilat.train(data, runs=tmp_path / "runs", near_duplicates="apart")
    assert (pd.read_csv(apart.folder / "catalog.csv")["group"] == -1).all()


def test_a_planted_frame_is_a_shortcut(kilat_here, json_lines, make_photos, tmp_path):
    data = make_photos(tmp_path / "framed", seed=9, temple=60, flower=60)
    for path in (data / "temple").iterdir():
        with Image.open(path) as picture:
            framed = ImageOps.expand(ImageOps.crop(picture, 4), 4, (255, 255, 255))
        framed.save(path, quality=90)
    code, document = check(kilat_here, json_lines, data, tmp_path)
    assert code == SERIOUS
    groups = {finding["values"]["group"] for finding in findings(document, "shortcut")}
    assert "frame" in groups


def mislabelled(folder):
    """Four classes of digits, an eighth of whose pictures lie in the next class's folder, and where those belong."""
    data = write_digits(folder, count=120)
    classes, belongs = ["0", "1", "4", "7"], {}
    for index, name in enumerate(classes):
        other = classes[(index + 1) % len(classes)]
        for number in range(0, 120, 8):
            moved = Path(other, f"from-{name}-{number:03}.png")
            (data / name / f"{number:03}.png").rename(data / moved)
            belongs[moved.as_posix()] = name
    return data, belongs


def suspects(run):
    with (run.folder / "suspects.csv").open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_wrong_labels_are_suspected_and_corrections_are_read(tmp_path):
    data, belongs = mislabelled(tmp_path / "numbers")
    first = kilat.train(data, runs=tmp_path / "runs")
    rows = suspects(first)
    flagged = [row for row in rows if row["suspected"] == "True"]
    right = [row for row in flagged if belongs.get(row["path"]) == row["suggested"]]
    assert len(right) >= 0.9 * len(flagged)
    assert len(right) >= 0.7 * len(belongs)
    assert all(row["correct_label"] == "" for row in rows)
    assert [row["suspected"] for row in rows] == sorted((row["suspected"] for row in rows), reverse=True)

    table = tmp_path / "filled.csv"
    for row in rows:
        row["correct_label"] = belongs.get(row["path"], "")
    left_out = dict.fromkeys(rows[0], "") | {"path": "4/001.png", "correct_label": "-"}
    rows.append(left_out)
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    again = kilat.train(data, runs=tmp_path / "runs", labels=table)
    corrected = again.metrics.corrected
    assert corrected.relabelled == sum(row["path"] in belongs for row in rows)
    assert corrected.left_out == 1
    catalog = pd.read_csv(again.folder / "catalog.csv", dtype=str).set_index("path")
    assert catalog.loc[flagged[0]["path"], "label"] == flagged[0]["correct_label"]
    assert catalog.loc[left_out["path"], ["code", "detail"]].tolist() == ["left_out_by_table", "filled.csv"]
    assert all((data / path).exists() for path in belongs)  # nothing on disk was touched
    assert again.metrics.validation.accuracy > first.metrics.validation.accuracy + 0.05


def write_stripes(folder, direction, numbers, generator):
    """Pictures of one class: stripes across or along, over random blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = np.mgrid[:64, :64][direction]
    for number in numbers:
        blocks = np.kron(generator.integers(40, 200, (8, 8, 3)), np.ones((8, 8, 1)))
        wave = (lines + generator.integers(9)) // 3 % 2
        pixels = blocks + wave[..., None] * generator.integers(-90, 90, 3) + generator.normal(0, 10, (64, 64, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number:03}.jpg")


def test_labels_wrong_in_one_direction_are_suspected_by_check_and_train_alike(kilat_here, tmp_path):
    """A quarter of the daisies is given as roses: small sets, and no rose is given as daisy."""
    generator, data = np.random.default_rng(3), tmp_path / "data"
    write_stripes(data / "daisy", 0, range(45), generator)
    write_stripes(data / "roses", 1, range(60), generator)
    write_stripes(data / "roses", 0, range(60, 75), generator)
    done = kilat_here("check", data, "--out", tmp_path / "checks")
    assert done.returncode == SERIOUS
    assert "labelled “roses” look like “daisy”, hardly any the other way round: roses/0" in done.stdout
    table = pd.read_csv(tmp_path / "checks" / "data" / "suspects.csv")
    flagged = table[table["suspected"]]
    wrong = {f"roses/{number:03}.jpg" for number in range(60, 75)}
    assert set(flagged["suggested"]) == {"daisy"}
    assert len(wrong & {*flagged["path"]}) >= max(0.8 * len(flagged), 0.5 * len(wrong))
    page = (tmp_path / "checks" / "data" / "check.html").read_text("utf-8")
    assert "merge" not in page
    assert "suspects.csv" in page
    run = kilat.train(data, runs=tmp_path / "runs")
    assert (run.folder / "suspects.csv").read_bytes() == (tmp_path / "checks" / "data" / "suspects.csv").read_bytes()
    assert "merge" not in (run.folder / "report.html").read_text("utf-8")


def test_training_pictures_are_judged_where_validation_and_test_are_ready_made(digits, tmp_path):
    table = pd.DataFrame({"path": sorted(map(str, digits.rglob("*.png")))})
    table["label"] = [Path(path).parent.name for path in table["path"]]
    table["split"] = ["validation", "test", "train", "train"] * (len(table) // 4)
    wrong = table.index[(table["label"] == "0") & (table["split"] == "train")][:3]
    table.loc[wrong, "label"] = "1"
    table.to_csv(tmp_path / "table.csv", index=False)
    found = suspects(kilat.train(tmp_path / "table.csv", runs=tmp_path / "runs"))
    flagged = [row for row in found if row["suspected"] == "True"]
    assert {Path(row["path"]).name for row in flagged} == {Path(path).name for path in table.loc[wrong, "path"]}
    assert {row["split"] for row in flagged} == {"train"}


def test_a_table_that_does_not_fit_says_so(kilat_here, digits, tmp_path):
    table = tmp_path / "suspects.csv"
    table.write_text("path,correct_label\n0/000.png,zero\n")
    done = kilat_here("train", digits, "--runs", tmp_path / "runs", "--labels", table)
    assert done.returncode == 2
    assert "zero" in done.stderr
    table.write_text("path\n0/000.png\n")
    with pytest.raises(SourceError, match="correct_label"):
        kilat.train(digits, runs=tmp_path / "runs", labels=table)


def test_every_training_checks_its_data(digits_run):
    section = digits_run.metrics.check
    assert section.serious == 0
    assert all(set(one) >= {"kind", "severity", "values", "pictures"} for one in section.findings)
    assert all(sentences.title(one["kind"], one["values"]) for one in section.findings)
    assert all(sentences.advice(one["kind"], one["values"]) for one in section.findings)
    assert (digits_run.folder / "suspects.csv").exists()


def test_bad_data_ends_with_2(kilat_here, tmp_path):
    (tmp_path / "empty").mkdir()
    done = kilat_here("check", tmp_path / "empty", "--out", tmp_path / "checks")
    assert done.returncode == 2
    assert "No pictures" in done.stderr


def test_choices_of_the_recipe_reach_the_check(digits, tmp_path, kilat_here):
    with pytest.raises(RecipeError, match="near_duplicates"):
        kilat.train(digits, runs=tmp_path / "runs", near_duplicates="perhaps")
    done = kilat_here("check", digits, "--out", tmp_path / "checks", "--set", "features.size=huge")
    assert done.returncode == 2


def test_the_same_check_gives_the_same_bytes(kilat_here, json_lines, digits, tmp_path):
    runs = [Path(check(kilat_here, json_lines, digits, tmp_path)[1]["folder"]) for _ in range(2)]
    for name in ("suspects.csv", "catalog.csv"):
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()
    documents = [json.loads((run / "check.json").read_text("utf-8")) for run in runs]
    for document in documents:
        del document["timing"]
    assert documents[0] == documents[1]
