"""Settings of the process are set by the first block and restored by the last, whatever their order and fate."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from kilat.runtime.shared_block import SharedBlock


class Setting:
    """A setting of the process that records when it is set and restored."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.block = SharedBlock(self._context)

    @contextlib.contextmanager
    def _context(self) -> Iterator[None]:
        self.events.append("set")
        yield
        self.events.append("restored")


def test_nested_blocks_set_and_restore_once() -> None:
    setting = Setting()
    with setting.block(), setting.block():
        assert setting.events == ["set"]
    assert setting.events == ["set", "restored"]
    with setting.block():
        assert setting.events == ["set", "restored", "set"]


def test_an_error_in_a_block_restores_as_well() -> None:
    setting = Setting()
    with pytest.raises(ValueError, match="within"), setting.block():
        raise ValueError("within")
    assert setting.events == ["set", "restored"]


def test_of_overlapping_blocks_the_last_one_restores() -> None:
    setting = Setting()
    entered, may_leave = threading.Event(), threading.Event()

    def overlap() -> None:
        with setting.block():
            entered.set()
            may_leave.wait()

    other = threading.Thread(target=overlap)
    with setting.block():
        other.start()
        entered.wait()
    assert setting.events == ["set"]
    may_leave.set()
    other.join()
    assert setting.events == ["set", "restored"]
