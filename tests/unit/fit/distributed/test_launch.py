"""What is sent to other processes, and what is refused before any is started."""

import pickle
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.data.arrays import ArraySource  # noqa: E402
from kilat.errors import RunError  # noqa: E402
from kilat.fit.distributed import launch  # noqa: E402
from kilat.fit.loader import Streaming  # noqa: E402


def test_a_training_is_sent_without_its_pixels(make_trainer):
    spec = make_trainer().spec
    packed = launch.pack(spec, is_timed=True)
    assert len(packed) < len(pickle.dumps(spec)) - spec.pictures.pixels.numel() / 2
    there, is_timed = launch.unpack(packed)
    assert is_timed
    assert there.pictures.pixels.shape == spec.pictures.pixels.shape
    assert there.fingerprint == spec.fingerprint
    for name, value in there.network.state_dict().items():
        assert torch.equal(value, spec.network.state_dict()[name])


def test_pictures_are_pickled_whole(make_trainer):
    in_memory = make_trainer().spec.pictures
    assert torch.equal(pickle.loads(pickle.dumps(in_memory)).pixels, in_memory.pixels)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 10, 12, 3), np.uint8)
    streaming = Streaming(ArraySource(list(pixels), ["a", "b", "a", "b"], "pictures"), 8, "crop", "cpu")
    copy = pickle.loads(pickle.dumps(streaming))
    (there,), (here,) = (pictures.batches([np.arange(4)]) for pictures in (copy, streaming))
    assert torch.equal(there, here)


def test_more_gpus_than_there_are():
    found = torch.cuda.device_count()
    with pytest.raises(RunError, match="devices"):
        launch.require_devices(found + 1 if found else 2, "cuda")
    with pytest.raises(RunError, match="'mps' cannot train together"):
        launch.require_devices(2, "mps")


def test_what_other_processes_cannot_find_is_refused(make_trainer):
    kind = type("Mine", (nn.Flatten,), {"__module__": "__main__"})
    network = nn.Sequential(kind(), nn.Linear(8 * 8 * 3, 3))
    spec = make_trainer(network=network, folder="main").spec
    with pytest.raises(RunError, match="class Mine: it is defined in the program that was started"):
        launch.pack(spec, is_timed=False)
    hidden = make_trainer(network=nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, 3)), folder="hidden").spec
    hidden.network.__dict__["hook"] = lambda: None
    with pytest.raises(RunError, match="cannot be sent to other processes"):
        launch.pack(hidden, is_timed=False)


def test_signal_handlers_are_preserved():
    def mine(_number, _frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with launch.preserve_signal_handlers():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as torch does when it starts processes
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
