"""How large a grid must be to be as good as the pilot, on grids whose answer can be counted."""

import sys
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from searches import equal_grids, searched

SEEDS = 3
START = (0.1, 64)


def groups(worth):
    """Settings of 3 alphas, 2 temperatures and 2 batches, worth what `worth` says on all rows."""
    found = []
    for key in product((0.1, 0.5, 0.9), (0.1, 0.3), (16, 64)):
        measured = {"projector": {"objective": worth(*key)}}
        runs = [{"validation": measured, "test": measured} for _ in range(SEEDS)]
        found.append((key, runs))
    return found


@pytest.mark.parametrize(
    ("of_pilot", "expected"),
    [
        # Two of three alphas hold the best one with probability 2/3: mean 0.5 + 0.2 * 2/3.
        (0.63, {"alpha": 6, "alpha x tau": 12, "alpha x tau x per class": 24}),
        # Only all three alphas are as good as this.
        (0.64, {"alpha": 9, "alpha x tau": 18, "alpha x tau x per class": 36}),
        (0.71, {"alpha": None, "alpha x tau": None, "alpha x tau x per class": None}),
    ],
)
def test_the_smallest_grid_by_what_it_varies(of_pilot, expected):
    found = equal_grids(
        groups(lambda a, t, n: 0.7 if a == 0.5 else 0.5), "projector", of_pilot, START
    )
    assert {name: grid and grid["runs"] for name, grid in found.items()} == expected


def test_a_grid_of_alpha_keeps_the_present_temperature_and_batch():
    at_high = groups(lambda a, t, n: 0.7 if t == 0.3 else 0.5)
    found = equal_grids(at_high, "projector", 0.7, START)
    assert found["alpha"] is None
    assert found["alpha x tau"]["settings"] == 4  # both temperatures, any two alphas
    assert equal_grids(at_high, "projector", 0.7, (0.2, 64))["alpha"] is None  # not in the study
    assert equal_grids(at_high[1:], "projector", 0.7, START) == dict.fromkeys(found)  # one failed


def test_it_chooses_by_validation_and_is_worth_what_it_is_on_test_rows():
    hidden = groups(lambda a, t, n: 0.5)
    best = {"projector": {"objective": 0.9}}
    # The first is the best on test rows and the worst on validation rows.
    hidden[0] = (hidden[0][0], [run | {"test": best} for run in hidden[0][1]])
    hidden[1:] = [(key, [run | {"validation": best} for run in runs]) for key, runs in hidden[1:]]
    assert equal_grids(hidden, "projector", 0.51, START)["alpha x tau x per class"] is None


def test_random_search_needs_as_many_runs_as_the_rarity_of_what_is_good():
    found = searched(groups(lambda a, t, n: 0.7 if a == 0.5 else 0.5), "projector", 0.6)
    # 4 of 12 settings are good: P(a good one among 2) = 1 - 8/12 * 7/11 = 0.58, mean 0.615.
    assert found["settings_as_good_as_pilot"] == 4
    assert found["random_runs_mean_as_good_as_pilot"] == 2
    assert found["best"] == 0.7
    assert found["grid_runs"] == 12
