"""Batches without pairs as nothing, and labels as data loaders give them."""

import warnings

import numpy as np
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import DegenerateBatchWarning, SupCLLoss, supcl_loss, supcl_terms

VIEWS = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1])

# What a default loader gives: the last row of 65 at batch 32, one class of a sorted set, ...
LACKING = {
    "one row": (VIEWS[:1], LABELS[:1], 0.5, "two instances in the batch"),
    "one class": (VIEWS, LABELS * 0, 0.5, "one class only"),
    "all different": (VIEWS, torch.arange(4), 0.0, "no positive pair of the supervised term"),
    "unlabelled": (VIEWS, None, 0.5, "no positive pair of the supervised term"),
    "one view": (VIEWS[:, 0], LABELS, 0.5, "no positive pair of the self-supervised term"),
}


@pytest.mark.parametrize("name", LACKING)
def test_a_batch_that_lacks_pairs_counts_as_nothing_where_that_is_asked_for(name):
    views, labels, alpha, reason = LACKING[name]
    layer = torch.nn.Linear(3, 3)
    arguments = {"alpha": alpha, "temperature": 0.1}
    with pytest.raises(InputError, match=reason):
        supcl_loss(layer(views), labels, **arguments)
    criterion = SupCLLoss(**arguments, degenerate="zero")
    with pytest.warns(DegenerateBatchWarning, match=reason):
        loss = criterion(layer(views), labels)
    for _ in range(2):
        criterion(layer(views), labels)  # a second warning would be an error here
    assert loss.item() == 0
    loss.backward()  # through the graph, so that DistributedDataParallel sees every parameter
    assert layer.weight.grad.abs().sum() == 0
    assert criterion.degenerate_batches == 3
    assert reason in criterion.last.degenerate
    # The next batch with pairs counts as ever.
    usual = supcl_terms(VIEWS, LABELS, **arguments)
    assert criterion(VIEWS, LABELS) == usual.loss
    assert criterion.last.degenerate is usual.degenerate is None
    assert criterion.degenerate_batches == 3


def test_only_what_a_batch_lacks_is_forgiven():
    for changes, message in [
        ({"embeddings": VIEWS * torch.nan}, "nan in row 0"),
        ({"labels": LABELS[:3]}, r"found shape \(3,\)"),
        ({"labels": torch.tensor([0, 0, 1, 2]), "anchors_without_positives": "error"}, "4 of 8"),
        ({"degenerate": "skip"}, "degenerate one of 'error', 'zero'"),
    ]:
        arguments = {"embeddings": VIEWS, "labels": LABELS, "degenerate": "zero"} | changes
        with pytest.raises(InputError, match=message):
            supcl_loss(**arguments, alpha=0.5, temperature=0.1)
    with pytest.warns(DegenerateBatchWarning):
        assert supcl_loss(VIEWS, LABELS * 0, alpha=0, temperature=0.1, degenerate="zero") == 0


def test_the_term_that_keeps_counts_as_nothing_alone():
    criterion = SupCLLoss(alpha=0.5, temperature=0.1, keep=2.0, degenerate="zero")
    views = VIEWS.clone().requires_grad_()
    with pytest.warns(DegenerateBatchWarning, match="2 classes of fewer than four"):
        loss = criterion(views, LABELS, reference=VIEWS)
    loss.backward()
    other = VIEWS.clone().requires_grad_()
    supcl_loss(other, LABELS, alpha=0.5, temperature=0.1).backward()
    torch.testing.assert_close(views.grad, other.grad)
    assert (criterion.last.kept.classes, criterion.last.kept.few) == (0, 2)
    assert criterion.degenerate_batches == 1


@pytest.mark.slow  # the compiler is slow to start
def test_compiled_whole_a_degenerate_batch_is_nothing_too():
    criterion = SupCLLoss(alpha=0, temperature=0.1, keep=1.0, degenerate="zero")
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    views = VIEWS.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = compiled(views, torch.arange(4), reference=VIEWS)
        loss.backward()
    assert loss == 0
    assert views.grad.abs().sum() == 0


ACCEPTED = {
    "a list": [0, 0, 1, 1],
    "a tuple of tensors": tuple(LABELS),
    "an array": LABELS.numpy(),
    "an array of bytes": LABELS.numpy().astype(np.uint8),
    "a column": LABELS[:, None],
    "an array as a column": LABELS.numpy()[:, None],
    "floats": LABELS.float(),
    "half floats as a column": LABELS.half()[:, None],
    "an array of Python's numbers": np.array(LABELS.tolist(), dtype=object),
    "flags": [False, False, True, True],
    "float flags in a list": [0.0, 0.0, 1.0, 1.0],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_labels_are_taken_where_their_meaning_is_certain(name):
    arguments = {"alpha": 0.3, "temperature": 0.1}
    expected = supcl_loss(VIEWS, LABELS, **arguments)
    assert supcl_loss(VIEWS, ACCEPTED[name], **arguments) == expected


def test_what_cross_entropy_ignores_is_unlabelled():
    arguments = {"alpha": 0.3, "temperature": 0.1}
    expected = supcl_loss(VIEWS, torch.tensor([0, 0, 1, -1]), **arguments)
    for labels in ([0, 0, 1, -100], torch.tensor([0.0, 0.0, 1.0, -100.0])[:, None]):
        assert supcl_loss(VIEWS, labels, **arguments) == expected
    with pytest.raises(InputError, match=r"-100, which cross-entropy ignores.*found label -2"):
        supcl_loss(VIEWS, [0, 0, 1, -2], **arguments)


REFUSED = {
    "scores": ([0.2, 0.9, 0.1, 1.0], r"found 0\.2 .*\(labels > 0\.5\)\.long\(\)"),
    "nan": ([0.0, torch.nan, 1.0, 1.0], "found nan"),
    "more than half precision holds": (torch.tensor([0, 0, 4096, 4096]).half(), "too large to be"),
    "one-hot": (torch.eye(2)[LABELS], r"found shape \(4, 2\); give labels\.argmax\(dim=1\)"),
    "words": (["cat", "cat", "dog", "dog"], r"numpy\.unique\(labels, return_inverse=True\)"),
    "nothing in a row": ([0, 0, None, 1], "found other things"),
    "rows of several lengths": ([[0], [0, 1], [1], [1]], "rows of several lengths"),
    "beyond 2^63": (np.array([0, 0, 2**63, 1], dtype=np.uint64), r"below 2\^63"),
    "a generator": (iter([0, 0, 1, 1]), r"torch\.as_tensor\(labels\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_labels_are_refused_with_the_cast_to_write(name):
    labels, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        supcl_loss(VIEWS, labels, alpha=0.3, temperature=0.1)
