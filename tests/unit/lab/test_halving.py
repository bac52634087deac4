"""Successive halving: how many variants go on, and which."""

import pytest

from kilat.lab.halving import FEWEST, Standing, kept_count, ranked, rounds_ahead


@pytest.mark.parametrize(
    ("variants", "rounds", "affordable", "kept"),
    [
        (8, 4, 32, 8),  # all of them to the end
        (8, 4, 16, 8),  # 8 + 4 + 2 + 2
        (8, 4, 15, 7),  # 7 + 4 + 2 + 2
        (8, 4, 8, 2),  # 2 + 2 + 2 + 2
        (8, 4, 1, 2),  # not even those, but two are left to compare
        (2, 4, 1, 2),
        (1, 4, 0, 1),
    ],
)
def test_as_many_go_on_as_halving_leaves_time_for(variants, rounds, affordable, kept):
    assert kept_count(variants, rounds, affordable) == kept


def test_more_time_never_keeps_fewer():
    counts = [kept_count(20, 5, affordable) for affordable in range(120)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (FEWEST, 20)


@pytest.mark.parametrize(
    ("done", "planned", "ahead"), [(1, 5, 4), (1, 3, 2), (1, 20, 4), (4, 20, 1), (5, 20, 15), (19, 20, 1)]
)
def test_time_is_shared_out_up_to_five_seeds_first(done, planned, ahead):
    assert rounds_ahead(done, planned) == ahead


def test_the_order_follows_from_common_seeds_and_the_reference_stays():
    trials = {
        "reference": [Standing(1, 0.1, 2.0), Standing(2, 0.1, 2.0)],
        "lucky": [Standing(1, 0.5, 1.0)],  # the easier seed
        "good": [Standing(1, 0.6, 1.0), Standing(2, 0.3, 1.5)],
        "surer": [Standing(1, 0.6, 0.9)],
    }
    assert ranked(["reference", "lucky", "none", "good", "surer"], trials) == [
        "reference", "surer", "good", "lucky", "none",
    ]  # fmt: skip
