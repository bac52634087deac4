"""The command line as a whole: its help, its start, its completion, its errors."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import typer

import kilat
from kilat.cli import app
from kilat.cli.verb import FAMILIES, families

GROUP = typer.main.get_command(app)
VERBS = {verb.name: verb for members in families(GROUP).values() for verb in members}


def modules_of(cli, *arguments):
    """What a command has loaded when it ends, by top-level name."""
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = cli(*arguments, before=report)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stderr.split()}


class TestHelp:
    def test_every_verb_is_in_a_family(self):
        assert set(VERBS) == set(GROUP.commands)
        assert all(families(GROUP).values())

    def test_lists_the_families_in_order(self, kilat_here):
        lines = kilat_here("--help").stdout.splitlines()
        assert [line.rstrip(":") for line in lines if line.rstrip(":") in FAMILIES] == list(FAMILIES)
        for family, members in families(GROUP).items():
            listed = lines[lines.index(f"{family}:") + 1 :][: len(members)]
            assert [line.split()[0] for line in listed] == [verb.name for verb in members]
            assert all(line.endswith(".") for line in listed)  # a whole sentence on one line

    def test_nothing_given_is_the_same_help(self, kilat_here):
        assert "Use a model:" in kilat_here().stdout + kilat_here().stderr

    @pytest.mark.parametrize("name", VERBS)
    def test_of_a_verb_ends_with_examples_that_it_takes(self, kilat_here, name):
        done = kilat_here(name, "--help")
        text, _heading, examples = done.stdout.partition("\nExamples:\n")
        assert done.returncode == 0
        assert "-h, --help" in text
        commands = [line.strip() for line in examples.splitlines()]
        assert 1 <= len(commands) <= 4
        for command in commands:
            program, verb, *arguments = shlex.split(command.partition(" > ")[0])
            assert (program, verb) == ("kilat", name)
            VERBS[name].make_context(name, arguments)  # raises where it would not be taken


@pytest.mark.parametrize(("arguments", "code"), [(["data", "--json"], 0), (["report", "nowhere"], 1)])
def test_as_a_program_it_ends_at_once_and_loses_nothing(arguments, code):
    command = [sys.executable, "-c", "from kilat.cli import run; run()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert json.loads(done.stdout)["sets"] if code == 0 else "nowhere" in done.stderr


def test_the_version(kilat_here):
    done = kilat_here("--version")
    assert (done.returncode, done.stdout) == (0, f"kilat {kilat.__version__}\n")


class TestStart:
    def test_help_loads_nothing_heavy(self, cli):
        heavy = {"matplotlib", "numpy", "onnx", "onnxruntime", "pandas", "pydantic", "rich", "scipy", "sklearn", "yaml"}
        assert not heavy & modules_of(cli, "--help")
        assert not heavy & modules_of(cli, "train", "--help")

    def test_predict_loads_what_the_predictor_needs_and_no_more(self, cli, photos_run, other_photos):
        heavy = {"matplotlib", "onnx", "pandas", "pydantic", "rich", "scipy", "sklearn", "torch", "yaml"}
        loaded = modules_of(cli, "predict", photos_run.folder, next(other_photos.rglob("*.jpg")))
        assert "onnxruntime" in loaded
        assert not heavy & loaded


class TestCompletion:
    def complete(self, cli, words):
        env = {"_KILAT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        return cli(env=env).stdout.split()

    def test_of_verbs_options_and_recipes(self, cli):
        assert set(self.complete(cli, "kilat re")) == {"report", "recipes"}
        assert "--backbone" in self.complete(cli, "kilat train --b")
        assert self.complete(cli, "kilat train --recipe vgg") == ["vgg-cifar", "vgg16-binary"]

    def test_the_script_for_a_shell(self, cli):
        named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # whichever shell runs the tests, if any does
        assert "_KILAT_COMPLETE" in cli("--show-completion", "bash", env=named).stdout


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [(["trian"], "Did you mean 'train'?"), (["train", "--epoch", "3"], "--epochs"), (["predict"], "model")],
    )
    def test_of_usage(self, kilat_here, arguments, message):
        done = kilat_here(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr

    def test_name_the_words_that_the_glossary_explains(self, kilat_here):
        done = kilat_here("train", "digits", "--recipe", "mlp-bn", "--set", "model.dropout=0.3")
        assert done.returncode == 2
        assert done.stderr.endswith("Words: kilat glossary dropout\n")

    def test_are_sentences_with_a_hint(self, kilat_here, tmp_path):
        done = kilat_here("predict", tmp_path, tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Error: There is no model file")
        assert "kilat train FOLDER" in done.stderr
        assert "Traceback" not in done.stderr


class TestGlossary:
    def test_explains_the_words_that_are_given(self, kilat_here):
        done = kilat_here("glossary", "Learning-Rate", "dropout")
        assert re.findall(r"^\w.*", done.stdout, re.MULTILINE) == ["learning rate", "dropout"]
        (term,) = json.loads(kilat_here("glossary", "dropout", "--json").stdout)["terms"]
        assert term["word"] == "dropout"
        assert term["meaning"] in done.stdout

    def test_gives_the_nearest_word_to_an_unknown_one(self, kilat_here):
        done = kilat_here("glossary", "drpout")
        assert done.returncode == 2
        assert "Did you mean 'dropout'?" in done.stderr


class TestReport:
    def test_is_written_again_from_the_folder(self, kilat_here, photos_run):
        page = photos_run.folder / "report.html"
        before = page.read_bytes()
        page.unlink()
        done = kilat_here("report", photos_run.folder)
        assert (done.returncode, done.stdout) == (0, f"wrote {page}\n")
        assert page.read_bytes() == before

    def test_what_is_no_run_is_refused(self, kilat_here, tmp_path):
        done = kilat_here("report", tmp_path)
        assert done.returncode == 1
        assert "not the folder of a finished run" in done.stderr
