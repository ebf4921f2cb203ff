"""The smallest single changes, and embeddings that realise a prediction."""

from time import process_time

import numpy as np
import pytest

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, RandomBatch
from uncollapse.theory import Setting, advise, gram, predict, realise, ssem
from uncollapse.theory._program import _sums, _sums_by_term
from uncollapse.theory._solve import optimum
from uncollapse.theory._tidy import most_instance
from uncollapse.theory.advice import CLEAR_OF_COLLAPSE

COLLAPSED = Setting(classes=10, per_class=50, alpha=0.05, temperature=0.1, batch=BalancedBatch(4))


@pytest.mark.parametrize(
    "setting",
    [
        COLLAPSED,
        COLLAPSED.with_(self_pairs="include", temperature=2.0, alpha=0.4),
        COLLAPSED.with_(batch=RandomBatch(40)),
        Setting(class_counts=[40, 12, 5], alpha=0.1, temperature=0.2),
    ],
    ids=str,
)
def test_every_advice_reaches_its_goal_and_nothing_smaller_does(setting):
    advised = advise(setting)
    assert advised
    assert [a.size for a in advised] == sorted(a.size for a in advised)
    for advice in advised:
        reached = predict(advice.setting, thresholds=False)
        assert reached == advice.prediction
        assert reached.phase == "spread"
        lowest = min(reached.instance_variance_per_class)
        assert lowest >= CLEAR_OF_COLLAPSE - 1e-9
        if advice.lever in ("alpha", "temperature"):
            nearer = advice.before + 0.999 * (advice.value - advice.before)
            short = predict(setting.with_(**{advice.lever: nearer}), thresholds=False)
            assert min(short.instance_variance_per_class) < CLEAR_OF_COLLAPSE


def test_fewer_instances_are_not_enough():
    advice = next(a for a in advise(COLLAPSED) if a.lever == "batch_per_class")
    less = COLLAPSED.with_(batch=BalancedBatch(int(advice.value) - 1))
    assert predict(less, thresholds=False).instance_variance < CLEAR_OF_COLLAPSE
    classes = next(a for a in advise(COLLAPSED) if a.lever == "batch_classes")
    batch = classes.setting.batch
    assert batch.per_class * batch.classes <= 40


def test_most_classes_nearest_views_nearest_temperature():
    """Of several values of one lever the nearest to the present one is advised."""
    classes = next(a for a in advise(COLLAPSED) if a.lever == "batch_classes")
    more = COLLAPSED.with_(
        batch=BalancedBatch(40 // int(classes.value + 1), int(classes.value + 1))
    )
    assert predict(more, thresholds=False).instance_variance < CLEAR_OF_COLLAPSE
    many = Setting(
        classes=10, per_class=50, views=12, alpha=0.24, temperature=0.1, batch=BalancedBatch(4)
    )
    (views,) = advise(many, levers=("views",))
    assert 2 < views.value < 12
    nearer = many.with_(views=int(views.value) + 1)
    assert predict(nearer, thresholds=False).instance_variance < CLEAR_OF_COLLAPSE


def test_a_larger_random_batch_is_advised():
    setting = COLLAPSED.with_(batch=RandomBatch(40), alpha=0.1)
    (larger,) = advise(setting, levers=("batch_per_class",))
    less = setting.with_(batch=RandomBatch(larger.setting.batch.size - 1))
    assert predict(less, thresholds=False).instance_variance < CLEAR_OF_COLLAPSE


def test_a_target_is_met_exactly():
    for advice in advise(COLLAPSED, target_variance=0.2, levers=("alpha", "temperature")):
        assert advice.prediction.instance_variance == pytest.approx(0.2, abs=1e-5)


def test_nothing_to_advise():
    assert advise(COLLAPSED.with_(alpha=0.5)) == []
    with pytest.raises(InputError, match="target variance"):
        advise(COLLAPSED, target_variance=1.5)


@pytest.mark.parametrize("variance", [0.0, 1e-4, 0.3, 1.0])
@pytest.mark.parametrize(("m", "n", "p"), [(2, 2, 1), (4, 3, 2), (3, 1, 2)])
def test_ssem_has_the_inner_products_of_the_model(m, n, p, variance):
    variance = variance if n > 1 else 0.0
    z, labels, instances = ssem(m, n, p, variance=variance)
    S = z @ z.T
    same_instance = instances[:, None] == instances
    same_class = (labels[:, None] == labels) & ~same_instance
    np.testing.assert_allclose(S[same_instance], 1, atol=1e-12)
    if n > 1:
        np.testing.assert_allclose(S[same_class], 1 - variance * n / (n - 1), atol=1e-12)
    np.testing.assert_allclose(S[labels[:, None] != labels], -(1 - variance) / (m - 1), atol=1e-12)


def test_ssem_refuses_what_does_not_fit():
    for arguments, match in [
        ({"classes": 1, "per_class": 3, "variance": 0.1}, "two classes"),
        ({"classes": 3, "per_class": 3, "variance": 1.5}, r"variance in \[0, 1\]"),
        ({"classes": 3, "per_class": 3, "variance": 0.5, "dimension": 7}, "at least 8"),
    ]:
        with pytest.raises(InputError, match=match):
            ssem(**arguments)
    assert ssem(3, 3, variance=0.5, dimension=20).vectors.shape == (9, 20)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(classes=3, per_class=4, alpha=0.4, temperature=0.3),
        Setting(classes=3, per_class=4, alpha=0.0, temperature=0.1),
        Setting(class_counts=[5, 1, 3, 3], alpha=0.4, temperature=0.3, views=3),
    ],
    ids=str,
)
def test_realised_vectors_have_the_predicted_variances(setting):
    prediction = predict(setting, thresholds=False)
    z, labels, instances = realise(setting, prediction, dimension=64)
    np.testing.assert_allclose(z @ z.T, gram(setting, prediction), atol=1e-6)
    for c in range(len(setting.counts)):
        own = z[labels == c]
        within = 1 - np.sum(own.mean(0) ** 2)
        means = np.stack(
            [own[instances[labels == c] == i].mean(0) for i in np.unique(instances[labels == c])]
        )
        view = 1 - np.mean(np.sum(means**2, axis=1))
        assert within == pytest.approx(prediction.within_class_variance_per_class[c], abs=1e-6)
        assert view == pytest.approx(prediction.view_variance_per_class[c], abs=1e-6)


@pytest.mark.parametrize(
    ("setting", "target"),
    [
        (Setting(class_counts=[30, 20, 9], alpha=0.5, temperature=1.5, batch=RandomBatch(9)), None),
        (Setting(class_counts=[9, 6, 4, 3], alpha=0.2, temperature=0.3, batch=RandomBatch(8)), 0.3),
    ],
    ids=str,
)  # fmt: skip
def test_random_batches_of_unequal_classes_are_searched_in_all_dials(setting, target):
    """Roughly first, then exactly: a change reaches the goal, a slightly smaller one does not."""

    def value(changed):
        prediction = predict(changed, thresholds=False)
        if target is None:
            return min(prediction.instance_variance_per_class) - 0.01
        return prediction.instance_variance - target

    found = advise(setting, target_variance=target)
    assert len(found) > (target is None)
    for change in found:
        assert value(change.setting) >= -1e-6
        if change.lever in ("alpha", "temperature"):
            short = change.before + 0.999 * (change.value - change.before)
            assert value(setting.with_(**{change.lever: short})) < 0
        elif change.lever == "batch_per_class":
            smaller = setting.with_(batch=RandomBatch(change.setting.batch.size - 1))
            assert value(smaller) < 0


def drawn(counts, size, alpha, temperature, **others):
    given = {"class_counts": counts, "alpha": alpha, "temperature": temperature} | others
    return Setting(**given, batch=RandomBatch(size))


THREE_VIEWS = {"views": 3, "self_pairs": "include"}
# With what was advised before bounds spared most solutions.
RANDOM = [
    (
        drawn([1000, 400, 200, 100], 64, 0.01, 0.1),
        None,
        {"alpha": 0.152354, "batch_per_class": 239.75},
    ),
    (
        drawn([6000, 1200, 3600, 1200], 256, 0.0079, 0.1),
        None,
        {"alpha": 0.02194314, "batch_classes": 3, "batch_per_class": 176.5},
    ),
    (
        drawn([100, 60, 30, 20], 40, 0.4, 0.9, **THREE_VIEWS),
        0.1,
        {"alpha": 0.4872368, "temperature": 0.693731, "batch_classes": 2},
    ),
]


@pytest.mark.parametrize(("setting", "target", "expected"), RANDOM, ids=str)
def test_random_batches_of_four_classes_are_searched_quickly(setting, target, expected):
    """All dials in less than three seconds of one processor; half of that is usual."""
    started = process_time()
    found = advise(setting, target_variance=target)
    assert process_time() - started < 3
    assert {change.lever: change.value for change in found} == pytest.approx(expected, rel=4e-6)


PAIRS = [(1, "include"), (2, "include"), (2, "exclude"), (3, "exclude")]


@pytest.mark.parametrize(("views", "self_pairs"), PAIRS)
@pytest.mark.parametrize("temperature", [0.02, 0.2, 2.0])
def test_no_class_spreads_more_than_its_bound(views, self_pairs, temperature):
    """A setting is skipped by it: too low a bound would lose advice."""
    others = {"views": views, "self_pairs": self_pairs}
    reached = np.zeros(3)
    for alpha in (0.02, 0.2, 0.6, 0.95):
        solution = optimum(drawn([30, 12, 5, 1], 10, alpha, temperature, **others))
        instance = solution.point.fractions[1]
        most = most_instance(solution.program)
        assert (instance <= most + 1e-6).all()
        reached = np.maximum(reached, np.where(most < 1, instance, 0)[1:] / most.clip(1e-9)[1:])
    if views > 1 and temperature == 0.02:
        assert reached.max() > 0.5  # and it is not far from what is reached


@pytest.mark.parametrize(("views", "self_pairs"), PAIRS)
def test_sums_over_terms_are_those_in_logarithms(views, self_pairs):
    setting = drawn([30, 12, 5, 1], 10, 0.3, 0.1, views=views, self_pairs=self_pairs)
    solution = optimum(setting)
    quick, slow = (sums(solution.program, solution.point) for sums in (_sums, _sums_by_term))
    for a, b in zip(quick, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
