"""The loss in pytorch-metric-learning's form, beside its own losses and with its own parts."""

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

from uncollapse.adapters import PMLSupCLLoss
from uncollapse.errors import InputError
from uncollapse.losses import (
    DegenerateBatchWarning,
    LearnableTemperature,
    SupCLLoss,
    prepare_reference,
    reference_supcl,
)

ROWS = torch.randn(24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 4
OURS = PMLSupCLLoss(alpha=0, temperature=0.1)
THEIRS = losses.SupConLoss(temperature=0.1)


def value_and_gradient(loss_of, *arguments):
    rows = ROWS.clone().requires_grad_()
    loss = loss_of(rows, *arguments)
    loss.backward()
    return loss.detach(), rows.grad


SAME = {
    "alone": lambda loss: loss,
    "a miner of pairs": lambda loss: losses.MultipleLosses([loss], [miners.MultiSimilarityMiner()]),
    "a miner of triplets": lambda loss: losses.MultipleLosses([loss], [miners.BatchHardMiner()]),
    "beside another": lambda loss: losses.MultipleLosses(
        [loss, losses.TripletMarginLoss()], weights=[0.3, 1]
    ),
    "a regularizer": lambda loss: type(loss)(
        **({"alpha": 0} if isinstance(loss, PMLSupCLLoss) else {}),
        temperature=0.1,
        embedding_regularizer=regularizers.LpRegularizer(),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_at_alpha_0_it_is_their_loss_with_their_parts(name):
    ours, theirs = (value_and_gradient(SAME[name](loss), LABELS) for loss in (OURS, THEIRS))
    torch.testing.assert_close(ours, theirs)


def test_another_embedding_of_the_batch_is_compared_as_theirs_is():
    """A momentum encoder's: row i is no pair of row i where the labels are the same object."""
    other = ROWS + 0.1
    for given in (LABELS, LABELS.clone()):
        ours, theirs = (
            value_and_gradient(loss, LABELS, None, other, given) for loss in (OURS, THEIRS)
        )
        torch.testing.assert_close(ours, theirs)


def test_words_and_one_hot_rows_are_refused_with_what_to_write():
    with pytest.raises(InputError, match=r"list of other things; number them.*numpy.unique"):
        OURS(ROWS, ["ant"] * 24)
    with pytest.raises(InputError, match=r"labels.argmax\(dim=1\) of one-hot rows"):
        OURS(ROWS, torch.nn.functional.one_hot(LABELS))


REDUCERS = {
    "mean": reducers.MeanReducer(),
    "sum": reducers.SumReducer(),
    "threshold": reducers.ThresholdReducer(low=1.5),
    "class weights": reducers.ClassWeightedReducer(torch.tensor([1.0, 2.0, 0.5, 0.0])),
    "per anchor": reducers.PerAnchorReducer(),
}


@pytest.mark.parametrize("name", REDUCERS)
def test_reducers_take_the_losses_of_anchors(name):
    ours = PMLSupCLLoss(alpha=0, temperature=0.1, reducer=REDUCERS[name])
    theirs = losses.SupConLoss(temperature=0.1, reducer=REDUCERS[name])
    lacking = LABELS.clone()
    lacking[-1] = 3 if name == "class weights" else 7  # an anchor without a positive
    ours, theirs = (value_and_gradient(loss, lacking) for loss in (ours, theirs))
    torch.testing.assert_close(ours, theirs)


def test_a_memory_of_earlier_batches_gives_their_values():
    ours, theirs = (
        losses.CrossBatchMemory(loss, embedding_size=6, memory_size=40).double()
        for loss in (OURS, THEIRS)
    )
    for step in range(4):
        rolled = LABELS.roll(step)
        values = (value_and_gradient(loss, rolled) for loss in (ours, theirs))
        torch.testing.assert_close(*values)
    # With views, L_self stays in the batch and L_sup goes against the memory.
    both = PMLSupCLLoss(alpha=0.3, temperature=0.1, views=2)
    self_term = PMLSupCLLoss(alpha=1, temperature=0.1, views=2)
    ref = ROWS.roll(5, 0), LABELS.roll(5)
    labels = LABELS[:12].repeat(2)
    found = both(ROWS, labels, None, *ref)
    expected = 0.7 * THEIRS(ROWS, labels, None, *ref) + 0.3 * self_term(ROWS, labels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("symmetric", [True, False])
def test_their_self_supervised_wrapper_names_instances_by_labels(symmetric):
    halves = ROWS[:12], ROWS[12:]
    kinds = {"symmetric": symmetric}
    expected = losses.SelfSupervisedLoss(losses.SupConLoss(temperature=0.1), **kinds)(*halves)
    torch.testing.assert_close(losses.SelfSupervisedLoss(OURS, **kinds)(*halves), expected)
    if symmetric:
        views = PMLSupCLLoss(alpha=1, temperature=0.1, views=2)
        torch.testing.assert_close(losses.SelfSupervisedLoss(views)(*halves), expected)


@pytest.mark.parametrize("reducer", [None, reducers.AvgNonZeroReducer()])
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_views_one_after_the_other_are_those_of_the_loss(alpha, reducer):
    labels = torch.cat([LABELS[:10], torch.tensor([-1, -100])]).repeat(2)
    of_instances = labels[:12], torch.arange(12).repeat(2)
    expected = reference_supcl(ROWS, labels, of_instances[1], alpha=alpha, temperature=0.1)
    loss_of = PMLSupCLLoss(alpha=alpha, temperature=0.1, views=2, reducer=reducer)
    torch.testing.assert_close(loss_of(ROWS, labels[:, None].float()), expected)
    if reducer is None:
        # All pairs, as a miner would give them: the dense way to the same number.
        every = torch.ones(24, 24).fill_diagonal_(0).nonzero().T
        same = labels[every[0]] == labels[every[1]]
        mined = *every[:, same], *every[:, ~same]
        torch.testing.assert_close(loss_of(ROWS, labels, mined), expected)


def test_keep_takes_a_reference():
    base = ROWS.roll(3, 1)
    views = [rows.view(2, 12, 6).transpose(0, 1) for rows in (ROWS, base)]
    kept = SupCLLoss(alpha=0.3, temperature=0.1, keep=1, degenerate="zero")
    with pytest.warns(DegenerateBatchWarning, match="fewer than four"):
        expected = kept(views[0], LABELS[:12], reference=views[1])
    labels = torch.arange(12) % 3
    expected = kept(views[0], labels, reference=views[1])
    loss_of = PMLSupCLLoss(alpha=0.3, temperature=0.1, views=2, keep=1)
    for given in (base, prepare_reference(base)):
        torch.testing.assert_close(loss_of(ROWS, labels.repeat(2), reference=given), expected)


@pytest.mark.parametrize("mined", [False, True])
def test_a_batch_without_pairs_counts_as_nothing(mined):
    indices = miners.MultiSimilarityMiner()(ROWS, LABELS * 0) if mined else None
    loss_of = PMLSupCLLoss(alpha=0, temperature=0.1)
    rows = ROWS.clone().requires_grad_()
    with pytest.warns(DegenerateBatchWarning):
        loss = loss_of(rows, LABELS * 0, indices)
    loss.backward()
    assert loss == rows.grad.abs().sum() == 0
    assert loss_of.criterion.degenerate_batches == 1
    with pytest.raises(InputError):
        PMLSupCLLoss(alpha=0, temperature=0.1, degenerate="error")(rows, LABELS * 0, indices)


REFUSED = {
    "a distance": ({"distance": distances.LpDistance()}, "CosineSimilarity.*found LpDistance"),
    "a divisor": ({"reducer": reducers.DivisorReducer()}, "DivisorReducer"),
    "alpha without views": ({"alpha": 0.5}, "views=2 or more, because alpha > 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(name):
    changes, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        PMLSupCLLoss(**{"alpha": 0, "temperature": 0.1} | changes)


def test_batches_that_do_not_fit_are_refused():
    of_views = PMLSupCLLoss(alpha=0.3, temperature=0.1, views=2)
    gathering = PMLSupCLLoss(alpha=0, temperature=0.1, gather=True)
    for loss_of, arguments, message in [
        (of_views, (ROWS[:23], LABELS[:23]), "23 rows and 23 labels"),
        (OURS, (ROWS, LABELS / 3), r"labels\.long\(\)"),
        (OURS, (ROWS, LABELS - 2, None, ROWS, LABELS), "found label -2"),
        (OURS, (ROWS,), "labels .* or an indices_tuple"),
        (OURS, (ROWS, None, None, ROWS), "labels .* or an indices_tuple"),
        (gathering, (ROWS, LABELS, None, ROWS, LABELS), "gather=False"),
    ]:
        with pytest.raises(InputError, match=message):
            loss_of(*arguments)
    shuffled = torch.cat([LABELS[:12], LABELS[:12].roll(1)])
    with pytest.raises(InputError, match="the same labels in each of the 2 parts"):
        of_views(ROWS, shuffled)


def test_the_temperature_learns_and_alpha_follows_a_schedule_on_either_way():
    labels, found = LABELS[:12].repeat(2), []
    for reducer in (None, reducers.AvgNonZeroReducer()):
        tau = LearnableTemperature(0.2)
        loss_of = PMLSupCLLoss(
            alpha=lambda step: 1 - step / 2, temperature=tau, views=2, reducer=reducer
        )
        rows = ROWS.clone().requires_grad_()
        for _ in range(3):
            loss_of(rows, labels).backward()
            found.append((tau.log_inverse.grad.clone(), rows.grad.clone()))
        assert loss_of.criterion.step == 3
    for k in range(3):
        torch.testing.assert_close(found[k], found[k + 3], rtol=1e-5, atol=1e-6)
