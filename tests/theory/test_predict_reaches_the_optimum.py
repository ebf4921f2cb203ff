"""`predict` against free embeddings minimised directly (independent derivation, see free_*.py)."""

import numpy as np
import pytest
from free_embeddings import Problem, minimise
from free_settings import load_reference, random_settings

from uncollapse.records import BalancedBatch
from uncollapse.theory import Setting, predict

# One instance of a class in a batch has no supervised positive: the setting refuses it.
OPTIMA = [r for r in load_reference() if r["problem"].batch != BalancedBatch(1)]


def setting_of(problem: Problem) -> Setting:
    return Setting(
        class_counts=list(problem.counts),
        views=problem.views,
        alpha=problem.alpha,
        temperature=problem.tau,
        self_pairs=problem.self_pairs,
        reduction=problem.reduction,
        anchors_without_positives=problem.anchors_without_positives,
        batch=problem.batch,
    )


@pytest.mark.parametrize("record", OPTIMA, ids=lambda record: f"{record['why'][:40]}")
def test_prediction_is_the_minimum(record):
    """Loss to 1e-8 and variances to 1e-4, where the loss determines them (see free_settings)."""
    prediction = predict(setting_of(record["problem"]), thresholds=False)
    assert prediction.loss == pytest.approx(record["loss"], abs=1e-8)
    assert prediction.certificate_gap < 1e-7
    for name, value in (
        ("within", prediction.within_class_variance_per_class),
        ("instance", prediction.instance_variance_per_class),
        ("view", prediction.view_variance_per_class),
        ("between", prediction.between_class_variance),
    ):
        if name not in record["undetermined"]:
            np.testing.assert_allclose(value, record[name], atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("problem", random_settings(seed=77, count=12), ids=str)
def test_fresh_settings_minimised_now(problem):
    best = minimise(problem, seed=1)
    prediction = predict(setting_of(problem), thresholds=False)
    assert prediction.loss == pytest.approx(best.loss, abs=1e-6)
    assert prediction.loss <= best.free_loss + 1e-8
