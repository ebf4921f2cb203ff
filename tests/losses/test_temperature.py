"""A temperature that is learned, and an alpha that follows a schedule."""

import copy
import functools

import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import (
    LearnableTemperature,
    SupCLLoss,
    backward_in_chunks,
    loss_in_chunks,
    reference_supcl,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)

LABELS = torch.tensor([0, 0, 1, 1, 2, 0, -1, 1])


def views():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 2, 5, dtype=torch.float64, generator=generator).requires_grad_()


CONVENTIONS = {
    "default": {},
    "pairs, with itself": {"self_pairs": "include", "reduction": "pairs"},
    "as they are": {"normalize": False},
    "supervised": {"alpha": 0.0},
    "cold": {"temperature": 0.002},  # tiles are shifted
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_its_gradient_is_that_of_the_definition(name):
    arguments = {"alpha": 0.3, "temperature": 0.2} | CONVENTIONS[name]
    found = []
    for loss_of, extra in (
        (supcl_loss, {"tile_size": 5}),
        (supcl_loss, {"backend": "dense", "checks": "deferred"}),
        (reference_supcl, {}),
    ):
        tau = torch.nn.Parameter(torch.tensor(arguments["temperature"], dtype=torch.float64))
        z = views()
        loss = loss_of(z, LABELS, **{**arguments, "temperature": tau}, **extra)
        (3 * loss).backward()
        found.append((loss.detach(), tau.grad, z.grad))
    torch.testing.assert_close(found[0], found[2], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], found[2], rtol=1e-9, atol=1e-9)
    # Where embeddings are constants, too.
    tau = torch.nn.Parameter(torch.tensor(arguments["temperature"], dtype=torch.float64))
    supcl_loss(views().detach(), LABELS, **{**arguments, "temperature": tau}).backward()
    torch.testing.assert_close(3 * tau.grad, found[0][1])


def test_in_float32_it_is_close_and_there_is_no_second_derivative():
    z, tau = views().detach().float(), torch.nn.Parameter(torch.tensor([0.1]))
    loss = supcl_loss(z, LABELS, alpha=0.3, temperature=tau)
    (slope,) = torch.autograd.grad(loss, tau, create_graph=True)
    exact = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    reference_supcl(views(), LABELS, alpha=0.3, temperature=exact).backward()
    assert slope.item() == pytest.approx(exact.grad.item(), rel=1e-4)
    with pytest.raises(InputError, match="a second derivative"):
        slope.backward()


def test_a_step_leads_downhill_and_stays_within_the_bounds():
    for temperature in (
        LearnableTemperature(0.1, (0.05, 0.5)),
        torch.nn.Parameter(torch.tensor(0.1)),
    ):
        criterion = SupCLLoss(alpha=0.3, temperature=temperature, temperature_bounds=(0.05, 0.5))
        (parameter,) = criterion.parameters()
        z = views().detach().float()
        losses, taus = [], []
        for _ in range(60):
            loss = criterion(z, LABELS)
            parameter.grad = None
            loss.backward()
            with torch.no_grad():
                parameter -= 0.1 * parameter.grad.sign()
            losses.append(loss.item())
            taus.append(criterion.last.temperature)
        assert losses[-1] < losses[0]
        assert all(0.05 - 1e-6 <= tau <= 0.5 + 1e-6 for tau in taus)
        assert taus[0] == pytest.approx(0.1)
        assert taus[-1] == pytest.approx(0.5)  # noise says nothing: the larger, the better


def test_a_step_that_leaves_the_bounds_is_shown_within_them():
    learned = LearnableTemperature(0.1, (0.05, 0.5))
    of_module, held = learned.log_inverse, torch.nn.Parameter(torch.tensor(0.1))
    for temperature, parameter, far in ((learned, of_module, -30.0), (held, held, 1e9)):
        criterion = SupCLLoss(alpha=0.3, temperature=temperature, temperature_bounds=(0.05, 0.5))
        with torch.no_grad():
            parameter.fill_(far)
        assert criterion.temperature_value == pytest.approx(0.5)
        assert "temperature=0.5" in repr(criterion)
        assert parameter == far  # to look changes nothing
        criterion(views().detach().float(), LABELS)
        assert criterion.last.temperature == pytest.approx(0.5)


def test_it_is_saved_and_copied_with_the_loss():
    criterion = SupCLLoss(alpha=0.3, temperature=LearnableTemperature(0.2))
    assert "temperature=0.1999999" in repr(copy.deepcopy(criterion))
    other = SupCLLoss(alpha=0.3, temperature=LearnableTemperature(0.1))
    other.load_state_dict(criterion.state_dict())
    z = views()
    assert other(z, LABELS) == criterion(z, LABELS)


def test_it_learns_through_the_gradient_cache():
    expected, encoder = None, torch.nn.Linear(4, 3)
    rows = torch.randn(8, 4)
    for embed in (
        lambda criterion: criterion(encoder(rows), LABELS).backward(),
        lambda criterion: backward_in_chunks(
            encoder, rows.split(3), lambda z: criterion(z, LABELS)
        ),
        lambda criterion: loss_in_chunks(
            encoder, rows.split(3), lambda z: criterion(z, LABELS)
        ).backward(),
    ):
        criterion = SupCLLoss(alpha=0, temperature=LearnableTemperature(0.2))
        embed(criterion)
        found = criterion.temperature.log_inverse.grad
        expected = found if expected is None else expected
        torch.testing.assert_close(found, expected)


def test_what_is_no_temperature_is_refused():
    for temperature, bounds, message in [
        (torch.nn.Parameter(torch.tensor([0.1, 0.2])), (0.01, 1), r"shape \(2,\)"),
        (torch.nn.Parameter(torch.tensor(2.0)), (0.01, 1), "from 0.01 to 1, its bounds"),
        (torch.nn.Parameter(torch.tensor(0.1)), (1, 0.01), "its bounds"),
        (torch.tensor(0.1, requires_grad=True).exp(), (0.01, 1), "no gradient reaches it"),
    ]:
        with pytest.raises(InputError, match=message):
            SupCLLoss(alpha=0, temperature=temperature, temperature_bounds=bounds)
    with pytest.raises(InputError, match="its bounds"):
        LearnableTemperature(2.0)
    with pytest.raises(InputError, match="no gradient reaches it"):
        supcon_loss(views(), LABELS, temperature=torch.nn.Parameter(torch.tensor(0.1)))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("backend", ["tiled", "dense"])
def test_a_tensor_of_alpha_gets_the_difference_of_the_terms(alpha, backend):
    found = []
    for loss_of in (reference_supcl, functools.partial(supcl_loss, backend=backend)):
        weight, z = torch.tensor([alpha], requires_grad=True), views()
        loss = loss_of(z, LABELS, alpha=weight, temperature=0.2)
        loss.backward()
        found.append((loss.detach(), weight.grad, z.grad))
    torch.testing.assert_close(*found)
    both = [supcl_loss(views(), LABELS, alpha=weight, temperature=0.2) for weight in (1.0, 0.0)]
    assert found[0][1].item() == pytest.approx((both[0] - both[1]).item(), rel=1e-4)


def test_alpha_follows_a_schedule_of_the_steps_that_train():
    criterion = SupCLLoss(alpha=lambda step: max(0.2, 1 - step / 4), temperature=0.1)
    z, used = views(), []
    for _ in range(6):
        loss = criterion(z, LABELS)
        used.append(criterion.last.alpha)
        assert loss == supcl_terms(z, LABELS, alpha=used[-1], temperature=0.1).loss
        with torch.no_grad():
            criterion(z, LABELS)  # an evaluation between steps
        criterion.eval()
        criterion(z, LABELS)
        criterion.train()
    assert used == pytest.approx([1, 0.75, 0.5, 0.25, 0.2, 0.2])
    assert criterion.step == 6
    criterion.step = 2  # of a run that goes on
    assert criterion.alpha_now == 0.5
    too_much = SupCLLoss(alpha=lambda step: 1.5, temperature=0.1)
    with pytest.raises(InputError, match=r"alpha of step 0 a number in \[0, 1\]"):
        too_much(z, LABELS)
