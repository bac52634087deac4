"""Signals while training: the first one is recorded, the second one acts, and handlers are restored."""

import signal
import threading

import pytest

from kilat.runtime.signals import DeferredSignals, Stopped, sigterm_interrupts


def run_block(*numbers, error=None):
    """A block in which signals arrive that nobody handles."""
    with DeferredSignals():
        for number in numbers:
            signal.raise_signal(number)
        if error:
            raise error


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_is_only_recorded(number, code):
    before = signal.getsignal(number)
    with DeferredSignals() as signals:
        signal.raise_signal(number)
        received, signals.received = signals.received, 0
    assert received == number
    with pytest.raises(Stopped, match=signal.Signals(number).name) as stopped:
        run_block(number)
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_acts_at_once():
    with pytest.raises(KeyboardInterrupt):
        run_block(signal.SIGINT, signal.SIGINT)


def test_an_error_is_raised_rather_than_the_stop():
    with pytest.raises(ZeroDivisionError):
        run_block(signal.SIGTERM, error=ZeroDivisionError())


def test_in_another_thread_no_handler_is_installed():
    found = []

    def run():
        with DeferredSignals():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_sigterm_interrupts_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
