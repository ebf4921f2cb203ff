"""The tables of the worked cases: in the pages as the runs have them, and what they count."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import case_pages  # noqa: E402
import case_scores  # noqa: E402


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_pages_have_the_tables_of_the_runs(page):
    text = page.read_text("utf-8")
    assert case_pages.with_tables(text) == text, "python benchmarks/case_pages.py"


def test_a_table_has_means_over_seeds_and_their_deviation():
    scores = dict.fromkeys(case_scores.TITLES, 0.5) | {"dimension": 8.0}
    runs = [{"row": "a", "seed": k, "scores": scores | {"shots_10": 0.6 + 0.1 * k}} for k in (0, 1)]
    assert "| a | 8 | 0.50 | 0.50 | 50.0 | 50.0 | 65.0 ± 7.1 |" in case_scores.table(runs)


def test_retrieval_counts_the_nearest_other_row_of_the_class():
    angles = np.deg2rad([0, 1, 10, 11, 12, 13, 50])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    label, fine = np.array([0, 0, 0, 0, 1, 1, 1]), np.array(list("aabbccc"))
    # The last class has one finer label; in the first all four find their like.
    assert case_scores.nearest_is_alike(rows, label, fine) == 1.0
    assert case_scores.nearest_is_alike(rows[[0, 2, 1, 3]], label[:4], fine[:4]) == 0.0


def test_whitening_and_shortening():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4000, 6)) * [9, 3, 3, 3, 3, 3]
    train = np.arange(4000) < 3000
    white = case_scores.whitened(rows, train)
    before = np.cov(case_scores.centred(rows, train)[train].T)
    values = np.linalg.eigvalsh(before)
    found = np.sort(np.linalg.eigvalsh(np.cov(white[train].T)))
    assert np.allclose(found, np.sort(values / (values + 0.01 * values.max())))
    flat = np.concatenate([rows, 0 * rows], axis=1)
    short = case_scores.shortened(flat, train, 6)
    assert np.allclose(short @ short.T, case_scores.unit(rows) @ case_scores.unit(rows).T)
