"""``kilat compare``: finished runs on the test pictures that they share, as a table, as JSON and as a page."""

import shutil

import pytest

import kilat
from kilat.errors import KilatError
from kilat.verbs.run_tables import read_table


@pytest.fixture
def other_run(digits_run, tmp_path):
    """The demo's run again, but with another size and less sure answers, five of them changed."""
    folder = tmp_path / "runs" / "smaller"
    shutil.copytree(digits_run.folder, folder, ignore=shutil.ignore_patterns("model.onnx", "report.html"))
    predictions = read_table(folder / "predictions.csv")
    predictions["label_probability"] *= 0.8
    rows = predictions.index[(predictions["split"] == "test") & (predictions["label"] == predictions["predicted"])][:5]
    predictions.loc[rows, "predicted"] = "none"
    predictions.to_csv(folder / "predictions.csv", index=False)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("  size: auto", "  size: 64"))
    return folder


def test_as_a_table_in_eighty_columns_with_a_page(kilat_here, digits_run, other_run, tmp_path):
    done = kilat_here("compare", digits_run.folder, other_run)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"2 runs on the {digits_run.metrics.test.n} test pictures that they have in common"
    assert "  digits → smaller" in lines
    assert any(line.endswith("log loss +0.223 (+0.223 to +0.223), p = 0.062") for line in lines)
    assert "    right only in digits: 5, only in smaller: 0" in lines
    assert any(line.split() == ["features.size", "auto", "64"] for line in lines)
    assert all(len(line) <= 80 for line in lines if line.startswith(" "))
    page = (tmp_path / "comparison.html").read_text("utf-8")
    assert page.count("<article data-right") == 5
    assert "digits, smaller, compared" in page


def test_as_json(kilat_here, json_lines, digits_run, other_run, tmp_path):
    done = kilat_here("compare", digits_run.folder, other_run, "--json", "--out", tmp_path / "both.html")
    (document,) = json_lines(done.stdout)
    assert document["page"] == str(tmp_path / "both.html")
    assert document["pairs"][0]["only_first"] == 5
    assert document["options"] == {"features.size": {"digits": "auto", "smaller": "64"}}
    assert document == {"page": document["page"], **kilat.compare(digits_run, other_run).document()} | {
        "pairs": document["pairs"], "runs": document["runs"]
    }  # fmt: skip


def test_what_cannot_be_compared_is_refused(kilat_here, digits_run, photos_run, tmp_path):
    for runs, said in (
        ([digits_run.folder], "Give two or more: kilat compare runs/flowers runs/flowers-2"),
        ([digits_run.folder, digits_run.folder], "One run cannot be compared with itself."),
        ([digits_run.folder, photos_run.folder], "The runs have no test picture in common"),
    ):
        done = kilat_here("compare", *runs)
        assert done.returncode == 2
        assert said in done.stderr
    assert (
        f"{tmp_path} is not the folder of a finished run" in kilat_here("compare", digits_run.folder, tmp_path).stderr
    )
    with pytest.raises(KilatError, match="no runs to compare"):
        kilat.compare()


def test_predictions_of_an_earlier_version_are_refused(digits_run, other_run):
    predictions = read_table(other_run / "predictions.csv").drop(columns="label_probability")
    predictions.to_csv(other_run / "predictions.csv", index=False)
    with pytest.raises(KilatError, match="smaller was written by an earlier version of kilat"):
        kilat.compare(digits_run, other_run)
