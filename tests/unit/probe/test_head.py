"""The linear head against scikit-learn's logistic regression, and what cross-validation may and may not see."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from kilat.evaluate.calibration import fit_temperature
from kilat.features.backbone import Block
from kilat.probe import CLIP, FittedHead, Head, HeadTimes, fit
from kilat.probe.components import principal_directions
from kilat.probe.regression import Problem
from kilat.recipe import Head as Settings

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK_WEIGHT = 0.7  # of the block named "last"; others count fully


class Data(NamedTuple):
    features: Floats
    labels: Ints
    blocks: tuple[Block, ...]

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def fold(self, count: int = 4) -> Ints:
        """Stratified enough: classes come in turn."""
        return np.arange(len(self.labels)) // self.classes % count


def drawn(
    n: int, width: int, classes: int, *, seed: int = 0, spread: float = 1.0, shares: Sequence[float] = ()
) -> Data:
    """Overlapping classes with correlated features on very different scales, and some values far out."""
    dice = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    if shares:
        labels = np.repeat(np.arange(classes), [round(n * share) for share in shares])
    inner = dice.normal(size=(len(labels), width)) + spread * dice.normal(size=(classes, width))[labels]
    mixed = inner @ (np.eye(width) + 0.3 * dice.normal(size=(width, width)) / np.sqrt(width))
    mixed *= 10 ** dice.uniform(-2, 2, width)
    mixed[dice.random(mixed.shape) < 0.003] *= 30
    mixed += dice.normal(size=width) * 5
    half = width // 2
    return Data(
        mixed.astype(np.float32), labels.astype(np.int64), (Block("stage1.mean", half), Block("last", width - half))
    )


def fitted(data: Data, fold: Ints | None = None, **settings: object) -> FittedHead:
    rows = np.arange(len(data.labels))
    fold = data.fold() if fold is None else fold
    chosen = Settings.model_validate({"components": 4096, **settings})
    return fit(data.features, rows, data.labels, fold, data.classes, data.blocks, chosen)


def towards_zero(data: Data, l2_penalty: float) -> Head:
    """Return the head of a penalty that draws towards zero, however many classes there are."""
    rows = np.arange(len(data.labels))
    found = principal_directions(data.features, rows, data.blocks, 4096).project(data.features, rows)
    ones = np.ones(len(data.labels), np.float32)
    coefficients = Problem(found.scores, data.labels, ones, data.classes).solve_one(ones, l2_penalty)
    return Head(found.mean, found.scale, found.basis @ coefficients[:-1], coefficients[-1])


def timed(data: Data, times: HeadTimes) -> FittedHead:
    rows, settings = np.arange(len(data.labels)), Settings(components=4096)
    return fit(data.features, rows, data.labels, data.fold(), data.classes, data.blocks, settings, times=lambda: times)


def standardised(data: Data) -> NDArray[np.float64]:
    """Return what the head regresses on, up to a rotation, to which an L2 penalty is blind."""
    exact = data.features.astype(float)
    standard = np.clip((exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-10), -CLIP, CLIP)
    standard[:, data.blocks[0].width :] *= BLOCK_WEIGHT
    return np.asarray(standard / np.sqrt((standard**2).sum(1).mean()))


def reference(
    data: Data, l2_penalty: float, rows: Ints | slice = slice(None), balanced: bool = False
) -> LogisticRegression:
    """Return scikit-learn's head of the same penalty, fitted on some of the pictures.

    kilat: mean loss + l2_penalty/2 |W|²; scikit-learn: C · sum of losses + 1/2 |w|², so C = 1 / (l2_penalty · n). For
    two classes scikit-learn has one column w where kilat has ±w/2, of which |W|² = |w|²/2: C is twice as large.
    """
    inputs, labels = standardised(data)[rows], data.labels[rows]
    c = (2 if data.classes == 2 else 1) / (l2_penalty * len(labels))
    weight = "balanced" if balanced else None
    return LogisticRegression(C=c, class_weight=weight, tol=1e-9, max_iter=50_000).fit(inputs, labels)


@pytest.mark.parametrize(
    ("n", "width", "classes"), [(300, 20, 3), (300, 20, 2), (60, 200, 4), (40, 300, 2), (90, 90, 3), (500, 12, 10)]
)
@pytest.mark.parametrize("l2_penalty", [1e-2, 1e-3])
def test_the_head_is_scikit_learns(n: int, width: int, classes: int, l2_penalty: float) -> None:
    """With more pictures than features, and with more features than pictures."""
    data = drawn(n, width, classes)
    got = softmax(fitted(data, l2=[l2_penalty]).head.logits(data.features), axis=1)
    right = reference(data, l2_penalty).predict_proba(standardised(data))
    np.testing.assert_allclose(got, right, atol=0.025)
    assert np.abs(got - right).mean() < 0.002


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("width", [10, 200])
def test_balanced_is_scikit_learns_class_weight(classes: int, width: int) -> None:
    shares = (0.85, 0.15) if classes == 2 else (0.8, 0.15, 0.05)
    data = drawn(200, width, classes, shares=shares, spread=0.5)
    dice = np.random.default_rng(1).permutation(len(data.labels))
    data = Data(data.features[dice], data.labels[dice], data.blocks)
    plain = softmax(fitted(data, l2=[3e-2]).head.logits(data.features), axis=1)
    even = softmax(fitted(data, l2=[3e-2], class_weight="balanced").head.logits(data.features), axis=1)
    right = reference(data, 3e-2, balanced=True).predict_proba(standardised(data))
    np.testing.assert_allclose(even, right, atol=0.012)
    assert np.abs(even - plain).max() > 0.05
    assert even[:, -1].mean() > plain[:, -1].mean()


@pytest.mark.parametrize(("n", "width", "classes"), [(300, 20, 3), (80, 150, 2)])
def test_held_out_logits_come_from_heads_of_the_other_folds_only(n: int, width: int, classes: int) -> None:
    data = drawn(n, width, classes, spread=0.6)
    fold = data.fold()
    fold[:5] = -1
    got = fitted(data, fold, l2=[1e-2])
    np.testing.assert_array_equal(got.held_out, np.flatnonzero(fold >= 0))
    answers = softmax(got.held_out_logits, axis=1)
    for number in range(4):
        others = reference(data, 1e-2, np.flatnonzero(fold != number)).predict_proba(standardised(data)[fold == number])
        np.testing.assert_allclose(answers[fold[got.held_out] == number], others, atol=0.012)


def test_a_held_out_label_has_no_part_in_its_own_answer() -> None:
    data = drawn(120, 30, 3)
    fold = np.where(np.arange(120) % 4 == 0, 0, -1)
    before = fitted(data, fold, l2=[1e-2])
    other = data.labels.copy()
    other[fold == 0] = (other[fold == 0] + 1) % 3
    after = fitted(data._replace(labels=other), fold, l2=[1e-2])
    assert before.held_out_logits.tobytes() == after.held_out_logits.tobytes()
    assert before.head.weight.tobytes() != after.head.weight.tobytes()


def test_the_chosen_penalty_has_the_least_log_loss() -> None:
    data = drawn(150, 60, 3, spread=0.3)
    got = fitted(data, l2=[1e-5, 1.0, 1e-1, 1e-3, 100.0])
    tried = {one.l2_penalty: one for one in got.cross_validation}
    assert set(tried) == {1e-5, 1.0, 1e-1, 1e-3, 100.0}
    assert got.l2_penalty == min(tried, key=lambda l2_penalty: tried[l2_penalty].log_loss)
    assert got.l2_penalty not in (1e-5, 100.0)
    truth = data.labels[got.held_out]
    for l2_penalty, result in tried.items():
        alone = fitted(data, l2=[l2_penalty])
        temperature = fit_temperature(alone.held_out_logits, truth)
        answers = softmax(alone.held_out_logits.astype(float) / temperature, axis=1)
        assert result.log_loss == pytest.approx(log_loss(truth, answers), abs=0.003)
        assert result.accuracy == pytest.approx((answers.argmax(1) == truth).mean(), abs=0.02)
    chosen = fitted(data, l2=[got.l2_penalty])
    np.testing.assert_allclose(softmax(got.held_out_logits, axis=1), softmax(chosen.held_out_logits, axis=1), atol=0.03)


def test_without_anyone_held_out_there_is_a_head_and_nothing_to_calibrate_on() -> None:
    data = drawn(6, 10, 6)
    got = fitted(data, np.full(6, -1), l2=[1e-3, 1e-2, 1e-1])
    assert got.held_out_logits.shape == (0, 6)
    assert len(got.held_out) == 0
    assert got.l2_penalty == 1e-2
    assert (got.head.logits(data.features).argmax(1) == data.labels).all()


def test_the_same_bytes_every_time() -> None:
    data = drawn(400, 300, 4)
    one, two = fitted(data, components=50), fitted(data, components=50)
    for part in ("mean", "scale", "weight", "bias"):
        assert getattr(one.head, part).tobytes() == getattr(two.head, part).tobytes()
        assert getattr(one.head, part).dtype == np.float32
    assert one.held_out_logits.tobytes() == two.held_out_logits.tobytes()
    assert one.cross_validation == two.cross_validation
    assert one.learning_curve == two.learning_curve


def test_rows_choose_pictures_without_moving_anything() -> None:
    data = drawn(200, 20, 2)
    rows = np.random.default_rng(0).permutation(200)[:120]
    settings = Settings(l2=(1e-2,))
    fold = np.arange(120) % 3
    got = fit(data.features, rows, data.labels[rows], fold, 2, data.blocks, settings)
    part = np.ascontiguousarray(data.features[rows])
    alone = fit(part, np.arange(120), data.labels[rows], fold, 2, data.blocks, settings)
    np.testing.assert_allclose(got.head.weight, alone.head.weight, atol=1e-5)
    np.testing.assert_allclose(got.held_out_logits, alone.held_out_logits, atol=1e-4)


class TestOwnership:
    def test_features_are_only_read_unless_they_are_handed_over(self) -> None:
        data = drawn(200, 60, 3)
        data.features.setflags(write=False)
        rows = np.arange(200)
        fit(data.features, rows, data.labels, data.fold(), 3, data.blocks, Settings())

    @pytest.mark.parametrize("components", [10, 4096])
    def test_handed_over_they_give_the_same_bytes_in_their_own_memory(self, components: int) -> None:
        data = drawn(200, 60, 3)
        given, rows, settings = data.features.copy(), np.arange(200), Settings(components=components)
        kept = fit(given, rows, data.labels, data.fold(), 3, data.blocks, settings)
        overwritten = fit(given, rows, data.labels, data.fold(), 3, data.blocks, settings, overwrite_features=True)
        assert not np.shares_memory(kept.scores, given)
        # All 60 components and the constant are one number more a picture than there is room for.
        assert np.shares_memory(overwritten.scores, given) == (components == 10)
        for part in ("held_out_logits", "scores", "coefficients", "basis"):
            assert getattr(kept, part).tobytes() == getattr(overwritten, part).tobytes()
        for part in ("mean", "scale", "weight", "bias"):
            assert getattr(kept.head, part).tobytes() == getattr(overwritten.head, part).tobytes()

    def test_features_that_do_not_lie_in_one_piece(self) -> None:
        data = drawn(200, 60, 3)
        turned, rows = np.asfortranarray(data.features), np.arange(200)
        one, other = (
            fit(given, rows, data.labels, data.fold(), 3, data.blocks, Settings(), overwrite_features=True)
            for given in (turned, data.features.copy())
        )
        np.testing.assert_array_equal(turned, data.features)
        np.testing.assert_allclose(one.held_out_logits, other.held_out_logits, atol=1e-3)


def test_few_components_are_the_leading_ones() -> None:
    """What matters lies in a few directions: keeping them is as good as keeping everything."""
    dice = np.random.default_rng(0)
    labels = np.arange(600) % 3
    leading = dice.normal(size=(600, 5)) + 2 * dice.normal(size=(3, 5))[labels]
    features = (leading @ dice.normal(size=(5, 400)) + 0.05 * dice.normal(size=(600, 400))).astype(np.float32)
    data = Data(features, labels, (Block("stage1.mean", 400), Block("last", 0)))
    few, everything = (softmax(fitted(data, l2=[1e-3], components=n).held_out_logits, axis=1) for n in (8, 4096))
    np.testing.assert_allclose(few, everything, atol=0.03)
    assert (few.argmax(1) == labels).mean() > 0.95


class TestOddFeatures:
    def test_features_that_never_change_count_for_nothing(self) -> None:
        data = drawn(200, 20, 3)
        steady = np.array([0, 5, -3e4, 1e-30, 77.7], np.float32)
        features = np.concatenate([data.features, np.tile(steady, (200, 1))], axis=1)
        wider = Data(features, data.labels, (*data.blocks, Block("steady", 5)))
        with_them, without = fitted(wider, l2=[1e-2]), fitted(data, l2=[1e-2])
        np.testing.assert_allclose(with_them.head.logits(features), without.head.logits(data.features), atol=0.03)
        assert not with_them.head.weight[20:].any()
        features[:, 20:] += 5
        assert np.isfinite(with_them.head.logits(features)).all()

    def test_nothing_but_such_features_gives_the_shares_of_the_classes(self) -> None:
        labels = np.repeat([0, 1, 2], [30, 20, 10])
        data = Data(np.full((60, 8), 3, np.float32), labels, (Block("last", 8),))
        got = fitted(data, np.arange(60) % 5, l2=[1e-3])
        np.testing.assert_allclose(softmax(got.head.logits(data.features), axis=1)[0], [0.5, 1 / 3, 1 / 6], atol=0.01)

    def test_values_far_out_are_cut(self) -> None:
        data = drawn(200, 10, 2)
        head = fitted(data, l2=[1e-2]).head
        far = head.mean + 1e6 / head.scale
        np.testing.assert_allclose(
            head.logits(far[None]), head.logits((head.mean + CLIP / head.scale)[None]), rtol=1e-4
        )


class TestLogits:
    def test_they_are_what_they_say(self) -> None:
        data = drawn(100, 20, 3)
        got = fitted(data)
        head = got.head
        standard = np.clip((data.features - head.mean) * head.scale, -CLIP, CLIP)
        np.testing.assert_allclose(head.logits(data.features), standard @ head.weight + head.bias, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(got.logits(np.array([7, 3])), head.logits(data.features[[7, 3]]), atol=1e-4)

    def test_of_nobody(self) -> None:
        head = Head(*(np.zeros(shape, np.float32) for shape in ((4,), (4,), (4, 3), (3,))))
        assert head.logits(np.zeros((0, 4), np.float32)).shape == (0, 3)


class TestLearningCurve:
    def test_it_grows_to_the_answers_of_the_first_fold(self) -> None:
        data = drawn(800, 40, 4, spread=0.5)
        fold = data.fold(5)
        got = fitted(data, fold, l2=[1e-2])
        pictures, correct, n = zip(*got.learning_curve, strict=True)
        assert pictures == (32, 64, 160, 320, 640)
        assert set(n) == {160}
        first = fold[got.held_out] == 0
        assert correct[-1] == (got.held_out_logits[first].argmax(1) == data.labels[fold == 0]).sum()
        assert correct[-1] > correct[0]

    def test_there_is_none_of_few_pictures(self) -> None:
        assert fitted(drawn(40, 10, 2)).learning_curve == ()


class TestManyClasses:
    def test_rare_classes_among_many_are_scikit_learns(self) -> None:
        """A class that a step makes unlikely everywhere must not throw the next step out of all bounds."""
        shares = np.geomspace(1, 40, 40)
        data = drawn(600, 30, 40, shares=tuple(shares / shares.sum()), spread=0.7)
        answers = softmax(towards_zero(data, 1e-3).logits(data.features), axis=1)
        right = reference(data, 1e-3).predict_proba(standardised(data))
        assert np.abs(answers - right).mean() < 0.002

    def test_with_few_pictures_each_the_penalty_draws_towards_a_discriminant(self) -> None:
        data = drawn(240, 300, 60, spread=0.9)
        got = fitted(data, components=200)
        assert got.towards == "discriminant"
        by_direction = {one.towards: [] for one in got.cross_validation}  # type: dict[str, list[float]]
        for one in got.cross_validation:
            by_direction[one.towards].append(one.log_loss)
        assert len(by_direction["zero"]) == len(by_direction["discriminant"]) == 4
        assert min(by_direction["discriminant"]) < min(by_direction["zero"])

    def test_of_few_classes_it_draws_to_zero(self) -> None:
        assert fitted(drawn(100, 20, 4)).towards == "zero"

    def test_classes_that_nothing_tells_apart_are_answered_by_their_shares(self) -> None:
        dice = np.random.default_rng(0)
        labels = np.arange(200) % 50
        noise = dice.normal(size=(200, 400)).astype(np.float32)
        data = Data(noise, labels, (Block("stage1.mean", 400), Block("last", 0)))
        got = fitted(data)
        fresh = softmax(got.head.logits(dice.normal(size=(100, 400)).astype(np.float32)), axis=1)
        loss = -np.log(fresh[np.arange(100), np.arange(100) % 50]).mean()
        assert loss < 1.2 * np.log(50)


class TestLateness:
    """A clock hands out time: what there is none for is left out, and said."""

    @staticmethod
    def after(looks: int) -> Callable[[], bool]:
        left = iter([False] * looks)
        return lambda: next(left, True)

    @pytest.mark.parametrize("classes", [3, 40])
    def test_late_from_the_start_there_is_one_penalty_and_one_fold(self, classes: int) -> None:
        data = drawn(40 * classes, 30, classes)
        late = HeadTimes(*[lambda: True] * 3)
        got = timed(data, late)
        assert {note.code: note.values["count"] for note in got.notes} == {
            "time_limit_penalties": 1,
            "time_limit_folds": 1,
        }
        assert len(got.cross_validation) == 1
        assert got.learning_curve == ()
        fold = data.fold()
        np.testing.assert_array_equal(got.held_out, np.flatnonzero(fold == 0))
        right = (got.held_out_logits.argmax(1) == data.labels[got.held_out]).mean()
        assert right > 0.5

    def test_folds_that_are_left_out_do_not_change_those_that_are_there(self) -> None:
        data = drawn(400, 30, 4, spread=0.5)
        whole = timed(data, HeadTimes())
        part = timed(data, HeadTimes(search=self.after(10_000), folds=lambda: True))
        assert whole.notes == ()
        assert part.l2_penalty == whole.l2_penalty
        assert part.cross_validation == whole.cross_validation
        np.testing.assert_array_equal(part.held_out_logits, whole.held_out_logits)  # the search had fitted them all

    def test_a_search_that_ends_early_compares_what_it_has(self) -> None:
        data = drawn(400, 30, 4, spread=0.5)
        got = timed(data, HeadTimes(search=self.after(30)))
        tried = {note.code: note.values for note in got.notes}["time_limit_penalties"]
        assert tried["total"] == 4
        assert 1 <= tried["count"] < 4
        assert len(got.held_out) == 400  # there was time for all folds with the penalty that was chosen


class TestManyPictures:
    def test_the_search_on_a_sample_is_close_to_the_whole(self) -> None:
        """50 classes and 2,500 pictures: 2,000 of them choose the penalty, scaled to what is right for all."""
        data = drawn(2_500, 20, 50, spread=0.8)
        fold = data.fold(2)
        got = fitted(data, fold, l2=[1.0, 1e-1, 1e-2])
        assert [one.l2_penalty for one in got.cross_validation] == pytest.approx([0.8, 0.08, 0.008] * 2)
        assert got.l2_penalty == min(got.cross_validation, key=lambda one: one.log_loss).l2_penalty
        assert len(got.held_out) == 2_500
        losses = {}
        for one in got.cross_validation:
            alone = fitted(data, fold, l2=[one.l2_penalty / 0.8])
            scores = log_softmax(alone.held_out_logits.astype(float), axis=1)
            losses[one.l2_penalty] = -scores[np.arange(2_500), data.labels].mean()
        assert losses[got.l2_penalty] == min(losses.values())
