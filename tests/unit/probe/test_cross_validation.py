"""Cross-validated heads: every fold is answered by heads that never saw its labels."""

import numpy as np
import pytest

from kilat.probe import cross_validate
from kilat.recipe import Head


@pytest.fixture(scope="module")
def drawn():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    scores = random.standard_normal((120, 7)).astype(np.float32)
    scores[:, :3] += np.eye(3, dtype=np.float32)[labels]
    scores[:, -1] = 1
    order = random.permutation(120)
    return scores[order], labels[order], np.arange(120) % 4


def test_probabilities_are_those_of_a_classifier(drawn):
    scores, labels, fold = drawn
    found = cross_validate(scores, labels, fold, 3, Head())
    assert found.probabilities.sum(1) == pytest.approx(np.ones(120), abs=1e-6)
    assert (found.probabilities.argmax(1) == labels).mean() > 1 / 3
    assert len(found.l2_penalties) == 4
    assert set(found.l2_penalties) <= set(Head().l2)


def test_a_fold_is_answered_by_a_head_that_never_saw_its_labels(drawn):
    scores, labels, fold = drawn
    others = labels.copy()
    others[fold == 2] = (others[fold == 2] + 1) % 3
    answers = [np.log(cross_validate(scores, own, fold, 3, Head(l2=(1e-3,))).probabilities) for own in (labels, others)]
    first, second = (own - own.mean(1, keepdims=True) for own in answers)  # the logits over the temperature
    ratios = first / second
    assert ratios[fold == 2] == pytest.approx(ratios[2, 0], rel=1e-3)
    assert np.ptp(ratios[fold == 1]) > 0.1


def test_pictures_that_are_never_held_out_have_no_answers(drawn):
    scores, labels, fold = drawn
    found = cross_validate(scores, labels, np.where(fold == 3, -1, fold), 3, Head(l2=(1e-3,)))
    assert not found.probabilities[fold == 3].any()
    assert found.l2_penalties == (1e-3,) * 3
