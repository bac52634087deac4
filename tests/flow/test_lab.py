"""Labs: variants tried side by side on pictures that a later test never sees, stopped and gone on with."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kilat
from kilat import Lab, Run
from kilat.errors import KilatError
from kilat.runtime.files import UnwritableError
from kilat.verbs import run_folder
from kilat.verbs.runs import list_runs

TINY = {
    "input": {"size": 8, "colour": "grey"},
    "model": {"activation": "relu", "layers": ["flatten", {"dense": 16}, {"dense": "classes"}]},
    "fit": {"epochs": 2, "batch": 64, "schedule": "performance"},
}
VARIANTS = ["optimizer=adam", "optimizer=sgd", "optimizer={name: sgd, learning_rate: 1.0e+30}"]


def untimed(lab: Lab) -> dict:
    document = json.loads((lab.folder / "lab.json").read_text("utf-8"))
    del document["timing"]
    return document


@pytest.fixture(scope="module")
def lab(small_digits, tmp_path_factory) -> Lab:
    """A lab of three variants and two seeds; the third one's loss is soon no longer finite."""
    optimizers = ["adam", "sgd", {"name": "sgd", "learning_rate": 1e30}]
    labs = tmp_path_factory.mktemp("labs")
    return kilat.lab(small_digits, TINY, vary={"fit.optimizer": optimizers}, seeds=2, workers=0, labs=labs)


@pytest.fixture
def copied(lab, tmp_path) -> Path:
    """The lab as it was before its last trial."""
    folder = shutil.copytree(lab.folder, tmp_path / "digits")
    (folder / "lab.json").unlink()
    shutil.rmtree(folder / "trials" / "optimizer=sgd-2")
    return folder


class TestTrained:
    def test_trials_are_runs(self, lab):
        assert [one.name for one in lab.results.variants] == VARIANTS
        runs = list_runs(lab.folder / "trials").finished
        assert len(runs) == 4
        assert kilat.compare(*(lab.folder / "trials" / f"{name}-1" for name in VARIANTS[:2])).n == 40

    def test_one_that_fails_is_the_result_of_its_variant(self, lab):
        adam, _sgd, diverged = lab.results.variants
        assert (adam.failed, diverged.failed) == (0, 2)
        assert "not finite" in diverged.reasons[0]
        assert lab.unfinished == []

    def test_what_training_was_too_short_for_is_said(self, lab):
        adam = lab.results.variants[0]
        assert ("schedule_cannot_fall", 2) in [(note.code, note.trials) for note in adam.notes]

    def test_they_share_out_pictures_by_their_seed_alone(self, lab):
        held_out = {}
        for run in list_runs(lab.folder / "trials").finished:
            catalog = Run.open(run.folder).catalog
            held_out[run.folder.name] = frozenset(catalog.loc[catalog["split"] == "test", "digest"])
        assert held_out["optimizer=adam-1"] == held_out["optimizer=sgd-1"] != held_out["optimizer=sgd-2"]

    def test_the_recipe_that_won_is_tested_on_pictures_that_no_trial_had(self, lab, small_digits, tmp_path):
        run = kilat.train(small_digits, lab.winner, runs=tmp_path)
        test = set(run.catalog.loc[run.catalog["split"] == "test", "digest"])
        trials = [Run.open(one.folder).catalog for one in list_runs(lab.folder / "trials").finished]
        in_trials = pd.concat(trials)["digest"]
        assert test
        assert not test & set(in_trials)

    def test_what_was_stopped_ends_with_the_same_results(self, lab, copied):
        assert Lab(copied).unfinished == [("optimizer=sgd", 2)]
        again = kilat.lab(resume=copied, workers=0)
        assert again.unfinished == []
        assert untimed(again) == untimed(lab)
        assert again.winner.read_bytes() == lab.winner.read_bytes()

    def test_what_cannot_be_written_fails_no_trial(self, copied):
        """A folder in the place of a file stands in for a full disk."""
        (copied / "trials" / "optimizer=sgd-2" / "run.json").mkdir(parents=True)
        with pytest.raises(UnwritableError, match=r"run\.json cannot be written") as stopped:
            kilat.lab(resume=copied, workers=0)
        assert f"kilat lab resume {copied}" in stopped.value.hint
        assert Lab(copied).unfinished == [("optimizer=sgd", 2)]
        assert list(copied.rglob(".lock")) == []

    def test_one_process_works_on_it(self, copied):
        with run_folder.hold(copied), pytest.raises(KilatError, match="is in use: process"):
            kilat.lab(resume=copied, workers=0)

    def test_a_trial_is_gone_on_with_by_its_lab(self, lab, copied, kilat_here):
        trial = copied / "trials" / "optimizer=sgd-2"
        trial.mkdir()
        shutil.copy(lab.folder / "trials" / "optimizer=sgd-2" / "run.json", trial)
        done = kilat_here("train", "--resume", trial)
        assert done.returncode == 2
        assert "kilat lab resume" in done.stderr

    def test_the_page_can_be_written_again(self, lab, kilat_here):
        page = lab.page.read_bytes()
        done = kilat_here("lab", "report", lab.folder)
        assert done.returncode == 0
        assert lab.page.read_bytes() == page
        assert "optimizer=sgd" in done.stdout

    def test_other_pictures_are_refused(self, copied, small_digits, tmp_path):
        fewer = shutil.copytree(small_digits, tmp_path / "fewer")
        next((fewer / "0").iterdir()).unlink()
        with pytest.raises(KilatError, match="has other pictures"):
            kilat.lab(fewer, resume=copied, workers=0)


class TestHeads:
    @pytest.fixture(scope="class")
    def heads(self, small_digits, tmp_path_factory) -> Lab:
        labs = tmp_path_factory.mktemp("heads")
        vary = {"head.l2": [[1e-2], [1e-5]], "head.class_weight": ["none", "balanced"]}
        return kilat.lab(small_digits, vary=vary, folds=3, repeats=2, labs=labs, size=32)

    def test_every_picture_is_held_out_once_in_each_repeat(self, heads):
        catalog = pd.read_csv(heads.folder / "catalog.csv")
        for path in (heads.folder / "trials").iterdir():
            answers = pd.read_csv(path / "answers.csv")
            assert sorted(answers["picture"]) == list(range(int((catalog["split"] == "train").sum())))
            assert set(answers["fold"]) == {0, 1, 2}

    def test_variants_have_common_folds(self, heads):
        folds = {path.name: pd.read_csv(path / "answers.csv")["fold"] for path in (heads.folder / "trials").iterdir()}
        repeats = [[fold for name, fold in folds.items() if name.endswith(f"-{seed}")] for seed in (1, 2)]
        assert all(np.array_equal(one, repeats[0][0]) for one in repeats[0])
        assert not np.array_equal(repeats[0][0], repeats[1][0])

    def test_a_weak_penalty_is_better_than_a_strong_one(self, heads):
        loss = {one.name: one.log_loss for one in heads.results.variants}
        assert loss["l2=[1.0e-05], class_weight=none"] < loss["l2=[0.01], class_weight=none"]

    def test_what_was_stopped_ends_with_the_same_results(self, heads, tmp_path):
        folder = shutil.copytree(heads.folder, tmp_path / "digits")
        for path in list((folder / "trials").iterdir())[::2]:
            (path / "trial.json").unlink()
        assert untimed(kilat.lab(resume=folder)) == untimed(heads)


class TestRefused:
    def test_all_variants_are_checked_before_any_runs(self, kilat_here, small_digits):
        done = kilat_here("lab", small_digits, "--recipe", "small-cnn", "--vary", "fit.optimizer=sgd,adma")
        assert done.returncode == 2
        assert "1 of 2 variants cannot be tried" in done.stderr
        assert not Path("labs").exists()

    def test_shapes_too(self, kilat_here, small_digits):
        layers = (
            "model.layers=[flatten,{dense: classes}],[max_pool,max_pool,max_pool,{conv: 8},flatten,{dense: classes}]"
        )
        done = kilat_here("lab", small_digits, "--recipe", "small-cnn", "--size", "8", "--vary", layers)
        assert done.returncode == 2
        assert "1 of 2 variants cannot be tried" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (["--vary", "head.l2=[1e-4],[1e-5]", "--seeds", "3"], "--folds and --repeats"),
            (["--recipe", "small-cnn", "--vary", "fit.batch=8,16", "--folds", "3"], "--seeds"),
            (["--recipe", "small-cnn", "--vary", "fit.batch=8,16", "--seeds", "0"], "at least 1"),
            (["--vary", "head.l2=[1e-4],[1e-5]", "--time-limit", "soon"], "90s"),
            (["--question", "dropuot"], "'dropout'"),
            ([], "Nothing was given to compare"),
            (["--recipe", "small-cnn", "--vary", "fit.batch=8,16", "--seeds", "5000"], "10,000 trials"),
        ],
    )
    def test_what_makes_no_sense(self, kilat_here, small_digits, arguments, part):
        done = kilat_here("lab", small_digits, *arguments)
        assert done.returncode == 2
        assert part in done.stderr

    def test_what_is_no_lab(self, kilat_here, tmp_path):
        done = kilat_here("lab", "resume", tmp_path)
        assert done.returncode == 2
        assert "is not the folder of a lab" in done.stderr


def test_questions_are_listed(kilat_here, json_lines):
    assert "augmentation" in kilat_here("lab", "--questions").stdout
    (listed,) = json_lines(kilat_here("lab", "--questions", "--json").stdout)
    assert listed["questions"]["l2"]["frozen"].startswith("head.l2=")


@pytest.mark.slow
def test_what_is_killed_again_and_again_ends_with_the_same_results(lab, small_digits, start, tmp_path):
    """The command is killed at growing moments, and a worker of it; processes side by side change nothing either."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(json.dumps(TINY), "utf-8")
    vary = "fit.optimizer=adam,sgd,{name: sgd, learning_rate: 1.0e+30}"
    command = [
        "lab",
        small_digits,
        "--recipe",
        recipe,
        "--vary",
        vary,
        "--seeds",
        2,
        "--workers",
        2,
        "--labs",
        tmp_path,
    ]
    folder = tmp_path / small_digits.name
    for seconds in (4, 8, 12):
        process = start(*command)
        time.sleep(seconds)
        process.kill()
        process.communicate()
        if (folder / "plan.json").exists():
            command = ["lab", "resume", folder, "--workers", 2]
        else:  # there is nothing to go on with
            shutil.rmtree(folder, ignore_errors=True)
    process = start(*command)
    _out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    found, expected = untimed(Lab(folder)), untimed(lab)
    for document in (found, expected):
        del document["command"], document["data"]
        for variant in document["variants"]:
            del variant["command"]
    assert found == expected


@pytest.mark.slow
def test_a_search_makes_the_same_choices_again(small_digits, tmp_path):
    pytest.importorskip("optuna", reason="the extra search is not installed")
    ranges = {"head.components": "8..128(log)", "head.class_weight": "none,balanced"}
    labs = [
        kilat.search(small_digits, ranges=ranges, count=4, folds=3, repeats=2, labs=tmp_path / name, size=32)
        for name in "ab"
    ]
    assert untimed(labs[0]) == untimed(labs[1])
    assert len(labs[0].results.variants) == 5
    (labs[0].folder / "lab.json").unlink()
    shutil.rmtree(next((labs[0].folder / "trials").glob("003-*")))
    assert untimed(kilat.lab(resume=labs[0].folder)) == untimed(labs[1])
