"""Where theory and losses meet: the loss that is trained has the optimum that is predicted.

Neither room imports the other; a wrong loss can not make a wrong prediction look right.
"""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from uncollapse.losses import retention_loss, supcl_loss
from uncollapse.theory import Embeddings, Setting, predict, realise, with_keep

BALANCED = [
    Setting(
        classes=3, per_class=4, views=2, alpha=alpha, temperature=tau, self_pairs=self_pairs,
        reduction=reduction,
    )
    for self_pairs in ("include", "exclude")
    for reduction in ("pairs", "anchors")
    for alpha, tau in ((0.5, 0.5), (0.2, 0.3), (0.02, 0.15))
]  # fmt: skip
UNBALANCED = [
    Setting(
        class_counts=[5, 3, 2, 1], views=views, alpha=0.4, temperature=0.3, self_pairs=self_pairs,
        reduction=reduction, anchors_without_positives=lone,
    )
    for self_pairs in ("include", "exclude")
    for reduction, lone in (("pairs", "drop"), ("anchors", "drop"), ("anchors", "zero"))
    for views in (2, 3)
]  # fmt: skip


def loss_of(setting: Setting, vectors: torch.Tensor, embeddings: Embeddings) -> torch.Tensor:
    return supcl_loss(
        vectors,
        torch.from_numpy(embeddings.labels),
        torch.from_numpy(embeddings.instances),
        alpha=setting.alpha,
        temperature=setting.temperature,
        self_pairs=setting.self_pairs,
        reduction=setting.reduction,
        anchors_without_positives=setting.anchors_without_positives,
        one_class="allow",  # wrong labels may make it so
    )


@pytest.mark.parametrize("setting", BALANCED + UNBALANCED, ids=str)
def test_the_predicted_embeddings_have_the_predicted_loss_and_no_slope(setting):
    prediction = predict(setting, thresholds=False)
    embeddings = realise(setting, prediction)
    vectors = torch.from_numpy(embeddings.vectors).requires_grad_()
    loss = loss_of(setting, vectors, embeddings)
    assert loss.item() == pytest.approx(prediction.loss, abs=1e-7)
    (slope,) = torch.autograd.grad(loss, vectors)
    assert slope.norm().item() < 1e-4


@pytest.mark.parametrize("setting", BALANCED[1::3] + UNBALANCED[::2], ids=str)
def test_free_embeddings_reach_the_prediction(setting):
    prediction = predict(setting, thresholds=False)
    embeddings = realise(setting, prediction)
    N = len(embeddings.labels)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        vectors = torch.from_numpy(flat.reshape(N, N)).requires_grad_()
        loss = loss_of(setting, vectors, embeddings)
        loss.backward()
        return loss.item(), vectors.grad.numpy().ravel()

    start = np.random.default_rng(0).normal(size=N * N)
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30}
    answer = minimize(value, start, jac=True, method="L-BFGS-B", options=options)
    assert answer.fun == pytest.approx(prediction.loss, abs=1e-6)
    z = answer.x.reshape(N, N)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    for c, expected in enumerate(prediction.within_class_variance_per_class):
        within = 1 - np.sum(z[embeddings.labels == c].mean(0) ** 2)
        assert within == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.02, 0.5], ids=["collapse", "spread"])
def test_a_kept_reference_changes_neither_the_least_loss_nor_the_variances(alpha):
    """Residuals along the reference bring its retention to 1 at no cost in the limit."""
    setting = Setting(classes=3, per_class=8, views=2, alpha=alpha, temperature=0.5)
    prediction = predict(setting, thresholds=False)
    assert prediction.phase == ("collapse" if alpha < 0.1 else "spread")
    optimum = realise(setting, prediction)
    instances, labels = torch.from_numpy(optimum.instances), torch.from_numpy(optimum.labels)
    base = torch.randn(24, 6, generator=torch.Generator().manual_seed(0)).double()[instances]
    own = torch.nn.functional.normalize(base, dim=1)
    residuals = own - torch.stack([own[labels == label].mean(0) for label in range(3)])[labels]
    gaps, kept = [], []
    for size in (1e-2, 1e-3, 1e-4):
        lengths = (1 - size * residuals.square().sum(1, keepdim=True)).sqrt()
        beside = (lengths * torch.from_numpy(optimum.vectors), size**0.5 * residuals)
        vectors = torch.cat(beside, dim=1)
        lost = retention_loss(vectors, base, labels, instances)
        gaps.append(loss_of(setting, vectors, optimum).item() + 2 * lost.item() - prediction.loss)
        kept.append(1 - lost.item())
        # What `predict` certifies of any embedding.
        assert kept[-1] >= 1 - gaps[-1] / 2 - 1e-9
    assert kept[-1] > 0.999
    assert 0 < gaps[2] < gaps[1] / 5 < gaps[0] / 25
    said = with_keep(prediction, 2.0).notes[-1].rpartition("(loss - ")[2].partition(")")[0]
    assert float(said) == pytest.approx(prediction.loss, abs=1e-6)
    assert with_keep(prediction, 0) is prediction


@pytest.mark.parametrize(
    ("setting", "rate"),
    [
        pytest.param(
            Setting(class_counts=[3, 3], alpha=0.2, temperature=0.3), 0.2, marks=pytest.mark.slow
        ),
        (
            Setting(class_counts=[3, 2], views=1, alpha=0.5, temperature=0.4, self_pairs="include"),
            0.1,
        ),
        pytest.param(
            Setting(class_counts=[3, 2], alpha=0.3, temperature=0.3, reduction="pairs"),
            0.1,
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_wrong_labels_on_average_have_the_predicted_optimum(setting, rate):
    """The loss that is trained, averaged over every labelling, over free vectors."""
    prediction = predict(setting, label_noise=rate, thresholds=False)
    embeddings = realise(setting, prediction)
    true = np.repeat(np.arange(2), setting.counts)
    labellings = np.array(list(product((0, 1), repeat=len(true))))
    chances = np.where(labellings == true, 1 - rate, rate).prod(1)

    def loss(vectors: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for labels, chance in zip(labellings, chances, strict=True):
            given = np.repeat(labels, setting.views)
            total = total + chance * loss_of(setting, vectors, embeddings._replace(labels=given))
        return total

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        vectors = torch.from_numpy(flat.reshape(len(embeddings.labels), -1)).requires_grad_()
        found = loss(vectors)
        found.backward()
        return found.item(), vectors.grad.numpy().ravel()

    assert loss(torch.from_numpy(embeddings.vectors)).item() == pytest.approx(
        prediction.loss, abs=1e-7
    )
    start = np.random.default_rng(0).normal(size=len(embeddings.labels) ** 2)
    options = {"maxiter": 150, "ftol": 1e-12, "gtol": 1e-7, "maxcor": 30}
    answer = minimize(value, start, jac=True, method="L-BFGS-B", options=options)
    assert prediction.loss - 1e-7 <= answer.fun <= prediction.loss + 1e-5


@pytest.mark.slow
def test_steps_of_finite_length_spread_a_collapse_that_keeps_a_reference():
    """The excess variance is that of the steps: a third of them leaves about a third of it."""
    setting = Setting(classes=3, per_class=8, views=2, alpha=0.02, temperature=0.5)
    assert predict(setting, thresholds=False).phase == "collapse"
    labels, generator = torch.arange(3).repeat_interleave(8), torch.Generator().manual_seed(1)
    base, start = (torch.randn(24, *d, generator=generator) for d in ((6,), (2, 16)))

    def variance(keep: float, step: float) -> float:
        z = start.clone()
        for _ in range(int(300 / step)):
            z.requires_grad_()
            loss = supcl_loss(z, labels, alpha=0.02, temperature=0.5)
            (slope,) = torch.autograd.grad(loss + keep * retention_loss(z, base, labels), z)
            z = torch.nn.functional.normalize(z.detach() - step * slope, dim=-1)
        classes = z.mean(dim=1).unflatten(0, (3, 8))
        return float((classes - classes.mean(dim=1, keepdim=True)).square().sum(-1).mean())

    large, small = variance(1, 1.0), variance(1, 0.3)
    # Without keep it is still falling: 2e-10 after twice as many steps.
    assert variance(0, 1.0) < 1e-4 < 0.01 < small < large / 2 < 0.1
