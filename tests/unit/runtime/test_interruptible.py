"""Work in native code ends for whoever waits for it as soon as Ctrl-C is pressed."""

import signal
import threading

import pytest

from kilat.runtime.interruptible import interruptible


def test_what_the_work_gives_comes_back():
    assert interruptible(lambda: threading.current_thread() is not threading.main_thread())


def test_what_it_raises_as_well():
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)


def test_ctrl_c_does_not_wait_for_the_work():
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        over.wait(20)

    def press() -> None:
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background ignores it
    threading.Thread(target=press).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            interruptible(work)
        assert not over.is_set()
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_it_is_done_there():
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(interruptible(lambda: threading.current_thread() is thread)))
    thread.start()
    thread.join()
    assert done == [True]
