"""The largest gap between slices: its interval holds for all pairs, and a loss is seen."""

import numpy as np
import pytest

from uncollapse.metrics import WithinClassOptions, measure
from uncollapse.metrics._gaps import accuracy, gaps
from uncollapse.probes import ProbeOptions, probe_within_classes
from uncollapse.records import SliceMeasurement, SliceProbe
from uncollapse.samples import ByRole, encode, sample_of

WITHIN = WithinClassOptions(permutations=0, neighbours=(5,), temperatures=(0.1,), strengths=(1.0,))


def sample(rng):
    """720 rows of three classes, whose three finer labels are noise."""
    labels, fine = np.repeat(np.arange(3), 240), rng.integers(0, 3, 720)
    rows = rng.normal(size=(3, 12))[labels] + 0.5 * rng.normal(size=(720, 12))
    return sample_of(rows, ByRole(labels=labels, fine_labels=fine))


def gap_of(given, site, right):
    """The largest gap of a probe that read these rows right."""
    column = encode(site, "site", len(site))
    values = {}
    for code, name in enumerate(column.names):
        read = accuracy(given, column.codes == code, right, 0.95)
        values[str(name)] = SliceMeasurement(0, 0, "cannot-tell", probe=SliceProbe(read, read))
    return gaps(given, column, values, {"knn": right, "logistic": right}, 0.95).knn


def test_a_cell_of_one_row_is_no_certainty(rng):
    """24 rows, two or three of each finer label in each class: as wide as 24 rows can say."""
    given = sample(rng)
    rows = np.zeros(720, dtype=bool)
    rows[rng.permutation(720)[:24]] = True
    right = (rng.random(720) < 1 / 3).astype(float)
    found = accuracy(given, rows, right, 0.95)
    # Chance-corrected by 3/2; a mean of 24 rows that weigh the same has 1.96 sqrt(2/9/24) = .19.
    assert found.half_width > 1.5 * 0.18


def test_a_site_that_lost_its_finer_labels_is_named(rng):
    labels, fine, site = np.repeat(np.arange(3), 240), rng.integers(0, 3, 720), np.arange(720) % 10
    rows = rng.normal(size=(3, 12))[labels] + 0.5 * rng.normal(size=(720, 12))
    rows += 2.5 * np.eye(3, 12)[fine] * (site != 7)[:, None]
    options = {"permutations": 0, "probe": ProbeOptions(within=WITHIN)}
    found = measure(rows, labels, fine_labels=fine, slices=site, **options).slices["slice"].gap
    for gap in (found.knn, found.logistic):
        assert gap.smallest == "7"
        assert gap.low > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("sites", [5, 10, 30])
def test_of_noise_no_gap_is_seen(rng, sites):
    """Rows are read right by chance at every site: at most 7 of 100 intervals leave 0 out."""
    given, seen, runs = sample(rng), 0, 100
    for _ in range(runs):
        right = (rng.random(720) < 1 / 3).astype(float)
        seen += gap_of(given, rng.integers(0, sites, 720), right).low > 0
    assert seen <= 0.07 * runs


@pytest.mark.slow
def test_of_noise_that_probes_read_no_gap_is_seen(rng):
    """Out of fold, at 30 sites of about 24 rows; with the cells' own variances it was 3 of 4."""
    seen, runs = 0, 15
    for _ in range(runs):
        given, hits = sample(rng), {}
        probe_within_classes(given, given.fine_labels, WITHIN, rng, hits)
        site = rng.integers(0, 30, 720)
        seen += any(gap_of(given, site, right).low > 0 for right in hits.values())
    # Of chances of 7 % for each of both probes, more than 6 of 15 runs are one in 100 tests.
    assert seen <= 4
