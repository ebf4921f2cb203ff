"""Secondary measures against their definitions, and their known traps."""

import numpy as np
import pytest
from embeddings import cloud, ssem, unit

from uncollapse.metrics import measure
from uncollapse.metrics.secondary import effective_rank, nc1, uniformity_of


@pytest.fixture
def found(rng):
    rows, labels, _ = cloud(rng, (40, 30, 35), d=12)
    return rows, labels, measure(rows, labels, permutations=0).secondary


def covariances(rows, labels):
    return [np.cov(rows[labels == c].T) for c in np.unique(labels)]


def means(rows, labels):
    return np.stack([rows[labels == c].mean(axis=0) for c in np.unique(labels)])


def test_nc1_nc2_directional_cdnv_rankme(found):
    rows, labels, secondary = found
    m, sigma = means(rows, labels), covariances(rows, labels)
    n, grand = np.bincount(labels), rows.mean(axis=0)
    within = sum((n[c] - 1) * sigma[c] for c in range(3)) / len(rows)
    between = sum(n[c] * np.outer(m[c] - grand, m[c] - grand) for c in range(3)) / len(rows)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 3
    assert secondary["nc1"]["value"] == pytest.approx(expected, rel=1e-6)

    centred = m - m.mean(axis=0)
    cosines = [unit(centred[i]) @ unit(centred[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    deviation = np.sqrt(np.mean((np.array(cosines) + 1 / 2) ** 2))
    assert secondary["nc2"]["cosine_deviation"] == pytest.approx(deviation, rel=1e-9)

    directional = []
    for i in range(3):
        for j in range(3):
            if i != j:
                u = m[i] - m[j]
                directional.append(u @ sigma[i] @ u / (u @ u) ** 2)
    assert secondary["directional_cdnv"]["mean"] == pytest.approx(np.mean(directional), rel=1e-9)

    singular = np.linalg.svd(rows, compute_uv=False)
    assert secondary["rankme"]["value"] == pytest.approx(effective_rank(singular), rel=1e-9)


def test_spectrum_alignment_uniformity_quotient(found, rng):
    rows, labels, secondary = found
    eigenvalues = [np.linalg.eigvalsh(s)[::-1] for s in covariances(rows, labels)]
    largest = np.mean([e[0] / e.sum() for e in eigenvalues])
    assert secondary["class_spectrum"]["largest_share"]["1"] == pytest.approx(largest, rel=1e-9)
    apart = [
        np.mean(
            [
                np.sum((x - y) ** 2)
                for i, x in enumerate(rows[labels == c])
                for y in rows[labels == c][:i]
            ]
        )
        for c in range(3)
    ]
    assert secondary["alignment"]["classes"] == pytest.approx(np.mean(apart), rel=1e-9)
    pairs = [np.exp(-2 * np.sum((rows[i] - rows[j]) ** 2)) for i in range(105) for j in range(i)]
    assert secondary["uniformity"]["value"] == pytest.approx(np.log(np.mean(pairs)), rel=1e-9)
    assert uniformity_of(rows) == pytest.approx(np.log(np.mean(pairs)), rel=1e-9)


def test_participation_is_debiased(rng):
    # Isotropic in 20 dimensions: the plug-in of 15 instances can be 14 at most.
    rows = np.concatenate([np.full((3000, 1), 3.0), rng.standard_normal((3000, 20))], axis=1)
    labels = np.repeat(np.arange(200), 15)
    spectrum = measure(rows, labels, permutations=0).secondary["class_spectrum"]
    assert spectrum["participation"] == pytest.approx(20, rel=0.1)
    assert spectrum["effective_rank"] < 14


def test_cdnv_is_debiased_where_the_plug_in_is_not(rng):
    # 40 classes of 3 in 400 dimensions; the true value comes from 100 per class.
    def sample(n):
        labels = np.repeat(np.arange(40), n)
        centre = np.random.default_rng(0).standard_normal((40, 400))
        rows = centre[labels] + 1.5 * rng.standard_normal((40 * n, 400))
        return measure(rows, labels, permutations=0).secondary["cdnv"]

    few, many = sample(3), sample(100)
    assert few["median"] == pytest.approx(many["median"], rel=0.05)
    assert few["plug_in_median"] < 0.6 * many["median"]


def test_nc1_null_is_where_random_labels_are(rng):
    rows, labels, _ = cloud(rng, (60, 60, 60))
    null = measure(rows, labels, permutations=19).secondary["nc1"]["null"]
    assert null["p_value"] == pytest.approx(1 / 20)
    shuffled = measure(rows, rng.permutation(labels), permutations=19).secondary["nc1"]
    assert null["low"] / 3 < shuffled["value"] < null["high"] * 3
    assert shuffled["null"]["p_value"] > 0.05


def test_nc1_of_an_exact_ssem_is_zero_at_every_variance():
    for V in (0.01, 0.9):
        rows, labels = ssem(V, 4, 9)
        m = means(rows, labels)
        within = sum(covariances(rows, labels)) / 4
        found = nc1(
            lambda u, within=within: np.einsum("ij,ij->i", u @ within, u),
            m - m.mean(axis=0),
            np.full(4, 0.25),
        )
        assert found < 1e-12


def test_what_a_stream_of_blocks_cannot_give_is_null_not_zero(rng):
    from uncollapse.metrics import Accumulator

    rows, labels, _ = cloud(rng, (60, 60))
    stream = Accumulator("blocks")
    stream.update(rows, labels)
    found = stream.measurement()
    assert found.secondary["nc1"] is None
    assert found.secondary["rankme"] is None
    assert found.secondary["cdnv"]["median"] > 0
    assert "not applicable" in str(found)
