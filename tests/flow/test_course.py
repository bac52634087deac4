"""The course: what a lesson shows below a command is what the command prints."""

import shlex
import shutil

import examples
import pytest

pytest.importorskip("torch", reason="the extra torch is not installed")

RECIPES = examples.HERE / "course" / "recipes"
LESSONS = [page for page in examples.PAGES if page.parent.name == "course"]
QUICK = {"glossary", "shape", "summary"}
"""Verbs that neither train nor read pictures."""


def quick_examples():
    """Yield every command of the English lessons that takes no time, and no file that another command writes."""
    for page in LESSONS:
        if examples.language_of(page) != "en":
            continue
        for block in examples.BLOCK.findall(page.read_text("utf-8")):
            for example in examples.examples(block):
                words = shlex.split(example.command)[1:]
                recipes = [word for word in words if word.endswith(".yaml")]
                if words[:1] == ["kilat"] and words[1] in QUICK and all((RECIPES / name).exists() for name in recipes):
                    yield pytest.param(words[1:], example, id=f"{page.stem}: {' '.join(words[1:])}")


@pytest.mark.parametrize(("arguments", "example"), quick_examples())
def test_a_quick_command_prints_what_its_lesson_shows(arguments, example, kilat_here, monkeypatch, tmp_path):
    shutil.copytree(RECIPES, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("COLUMNS", "80")
    done = kilat_here(*arguments)
    printed = (done.stdout or done.stderr).rstrip("\n").splitlines()
    gap = [""] if example.shown[-1:] == [""] else []  # between two commands
    assert example.is_current([*example.abridge(printed), *gap])


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=f"{examples.language_of(page)}: {page.stem}") for page in LESSONS]
)
def test_every_command_prints_what_its_lesson_shows(page, tmp_path):
    examples.lay_out(tmp_path)
    text = page.read_text("utf-8")
    assert examples.rewrite(text, tmp_path, examples.language_of(page), check=True) == text
