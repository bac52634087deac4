"""What was saved is loaded to the bit, or skipped with a note; a kill at any moment leaves the save before it."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.errors import RunError  # noqa: E402
from kilat.fit.checkpoint import Checkpoints, Snapshot  # noqa: E402
from kilat.locale.notes import Note  # noqa: E402


def snapshot(step: int) -> Snapshot:
    """A snapshot whose content depends on its step."""
    return Snapshot({"weight": torch.full((50, 20), float(step))}, {"epoch": step, "loss": step / 7})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps(folder: Path) -> list[int]:
    return [int(name[5:13]) for name in names(folder) if name.endswith(".json")]


@pytest.fixture
def made(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "run" / "checkpoints")


class TestRoundTrip:
    TENSORS = (
        torch.tensor([[1.5, -0.0], [math.inf, math.nan]]),
        torch.tensor(7),
        torch.tensor(0.1),
        torch.arange(5, dtype=torch.int64),
        torch.arange(256, dtype=torch.int32).to(torch.uint8),
        torch.tensor([True, False]),
        torch.tensor([1.0, 3.14159, 1e-30], dtype=torch.bfloat16),
        torch.zeros(0, 3),
        torch.arange(12.0).view(3, 4).T,
        torch.arange(6.0)[::2],
    )

    def test_every_byte_is_loaded(self, made):
        made.save(1, Snapshot({str(i): tensor for i, tensor in enumerate(self.TENSORS)}, {}))
        _, got, _ = made.newest()
        assert set(got.tensors) == {str(i) for i in range(len(self.TENSORS))}
        for i, tensor in enumerate(self.TENSORS):
            back = got.tensors[str(i)]
            assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
            assert back.flatten().view(torch.uint8).equal(tensor.contiguous().flatten().view(torch.uint8))

    def test_channels_last_and_shared_memory(self, made):
        image = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        last = image.to(memory_format=torch.channels_last)
        parameter = torch.nn.Parameter(torch.ones(4))
        made.save(1, Snapshot({"a": last, "b": image, "c": image[0], "p": parameter, "q": parameter}, {}))
        got = made.at(1).tensors
        assert got["a"].equal(image)
        assert got["c"].equal(image[0])
        assert got["p"].equal(got["q"])
        got["p"].add_(1)
        assert got["q"].equal(torch.ones(4))

    def test_a_document_is_loaded(self, made):
        document = {
            "floats": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e22],
            "integers": [2**63, -1],
            "texts": {"é": "𝄞", "": None},
            "flags": [True, False],
        }
        made.save(1, Snapshot({}, document))
        got = made.at(1).document
        assert repr(got) == repr(document)

    def test_a_loss_that_is_not_finite_is_loaded(self, made):
        made.save(1, Snapshot({}, {"loss": [math.nan, math.inf]}))
        first, second = made.newest()[1].document["loss"]
        assert math.isnan(first)
        assert second == math.inf


class TestWhichStay:
    def test_none_yet(self, made):
        assert made.newest() is None
        assert made.at(3) is None

    def test_the_last_two_and_the_base(self, made):
        for step in range(1, 8):
            made.save(step * 10, snapshot(step * 10), base=20 if step >= 2 else None)
        assert steps(made.folder) == [20, 60, 70]
        assert len(names(made.folder)) == 6
        assert made.newest()[0] == 70
        assert made.at(20).document == snapshot(20).document
        assert made.at(30) is None

    def test_an_old_base_is_removed(self, made):
        for step in (1, 2, 3, 4):
            made.save(step, snapshot(step), base=1 if step < 4 else 3)
        assert steps(made.folder) == [3, 4]

    def test_later_steps_are_removed(self, made):
        for step in (10, 20, 30):
            made.save(step, snapshot(step), base=10)
        made.save(15, snapshot(15))
        assert steps(made.folder) == [10, 15]
        assert made.newest()[0] == 15

    def test_a_step_saved_again_replaces_the_first(self, made):
        made.save(5, snapshot(5))
        made.save(5, snapshot(6))
        assert made.newest()[1].document == snapshot(6).document

    def test_what_a_kill_left_is_removed_when_the_folder_is_opened(self, made):
        made.save(1, snapshot(1))
        for name in (".step-00000002.safetensors.partial", "step-00000002.safetensors", ".step-00000003.json.partial"):
            (made.folder / name).write_bytes(b"half")
        (made.folder / "notes.txt").write_text("mine")
        assert Checkpoints(made.folder).newest()[0] == 1
        assert names(made.folder) == ["notes.txt", "step-00000001.json", "step-00000001.safetensors"]

    def test_order_is_by_number(self, made):
        made.save(99_999_999, snapshot(1))
        made.save(100_000_000, snapshot(2))
        assert made.newest()[0] == 100_000_000


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 2))] ^= 1
    path.write_bytes(data)


def cut(path: Path, at: float) -> None:
    path.write_bytes(path.read_bytes()[: int(at * (path.stat().st_size - 2))])


class TestDamage:
    @pytest.mark.parametrize("at", [0.0, 0.01, 0.3, 0.5, 0.999, 1.0])
    @pytest.mark.parametrize("harm", [flip, cut])
    @pytest.mark.parametrize("suffix", ["json", "safetensors"])
    def test_the_one_before_is_taken_with_a_note(self, made, at, harm, suffix):
        for step in (1, 2):
            made.save(step, snapshot(step))
        harm(made.folder / f"step-00000002.{suffix}", at)
        step, got, notes = Checkpoints(made.folder).newest()
        assert step == 1
        assert got.tensors["weight"].equal(snapshot(1).tensors["weight"])
        assert got.document == snapshot(1).document
        damaged = "document" if suffix == "json" else "tensors"
        assert notes == [Note(f"checkpoint_{damaged}_damaged", {"step": 2})]
        assert "step 2 was skipped" in notes[0].sentence()
        assert made.at(2) is None

    @pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"digest": 1}'])
    def test_a_document_of_anything(self, made, content):
        made.save(1, snapshot(1))
        (made.folder / "step-00000002.json").write_bytes(content)
        (made.folder / "step-00000002.safetensors").write_bytes(b"")
        step, _, notes = made.newest()
        assert step == 1
        assert len(notes) == 1

    def test_missing_tensors_and_a_document_of_another_step(self, made):
        for step in (1, 2):
            made.save(step, snapshot(step))
        (made.folder / "step-00000002.safetensors").unlink()
        for suffix in ("json", "safetensors"):
            (made.folder / f"step-00000003.{suffix}").write_bytes(
                (made.folder / f"step-00000001.{suffix}").read_bytes()
            )
        step, _, notes = made.newest()
        assert step == 1
        assert notes == [
            Note("checkpoint_document_damaged", {"step": 3}),
            Note("checkpoint_unreadable", {"step": 2, "reason": "No such file or directory"}),
        ]
        assert "it cannot be read (no such file or directory)" in notes[1].sentence()

    @pytest.mark.parametrize("forged", ["no keys", "another key", "no tensors"])
    def test_right_digests_of_what_is_no_checkpoint(self, made, forged):
        made.save(1, snapshot(1))
        tensors = b"x" * 99 if forged == "no tensors" else (made.folder / "step-00000001.safetensors").read_bytes()
        document = {"step": 2, "tensors": hashlib.sha256(tensors).hexdigest(), "document": {}}
        document |= {"another": 1} if forged == "another key" else {}
        document = {} if forged == "no keys" else document
        digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        (made.folder / "step-00000002.json").write_text(json.dumps({"digest": digest, **document}))
        (made.folder / "step-00000002.safetensors").write_bytes(tensors)
        step, _, notes = made.newest()
        assert step == 1
        assert len(notes) == 1

    @pytest.mark.parametrize("suffix", ["json", "safetensors"])
    def test_what_is_no_file_is_not_read(self, made, suffix):
        made.save(1, snapshot(1))
        (made.folder / "step-00000002.json").write_bytes((made.folder / "step-00000001.json").read_bytes())
        os.mkfifo(made.folder / "step-00000003.json")
        (made.folder / f"step-00000002.{suffix}").unlink(missing_ok=True)
        (made.folder / f"step-00000002.{suffix}").symlink_to("/dev/zero")
        step, _, notes = made.newest()
        assert step == 1
        assert len(notes) == 2

    def test_all_of_them(self, made):
        made.save(1, snapshot(1))
        flip(made.folder / "step-00000001.safetensors", 0.5)
        assert made.newest() is None

    def test_a_damaged_one_does_not_count(self, made):
        for step in (1, 2):
            made.save(step, snapshot(step))
        flip(made.folder / "step-00000002.safetensors", 0.5)
        again = Checkpoints(made.folder)
        assert again.newest()[0] == 1
        again.save(3, snapshot(3))
        assert steps(made.folder) == [1, 3]

    def test_numbers_stay_readable(self, made):
        made.save(1, snapshot(1))
        written = json.loads((made.folder / "step-00000001.json").read_text())
        assert written["document"] == snapshot(1).document


class TestErrors:
    @pytest.mark.skipif(os.name != "posix", reason="POSIX limits")
    @pytest.mark.parametrize("limit", [0, 100, 4000, 4200])
    def test_a_full_disk(self, made, limit):
        import resource

        for step in (1, 2):
            made.save(step, snapshot(step))
        before = names(made.folder)
        large = snapshot(3)
        large.document["history"] = [0.1] * 2000  # so that the document reaches the last limit
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, usual[1]))
        try:
            with pytest.raises(RunError) as caught:
                made.save(3, large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert "step-00000003" in caught.value.message
        assert "earlier checkpoints are untouched" in caught.value.hint
        assert names(made.folder) == before
        assert made.newest()[0] == 2
        made.save(3, large)
        assert made.newest()[1].document == large.document

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written_to(self, made):
        made.save(1, snapshot(1))
        made.folder.chmod(0o500)
        try:
            assert Checkpoints(made.folder).newest()[0] == 1
            with pytest.raises(RunError, match="cannot be written"):
                made.save(2, snapshot(2))
            assert made.newest()[0] == 1
        finally:
            made.folder.chmod(0o700)

    def test_a_file_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(RunError, match="cannot be created"):
            Checkpoints(tmp_path / "taken")
        with pytest.raises(RunError, match="cannot be created"):
            Checkpoints(tmp_path / "taken" / "below")

    def test_a_folder_that_disappears(self, made):
        made.save(1, snapshot(1))
        for path in made.folder.iterdir():
            path.unlink()
        made.folder.rmdir()
        with pytest.raises(RunError, match="cannot be written"):
            made.save(2, snapshot(2))
        with pytest.raises(RunError, match="cannot be read"):
            made.newest()


KILLS = 12
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from kilat.fit.checkpoint import Checkpoints, Snapshot

torch.set_num_threads(1)
folder, kills = Path(sys.argv[1]), int(sys.argv[2])

def snapshot(step):
    return Snapshot({"weight": torch.full((300, 100), float(step))}, {"epoch": step, "loss": step / 7})

def save_on(step, done):
    checkpoints = Checkpoints(folder)
    while True:
        step += 1
        checkpoints.save(step, snapshot(step), base=1)
        os.write(done, step.to_bytes(8))

dice, last = random.Random(0), 0
for _ in range(kills):
    reading, writing = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reading)
        save_on(last, writing)
    os.close(writing)
    written = os.read(reading, 8)  # one save at least
    time.sleep(2 * (time.monotonic() - begun) * dice.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reading, 1 << 16):
        written += more
    os.close(reading)
    finished = int.from_bytes(written[-8:])
    left = sorted(path.name for path in folder.iterdir())
    checkpoints = Checkpoints(folder)
    last, got, notes = checkpoints.newest()
    whole = got.tensors["weight"].equal(snapshot(last).tensors["weight"]) and got.document == snapshot(last).document
    print(json.dumps({"finished": finished, "newest": last, "whole": whole, "notes": len(notes), "left": left,
                      "base": checkpoints.at(1) is not None, "files": len(list(folder.iterdir()))}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_the_last_checkpoint_is_there(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), str(KILLS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == KILLS
    for one in results:
        assert one["whole"], one
        assert one["notes"] == 0, one
        assert one["finished"] <= one["newest"] <= one["finished"] + 1, one
        assert one["base"], one
        assert one["files"] <= 2 * 4, one  # the last two, the base, and one that was about to go
