"""Stages: what they know of their rate and of the time left, and that they end however they end."""

import pytest

from kilat.runtime.progress import Progress, Silent
from kilat.runtime.progress_figures import duration, how_far, outcome


class Kept(Silent):
    """A renderer that keeps what it was told."""

    def __init__(self):
        self.calls = []

    def begin(self, stage):
        self.calls.append(("begin", stage.name))

    def end(self, stage):
        self.calls.append(("end", stage.name, stage.done, stage.total))

    def say(self, line):
        self.calls.append(("say", line))


@pytest.fixture
def renderer():
    return Kept()


@pytest.fixture
def progress(renderer, clock):
    return Progress(renderer, clock)


def test_stages_begin_speak_and_end(progress, renderer):
    with progress.stage("Training") as stage:
        stage.advance(2, 5)
        stage.say("epoch 1")
    assert renderer.calls == [("begin", "Training"), ("say", "epoch 1"), ("end", "Training", 2, 5)]


def test_a_stage_ends_where_it_fails(progress, renderer):
    with pytest.raises(ZeroDivisionError), progress.stage("Dividing"):
        raise ZeroDivisionError
    assert renderer.calls[-1] == ("end", "Dividing", 0, 0)


def test_stages_within_each_other_end_from_inside(progress, renderer):
    with progress.stage("Training"), progress.stage("Loading PyTorch"):
        pass
    assert [call[:2] for call in renderer.calls[2:]] == [("end", "Loading PyTorch"), ("end", "Training")]


def test_the_rate_counts_from_the_first_picture_that_was_done(progress, clock):
    with progress.stage("Reading pictures") as stage:
        clock.seconds = 100.0  # such as to make a network ready
        stage.advance(1, 101)
        assert stage.rate is None
        assert stage.seconds_left is None
        clock.seconds = 102.0
        stage.advance(21, 101)
        assert stage.rate == 10.0
        assert stage.seconds_left == 8.0
        assert stage.seconds == 102.0


def test_a_count_that_begins_again_has_a_rate_of_its_own(progress, clock):
    with progress.stage("Training") as stage:
        stage.advance(1, 1000)
        clock.seconds = 1.0
        stage.advance(1000, 1000)
        stage.advance(10, 100)
        clock.seconds = 2.0
        stage.advance(20, 100)
        assert stage.rate == 10.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.97, "10 s"), (59.4, "59 s"), (59.7, "1 min 0 s"), (3599.7, "1 h 0 min")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("unit", "done", "total", "words"),
    [
        ("pictures", 0, 0, "4.0 s"),
        ("pictures", 1, 1, "1 picture, 4.0 s"),
        ("pictures", 1200, 3000, "1,200 of 3,000 pictures, 4.0 s"),
        ("bytes", 12_340_000, 12_340_000, "12.3 MB, 4.0 s"),
        ("bytes", 1_000_000, 12_340_000, "1.0 of 12.3 MB, 4.0 s"),
        ("steps", 100, 100, "100 steps, 4.0 s"),
    ],
)
def test_what_a_stage_came_to(progress, clock, unit, done, total, words):
    with progress.stage("Working", unit) as stage:
        if total:
            stage.advance(done, total)
        clock.seconds = 4.0
        assert outcome(stage) == words


def test_how_far_a_stage_is(progress, clock):
    with progress.stage("Working") as stage:
        clock.seconds = 3.0
        assert how_far(stage) == "3.0 s"
        stage.advance(0, 400)
        clock.seconds = 5.0
        stage.advance(100, 400, "epoch 2/9")
        assert how_far(stage) == "25%, epoch 2/9, 50/s, 6.0 s left"
