"""The synthetic experiment: free vectors reach the prediction; what theory leaves out is shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, RandomBatch
from uncollapse.simulation import SimulationOptions, simulate
from uncollapse.simulation._batches import all_batches, batch_loss, draw_batch, labels_of
from uncollapse.simulation._models import make_model
from uncollapse.theory import Setting, predict, ssem

SMALL = Setting(classes=3, per_class=4, alpha=0.5, temperature=0.5)
UNEQUAL = Setting(class_counts=[5, 3, 2, 1], alpha=0.4, temperature=0.3)
LISTED = Setting(class_counts=[3, 2], alpha=0.5, temperature=0.5, batch=RandomBatch(3))
PER_CLASS = (
    "within_class_variance_per_class",
    "instance_variance_per_class",
    "view_variance_per_class",
)


@pytest.mark.parametrize(
    ("setting", "optimiser"),
    [
        (SMALL, None),
        (SMALL.with_(self_pairs="include", alpha=0.2, temperature=0.3), None),
        (SMALL.with_(alpha=0.02, temperature=0.15), None),  # views split
        (SMALL.with_(alpha=0.05), None),  # collapse
        (UNEQUAL, None),
        (UNEQUAL.with_(reduction="pairs"), None),
        (UNEQUAL.with_(self_pairs="include", anchors_without_positives="zero"), None),
        (LISTED, "lbfgs"),  # some batches hold no pair of a class, some a single class
        (LISTED.with_(batch=BalancedBatch(2)), "lbfgs"),
    ],
    ids=str,
)
def test_free_vectors_reach_the_prediction(setting, optimiser):
    prediction = predict(setting, thresholds=False)
    reached = simulate(setting, SimulationOptions(optimiser=optimiser))
    assert reached.loss == pytest.approx(prediction.loss, abs=1e-6)
    assert reached.loss_error is None
    assert reached.phase_per_class == prediction.phase_per_class
    for name in PER_CLASS:
        assert getattr(reached, name) == pytest.approx(getattr(prediction, name), abs=2e-3)
    assert reached.between_class_variance == pytest.approx(
        prediction.between_class_variance, abs=2e-3
    )


def test_few_dimensions_and_few_steps_part_from_theory():
    best = predict(SMALL, thresholds=False).loss
    narrow = simulate(SMALL.with_(dimension=2))
    short = simulate(SMALL, SimulationOptions(optimiser="adam", steps=5))
    assert narrow.loss > best + 0.01
    assert short.loss > best + 0.01
    assert (short.steps, short.stopped) == (5, "steps")


def test_steps_on_drawn_batches_come_near():
    setting = SMALL.with_(batch=BalancedBatch(2))
    reached = simulate(setting, SimulationOptions(optimiser="adam", steps=300))
    prediction = predict(setting, thresholds=False)
    assert reached.loss == pytest.approx(prediction.loss, abs=5e-3)
    assert reached.loss > prediction.loss
    assert reached.instance_variance == pytest.approx(prediction.instance_variance, abs=0.02)


def test_a_collapsed_start_without_noise_stays_and_with_noise_leaves():
    held = simulate(SMALL, SimulationOptions(initial="collapsed", initial_noise=0))
    left = simulate(SMALL, SimulationOptions(initial="collapsed"))
    assert held.phase == "collapse"
    assert held.instance_variance < 1e-9
    assert left.loss == pytest.approx(predict(SMALL, thresholds=False).loss, abs=1e-6)


def test_the_ssem_start_is_the_model_of_theory():
    options = SimulationOptions(initial="ssem", initial_variance=0.3, initial_noise=0)
    vectors = make_model(SMALL, options, seed=1).population().detach().reshape(24, -1).numpy()
    expected = ssem(3, 4, 2, variance=0.3).vectors
    assert np.allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-12)


def test_a_network_with_room_reaches_the_prediction_and_a_narrow_one_does_not():
    wide = SimulationOptions(model="mlp", optimiser="lbfgs", steps=150)
    best = predict(SMALL, thresholds=False).loss
    assert simulate(SMALL, wide).loss == pytest.approx(best, abs=1e-5)
    assert simulate(SMALL, replace(wide, width=2, depth=1)).loss > best + 1e-2


def test_fresh_views_leave_view_variance_on_views_never_trained_on():
    options = SimulationOptions(model="mlp", fresh_views=True, augmentation=1.0, steps=150)
    assert simulate(SMALL, options).view_variance > 0.005


def test_a_diverged_run_is_shown_with_its_last_finite_values():
    options = SimulationOptions(model="mlp", optimiser="sgd", learning_rate=1e200)
    reached = simulate(SMALL, options)
    assert reached.stopped == "diverged"
    assert np.isfinite([reached.loss, reached.within_class_variance]).all()


def test_a_seed_repeats_a_run_and_leaves_the_global_state_alone():
    setting = SMALL.with_(batch=RandomBatch(5))
    options = SimulationOptions(model="mlp", fresh_views=True, steps=5)
    before = torch.get_rng_state()
    first, again, other = (simulate(setting, options, seed=s) for s in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert replace(first, seconds=0) == replace(again, seconds=0)
    assert first.loss != other.loss
    assert first.loss_batches == 500
    assert first.loss_error > 0


@pytest.mark.parametrize(
    "setting",
    [
        LISTED,
        Setting(class_counts=[4, 3, 2], alpha=0.5, temperature=0.5, batch=BalancedBatch(2, 2)),
    ],
    ids=str,
)
def test_drawn_batches_have_the_listed_probabilities(setting):
    listed = {tuple(rows.tolist()): p for p, rows in all_batches(setting)}
    assert sum(listed.values()) == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    draws = 4000
    counted = dict.fromkeys(listed, 0)
    for _ in range(draws):
        counted[tuple(sorted(draw_batch(setting, generator).tolist()))] += 1
    for rows, probability in listed.items():
        error = (probability * (1 - probability) / draws) ** 0.5
        assert abs(counted[rows] / draws - probability) < 5 * error


def test_a_batch_without_a_supervised_pair_counts_as_zero_there():
    embeddings = torch.eye(4, dtype=torch.float64).reshape(2, 2, 4).requires_grad_()
    labels = torch.tensor([0, 1])
    whole = batch_loss(SMALL.with_(alpha=1), embeddings, labels)
    assert batch_loss(SMALL, embeddings, labels).item() == pytest.approx(whole.item() / 2)
    nothing = batch_loss(SMALL.with_(alpha=0), embeddings, labels)
    nothing.backward()
    assert nothing.item() == 0
    assert not embeddings.grad.any()


def test_labels_follow_the_class_counts():
    assert labels_of(UNEQUAL).tolist() == [0] * 5 + [1] * 3 + [2] * 2 + [3]


@pytest.mark.parametrize(
    ("setting", "options", "part"),
    [
        (SMALL, {"steps": 0}, "steps as a whole number from 1; found steps = 0"),
        (SMALL, {"learning_rate": float("nan")}, "learning_rate as a positive number"),
        (SMALL, {"model": "mlp", "initial": "ssem"}, "random weights"),
        (SMALL, {"fresh_views": True}, "fresh views of a network's inputs"),
        (SMALL, {"model": "mlp", "fresh_views": True, "optimiser": "lbfgs"}, "without chance"),
        (SMALL.with_(batch=RandomBatch(6)), {"optimiser": "lbfgs"}, "at most 256"),
        (SMALL.with_(dimension=5), {"initial": "ssem"}, "at least 11 for this start"),
        (SMALL.with_(per_class=10**6), {}, "at most 20,000,000 numbers"),
        (SMALL, {"optimiser": "lion"}, "optimiser as one of"),
    ],
)
def test_what_cannot_be_simulated_is_said(setting, options, part):
    with pytest.raises(InputError, match=part):
        simulate(setting, SimulationOptions(**options))
