"""Memory that does not suffice: modules that refuse more than so many pictures, as an allocator would."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.errors import RunError  # noqa: E402
from kilat.fit.microbatch import MicroBatch  # noqa: E402
from kilat.fit.training_run import TrainingRun  # noqa: E402
from kilat.model.summary import Counts  # noqa: E402

CHANGING = {"augment": {"rotation": 10, "mixup": 0.4}, "fit": {"optimizer": "adam", "class_weight": "balanced"}}


class Limited(nn.Module):
    """Runs out of memory for more than ``most`` pictures, after the first ``sufficient`` batches."""

    def __init__(self, most, *, inference=10_000, error=torch.OutOfMemoryError, sufficient=0):
        super().__init__()
        self.most, self.inference, self.error, self.sufficient = most, inference, error, sufficient
        self.batches = []

    def forward(self, values):
        self.batches.append(len(values))
        most = self.most if self.training else self.inference
        if len(self.batches) > self.sufficient and len(values) > most:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return values


def network(limited, *, norm=False):
    torch.manual_seed(3)
    norms = [nn.BatchNorm2d(4)] if norm else []
    return nn.Sequential(nn.Conv2d(3, 4, 3), *norms, limited, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


@pytest.fixture
def train(make_trainer):
    def run(limited, *, norm=False, folder="run", **choices):
        trainer = make_trainer(network=network(limited, norm=norm), folder=folder, **{**CHANGING, **choices})
        trainer.run()
        return trainer

    return run


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def assert_close(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("most", "part"), [(8, 8), (6, 4), (1, 1)])
def test_parts_give_the_updates_of_the_whole(train, most, part):
    whole, divided = train(Limited(10_000), folder="whole"), train(Limited(most), folder="divided")
    assert divided.state.micro_batch == part
    assert divided.state.global_step == whole.state.global_step == 9
    assert_close(weights(divided), weights(whole))
    for row, same in zip(divided.state.history, whole.state.history, strict=True):
        assert row["accuracy"] == same["accuracy"]
        assert row["loss"] == pytest.approx(same["loss"], rel=1e-5)


def test_a_shortage_that_comes_late(train):
    whole, divided = train(Limited(10_000), folder="whole"), train(Limited(8, sufficient=5), folder="divided")
    assert divided.state.micro_batch == 8
    assert_close(weights(divided), weights(whole))


def test_statistics_of_an_attempt_are_taken_back(train, make_trainer):
    """An update in parts of 8 is the same whether 16 were tried first or not."""
    limited = Limited(8)
    once = train(limited, norm=True, folder="once", fit={"epochs": 1})
    again = make_trainer(network=network(Limited(8), norm=True), folder="again", **{**CHANGING, "fit": {"epochs": 1}})
    again.train_step.micro_batch.size = 8
    again.run()
    assert limited.batches[0] == 16
    for name, value in weights(once).items():
        assert torch.equal(value, weights(again)[name]) or name.endswith("num_batches_tracked")


def test_resumed_it_divides_as_before_and_ends_with_the_same_bytes(train, make_trainer):
    whole = train(Limited(8), folder="whole", fit={"checkpoint": 0})
    remaining = iter(range(4))

    def kill(done, total, note=""):
        if next(remaining, None) is None:
            raise KeyboardInterrupt

    choices = {**CHANGING, "fit": {"checkpoint": 0}}
    with pytest.raises(KeyboardInterrupt):
        make_trainer(network=network(Limited(8)), advance=kill, **choices).run()
    limited = Limited(8)
    again = make_trainer(network=network(limited), **choices)
    again.run()
    assert max(limited.batches[:4]) == 8  # it did not try the whole batch again
    assert {name: value.tolist() for name, value in weights(again).items()} == {
        name: value.tolist() for name, value in weights(whole).items()
    }


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError, lambda _: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")],
)
def test_inference_is_divided_too(train, error):
    whole, divided = (
        train(Limited(10_000), folder="whole"),
        train(Limited(10_000, inference=4, error=error), folder="less"),
    )
    rows = np.arange(60)
    assert divided.state.inference_batch == 4
    assert divided.state.micro_batch == 0
    np.testing.assert_allclose(divided.inference.logits(rows), whole.inference.logits(rows), rtol=1e-4, atol=1e-5)


def test_not_even_one_picture(train):
    with pytest.raises(RunError, match="not enough memory for a single picture") as refused:
        train(Limited(0))
    assert "fit.batch" in refused.value.hint


def test_other_errors_are_raised():
    def wrong(at_once):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        MicroBatch().compute(wrong, 8)


def test_what_cannot_be_divided_is_refused():
    def short(at_once):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RunError, match="for 8 pictures at once"):
        MicroBatch().compute(short, 8, divisible=False)


@pytest.mark.parametrize("norm", [False, True])
def test_there_is_one_note_with_numbers(make_trainer, norm, tmp_path):
    spec = make_trainer(network=network(Limited(3), norm=norm)).spec
    trained = TrainingRun(spec, Counts(0, 0, 0), []).train(tmp_path / "run")
    (note,) = [note for note in trained.notes if note.code.startswith("micro_batches")]
    assert trained.metrics["micro_batch"] == note.values["micro_batch"] == 2
    assert "batches of 16: they are computed in 8 parts of 2" in note.sentence()
    assert ("except for batch norms" in note.sentence()) == norm
