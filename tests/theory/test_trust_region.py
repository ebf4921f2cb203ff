"""The second derivative and the solver built on it, where the fast solver is another opinion."""

import numpy as np
import pytest

from uncollapse.theory import Setting, predict
from uncollapse.theory._factors import from_factor, solve_by_newton
from uncollapse.theory._program import Point, curvature, evaluate
from uncollapse.theory._solve import certified, optimum
from uncollapse.theory._terms import program_of
from uncollapse.theory._tidy import without_needless_parts


def random_point(program, rng) -> Point:
    vectors = rng.normal(size=(program.blocks, program.blocks + 3))
    return from_factor(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_the_curvature_is_the_derivative_of_the_gradient(self_pairs):
    program = program_of(
        Setting(class_counts=[7, 4, 4, 2, 1], alpha=0.3, temperature=0.4, self_pairs=self_pairs)
    )
    rng = np.random.default_rng(0)
    point, other = random_point(program, rng), random_point(program, rng)

    def along(step: float) -> Point:
        return Point(*(here + step * there for here, there in zip(point, other, strict=True)))

    ahead, behind = (evaluate(program, along(step))[1] for step in (1e-6, -1e-6))
    change = curvature(program, point)(other)
    for changed, after, before in zip(change, ahead, behind, strict=True):
        np.testing.assert_allclose(changed, (after - before) / 2e-6, atol=1e-7)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(class_counts=[30, 12, 7, 7, 3], alpha=0.4, temperature=0.3),
        Setting(class_counts=[300, 40, 5, 2], alpha=0.02, temperature=0.1, reduction="pairs"),
        Setting(class_counts=[20, 9, 9, 4], alpha=1e-3, temperature=0.05),
    ],
    ids=["spread", "collapse", "view-splitting"],
)
def test_both_solvers_find_one_optimum(setting):
    best = optimum(setting)
    program = best.program
    assert best.multipliers is not None
    start = random_point(program, np.random.default_rng(1))
    point = solve_by_newton(program, certified(program, start).point)
    solution = certified(program, without_needless_parts(program, point))
    assert solution.loss == pytest.approx(best.loss, abs=1e-11)
    np.testing.assert_allclose(solution.point.fractions[:2], best.point.fractions[:2], atol=1e-5)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.5, 100.0), (1e-3, 2.0), (1e-4, 1000.0)])
def test_many_sizes_where_small_classes_merge(alpha, temperature):
    """The mean over pairs at a large temperature: H has a rank far below the number of classes."""
    setting = Setting(
        class_counts=list(range(5, 45)), alpha=alpha, temperature=temperature, reduction="pairs"
    )
    solution = optimum(setting)
    assert (np.linalg.eigvalsh(solution.point.means) < 1e-6).sum() > 1
    assert solution.gap < 1e-7
    threshold = predict(setting).alpha_threshold
    for side, collapsed in ((0.999, True), (1.001, False)):
        odds = side * threshold / (1 - threshold)
        near = optimum(setting.with_(alpha=odds / (1 + odds)))
        assert (near.point.fractions[1].min() < 1e-6) == collapsed
