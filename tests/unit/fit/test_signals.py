import signal
import threading

import pytest

pytest.importorskip("torch")

from kilat.fit.signals import Listening, Stopped


def leave(*numbers, error=None):
    """A block in which signals arrive, and that nobody ends by itself."""
    with Listening():
        for number in numbers:
            signal.raise_signal(number)
        if error:
            raise error


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_is_only_noted(number, code):
    before = signal.getsignal(number)
    with Listening() as listening:
        signal.raise_signal(number)
        heeded, listening.number = listening.number, 0
    assert heeded == number
    with pytest.raises(Stopped, match=signal.Signals(number).name) as stopped:
        leave(number)
    assert stopped.value.exit_code == code
    assert "--resume" in stopped.value.hint
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_acts_at_once():
    with pytest.raises(KeyboardInterrupt):
        leave(signal.SIGINT, signal.SIGINT)


def test_an_error_says_more_than_a_stop():
    with pytest.raises(ZeroDivisionError):
        leave(signal.SIGTERM, error=ZeroDivisionError())


def test_in_another_thread_nothing_is_touched():
    found = []

    def listen():
        with Listening():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
