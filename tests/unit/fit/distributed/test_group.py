"""Shares, sums and batch norms of several processes; the processes themselves are in tests/flow/test_devices.py."""

import pickle
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.errors import RunError  # noqa: E402
from kilat.fit.distributed import group as parallel  # noqa: E402
from kilat.fit.distributed.group import ALONE, Group, SingleProcess  # noqa: E402
from kilat.fit.loader import InMemory, Streaming  # noqa: E402


@pytest.fixture
def one():
    """A group of one process: what it sums up and gathers is its own."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Group(0, 1, "cpu")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_shares_are_all_of_it_in_order(size, count):
    shares = [Group(rank, size, "cpu").share(count) for rank in range(size)]
    batch = np.arange(count)
    counted = [batch[share.where] for share in shares if share.weight]
    assert np.concatenate(counted).tolist() == batch.tolist()
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert max(map(len, counted)) - min(map(len, counted)) <= 1
    assert all(len(batch[share.where]) == 1 for share in shares if not share.weight)


def test_alone_everything_is_its_own():
    share = ALONE.share(5)
    assert (share.where, share.weight) == (slice(0, 5), 1.0)
    assert ALONE.total(1.5, 2) == (1.5, 2)
    assert ALONE.largest(3) == ALONE.smallest(3) == ALONE.once(lambda: 3) == 3


def test_a_group_of_one_is_as_if_alone(one):
    tensors = [torch.arange(6.0).view(2, 3), torch.ones(2, 1, 2, 2).to(memory_format=torch.channels_last)]
    before = [tensor.clone() for tensor in tensors]
    one.add_up(tensors)
    assert all(map(torch.equal, tensors, before))
    assert one.total(1.5, 2) == (1.5, 2)
    assert one.largest(3) == one.smallest(3) == one.once(lambda: 3) == 3
    assert one.smallest(0) == 0
    assert torch.equal(one.joined(tensors[0], 2), tensors[0])


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norms_together_are_what_they_are_alone(one, shape, dtype):
    """PyTorch's own, with gradients and running statistics; of one process, all values are its own."""
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    alone, together = kind(4), kind(4)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = []
    for norm, group in ((alone, ALONE), (together, one)):
        seen = values.clone().requires_grad_()
        with group.norms_together(1.0):
            answer = norm(seen)
        answer.float().pow(3).sum().backward()
        found.append((answer.float(), seen.grad.float(), norm.weight.grad, norm.running_mean, norm.running_var))
    near = {"rtol": 2e-2, "atol": 2e-1} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-4}
    for one_way, other_way in zip(*found, strict=True):
        torch.testing.assert_close(one_way, other_way, **near)


def test_the_layer_batch_norm_together_is_what_it_is_alone(one):
    from kilat.model.modules import BatchNorm

    alone, together = (BatchNorm(4, 1e-3, 0.9, trainable=True) for _ in range(2))
    values = torch.randn(6, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    with one.norms_together(1.0):
        answer = together(values)
    torch.testing.assert_close(answer, alone(values))
    torch.testing.assert_close(dict(together.named_buffers()), dict(alone.named_buffers()))


def test_pictures_travel():
    from kilat.data.arrays import ArraySource

    held = pickle.loads(pickle.dumps(InMemory(np.full((5, 4, 4, 3), 7, np.uint8), "cpu")))
    assert held.pixels.shape == (5, 4, 4, 3)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 10, 12, 3), np.uint8)
    source = ArraySource(list(pixels), ["a", "b", "a", "b"], "pictures")
    streamed = Streaming(source, 8, "crop", "cpu")
    (there,), (here,) = (way.batches([np.arange(4)]) for way in (pickle.loads(pickle.dumps(streamed)), streamed))
    assert torch.equal(there, here)


def test_more_gpus_than_there_are(monkeypatch):
    found = torch.cuda.device_count()
    with pytest.raises(RunError, match="devices"):
        parallel.require(found + 1 if found else 2, "cuda")
    with pytest.raises(RunError, match="'mps' cannot train together"):
        parallel.require(2, "mps")


def test_what_other_processes_cannot_find_is_refused(make_training):
    kind = type("Mine", (nn.Flatten,), {"__module__": "__main__"})
    network = nn.Sequential(kind(), nn.Linear(8 * 8 * 3, 3))
    task = make_training(network=network, folder="main").task
    with pytest.raises(RunError, match="class Mine: it is defined in the program itself"):
        parallel._packed(task, False)
    hidden = make_training(network=nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, 3)), folder="hidden").task
    hidden.network.__dict__["hook"] = lambda: None
    with pytest.raises(RunError, match="cannot be sent to other processes"):
        parallel._packed(hidden, False)


def test_solo_is_a_group(make_training):
    training = make_training(fit={"epochs": 1})
    assert isinstance(training.group, SingleProcess)
    training.run()
    training.close()
    assert training.answer(np.arange(3)).shape == (3, 3)


def test_starting_others_leaves_the_answers_to_signals_alone():
    def mine(_number, _frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with parallel._own_signals():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as torch does when it starts processes
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
