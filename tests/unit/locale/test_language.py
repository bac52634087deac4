"""The language of the environment, and how it writes numbers and dates."""

import datetime as dt
import json

import pytest

from kilat import locale
from kilat.locale import _, conventions, language, localized
from kilat.locale.notes import Note


@pytest.fixture
def indonesian(monkeypatch):
    monkeypatch.setenv("KILAT_LANG", "id")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "id_ID.UTF-8"}, "id"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "id_ID.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "id_ID.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "fr:id:en"}, "id"),
        ({"LANG": "id_ID.UTF-8", "LANGUAGE": "en:id"}, "en"),
        ({"LANGUAGE": "en", "KILAT_LANG": "id"}, "id"),
        ({"LANG": "id_ID.UTF-8", "KILAT_LANG": "xx"}, "en"),
        ({"LANG": "id_ID.UTF-8", "KILAT_LANG": ""}, "id"),
    ],
)
def test_the_first_variable_that_is_set_names_the_language(monkeypatch, environment, expected):
    for name in ("KILAT_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


@pytest.mark.parametrize("name", ["id", "ID", "id-ID", "id_ID", "id_ID.UTF-8", "id_ID@latin"])
def test_names_of_a_language(name):
    assert locale.known(name) == "id"


def test_an_unknown_name():
    assert locale.known("klingon") is None


def test_english_stays_as_it_is_in_the_code():
    assert localized(1234.5, ",.1f") == "1,234.5"
    assert localized(0.123, ".1%") == "12.3%"
    assert locale.date(dt.date(2026, 11, 28)) == "28 November 2026"


@pytest.mark.usefixtures("indonesian")
class TestIndonesian:
    @pytest.mark.parametrize(
        ("value", "spec", "written"),
        [
            (1234.5, ",.1f", "1.234,5"),
            (1234567, ",", "1.234.567"),
            (0.8664, ".1%", "86,6%"),
            (-0.0312, "+.3f", "-0,031"),
            (1.5e-05, ".1e", "1,5e-05"),
            (0.25, "", "0,25"),
            (2026, "", "2026"),
            ("1,234.5", "", "1,234.5"),
            (True, "", "True"),
        ],
    )
    def test_numbers(self, value, spec, written):
        assert localized(value, spec) == written

    def test_dates(self):
        assert locale.date(dt.date(2026, 5, 1)) == "1 Mei 2026"
        assert locale.date(dt.datetime(2026, 5, 1, 9, 5, tzinfo=dt.UTC)) == "1 Mei 2026, 09.05"

    def test_numbers_in_a_sentence(self):
        sentence = _("The time limit left out {count:,} of {total:,} pictures.")
        assert "1.500" in sentence.format(count=1500, total=12_345_678)
        assert "12.345.678" in Note("time_limit_pictures", {"count": 1500, "total": 12_345_678}).sentence()

    def test_a_note_is_kept_as_numbers(self):
        assert json.dumps(Note("no_better_than_chance", {"accuracy": 0.5}).document()["values"]) == '{"accuracy": 0.5}'


def german(message):
    return {"1,234.5": "1.234,5", "{number}%": "{number} %"}.get(message, message)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{share:.1%} of {n:,}", "12,5 % of 1.234"),
        ("{name} {name!r}", "a.b,c 'a.b,c'"),
        ("--set fit.dropout={share} --rate {share:.2f}: {share}", "--set fit.dropout=0.125 --rate 0.12: 0,125"),
        ("{values[n]:,} {{{n}}}", "1.234 {1234}"),
        ("{share:.{digits}f}", "0,12"),
    ],
)
def test_templates_are_filled_in_as_by_python_but_for_separators(template, filled):
    values = {"share": 0.125, "n": 1234, "name": "a.b,c", "values": {"n": 1234}, "digits": 2}
    assert conventions.Conventions(german).vformat(template, (), values) == filled
