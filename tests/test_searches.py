"""How large a grid must be to be as good as the pilot, on grids whose answer can be counted."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from search_replay import Grid, by_process, compared, random_search, regrets, until
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


def replayed(start):
    """12 settings without noise, of which 4 are good and the others 20 points below."""
    keys = tuple(product((0.1, 0.5, 0.9), (0.1, 0.3), (16, 64)))
    worth = np.array([0.7 if alpha == 0.5 else 0.5 for alpha, _, _ in keys])
    return Grid(keys, np.array([key[0] for key in keys]), np.tile(worth[:, None], 3), worth, start)


def test_a_replay_of_random_search_is_what_can_be_counted():
    found = regrets(replayed(None), random_search, 3000, 4)
    miss = np.cumprod([(8 - r) / (12 - r) for r in range(4)])
    assert found.mean(axis=0) == pytest.approx(0.2 * miss, abs=0.006)
    assert until(found) is None  # 0.2 * 0.14 is above a point
    assert until(regrets(replayed(None), random_search, 300, 9)) == 6


def test_a_replay_of_the_pilots_search_begins_with_the_start_and_leaves_out_what_collapses():
    grid = replayed(0)
    search = by_process(feature=True, skip=True)
    order = list(search(grid, 0, lambda place: float(grid.worth[place]), None))
    assert order[0] == 0
    assert sorted(order) == list(range(12))
    flat = Grid(grid.keys, np.zeros(12), grid.validation, grid.worth, 0)
    assert list(search(flat, 0, lambda place: 0.5, None)) == [0]
    first = regrets(grid, search, 3, 4)
    assert compared(first, first + 0.01) == pytest.approx([1, 1, 1])
