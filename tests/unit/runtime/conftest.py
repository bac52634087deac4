"""What tests of the machine share."""

import pytest


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    """A clock that stands still until ``clock.seconds`` is changed."""
    return Clock()
