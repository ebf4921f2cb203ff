"""The tables of the worked cases: in the pages as the runs have them, and what they count."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import case_gains  # noqa: E402
import case_pages  # noqa: E402
import case_scores  # noqa: E402

CASES = case_pages.stored()
# What stands in every case's table, and what only where there is a frozen encoder, or a head.
ALWAYS = ("raw inputs", "untrained", "cross-entropy", "whitened", "beside")
FROZEN = {"cells": "frozen ImageNet features", "text": "MiniLM as it comes"}
HEADLESS = ("garments-headless", "text-encoder")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_pages_have_the_tables_of_the_runs(page):
    text = page.read_text("utf-8")
    assert case_pages.with_tables(text) == text, "python benchmarks/case_pages.py"


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_what_is_free_at_1_5_10_and_50_shots(case):
    rows = case_scores.by_row(CASES[case])
    for part in (*ALWAYS, FROZEN.get(case.removesuffix("-encoder"), "")):
        assert any(part in row for row in rows), part
    assert case in HEADLESS or "SupCon, backbone" in rows
    wanted = {f"shots_{count}" for count in (1, 5, 10, 50)}
    assert all(wanted <= set(run["scores"]) for run in CASES[case])
    trained = [row for row in rows if re.match("SupCon|alpha|cross", row)]
    compared = [row for row in trained if "beside" not in row or "numbers" in row]
    assert all(len(rows[row]) >= 3 for row in compared), "three seeds of whatever is trained"


def test_every_table_says_its_conditions_and_has_its_gains():
    pages = {page.name: page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")}
    for case in CASES:
        place = f"<!-- table {case} -->"
        text = next(text for text in pages.values() if place in text)
        section = re.split("^## ", text.split(place)[0], flags=re.MULTILINE)[-1]
        for word in ("test", "epochs|steps|seeds"):
            assert re.search(word, section), f"{case}: {word}"
        assert f"<!-- gains {case} -->" in text
    for name in ("seeds", "temperature .1", "test rows chose nothing"):
        assert name in pages["real-data.md"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("case-*.md")), ids=lambda p: p.stem)
def test_a_headline_has_its_intervals_from_the_gains(page):
    text = page.read_text("utf-8")
    short = next(part for part in text.split("\n\n") if part.startswith("**In short**"))
    for word in ("projector", "seeds", "test", "ten examples", "alpha .0079", "whitening", "95%"):
        assert word in short, word
    ends = re.compile(r"\[[+-]?([\d.]+), [+-]?([\d.]+)\]")
    known = [set(pair) for table in re.findall(r"<!-- gains.*?<!-- end", text, re.DOTALL)
             for pair in ends.findall(table)]  # fmt: skip
    said = [set(pair) for pair in ends.findall(short)]
    assert said
    assert all(pair in known for pair in said), [pair for pair in said if pair not in known]


def test_gains_are_compared_run_by_run_inside_a_training_only():
    scores = [{"shots_10": 0.5 + 0.1 * k, "label_shots_10": 0.5} for k in range(3)]
    rows = {
        name: [{"scores": {"shots_10": s["shots_10"] + more}} for s in scores]
        for name, more in (("SupCon, projector", 0), ("SupCon, projector, whitened", 0.1),
                           ("alpha 0.2, projector", 0.1))
    }  # fmt: skip
    rows["base"] = [{"scores": {"shots_10": 0.6}}]
    gain = case_gains.gain
    paired = gain(rows, "SupCon, projector", "SupCon, projector, whitened", "shots_10")
    assert paired == "+10.0 [+10.0, +10.0]"
    # Welch: sqrt(2 / 3) 10 times the critical value of 4 degrees of freedom, 2.776.
    apart = gain(rows, "SupCon, projector", "alpha 0.2, projector", "shots_10")
    assert apart == "+10.0 [-12.7, +32.7]"
    # One value of the base: Student's, 2 degrees, 4.303 * 10 / sqrt(3).
    assert gain(rows, "base", "SupCon, projector", "shots_10") == "+0.0 [-24.8, +24.8]"


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
