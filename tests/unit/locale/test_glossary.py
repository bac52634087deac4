"""The glossary: its words are found in sentences, and looked up by any of their names."""

import re

import pytest

from kilat.locale.glossary import GLOSSARY, find_terms, look_up


def test_words_are_found_in_any_form_the_longest_first():
    text = "The calibration set is small, batch norm had not settled, and near-duplicates leak into it."
    assert [key for _match, key in find_terms(text)] == ["calibration_set", "batch_norm", "near_duplicate", "leak"]


@pytest.mark.parametrize(
    "text", ["fit.dropout", "'dropout'", "“dropout”", "dropout=0.3", "runs/dropout", "--dropout", "dropouts"]
)
def test_options_paths_and_quoted_names_are_no_words(text):
    assert not list(find_terms(text))


def test_abbreviations_have_their_capitals():
    assert [key for _match, key in find_terms("On a macs, 3 MACs")] == ["macs"]


def test_plain_words_are_not_pointed_out_but_can_be_looked_up():
    assert not list(find_terms("An epoch of one class"))
    assert look_up("epoch") == "epoch"


@pytest.mark.parametrize("name", ["Batch norm", "batch-norm", "batch_norm", "batch normalisation"])
def test_every_form_of_a_name_is_known(name):
    assert look_up(name) == "batch_norm"


def test_an_unknown_word_has_no_key():
    assert look_up("batsch norm") == ""


def test_every_meaning_is_a_sentence_and_no_name_stands_for_two_words():
    names = [name for term in GLOSSARY.values() for name in (term.name, *term.others)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Z].*\.", term.meaning) for term in GLOSSARY.values())
