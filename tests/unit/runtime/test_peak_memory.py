"""The most memory that a piece of work held, where the system says it."""

import sys

import numpy as np
import pytest

from kilat.runtime.peak_memory import PeakMemory


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not begin their record anew")
def test_it_is_that_of_the_work_alone():
    ones = np.ones(12_000_000)
    del ones
    peak = PeakMemory()
    before = peak.read()
    if before is None:
        pytest.skip("this system lets no process begin its record anew")
    ones = np.ones(8_000_000)
    del ones
    assert 50e6 < peak.read() - before < 90e6  # without the 96 MB of before


def test_elsewhere_nothing_is_known(tmp_path):
    assert PeakMemory(tmp_path / "no process").read() is None
