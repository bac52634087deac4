"""Memory that does not suffice, by modules that refuse more than so many pictures as an allocator would."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.errors import RunError  # noqa: E402
from kilat.fit.microbatch import Portions  # noqa: E402

CHANGING = {"augment": {"rotation": 10, "mixup": 0.4}, "fit": {"optimizer": "adam", "class_weight": "balanced"}}


class Greedy(nn.Module):
    """Needs all memory for ``most`` pictures; it refuses after the first ``patience`` batches."""

    def __init__(self, most, *, answers=10_000, error=torch.OutOfMemoryError, patience=0):
        super().__init__()
        self.most, self.answers, self.error, self.patience = most, answers, error, patience
        self.seen = []

    def forward(self, values):
        self.seen.append(len(values))
        if len(self.seen) > self.patience and len(values) > (self.most if self.training else self.answers):
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return values


def network(greedy, *, norm=False):
    torch.manual_seed(3)
    norms = [nn.BatchNorm2d(4)] if norm else []
    return nn.Sequential(nn.Conv2d(3, 4, 3), *norms, greedy, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


@pytest.fixture
def train(make_training):
    def run(greedy, *, norm=False, folder="run", **choices):
        training = make_training(network=network(greedy, norm=norm), folder=folder, **{**CHANGING, **choices})
        training.run()
        return training

    return run


def weights(training):
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def assert_close(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("most", "part"), [(8, 8), (6, 4), (1, 1)])
def test_parts_give_the_updates_of_the_whole(train, most, part):
    whole, divided = train(Greedy(10_000), folder="whole"), train(Greedy(most), folder="divided")
    assert divided.place.micro_batch == part
    assert divided.place.global_step == whole.place.global_step == 9
    assert_close(weights(divided), weights(whole))
    for row, same in zip(divided.place.history, whole.place.history, strict=True):
        assert row["accuracy"] == same["accuracy"]
        assert row["loss"] == pytest.approx(same["loss"], rel=1e-5)


def test_a_shortage_that_comes_late(train):
    whole, divided = train(Greedy(10_000), folder="whole"), train(Greedy(8, patience=5), folder="divided")
    assert divided.place.micro_batch == 8
    assert_close(weights(divided), weights(whole))


def test_statistics_of_an_attempt_are_taken_back(train, make_training):
    """One update by parts of 8 is the same whether they were tried as 16 at first or not."""
    greedy = Greedy(8)
    once = train(greedy, norm=True, folder="once", fit={"epochs": 1})
    again = make_training(network=network(Greedy(8), norm=True), folder="again", **{**CHANGING, "fit": {"epochs": 1}})
    again.learner.portions = (8, 0)
    again.run()
    assert greedy.seen[0] == 16
    for name, value in weights(once).items():
        assert torch.equal(value, weights(again)[name]) or name.endswith("num_batches_tracked")


def test_going_on_divides_as_before_and_ends_with_the_same_bytes(train, make_training):
    whole = train(Greedy(8), folder="whole", fit={"checkpoint": 0})
    told = iter(range(4))

    def killing(done, total, note=""):
        if next(told, None) is None:
            raise KeyboardInterrupt

    choices = {**CHANGING, "fit": {"checkpoint": 0}}
    with pytest.raises(KeyboardInterrupt):
        make_training(network=network(Greedy(8)), advance=killing, **choices).run()
    greedy = Greedy(8)
    again = make_training(network=network(greedy), **choices)
    again.run()
    assert max(greedy.seen[:4]) == 8  # it did not try the whole batch again
    assert {name: value.tolist() for name, value in weights(again).items()} == {
        name: value.tolist() for name, value in weights(whole).items()
    }


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError, lambda _: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")],
)
def test_answers_are_divided_too(train, error):
    whole, divided = train(Greedy(10_000), folder="whole"), train(Greedy(10_000, answers=4, error=error), folder="less")
    rows = np.arange(60)
    assert divided.place.answer_batch == 4
    assert divided.place.micro_batch == 0
    np.testing.assert_allclose(divided.answer(rows), whole.answer(rows), rtol=1e-4, atol=1e-5)


def test_not_even_one_picture(train):
    with pytest.raises(RunError, match="Memory does not suffice for a single picture") as refused:
        train(Greedy(0))
    assert "fit.batch" in refused.value.hint


def test_other_errors_are_not_taken_for_a_shortage():
    def wrong(at_once):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        Portions().compute(wrong, 8)


def test_what_cannot_be_divided_is_refused():
    def short(at_once):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RunError, match="for 8 pictures at once"):
        Portions().compute(short, 8, divisible=False)


@pytest.mark.parametrize("norm", [False, True])
def test_it_is_said_once_and_counted(make_training, norm, tmp_path):
    from kilat.fit.training_run import Job
    from kilat.model.summary import Counts

    task = make_training(network=network(Greedy(3), norm=norm)).task
    trained = Job(task, Counts(0, 0, 0), []).train(tmp_path / "job")
    notes = [note for note in trained.notes if "Memory" in note]
    assert trained.facts["micro_batch"] == 2
    assert len(notes) == 1
    assert "batches of 16: they are computed in 8 parts of 2" in notes[0]
    assert ("but for batch norms" in notes[0]) == norm
