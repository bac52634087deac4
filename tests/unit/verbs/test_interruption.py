"""Interrupted work says what is kept of it, and what goes on with it."""

import signal

import pytest

from kilat.runtime.signals import Stopped, Terminated
from kilat.verbs.interruption import explained

COMMAND = "kilat train --resume runs/it"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Terminated])
@pytest.mark.parametrize(("keeps_features", "notes"), [(True, 1), (False, 0)])
def test_features_are_kept_where_there_are_any(interrupt, keeps_features, notes):
    with pytest.raises(interrupt) as raised, explained(keeps_features=keeps_features):
        raise interrupt
    assert len(getattr(raised.value, "__notes__", [])) == notes


@pytest.mark.parametrize(
    ("interrupt", "number", "saved"),
    [
        (KeyboardInterrupt(), signal.SIGINT, "up to the last checkpoint is saved"),
        (Terminated(), signal.SIGTERM, "up to the last checkpoint is saved"),
        (Stopped(signal.SIGTERM), signal.SIGTERM, "everything up to here is saved"),
    ],
)
def test_with_a_checkpoint_there_is_a_command_that_goes_on(interrupt, number, saved):
    with pytest.raises(Stopped, match=saved) as raised, explained(keeps_features=True, resume=lambda: COMMAND):
        raise interrupt
    assert raised.value.exit_code == 128 + number
    assert raised.value.message.startswith(f"Stopped by {number.name};")
    assert raised.value.hint.endswith(COMMAND)


def test_what_ends_well_is_left_alone():
    with explained(keeps_features=True, resume=lambda: COMMAND):
        pass
