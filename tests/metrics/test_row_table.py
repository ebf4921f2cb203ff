"""What is said row by row, against loops over pairs."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from command_line import call
from uncollapse.metrics import row_table
from uncollapse.metrics._nearest import nearest_rows


def _naive(rows, labels, units, k):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    sizes = {label: int((labels == label).sum()) for label in set(labels)}
    nearest, doubt = [], []
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if units[j] != units[i]]
        by_distance = sorted(others, key=lambda j: ((rows[i] - rows[j]) ** 2).sum())
        same = [j for j in by_distance if labels[j] == labels[i]]
        nearest.append((same[0], ((rows[i] - rows[same[0]]) ** 2).sum() / 2))
        votes = [(1 / sizes[labels[j]], labels[j] == labels[i]) for j in by_distance[:k]]
        doubt.append(sum(w for w, own in votes if not own) / sum(w for w, _ in votes))
    return nearest, doubt


@pytest.mark.parametrize("grouped", [False, True])
def test_nearest_rows_and_doubts_are_those_of_loops(grouped):
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2], 80, p=[0.6, 0.3, 0.1])
    rows = np.eye(3, 6)[labels] + 0.6 * rng.standard_normal((80, 6))
    units = np.arange(80) // 2 if grouped else np.arange(80)
    labels = labels[units * 2] if grouped else labels
    table = row_table(rows, labels, groups=units if grouped else None, neighbours=7)
    nearest, doubt = _naive(rows, labels, units, 7)
    assert table.nearest.tolist() == [j for j, _ in nearest]
    assert np.allclose(table.distance, [d for _, d in nearest], rtol=0, atol=1e-12)
    assert np.allclose(table.label_doubt, doubt)


@pytest.mark.parametrize("grouped", [False, True])
def test_neighbours_over_blocks_are_those_of_all_pairs(grouped):
    """Scales from 1e-7 to 1 in one block, so that single precision finds and double decides."""
    rng = np.random.default_rng(5)
    scale = 10.0 ** -rng.integers(0, 8, 2300)[:, None]
    rows = np.eye(4, 7)[rng.integers(0, 4, 2300)] + scale * rng.standard_normal((2300, 7))
    rows[100:140] = rows[99]
    units = np.arange(2300) // 3 if grouped else np.arange(2300)
    positions, squares = nearest_rows(rows - rows.mean(axis=0), units, 6)
    for i in [*range(95, 145), *range(0, 2300, 23)]:
        far = ((rows - rows[i]) ** 2).sum(axis=1)
        far[units == units[i]] = np.inf
        assert np.allclose(squares[i], np.sort(far)[:6], rtol=1e-7, atol=0)
        assert np.allclose(far[positions[i]], squares[i], rtol=1e-7, atol=0)
    few, far = nearest_rows(rows[:5], np.array([0, 0, 0, 0, 1]), 3)
    assert few[0].tolist() == [4, -1, -1]
    assert np.isinf(far[0]).tolist() == [False, True, True]


def test_wrong_labels_and_copies_are_found():
    rng = np.random.default_rng(1)
    truth = np.arange(300) % 3
    rows = np.eye(3, 16)[truth] + 0.15 * rng.standard_normal((300, 16))
    labels = truth.copy()
    wrong = 60 + rng.choice(240, 15, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    rows[17] = 3 * rows[14]
    rows[20] = rows[23] * (1 + 1e-4 * rng.standard_normal(16))
    table = row_table(rows, labels)
    assert set(np.argsort(-table.label_doubt)[:15]) == set(wrong)
    assert (table.suggested[wrong] == truth[wrong]).all()
    assert [table.copy[k] for k in (14, 17, 20, 23, 30)] == ["exact", "exact", "near", "near", ""]


def test_neighbours_that_a_reference_has_are_lost_or_kept():
    rng = np.random.default_rng(2)
    labels = np.arange(400) % 2
    rows = rng.standard_normal((400, 12))
    kept = row_table(rows, labels, reference=rows @ np.linalg.qr(rng.standard_normal((12, 12)))[0])
    assert np.allclose(kept.lost, 0)
    unrelated = row_table(rows, labels, reference=rng.standard_normal((400, 12)))
    # Mean 1 where nothing is related, deviation of the mean .012.
    assert abs(unrelated.lost.mean() - 1) < 0.04


def test_the_command_writes_a_row_for_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    labels = np.array(["a", "b"])[np.arange(60) % 2]
    rows = rng.standard_normal((60, 5))
    names = np.array([f"photo {k}" for k in range(60)])
    np.savez("z.npz", embedding=rows, other=rows + 0.1, label=labels, id=names)
    words = ("measure", "z.npz", "--embedding", "embedding", "--rows", "rows.parquet")
    done = call(*words, "--reference-embedding", "other", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "measurement"
    written = pq.read_table("rows.parquet").to_pydict()
    table = row_table(rows, labels, reference=rows + 0.1, ids=names)
    assert written["id"] == names.tolist()
    assert written["label"] == labels.tolist()
    assert written["nearest"] == table.nearest.tolist()
    assert written["lost"] == table.lost.tolist()
    refused = call("measure", "z.npz", "--embedding", "embedding", "--rows", "rows.csv")
    assert refused.returncode == 2
    assert "*.parquet" in refused.stderr
