"""A training that is too short for its schedule says so, and says nothing where its schedule fits."""

import pytest

from kilat.recipe import built_in, load
from kilat.recipe.fit import Cosine, Fit, Linear, Performance, Phase, Piecewise
from kilat.recipe.schedule_notes import unreached


@pytest.mark.parametrize(
    ("schedule", "too_short", "long_enough"),
    [
        (Linear(warmup=3), 3, 4),
        (Cosine(warmup=2.5), 2, 3),
        (Performance(patience=4), 5, 6),
        (Performance(patience=0), 2, 3),
        (Piecewise(boundaries=(2, 6), factors=(1, 0.5, 0.1)), 6, 7),
    ],
)
def test_of_one_epoch_more_or_less(schedule, too_short, long_enough):
    (note,) = unreached(Fit(epochs=too_short, schedule=schedule), 10)
    assert f"{too_short}" in note.sentence()
    assert unreached(Fit(epochs=long_enough, schedule=schedule), 10) == []


def test_the_shortest_phase_has_a_warm_up_too():
    phases = (Phase(epochs=2), Phase(epochs=9))
    assert [note.values["epochs"] for note in unreached(Fit(phases=phases, schedule=Linear(warmup=2)), 10)] == [2]
    assert unreached(Fit(phases=phases, schedule=Performance(patience=5)), 10) == []


def test_as_many_epochs_as_the_least_updates_take():
    fit = Fit(epochs=1, min_steps=50, schedule=Linear(warmup=4))
    assert unreached(fit, 10) == []
    assert len(unreached(fit, 50)) == 1


@pytest.mark.parametrize("name", built_in())
def test_built_in_recipes_are_long_enough(name):
    assert unreached(load(name).fit, 100) == []
