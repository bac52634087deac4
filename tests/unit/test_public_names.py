"""What ``import kilat`` offers: every name is there, and a room never takes the place of a verb with its name."""

import importlib
import sys
from types import ModuleType

import pytest

import kilat

ROOMS = [name for name in kilat.__all__ if importlib.util.find_spec(f"kilat.{name}")]


@pytest.mark.parametrize("name", kilat.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(kilat)
    assert callable(getattr(kilat, name))
    assert getattr(kilat, name).__module__.startswith("kilat.")


def test_some_rooms_are_called_as_verbs_are():
    assert {"check", "evaluate"} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_importing_the_room_leaves_the_verb(name):
    room = importlib.import_module(f"kilat.{name}")
    assert isinstance(room, ModuleType)
    assert sys.modules[f"kilat.{name}"] is room
    assert not isinstance(getattr(kilat, name), ModuleType)
    importlib.reload(room)
    assert not isinstance(getattr(kilat, name), ModuleType)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'learn_everything'"):
        _ = kilat.learn_everything
