"""What an earlier run computed is used only where it is what this run would compute."""

import shutil

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kilat.data.arrays import ArraySource
from kilat.learn.frozen import learn_head
from kilat.learn.time_budget import UNLIMITED
from kilat.learn.uncertainty import fit_uncertainty
from kilat.recipe import load
from kilat.runtime import result_cache
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer
from kilat.verbs.check import look_into

RECIPE = {"runtime.seed": 0, "features.size": 32, "head.l2": (1e-4, 1e-5), "head.components": 32}
DATA = load_digits()
ROWS = np.random.default_rng(0).permutation(len(DATA.target))[:80]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILAT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def outcome(pictures=DATA.images[ROWS], labels=DATA.target[ROWS], **overrides):
    """Everything of a run that follows from results that may have been kept, as bytes."""
    source = ArraySource([(one * 15).astype(np.uint8) for one in pictures], [str(one) for one in labels], "digits")
    recipe = load("transfer", RECIPE | overrides)
    learned = learn_head(source, recipe, Timer(), UNLIMITED, silent)
    uncertainty = fit_uncertainty(learned, recipe.trust)
    checked = look_into(uncertainty)
    assert learned.results.notes() == []
    fitted, detector = learned.artifact.fitted, uncertainty.ood.graph.detector
    arrays = [fitted.scores, fitted.coefficients, fitted.basis, fitted.head.weight, fitted.held_out_logits]
    arrays += [fitted.held_out, detector.statistics.index, learned.split.test_logits]
    said = [fitted.cross_validation, fitted.learning_curve, fitted.l2_penalty, fitted.towards, detector.methods]
    said += [uncertainty.ood.auroc, uncertainty.ood.rounds, learned.near_duplicates, checked.section()]
    said += [checked.cross_validated, checked.suspects.to_csv(), learned.notes]
    return [array.tobytes() for array in arrays], repr(said)


def kept():
    return {path.name for path in result_cache.folder().iterdir()}


def test_a_second_run_computes_nothing_and_is_the_same():
    first, names = outcome(), kept()
    assert outcome() == first
    assert kept() == names


def another_picture():
    pictures = DATA.images[ROWS].copy()
    pictures[7] = DATA.images[next(at for at in range(200) if at not in ROWS)]
    return pictures


def another_label():
    labels = DATA.target[ROWS].copy()
    labels[7] = (labels[7] + 1) % 10
    return labels


@pytest.mark.parametrize(
    "changed",
    [
        {"pictures": another_picture()},
        {"labels": another_label()},
        {"runtime.seed": 1},
        {"head.l2": (1e-4, 2e-5)},
        {"head.components": 24},
        {"head.class_weight": "balanced"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_after_a_change_a_run_is_what_it_is_without_earlier_ones(changed):
    before = outcome()
    after = outcome(**changed)
    assert after != before
    shutil.rmtree(result_cache.folder(), ignore_errors=True)
    assert outcome(**changed) == after


def test_the_decomposition_is_kept_where_the_head_changes():
    shutil.rmtree(result_cache.folder(), ignore_errors=True)
    outcome()
    names = kept()
    outcome(**{"head.l2": (1e-4, 3e-5)})
    sizes = {name: (result_cache.folder() / name).stat().st_size for name in kept()}
    assert max(sizes, key=sizes.__getitem__) in names
    assert all(sizes[name] < max(sizes.values()) / 2 for name in kept() - names)
