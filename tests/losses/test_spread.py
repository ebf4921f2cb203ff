"""The live gauge: variance inside classes from the loss's own sums is that of `measure`."""

import math

import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss, supcl_loss
from uncollapse.metrics import measure

LABELS = torch.tensor([3, 3, 3, 3, 3, 0, 0, 0, -1, 7, 7, 5])
CLASSES = [0, 3, 7]  # of two instances or more


def rows(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(*shape, dtype=dtype, generator=generator) + 0.5).requires_grad_()


@pytest.mark.parametrize("self_pairs", ["exclude", "include"])
@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_what_measure_says(views, dtype, self_pairs):
    z = rows(12, views, 6, dtype=dtype)
    alpha = 0.4 if views > 1 else 0
    criterion = SupCLLoss(alpha=alpha, temperature=0.2, track=True, self_pairs=self_pairs)
    loss = criterion(z, LABELS)
    plain = supcl_loss(z, LABELS, alpha=alpha, temperature=0.2, self_pairs=self_pairs)
    assert loss == plain  # to the bit
    kept = torch.isin(LABELS, torch.tensor(CLASSES))
    record = measure(z[kept].detach(), LABELS[kept], permutations=0, probe=None)
    spread, last = criterion.last.spread, criterion.last
    assert spread.labels.tolist() == [0, 3, 5, 7]
    assert spread.instances.tolist() == [3, 5, 1, 2]
    assert list(last.within_class_variance) == CLASSES
    for found in record.classes:
        place = spread.labels.tolist().index(found.label)
        for ours, theirs in [
            (last.within_class_variance[found.label], found.within_class_variance),
            (float(spread.instance_variance[place]), found.instance_variance),
        ]:
            if theirs.estimate is None:
                assert math.isnan(ours)
            else:
                assert ours == pytest.approx(theirs.estimate, abs=1e-6)
    assert spread.mean == pytest.approx(record.within_class_variance.estimate, abs=1e-6)
    assert (last.supervised > 0, last.self_supervised is None) == (
        True,
        views == 1 and self_pairs == "exclude",
    )


@pytest.mark.parametrize("backend", ["dense", "tiled"])
def test_instances_of_several_numbers_of_views(backend):
    z, instances = rows(12, 6), torch.tensor([0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8])
    labels = torch.tensor([4, 4, 4, 4, 4, 1, 1, 1, -1, 9, 9, 2])
    criterion = SupCLLoss(alpha=0.4, temperature=0.2, track=True, backend=backend)
    criterion(z, labels, instances)
    u = torch.nn.functional.normalize(z.detach(), dim=1)
    for label, found in criterion.last.within_class_variance.items():
        pairs = (labels[:, None] == label) & (labels == label)
        pairs &= instances[:, None] != instances
        assert found == pytest.approx(1 - float((u @ u.T)[pairs].mean()), abs=1e-12)
    assert list(criterion.last.within_class_variance) == [1, 4, 9]


def test_collapsed_classes_have_none():
    z = torch.eye(8, 4, dtype=torch.float64)[LABELS.clamp(min=0) % 4][:, None].repeat(1, 2, 1)
    criterion = SupCLLoss(alpha=0.4, temperature=0.1, track=True)
    criterion(z, LABELS)
    assert max(map(abs, criterion.last.within_class_variance.values())) < 1e-12


def test_without_track_there_is_none_and_vectors_as_they_are_have_none():
    criterion = SupCLLoss(alpha=0, temperature=0.1)
    criterion(rows(12, 4), LABELS)
    assert criterion.last.spread is None
    assert criterion.last.within_class_variance == {}
    with pytest.raises(InputError, match="normalize=True with track"):
        SupCLLoss(alpha=0, temperature=0.1, track=True, normalize=False)
    with pytest.raises(InputError, match="track True or False"):
        SupCLLoss(alpha=0, temperature=0.1, track="yes")
