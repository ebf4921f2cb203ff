"""Settings at the ends of what is allowed, each of which once failed."""

import pytest

from uncollapse.records import BalancedBatch, RandomBatch
from uncollapse.theory import Setting, advise, predict


def test_a_batch_of_one_class_at_a_small_temperature():
    """Logits beyond +-700 and batches that hold no other class."""
    prediction = predict(
        Setting(
            class_counts=[14, 1], alpha=0.1, temperature=1.2e-3, self_pairs="include",
            batch=RandomBatch(3),
        ),
        thresholds=False,
    )  # fmt: skip
    assert prediction.certificate_gap < 1e-5


@pytest.mark.parametrize(
    ("counts", "temperature"), [([8] * 4, 0.003475907), ([4] * 2, 0.005309615)]
)
def test_views_split_nowhere_where_no_weight_joins_them(counts, temperature):
    """Slopes that are rounding errors gave a threshold of -0.6, or a division by zero."""
    size = 16 if len(counts) == 4 else 3
    given = {"class_counts": counts, "views": 3, "temperature": temperature}
    setting = Setting(**given, alpha=1.0, self_pairs="include", batch=RandomBatch(size))
    prediction = predict(setting)
    assert prediction.view_splitting_threshold is None
    assert 0 < prediction.alpha_threshold < 1


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": BalancedBatch(1)},
        {"batch": RandomBatch(4), "anchors_without_positives": "error"},
        {
            "class_counts": [3, 3],
            "batch": RandomBatch(4),
            "anchors_without_positives": "error",
        },
    ],
    ids=str,
)
def test_batches_that_allow_no_supervised_term(changes):
    """Valid at alpha = 1 only: the search for an alpha threshold must not try another."""
    given = {"class_counts": [4, 3], "alpha": 1.0, "temperature": 0.3} | changes
    prediction = predict(Setting(**given))
    assert prediction.alpha_threshold is None
    assert any("alpha = 1 only" in note for note in prediction.notes)


@pytest.mark.parametrize("temperature", [0.01, 0.03, 0.07])
def test_random_batches_split_views_at_small_temperatures(temperature):
    """No class has both parts, and a class of one instance none, where the loss feels neither."""
    setting = Setting(
        class_counts=[66, 55, 20, 1], views=3, alpha=1e-3, temperature=temperature,
        batch=RandomBatch(32),
    )  # fmt: skip
    low = predict(setting)
    assert low.phase_per_class == ("view-splitting",) * 3 + (None,)
    assert low.view_variance_per_class[3] == 0
    high = predict(setting.with_(alpha=0.5), thresholds=False)
    assert high.phase == "spread"
    assert high.view_variance == 0
    assert 1e-3 < low.alpha_threshold < 0.5
    assert min(
        predict(
            setting.with_(alpha=low.alpha_threshold * 1.01), thresholds=False
        ).instance_variance_per_class[:3]
    ) > 1e-6  # fmt: skip


def test_threshold_where_the_loss_underflows():
    """alpha_c -> (p-1)/(p n_b - 1) as tau -> 0, also for unequal classes."""
    setting = Setting(
        class_counts=[40, 5], views=5, alpha=0.1, temperature=1.3e-3, batch=BalancedBatch(2)
    )
    assert predict(setting).alpha_threshold == pytest.approx(4 / 9, abs=1e-4)


def test_self_supervised_random_batches_need_no_sampling():
    """alpha = 1: the simplex of all instances, proven for the expectation itself."""
    setting = Setting(
        class_counts=[40, 2, 40, 5, 17, 3, 9], alpha=1.0, temperature=0.4, batch=RandomBatch(32)
    )
    prediction = predict(setting)
    assert prediction.certificate_gap < 1e-9
    assert not any("sampled" in note for note in prediction.notes)
    small = setting.with_(class_counts=[4, 2, 1], batch=RandomBatch(3))
    near = predict(small.with_(alpha=1 - 1e-9), thresholds=False)
    assert predict(small, thresholds=False).loss == pytest.approx(near.loss, abs=1e-7)


def test_the_threshold_of_huge_classes_is_found():
    """Nearly equal classes of 3e6 at a small temperature: the balanced closed form's 1/n."""
    setting = Setting(
        class_counts=[3_000_000, 3_000_001], alpha=0.3, temperature=0.05, self_pairs="include"
    )
    closed = predict(setting.with_(class_counts=[3_000_000] * 2)).alpha_threshold
    assert predict(setting).alpha_threshold == pytest.approx(closed, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"views": 1, "alpha": 0.0},
        {"views": 3, "alpha": 0.0},
        {"alpha": 1.0, "batch": BalancedBatch(1, 3)},
    ],
    ids=str,
)
def test_instances_keep_together_where_nothing_parts_them(changes):
    """No self-supervised term, or no two instances of a class in any batch."""
    given = {
        "class_counts": [60, 9, 5, 4], "alpha": 0.1, "temperature": 0.01,
        "batch": RandomBatch(20),
    } | changes  # fmt: skip
    prediction = predict(Setting(**given), thresholds=False)
    assert prediction.instance_variance == 0


@pytest.mark.parametrize("temperature", [0.02, 0.01, 0.001])
def test_balanced_random_batches_at_small_temperatures(temperature):
    """The two roots of one block stop anywhere along the same flat line."""
    setting = Setting(
        classes=10, per_class=50, alpha=1e-3, temperature=temperature, batch=RandomBatch(64)
    )
    assert predict(setting, thresholds=False).phase == "view-splitting"
    high = predict(setting.with_(alpha=0.3), thresholds=False)
    assert high.phase == "spread"
    assert high.view_variance == 0
    # As tau -> 0 the instance variance is proportional to tau.
    assert high.instance_variance / temperature == pytest.approx(1.5354, abs=1e-4)


def test_advice_for_random_batches_at_a_common_setting():
    """Steps in temperature reach tau = 1e-3; nothing there is taken for an answer."""
    setting = Setting(classes=10, per_class=50, alpha=0.02, temperature=0.1, batch=RandomBatch(64))
    assert "temperature" not in [advice.lever for advice in advise(setting)]


@pytest.mark.parametrize(
    "setting",
    [
        Setting(
            class_counts=[2, 2, 2, 3, 2, 1, 2, 3], alpha=0.843, temperature=0.00166,
            reduction="pairs", batch=RandomBatch(2),
        ),
        Setting(
            class_counts=[1, 3, 1, 2, 2, 3, 3, 1], views=3, alpha=0.407, temperature=0.00158,
            self_pairs="include", batch=RandomBatch(11),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_descent_is_begun_again_where_it_stopped_early(setting):
    assert predict(setting, thresholds=False).certificate_gap < 1e-5
