"""Shares, sums and batch norms of several processes; whole processes are tested in tests/flow/test_devices.py."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.fit.distributed.group import ALONE, Group  # noqa: E402
from kilat.model.modules import BatchNorm  # noqa: E402


@pytest.fixture
def group_of_one():
    """A group of one process: it sums up and gathers what is its own."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Group(0, 1)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_shares_are_all_of_it_in_order(size, count):
    shares = [Group(rank, size).share(count) for rank in range(size)]
    batch = np.arange(count)
    counted = [batch[share.rows] for share in shares if share.weight]
    assert np.concatenate(counted).tolist() == batch.tolist()
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert max(map(len, counted)) - min(map(len, counted)) <= 1
    assert all(len(batch[share.rows]) == 1 for share in shares if not share.weight)


def test_alone_a_process_has_everything():
    share = ALONE.share(5)
    assert (share.rows, share.weight) == (slice(0, 5), 1.0)
    assert ALONE.sum(torch.tensor([1.5, 2])).tolist() == [1.5, 2]
    assert ALONE.max(3) == ALONE.min_nonzero(3) == ALONE.on_first(lambda: 3) == 3


def test_a_group_of_one_is_as_if_alone(group_of_one):
    tensors = [torch.arange(6.0).view(2, 3), torch.ones(2, 1, 2, 2).to(memory_format=torch.channels_last)]
    before = [tensor.clone() for tensor in tensors]
    group_of_one.all_reduce(tensors)
    assert all(map(torch.equal, tensors, before))
    assert group_of_one.sum(torch.tensor([1.5, 2])).tolist() == [1.5, 2]
    assert group_of_one.max(3) == group_of_one.min_nonzero(3) == group_of_one.on_first(lambda: 3) == 3
    assert group_of_one.min_nonzero(0) == 0
    assert torch.equal(group_of_one.all_gather(tensors[0], 2), tensors[0])


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_synchronised_batch_norms_are_what_they_are_alone(group_of_one, shape, dtype):
    """PyTorch's own, with gradients and running statistics; of one process, all values are its own."""
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    alone, together = kind(4), kind(4)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = []
    for norm, group in ((alone, ALONE), (together, group_of_one)):
        inputs = values.clone().requires_grad_()
        with group.sync_batch_norms(1.0):
            output = norm(inputs)
        output.float().pow(3).sum().backward()
        found.append((output.float(), inputs.grad.float(), norm.weight.grad, norm.running_mean, norm.running_var))
    near = {"rtol": 2e-2, "atol": 2e-1} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-4}
    for one_way, other_way in zip(*found, strict=True):
        torch.testing.assert_close(one_way, other_way, **near)


def test_kilats_batch_norm_is_what_it_is_alone(group_of_one):
    alone, together = (BatchNorm(4, 1e-3, 0.9, trainable=True) for _ in range(2))
    values = torch.randn(6, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    with group_of_one.sync_batch_norms(1.0):
        output = together(values)
    torch.testing.assert_close(output, alone(values))
    torch.testing.assert_close(dict(together.named_buffers()), dict(alone.named_buffers()))
