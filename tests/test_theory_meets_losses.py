"""Where theory and losses meet: the loss that is trained has the optimum that is predicted.

Neither room imports the other; a wrong loss can not make a wrong prediction look right.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from uncollapse.losses import supcl_loss
from uncollapse.theory import Embeddings, Setting, predict, realise

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
