"""The study of keep: its page has the tables of the runs, and it goes on where it stopped."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import case_scores  # noqa: E402
import keep_data  # noqa: E402
import keep_runs  # noqa: E402
import keep_scores  # noqa: E402
import keep_study  # noqa: E402
import keep_tables  # noqa: E402

from uncollapse.records import Interval  # noqa: E402


def test_the_page_has_the_tables_of_the_runs():
    text = keep_tables.PAGE.read_text("utf-8")
    assert keep_tables.with_tables(text) == text, "python benchmarks/keep_tables.py"


def test_a_line_that_was_cut_off_is_made_again(tmp_path):
    path = tmp_path / "keep-digits.jsonl"
    line = '{"method": "SupCon", "seed": 0}\n'
    path.write_text(line + '{"method": "alpha', "utf-8")
    assert keep_study.finished(path) == {("SupCon", 0)}
    assert path.read_text("utf-8") == line


def runs(**accuracy):
    """Made-up runs of two seeds; validation rows as test rows."""
    read = (*keep_runs.TEST, *(f"validation {name}" for name in keep_runs.CHOOSING))
    values = {
        row.replace("_", " "): {
            seed: dict.fromkeys(read, 0.0)
            | {f"{part}{key}": value + 0.001 * seed for part in ("", "validation ")
               for key, value in zip(("shots_10", "label_knn", "retention"), given, strict=True)}
            for seed in (0, 1)
        }
        for row, given in accuracy.items()
    }  # fmt: skip
    return keep_runs.Runs(values, {})


def test_beta_and_alpha_are_chosen_without_finer_labels():
    given = dict.fromkeys(keep_runs.BASES, (0.5, 0.8, 0.1))
    for base in keep_runs.BASES:
        given[f"{base}, keep 0.3"] = (0.6, 0.795, 0.4)
        given[f"{base}, keep 1"] = (0.7, 0.792, 0.5)
        given[f"{base}, keep 3"] = (0.8, 0.75, 0.9)
    given["alpha 0.5, keep 1"] = (0.6, 0.8, 0.6)
    made = runs(**given)
    assert keep_runs.largest_beta(made, "SupCon") == 1.0
    assert keep_runs.chosen(made) == "alpha 0.5, keep 1"
    # The finer label, at which only the comparison looks, changes neither.
    swapped = replace(made, values={r: {s: v | {"validation shots_10": -v["shots_10"]}
                                        for s, v in each.items()}
                                    for r, each in made.values.items()})  # fmt: skip
    assert keep_runs.chosen(swapped) == "alpha 0.5, keep 1"


@pytest.mark.parametrize(
    ("gain", "label", "beside", "expected"),
    [
        ((0.06, 0.05, 0.07), (0.0, -0.005, 0.005), (0.0, -0.01, 0.01), []),
        ((0.04, 0.03, 0.05), (0.0, -0.005, 0.005), (0.0, -0.01, 0.01), ["no gain"]),
        ((0.06, -0.01, 0.13), (0.0, -0.02, 0.02), (0.0, -0.01, 0.01),
         ["gain not seen", "label not seen"]),
        ((0.06, 0.05, 0.07), (-0.02, -0.03, -0.01), (-0.02, -0.03, -0.01),
         ["costs label", "below side by side"]),
    ],
)  # fmt: skip
def test_what_of_the_claim_does_not_hold(gain, label, beside, expected):
    assert list(keep_runs.fails(*(Interval(*each) for each in (gain, label, beside)))) == expected


def test_labels_are_wrong_at_the_rate_and_only_in_training():
    case = keep_data.digits()
    wrong = keep_study.noisy(case, 0.4, seed=0) != case.label
    assert not wrong[case.split != "train"].any()
    assert wrong[case.split == "train"].mean() == pytest.approx(0.4, abs=0.05)
    assert not (keep_study.noisy(case, 0.0, seed=0) != case.label).any()


def test_splits_are_the_same_for_every_seed_and_hold_each_label():
    case = keep_data.digits()
    for part in keep_data.PARTS:
        assert len(np.unique(case.fine[case.split == part])) == 10
    assert np.array_equal(case.split, keep_data.digits().split)


def test_average_precision_is_that_of_every_row_as_a_query():
    rng = np.random.default_rng(0)
    label, fine = np.repeat([0, 1], 30), rng.integers(3, size=60).astype(str)
    embedding = rng.standard_normal((60, 4)) + np.eye(4)[fine.astype(int)]
    test = rng.random(60) < 0.7
    rows = case_scores.Rows(test, label, fine, embedding)
    unit, classes = case_scores.unit(embedding), []
    for c in (0, 1):
        own = np.flatnonzero(test & (label == c))
        of_kind = {}
        for i in own:
            others = own[own != i]
            alike = fine[others] == fine[i]
            score = average_precision_score(alike, unit[others] @ unit[i])
            of_kind.setdefault(fine[i], []).append(score)
        classes.append(np.mean([np.mean(each) for each in of_kind.values()]))
    assert keep_scores.average_precision(rows, embedding) == pytest.approx(np.mean(classes))


def test_a_reference_without_kinds_has_their_means_at_one_point():
    case = keep_data.digits()
    found, train = keep_study.without_kinds(case), case.split == "train"
    for c in (0, 1):
        means = [found[train & (case.fine == f"{kind}")].mean(axis=0) for kind in range(c, 10, 2)]
        np.testing.assert_allclose(means - means[0], 0, atol=1e-9)
    assert found.std() > 0.01
