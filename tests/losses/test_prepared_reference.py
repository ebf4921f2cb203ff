"""`prepare_reference`: the same loss without its columns left out, and how far it is with them."""

import re

import numpy as np
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import (
    PreparedReference,
    SupCLLoss,
    backward_in_chunks,
    prepare_reference,
    retention_loss,
)

LABELS = torch.arange(90) % 4 - 1


def rows(e=12, kind=torch.float64, seed=0):
    """A few strong directions and many weak ones."""
    generator = torch.Generator().manual_seed(seed)
    strengths = torch.arange(1, e + 1).double() ** -1.0
    found = torch.randn(90, e, generator=generator).double() * strengths + 0.3
    return found.to(kind)


def value_and_gradient(x, *rest, **options):
    x = x.clone().requires_grad_()
    loss = retention_loss(x, *rest, **options)
    loss.backward()
    return loss.detach(), x.grad


def products(centred):
    """Cosines of all pairs of rows, one by one."""
    return np.array([[float(a @ b) for b in centred] for a in centred])


@pytest.mark.parametrize("views", [1, 3])
def test_with_all_columns_it_is_the_reference_itself(views):
    x, y = rows(5, seed=1)[:, None].repeat(1, 2, 1), rows()
    x[:, 1] += 0.1 * rows(5, seed=2)
    y = y if views == 1 else torch.stack([y, y * 3, y + 0.2 * rows(seed=3)], dim=1)
    prepared = prepare_reference(y, LABELS)
    assert prepared.agreement == 1
    assert prepared.dimension == 12
    batch = torch.randperm(90, generator=torch.Generator().manual_seed(0))[:50]
    numbers = batch // 2 + 100 * LABELS[batch]
    for given in ((), (numbers,)):
        expected = value_and_gradient(x[batch], y[batch], LABELS[batch], *given)
        for chosen in (prepared, prepare_reference(y, columns=99)):
            ours = value_and_gradient(x[batch], chosen[batch], LABELS[batch], *given)
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_agreement_is_the_cosine_of_products_and_bounds_what_retention_changes():
    y = rows()
    unit = torch.nn.functional.normalize(y, dim=-1)
    generator = torch.Generator().manual_seed(5)
    last = 0.0
    for columns in (1, 3, 6):
        prepared = prepare_reference(y, LABELS, columns=columns)
        assert prepared.rows.shape == (90, columns)
        assert (prepared[:10].dimension, len(prepared[LABELS == 1])) == (12, 22)
        cosines = []
        for label in range(3):
            grams = []
            for side in (unit, prepared.rows):
                own = side[label == LABELS]
                grams.append(products((own - own.mean(0)).numpy()))
            whole, few = grams
            lengths = [np.sqrt((each**2).sum()) for each in grams]
            cosines.append((whole * few).sum() / np.prod(lengths))
            most = np.sqrt(1 - cosines[-1] ** 2)
            for other in (torch.randn(len(own), 4, generator=generator).double(), own):
                kernel = products((other - other.mean(0)).numpy())
                size = np.sqrt((kernel**2).sum())
                kept = [(kernel * g).sum() / size / n for g, n in zip(grams, lengths, strict=True)]
                assert abs(kept[0] - kept[1]) <= most + 1e-12
        assert prepared.agreement == pytest.approx(min(cosines), rel=1e-12)
        assert prepared.agreement > last
        last = prepared.agreement


def test_agreement_asked_for_takes_the_fewest_columns_that_give_it():
    y, wanted = rows(), 0.995
    prepared = prepare_reference(y, LABELS, agreement=wanted)
    count = prepared.rows.shape[1]
    assert 1 < count < 12
    assert prepared.agreement >= wanted > prepare_reference(y, LABELS, columns=count - 1).agreement
    assert prepare_reference(y, LABELS, agreement=wanted, columns=2).rows.shape == (90, 2)
    # Rows of no class choose nothing; nor does a class of three.
    others = torch.cat([LABELS, torch.tensor([-1, 9, 9, 9])])
    more = torch.cat([y, 100 * torch.eye(12)[:4].double()])
    again = prepare_reference(more, others, agreement=wanted)
    torch.testing.assert_close(again.rows[:90].abs(), prepared.rows.abs())


def test_a_batch_of_few_columns_is_near_the_whole():
    y = rows(40, torch.float32)
    x = y[:, :6] + 0.3 * rows(6, torch.float32, seed=7)
    prepared = prepare_reference(y, LABELS, agreement=0.99).to(torch.float32)
    assert prepared.rows.shape[1] < 20
    whole, few = (value_and_gradient(x, side, LABELS) for side in (y, prepared))
    assert abs(whole[0] - few[0]) < 0.02
    cosine = torch.nn.functional.cosine_similarity(whole[1].flatten(), few[1].flatten(), dim=0)
    assert cosine > 0.99


def test_the_module_and_its_chunks_take_it():
    y, encoder = rows(kind=torch.float32), torch.nn.Linear(12, 6)
    x, prepared = rows(kind=torch.float32, seed=3), prepare_reference(y, LABELS)
    criterion = SupCLLoss(alpha=0.3, temperature=0.1, keep=1.0)

    def loss_of(z):
        views = torch.stack([z, z.roll(1, dims=1)], dim=1)
        return criterion(views, LABELS, reference=prepared)

    expected = criterion(
        torch.stack([(z := encoder(x)), z.roll(1, dims=1)], dim=1), LABELS, reference=y
    )
    loss = backward_in_chunks(encoder, x.split(40), loss_of)
    torch.testing.assert_close(loss, expected.detach())


@pytest.mark.slow
def test_torch_compile_takes_it():
    x, prepared = rows(6, torch.float32, seed=1), prepare_reference(rows(), LABELS, columns=4)
    x = torch.stack([x, x + 0.1], dim=1)
    criterion = SupCLLoss(alpha=0.4, temperature=0.1, keep=0.7)

    def loss_of(z, beside):
        return criterion(z, LABELS, reference=beside)

    compiled = torch.compile(loss_of, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, prepared), loss_of(x, prepared))


Y = rows()
CASES = {
    "an array": ({"reference": Y.numpy()}, "a reference of shape (n, e) or (n, q, e); found nda"),
    "one axis": ({"reference": Y[:, 0]}, "found shape (90,)"),
    "integers": ({"reference": Y.long()}, "convert it with .float()"),
    "nan": ({"reference": Y * torch.nan}, "finite rows of the reference; found nan in row 0"),
    "zero": ({"reference": Y * (torch.arange(90) != 3)[:, None]}, "zero vector in row 3"),
    "labels": ({"labels": LABELS[1:]}, "labels of shape (90,); found (89,)"),
    "no class": ({"labels": LABELS * 0 - 1}, "a class of 4 rows that differ"),
    "alike": ({"reference": torch.ones(90, 3)}, "a class of 4 rows that differ"),
    "no columns": ({"columns": 0}, "columns from 1; found columns = 0"),
    "agreement": ({"agreement": 1.0}, "agreement between 0 and 1; found agreement = 1.0"),
}


@pytest.mark.parametrize("name", CASES)
def test_unusable_input_is_an_error_with_cause_and_remedy(name):
    changes, message = CASES[name]
    arguments = {"reference": Y, "labels": LABELS, "columns": 2}
    assert isinstance(prepare_reference(**arguments), PreparedReference)
    with pytest.raises(InputError, match=re.escape(message)):
        prepare_reference(**{**arguments, **changes})
