"""Progress where there is no terminal: a line for a stage or a tenth of it, and dots where nothing is said."""

import io
import threading

import pytest

from kilat.runtime.progress import Progress
from kilat.runtime.progress_lines import Lines


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def lines(stream, clock):
    return Lines(stream, clock)


@pytest.fixture
def progress(lines, clock):
    return Progress(lines, clock)


def test_a_stage_is_named_before_it_is_over(progress, stream, clock):
    with progress.stage("Loading PyTorch"):
        assert stream.getvalue() == "Loading PyTorch"
        clock.seconds = 1.25
    assert stream.getvalue() == "Loading PyTorch: 1.2 s\n"


def test_what_is_quick_is_one_line(progress, stream):
    with progress.stage("Reading pictures") as stage:
        for done in range(1, 1001):
            stage.advance(done, 1000)
    assert stream.getvalue() == "Reading pictures: 1,000 pictures, 0.0 s\n"


def test_every_tenth_is_a_line(progress, stream, clock):
    with progress.stage("Reading pictures") as stage:
        for done in range(1, 1001):
            clock.seconds = done / 50
            stage.advance(done, 1000)
    written = stream.getvalue().splitlines()
    assert [line.partition(",")[0] for line in written[:-1]] == [f"Reading pictures: {n}0%" for n in range(1, 10)]
    assert written[4].endswith("50/s, 10 s left")
    assert written[-1].startswith("Reading pictures: 1,000 pictures")


def test_tenths_that_begin_again_are_lines_again(progress, stream, clock):
    with progress.stage("Training") as stage:
        for phase in range(2):
            for done in (0, 5, 10):
                clock.seconds += 2.0
                stage.advance(done, 10, f"phase {phase}")
    assert [line[:19] for line in stream.getvalue().splitlines()] == ["Training: 50%, phas"] * 2 + [
        "Training: 10 pictur"
    ]


def test_a_dot_where_nothing_was_written_for_a_while(progress, lines, stream, clock):
    with progress.stage("Fitting the head"):
        for clock.seconds in (0.5, 1.2, 2.0, 2.3):
            lines.tick()
        assert stream.getvalue() == "Fitting the head .."
        clock.seconds = 5.0
    assert stream.getvalue() == "Fitting the head .. 5.0 s\n"
    clock.seconds = 60.0
    lines.tick()
    assert stream.getvalue() == "Fitting the head .. 5.0 s\n"


def test_a_line_now_and_then_for_who_reads_whole_lines(progress, lines, stream, clock):
    with progress.stage("Fitting the head"):
        for seconds in range(2, 1000, 2):
            clock.seconds = seconds
            lines.tick()
        written = stream.getvalue().splitlines()
        assert written[0] == f"Fitting the head {'.' * 40} 1 min 22 s"
        assert max(map(len, written)) < 80


def test_what_is_said_is_a_line_of_its_own(progress, lines, stream, clock):
    with progress.stage("Training") as stage:
        stage.say("epoch 1")
        stage.say("epoch 2")
        clock.seconds = 2.0
        lines.tick()
        stage.say("epoch 3")
    assert stream.getvalue() == "Training\nepoch 1\nepoch 2\nTraining .\nepoch 3\nTraining: 2.0 s\n"


def test_the_outer_stage_goes_on_when_the_inner_is_over(progress, stream):
    with progress.stage("Fine-tuning"), progress.stage("Loading PyTorch"):
        pass
    assert stream.getvalue() == "Fine-tuning\nLoading PyTorch: 0.0 s\nFine-tuning: 0.0 s\n"


def test_who_stops_reading_stops_no_work(lines, clock):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    closed = Lines(Closed(), clock)
    with Progress(closed, clock).stage("Reading pictures") as stage:
        stage.advance(1, 2)
        closed.tick()


def test_the_thread_ends_with_the_block(stream):
    before = threading.active_count()
    with Lines(stream):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
