"""In another language everything is in that language: help, results, errors, pages; ``--lang`` chooses it.

The language of these tests is made of the English sentences, each in brackets: what stands outside of them was never
translated, or is a name, a path or a value. Its numbers are 1'234·5.
"""

import re
import shutil
import string
from html.parser import HTMLParser

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from kilat import locale
from kilat.cli import app

VERBS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)

IN_BRACKETS = re.compile(r"⟦[^⟦⟧]*⟧")
NO_WORD = re.compile(r"\S*[/\\._=#\d]\S*|--?[a-z][\w-]*|^\s*kilat .*$|<[a-z |]+>|\{\w+\}|\[ [\w./-]+ *\]", re.MULTILINE)
WORD = re.compile(r"[A-Za-z]{3,}")
ENGLISH_NUMBER = re.compile(r"(?<![\w./-])\d+(?:,\d{3})*(?:\.\d+|,\d{3})(?![\w./-])")
CONVENTIONS = {"1,234.5": "1'234·5", "{number}%": "{number}%"}


def bracketed(sentence):
    """A sentence whose words are in brackets, each paragraph in its own, so that what is filled in stands outside."""
    if sentence in CONVENTIONS:
        return CONVENTIONS[sentence]
    if "\n\n" in sentence:
        return "\n\n".join(map(bracketed, sentence.split("\n\n")))
    try:
        parts = list(string.Formatter().parse(sentence))
    except ValueError:  # it is never filled in
        return f"⟦{sentence}⟧"
    if all(name is None for _text, name, _spec, _conversion in parts):
        return f"⟦{sentence}⟧" if WORD.search(sentence) else sentence
    written = ""
    for text, name, spec, conversion in parts:
        escaped = text.replace("{", "{{").replace("}", "}}")
        written += f"⟦{escaped}⟧" if WORD.search(text) else escaped
        if name is not None:
            written += "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
    return written


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    """A folder with the catalog of the language ``xx``."""
    with (locale.FOLDER / "kilat.pot").open("rb") as file:
        template = read_po(file)
    catalog = Catalog("en", charset="utf-8", fuzzy=False)
    for message in template:
        if message.id:
            plural = tuple(map(bracketed, message.id)) if message.pluralizable else bracketed(message.id)
            catalog.add(message.id, plural, context=message.context)
    folder = tmp_path_factory.mktemp("locale")
    (folder / "xx" / "LC_MESSAGES").mkdir(parents=True)
    with (folder / "xx" / "LC_MESSAGES" / "kilat.mo").open("wb") as file:
        write_mo(file, catalog)
    return folder


@pytest.fixture
def in_brackets(catalogs, monkeypatch):
    monkeypatch.setattr(locale, "FOLDER", catalogs)
    monkeypatch.setenv("KILAT_LANG", "xx")


def outside(text):
    """What stands outside of all brackets."""
    while (shorter := IN_BRACKETS.sub(" ", text)) != text:
        text = shorter
    return text


def untranslated(text, *names):
    """The words outside of brackets that are no names, paths, options or commands."""
    known = {word for name in names for word in WORD.findall(name)}
    return [word for word in WORD.findall(NO_WORD.sub(" ", outside(text))) if word not in known]


class Page(HTMLParser):
    """What a reader of a page reads or is told."""

    def __init__(self, html):
        super().__init__()
        self.said, self.language = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.said += [] if tag in {"wbr", "strong", "span"} else ["\n"]
        for name, value in attributes:
            if name in {"aria-label", "alt", "title", "placeholder"} or name in {"data-sentence", "data-right"}:
                self.said += ["\n", value or "", "\n"]
            elif (tag, name) == ("html", "lang"):
                self.language = value

    def handle_data(self, data):
        if self.lasttag not in {"script", "style", "code", "pre"}:
            self.said.append(data)


def assert_page(path, *names):
    page = Page(path.read_text("utf-8"))
    assert page.language == "xx"
    assert untranslated("".join(page.said), *names, "kilat", "toggle") == []


@pytest.mark.usefixtures("in_brackets")
class TestEverythingIsTranslated:
    @pytest.mark.parametrize("verb", ["", *VERBS])
    def test_help(self, kilat_here, verb):
        printed = kilat_here(*filter(None, [verb]), "--help").stdout
        help_, _examples, commands = printed.partition(locale._("Examples"))
        arguments = re.findall(r"^  ([a-z_]+)(?:\.\.\.)?  ", help_, re.MULTILINE)
        assert untranslated(help_, "kilat", *VERBS, *arguments) == []
        assert bool(commands) == bool(verb)

    @pytest.mark.parametrize(
        ("command", "names"),
        [
            ("train", ""),
            ("trian", "trian train"),
            ("train --epoch 3", "kilat train data"),
            ("train --epochs", ""),
            ("train --epochs three", "kilat train data three"),
            ("backbones --limit 0", "kilat backbones search"),
            ("backbones --sort speed", "kilat backbones search name parameters macs accuracy speed"),
            ("predict", "kilat predict model pictures"),
            ("data more", "kilat data more"),
            ("train nowhere", "nowhere digits flowers cifar fashion mnist"),
            ("train digits --set features.resise=crop", "resize"),
            ("train digits --set features.resize=fill --epochs -1", "crop squash pad fill epochs"),
            ("train digits --recipe smal-cnn", "smal cnn small"),
            ("train digits --preset best --time-limit soon", "soon"),
            ("train digits --lr 0.1", ""),
            ("train digits --labels none.csv", "digits"),
            ("predict nowhere photo.jpg", "kilat train nowhere"),
            ("report nowhere", "nowhere"),
            ("compare nowhere", "nowhere"),
            ("shape 7x7, kernel 9, stride 2, valid", "kernel stride valid"),
            ("shape nonsense", "nonsense kernel stride valid"),
            ("summary nothing", "nothing tiny"),
            ("glossary nonsense", "nonsense kilat glossary"),
            ("--lang tlh data", "tlh English"),
        ],
    )
    def test_errors(self, kilat_here, command, names):
        done = kilat_here(*command.split())
        assert done.returncode
        assert "⟦" in done.stderr
        assert untranslated(done.stdout + done.stderr, names) == []

    def test_lists(self, kilat_here):
        for verb, names in (
            ("data", "digits flowers cifar fashion mnist Alpaydin Kaynak UCI MIT Zalando"),
            ("recipes", " ".join(kilat_here("recipes").stdout.split(":"))),
            ("cache", ""),
        ):
            assert untranslated(kilat_here(verb).stdout, names) == []

    def test_what_a_run_says(self, kilat_here, photos_run, other_photos, tmp_path):
        """Its report, its answers, and how it does on other pictures, as text and as pages."""
        names = f"{photos_run.folder.name} {other_photos.name} temple flower transfer sights"
        folder = shutil.copytree(photos_run.folder, tmp_path / photos_run.folder.name)
        printed = kilat_here("report", folder).stdout + kilat_here("runs", tmp_path).stdout
        printed += kilat_here("predict", folder, other_photos, "missing.jpg", "--html", "answers.html").stdout
        printed += kilat_here("eval", folder, other_photos).stdout + kilat_here("drift", folder, other_photos).stdout
        printed += kilat_here("compare", folder, photos_run.folder).stdout
        assert untranslated(printed, names) == []
        assert ENGLISH_NUMBER.findall(outside(printed)) == []
        keys = "backbone features size precision bytes digest temperature python numpy onnx onnxruntime pillow opset"
        assert_page(folder / "report.html", names, keys, "resize crop efficientnet")
        for page in ("answers", "evaluation", "drift", "comparison"):
            assert_page(tmp_path / f"{page}.html", names)

    @pytest.mark.slow
    def test_what_is_said_while_it_works(self, kilat_here, photos, other_photos, tmp_path):
        """Progress, epochs, notes and findings, of each way to learn, of a check and of a lab."""
        network = "--recipe small-cnn --size 32 --epochs 2 --set fit.watch=layers".split()
        done = [
            kilat_here("check", photos),
            kilat_here("train", photos, "--name", "frozen"),
            kilat_here("train", photos, "--name", "trained", *network),
            kilat_here("activations", "runs/trained", next(other_photos.rglob("*.jpg"))),
            kilat_here("preview", photos, "--set", "augment.rotation=15"),
            kilat_here(
                "lab",
                photos,
                "--vary",
                "features.resize=crop,squash",
                "--folds",
                "2",
                "--repeats",
                "1",
                "--name",
                "resizing",
            ),
        ]
        assert [one.stderr for one in done if one.returncode not in {0, 3}] == []
        names = "temple flower sights frozen trained resizing crop squash preview kilat"
        text = "".join(one.stdout + one.stderr for one in done)
        assert untranslated(text, names, "conv activation max pool global avg dense") == []
        for page in (tmp_path / "checks").glob("*/check.html"):
            assert_page(page, names, "JPEG")


@pytest.mark.parametrize("arguments", [["--lang", "id", "train", "--help"], ["train", "--help", "--lang=id"]])
def test_the_option_counts_wherever_it_stands(kilat_here, monkeypatch, arguments):
    monkeypatch.setenv("KILAT_LANG", "en")
    printed = kilat_here(*arguments).stdout
    assert printed.startswith(locale._("Usage:"))
    assert "Usage:" not in printed
    assert "[default: " not in printed


def test_the_language_reaches_what_the_command_starts(cli):
    """The environment of a process is that of the processes that it starts."""
    report = "import atexit, os; atexit.register(lambda: print(os.environ['KILAT_LANG'], os.environ['LANGUAGE']))"
    done = cli("--lang", "id-ID", "data", "--json", before=report, env={"KILAT_LANG": "en"})
    assert done.stdout.splitlines()[-1] == "id id"


def test_an_unknown_language_is_refused_with_those_that_there_are(kilat_here):
    done = kilat_here("data", "--lang", "tlh")
    assert done.returncode == 2
    assert "'tlh'" in done.stderr
    assert all(code in done.stderr for code in locale.languages())
    assert locale.language_name("id") in done.stderr
