"""Relations that predictions must keep, whatever their values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uncollapse.records import BalancedBatch, FullBatch, Prediction, RandomBatch
from uncollapse.theory import Setting, predict
from uncollapse.theory._program import Point
from uncollapse.theory._solve import certify, optimum, restore, solve
from uncollapse.theory._terms import program_of

CONVENTIONS = st.fixed_dictionaries(
    {
        "self_pairs": st.sampled_from(["include", "exclude"]),
        "reduction": st.sampled_from(["pairs", "anchors"]),
        "anchors_without_positives": st.sampled_from(["drop", "zero"]),
        "views": st.integers(2, 4),
        "alpha": st.floats(0.01, 0.99),
        "temperature": st.floats(0.05, 1.5),
    }
)
COUNTS = st.lists(st.integers(2, 60), min_size=2, max_size=6)


def same(first: Prediction, second: Prediction, tolerance: float) -> None:
    assert first.loss == pytest.approx(second.loss, abs=tolerance)
    assert first.instance_variance == pytest.approx(second.instance_variance, abs=1e-4)
    assert first.between_class_variance == pytest.approx(second.between_class_variance, abs=1e-3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(COUNTS, CONVENTIONS, st.randoms(use_true_random=False))
def test_the_order_of_classes_does_not_matter(counts, conventions, random):
    order = list(range(len(counts)))
    random.shuffle(order)
    first = predict(Setting(class_counts=counts, **conventions), thresholds=False)
    second = predict(
        Setting(class_counts=[counts[i] for i in order], **conventions), thresholds=False
    )
    np.testing.assert_allclose(
        np.array(first.instance_variance_per_class)[order],
        second.instance_variance_per_class,
        atol=1e-9,
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(2, 6), st.integers(2, 30), CONVENTIONS)
def test_the_general_solver_equals_the_closed_form_on_equal_counts(m, n, conventions):
    """Nearly equal counts take the general solver; it must come near the balanced answer."""
    setting = Setting(classes=m, per_class=n, **conventions)
    program = program_of(setting)
    solution = solve(program)
    closed = predict(setting, thresholds=False)
    assert solution.loss == pytest.approx(closed.loss, abs=1e-10)
    assert solution.point.fractions[1, 0] == pytest.approx(closed.instance_variance, abs=1e-6)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(COUNTS, CONVENTIONS)
def test_blocks_of_equal_classes_equal_separate_blocks(counts, conventions):
    """Every class twice (blocks of two) against the same program without merging the blocks."""
    setting = Setting(class_counts=counts * 2, **conventions)
    solution = optimum(setting)
    if solution.program.blocks == 1:
        return
    doubled = sorted(counts * 2)
    split = _unmerged(setting, np.array(doubled, dtype=float))
    other = solve(split)
    assert solution.loss == pytest.approx(other.loss, abs=1e-7)


def _unmerged(setting: Setting, size: np.ndarray):
    from uncollapse.theory._program import Program
    from uncollapse.theory._terms import _weighted

    ones = np.ones_like(size)
    others = np.tile(size, (len(size), 1))
    np.fill_diagonal(others, 0.0)
    terms = _weighted(setting, np.arange(len(size)), size, others, ones)
    include = setting.self_pairs == "include"
    tau = setting.temperature
    block = np.arange(len(size))
    return Program(size, ones, setting.views, setting.alpha, tau, include, terms, block)


@pytest.mark.parametrize("counts", [[4, 4, 4], [5, 3, 2]])
def test_a_batch_of_everything_is_the_full_batch(counts):
    base = Setting(class_counts=counts, alpha=0.4, temperature=0.2)
    full = predict(base)
    same(full, predict(base.with_(batch=RandomBatch(sum(counts)))), 1e-10)
    if len(set(counts)) == 1:
        same(full, predict(base.with_(batch=BalancedBatch(4))), 1e-12)
        same(full, predict(base.with_(batch=BalancedBatch(4, 3))), 1e-12)


def test_instance_variance_is_monotone_in_alpha_for_unequal_classes():
    variances = [
        predict(
            Setting(class_counts=[30, 8, 3, 3], alpha=alpha, temperature=0.15), thresholds=False
        ).instance_variance
        for alpha in np.linspace(0, 1, 21)
    ]
    assert np.all(np.diff(variances) > -1e-7)


def test_small_classes_collapse_first():
    """Sizes 8, 8, 2, 2, alpha .15, tau .2, self pairs, mean over anchors."""
    prediction = predict(
        Setting(class_counts=[8, 8, 2, 2], alpha=0.15, temperature=0.2, self_pairs="include")
    )
    np.testing.assert_allclose(
        prediction.instance_variance_per_class, [0.033746, 0.033746, 0, 0], atol=1e-6
    )
    assert prediction.phase == "collapse"
    assert prediction.phase_per_class == ("spread", "spread", "collapse", "collapse")
    assert any("2 of 4 classes are collapsed" in note for note in prediction.notes)


@pytest.mark.parametrize(
    "counts", [[6, 6, 6], [20, 7, 3], [5, 1, 1], [300, 2]], ids=lambda c: str(c)
)
def test_the_certificate_is_honest(counts):
    """It grows with a perturbation and is never below the true distance to the minimum."""
    solution = optimum(Setting(class_counts=counts, alpha=0.3, temperature=0.2))
    program, best = solution.program, solution.loss
    rng = np.random.default_rng(0)
    G = program.blocks
    gaps = []
    for size in (0.0, 1e-4, 1e-3, 1e-2, 1e-1):
        moved = restore(
            program,
            Point(
                solution.point.fractions + size * rng.random((3, G)),
                solution.point.means + size * np.eye(G),
            ),
        )
        loss, gap = certify(program, moved)
        assert loss - best <= gap + 1e-9
        gaps.append(gap)
    assert gaps[0] < 1e-7
    assert np.all(np.diff(gaps) > 0)


@pytest.mark.parametrize("counts", [[20, 7, 3], [9, 8, 5, 4, 2]], ids=str)
def test_the_certificate_bounds_the_distance_of_any_point(counts):
    """Class means anywhere, far from the optimum, where the dual is far from semidefinite."""
    solution = optimum(Setting(class_counts=counts, alpha=0.05, temperature=2.0))
    program, best = solution.program, solution.point
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(200):
        factor = rng.normal(size=(program.blocks, rng.integers(1, program.blocks + 1)))
        factor *= np.sqrt(np.diag(best.means) / (factor**2).sum(1))[:, None]
        point = restore(program, Point(best.fractions, factor @ factor.T))
        loss, gap = certify(program, point)
        ratios.append((loss - solution.loss) / gap)
    # Close to 1 for some, so that a bound that is too small by a factor would show.
    assert 0.8 < max(ratios) <= 1 + 1e-9


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("tau", [1e-3, 0.07, 1.0, 1e3])
@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_extremes_are_finite_and_certified(alpha, tau, self_pairs):
    """Counts from 1 to 1e7, two classes to twelve, over six decades of tau."""
    for counts in ([10_000_000, 1], [10_000_000, 5000, 12, 2, 1, 1], list(range(1, 13))):
        prediction = predict(
            Setting(
                class_counts=counts, alpha=alpha, temperature=tau, self_pairs=self_pairs, views=2
            ),
            thresholds=False,
        )
        numbers = [
            prediction.loss,
            prediction.between_class_variance,
            *prediction.within_class_variance_per_class,
        ]
        assert np.all(np.isfinite(numbers))
        assert prediction.certificate_gap < 1e-5


def test_one_view():
    """Without self pairs one view has no self-supervised term: only alpha = 0, and collapse."""
    prediction = predict(Setting(classes=3, per_class=4, views=1, alpha=0, temperature=0.3))
    assert prediction.phase == "collapse"
    assert prediction.alpha_threshold is None
    assert any("no self-supervised term" in note for note in prediction.notes)
    included = Setting(
        classes=3, per_class=4, views=1, alpha=0.9, temperature=0.3, self_pairs="include"
    )
    two = predict(included.with_(views=2))
    assert predict(included).within_class_variance == pytest.approx(two.within_class_variance)


def test_sampled_batches_say_so_and_agree_with_enumeration(monkeypatch):
    """The same setting by enumeration and by sampling, within the stated standard error."""
    from uncollapse.theory import _terms as terms

    setting = Setting(class_counts=[9, 5, 3], alpha=0.4, temperature=0.3, batch=RandomBatch(6))
    exact = predict(setting, thresholds=False)
    monkeypatch.setattr(terms, "ENUMERATED", 1)
    sampled = predict(setting, thresholds=False, seed=3)
    note = next(note for note in sampled.notes if "sampled batches" in note)
    error = float(note.split("standard error of the loss ")[1].split(",")[0])
    assert abs(sampled.loss - exact.loss) < 4 * error
    assert sampled.instance_variance == pytest.approx(exact.instance_variance, abs=0.02)
    again = predict(setting, thresholds=False, seed=3)
    assert again == sampled
    losses = [predict(setting, thresholds=False, seed=seed).loss for seed in range(4, 14)]
    assert np.std(losses, ddof=1) == pytest.approx(error, rel=0.7)


def test_unequal_thresholds_are_where_the_last_class_leaves_collapse():
    setting = Setting(class_counts=[12, 5, 3], alpha=0.3, temperature=0.2)
    prediction = predict(setting)
    at, tau = prediction.alpha_threshold, prediction.temperature_threshold

    def smallest(**changes):
        return min(predict(setting.with_(**changes), thresholds=False).instance_variance_per_class)

    assert smallest(alpha=at - 1e-4) < 1e-6 < smallest(alpha=at + 1e-4)
    assert smallest(temperature=tau * 1.001) < 1e-6 < smallest(temperature=tau * 0.999)


def test_record_survives_json():
    import json

    for setting in (
        Setting(classes=3, per_class=4, alpha=0.5, temperature=0.3),
        Setting(class_counts=[5, 1, 2], alpha=0.5, temperature=0.3, batch=FullBatch()),
    ):
        prediction = predict(setting)
        text = json.dumps(prediction.to_dict(), allow_nan=False)
        assert Prediction.from_dict(json.loads(text)) == prediction
