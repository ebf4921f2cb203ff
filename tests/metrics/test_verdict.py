"""How evidence becomes a verdict: the table of docs/verdict.md, where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from test_record import prediction

from uncollapse.metrics import (
    Accumulator,
    Margins,
    ProbeOptions,
    Reference,
    WithinClassOptions,
    measure,
)

WITHIN = WithinClassOptions(permutations=0, strengths=(1.0,), neighbours=(5,))
QUICK = {"permutations": 0, "probe": ProbeOptions(within=WITHIN)}
# Size of the residuals, and in which of the share's ranges it puts them.
SPREAD, LOW, GONE = 0.3, 0.06, 1e-3


def embedded(rng, size, kept=1.0, n=60, classes=3, d=12):
    """A base, and an embedding with residuals of so much length, `kept` of it those of the base."""
    labels = np.repeat(np.arange(classes), n)
    base, noise = rng.standard_normal((2, classes * n, d))
    residuals = np.sqrt(kept) * base + np.sqrt(1 - kept) * noise
    return np.eye(classes, d)[labels] + size * residuals / np.sqrt(d / 4), labels, base


@pytest.mark.parametrize(
    ("size", "kept", "verdict", "codes"),
    [
        (SPREAD, None, "not-collapsed", ["UC402"]),
        (SPREAD, 1, "healthy", ["UC403"]),
        (SPREAD, 0, "at-risk", ["UC209", "UC402"]),
        (LOW, None, "at-risk", ["UC201"]),
        (LOW, 1, "healthy", ["UC403"]),
        (LOW, 0, "at-risk", ["UC209", "UC201"]),
        (GONE, None, "collapsed", ["UC101"]),
        (GONE, 1, "at-risk", ["UC211", "UC101"]),
        (GONE, 0, "collapsed", ["UC101", "UC209"]),
    ],
)
def test_share_and_retention(rng, size, kept, verdict, codes):
    rows, labels, base = embedded(rng, size, kept or 0)
    found = measure(rows, labels, reference=None if kept is None else base, **QUICK)
    assert found.verdict == verdict
    assert [reason.code for reason in found.reasons][: len(codes)] == codes
    assert {one.verdict for one in found.classes} == {verdict}
    # What is left can be used as it is, or not.
    assert found.fails("collapsed") is (verdict == "collapsed")


@pytest.mark.parametrize(
    ("size", "verdict", "codes"),
    [(SPREAD, "not-collapsed", ["UC303", "UC402"]), (LOW, "at-risk", ["UC201", "UC303"])],
)
def test_retention_across_its_margin_does_not_decide(rng, size, verdict, codes):
    rows, labels, base = embedded(rng, size, 0.5)
    kept = measure(rows, labels, reference=base, **QUICK).reference.retention
    found = measure(rows, labels, reference=base, margins=Margins(retention=kept.estimate), **QUICK)
    assert found.verdict == verdict
    assert [reason.code for reason in found.reasons][:2] == codes


@pytest.mark.parametrize("size", [SPREAD, LOW, GONE])
def test_an_embedding_beside_itself_shows_nothing(rng, size):
    """Turned, scaled or rounded it still has all that it has, whatever it has lost before."""
    rows, labels, _ = embedded(rng, size)
    fine = rng.integers(0, 2, len(labels))
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    alone = measure(rows, labels, fine_labels=fine, **QUICK)
    for same in (rows, rows.astype(np.float32), 3 * rows @ turn):
        found = measure(rows, labels, fine_labels=fine, reference=same, **QUICK)
        assert found.reference.retention.estimate > 1 - 1e-6
        assert found.verdict == alone.verdict != "healthy"
        assert [one.verdict for one in found.classes] == [one.verdict for one in alone.classes]
        assert ("UC305" in [reason.code for reason in found.reasons]) == (size != GONE)
        assert not {"UC403", "UC404", "UC211"} & {reason.code for reason in found.reasons}
    stream = Accumulator("blocks")
    stream.update(rows, labels, reference=rows)
    assert stream.measurement().verdict == alone.verdict


def test_a_reference_without_retention_is_named(rng):
    rows, labels, base = embedded(rng, SPREAD)
    same_way = np.abs(base[:, :1])
    found = measure(rows, labels, reference=Reference(same_way, "one column"), **QUICK)
    assert (found.verdict, found.reasons[0].code) == ("not-collapsed", "UC305")
    assert all("one column" in said for said in (found.reasons[0].text, found.reasons[0].headline))
    # What a prediction shows needs no reference.
    expected = prediction(found.within_class_variance.estimate)
    total = found.within_class_variance.estimate / found.share.estimate
    expected = replace(expected, between_class_variance=total - expected.within_class_variance)
    for useless in (same_way, rows):
        found = measure(rows, labels, reference=useless, prediction=expected, **QUICK)
        assert (found.verdict, found.reasons[0].code) == ("healthy", "UC405")


def test_finer_labels_outrank_retention(rng):
    """One direction holds the finer label; what is kept of the rest decides retention."""
    _, labels, base = embedded(rng, SPREAD, n=120)
    fine = rng.integers(0, 2, len(labels))
    base[:, 5] = 3 * (fine - 0.5) + 0.3 * base[:, 5]
    noise = rng.standard_normal(base.shape)
    means = 4 * np.eye(3, base.shape[1])[labels]
    only, without = noise.copy(), base.copy()
    only[:, 5], without[:, 5] = base[:, 5], noise[:, 5]
    options = {**QUICK, "margins": Margins(retention=0.5)}
    found = measure(means + only, labels, fine_labels=fine, reference=base, **options)
    assert found.verdict == "healthy"
    assert [reason.code for reason in found.reasons][:2] == ["UC404", "UC505"]
    found = measure(means + without, labels, fine_labels=fine, reference=base, **options)
    assert found.verdict == "at-risk"
    codes = [reason.code for reason in found.reasons]
    assert codes[0] == "UC210"
    assert ("UC505" in codes) == (found.reference.retention.low > 0.5)
    assert "accuracy" in found.reasons[0].text
    # Nor is a class healthy by a retention that the finer labels of all of them contradict.
    kept = [one.retention.low > 0.5 for one in found.reference.classes]
    assert any(kept)
    assert {one.verdict for one in found.classes} <= {"not-collapsed", "at-risk"}


def test_finer_labels_of_noise_are_no_evidence(rng):
    rows, labels, base = embedded(rng, SPREAD, 0)
    noise = rng.integers(0, 2, len(labels))
    found = measure(rows, labels, fine_labels=noise, reference=base, permutations=0)
    assert abs(found.reference.probe.difference.estimate) < Margins().fine_loss
    assert "UC404" not in [reason.code for reason in found.reasons]
    assert found.verdict == "at-risk"


def test_what_is_kept_outranks_a_prediction_of_collapse_and_not_a_collapsed_class(rng):
    rows, labels, base = embedded(rng, SPREAD)
    expected = prediction(0.0, "collapse")
    found = measure(rows, labels, reference=base, prediction=expected, **QUICK)
    assert found.verdict == "healthy"
    assert "UC506" in [reason.code for reason in found.reasons]
    assert measure(rows, labels, prediction=expected, **QUICK).reasons[0].code == "UC203"
    rows[labels == 1] = rows[labels == 1].mean(axis=0)
    found = measure(rows, labels, reference=base, **QUICK)
    assert (found.verdict, found.reasons[0].code) == ("at-risk", "UC204")
    assert [one.verdict for one in found.classes] == ["healthy", "collapsed", "healthy"]


def test_a_class_has_the_verdict_of_its_own_retention(rng):
    rows, labels, base = embedded(rng, SPREAD, classes=6)
    base[labels == 2] = rng.standard_normal(base[labels == 2].shape)
    found = measure(rows, labels, reference=Reference(base, "pixels"), **QUICK)
    assert [one.verdict for one in found.classes] == [
        "at-risk" if one.label == 2 else "healthy" for one in found.classes
    ]
    assert "pixels" in found.classes[2].reason


@pytest.mark.parametrize(
    ("share", "variance", "verdict"),
    [
        (1, 1, "healthy"),
        (0.85, 1.15, "healthy"),
        (0.75, 1, "not-collapsed"),
        (1, 0.75, "not-collapsed"),
        (1.3, 1, "not-collapsed"),
        (1, 1.3, "not-collapsed"),
    ],
)
def test_a_prediction_is_reached_from_both_sides_in_share_and_variance(
    rng, share, variance, verdict
):
    rows, labels, _ = embedded(rng, SPREAD, n=400)
    plain = measure(rows, labels, **QUICK)
    expected = prediction(plain.within_class_variance.estimate / variance)
    total = plain.within_class_variance.estimate / variance / (plain.share.estimate / share)
    expected = replace(expected, between_class_variance=total - expected.within_class_variance)
    found = measure(rows, labels, prediction=expected, **QUICK)
    assert found.verdict == verdict
    assert found.reasons[0].code == ("UC405" if verdict == "healthy" else "UC402")


def test_no_share_alone_is_healthy(rng):
    sizes = np.geomspace(1e-4, 10, 12)
    words = {measure(*embedded(rng, size)[:2], **QUICK).verdict for size in sizes}
    assert {"collapsed", "at-risk", "not-collapsed"} <= words
    assert "healthy" not in words


def test_one_noise_dimension_is_seen_through(rng):
    """Classes are points; a dimension of noise, or one that depends on the class, fools a share."""
    labels = np.repeat(np.arange(4), 60)
    points = np.eye(4, 12)[labels] + 0.01 * rng.standard_normal((240, 12))
    noisy, classy = points.copy(), np.eye(4, 12)[labels] + 0.2 * rng.standard_normal((240, 12))
    noisy[:, 11] += 0.3 * rng.standard_normal(240)
    classy[:, 10] += 20 * np.array([1, -1, 0.5, -0.5])[labels]
    found = measure(noisy, labels, **QUICK)
    assert found.share.low > 0.05
    assert (found.verdict, found.reasons[0].code) == ("at-risk", "UC212")
    assert found.secondary.first_direction.without_inside < 0.01
    assert "UC510" not in [reason.code for reason in found.reasons]
    found = measure(classy, labels, **QUICK)
    assert found.verdict == "collapsed"
    assert "UC510" in [reason.code for reason in found.reasons]
    assert found.secondary.first_direction.without > 0.2
    # A mean common to all rows is no such direction.
    spread = np.eye(4, 12)[labels] + 0.2 * rng.standard_normal((240, 12))
    codes = {reason.code for reason in measure(spread + 100, labels, **QUICK).reasons}
    assert not codes & {"UC212", "UC510"}


def test_the_share_without_the_first_direction_is_that_of_rows_without_it(rng):
    rows, labels, _ = embedded(rng, SPREAD, n=20)
    rows[:, 3] *= 4
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def parts(z):
        groups = [z[labels == c] for c in range(3)]
        within = np.mean([np.trace(np.cov(g.T)) for g in groups])
        means = np.stack([g.mean(axis=0) for g in groups])
        noise = np.mean([np.trace(np.cov(g.T)) / len(g) for g in groups]) * 2 / 3
        return within, np.sum(np.var(means, axis=0)) - noise

    groups = [unit[labels == c] for c in range(3)]
    inside = np.mean([np.cov(g.T) for g in groups], axis=0)
    total = inside + np.cov(np.stack([g.mean(axis=0) for g in groups]).T, bias=True)
    u, v = (np.linalg.eigh(matrix)[1][:, -1] for matrix in (total, inside))
    found = measure(rows, labels, **QUICK).secondary.first_direction
    for value, z in (
        (found.share, unit),
        (found.without, unit - np.outer(unit @ u, u)),
        (found.without_inside, unit - np.outer(unit @ v, v)),
    ):
        within, between = parts(z)
        assert value == pytest.approx(within / (within + between), rel=1e-6)


def test_collapse_of_few_units_says_which_kind_they_would_miss(rng):
    """Ten units per class see a kind of one row in ten; two classes of five do not."""
    for n, verdict in ((5, "cannot-tell"), (45, "collapsed")):
        labels = np.repeat([0, 1], n)
        rows = np.eye(2, 8)[labels] + 1e-3 * rng.standard_normal((2 * n, 8))
        found = measure(rows, labels, **QUICK)
        assert found.verdict == verdict
        assert (found.share.low is None) == (n == 5)
    found = measure(rows[40:50], labels[40:50], **QUICK)
    text = found.reasons[0].text
    assert "1 in 10 rows would be missed by 10 units with probability 35%" in text
    assert "UC509" in [reason.code for reason in found.reasons]


def test_a_loss_of_finer_labels_within_the_margin_is_said(rng):
    labels, fine = np.repeat([0, 1], 120), np.tile([0, 1], 120)
    base = 0.3 * rng.standard_normal((240, 6))
    base[:, 0] += fine
    lossy = base + 0.6 * rng.standard_normal(base.shape)
    options = {**QUICK, "fine_labels": fine, "margins": Margins(fine_loss=0.6)}
    found = measure(lossy, labels, reference=Reference(base, "before"), **options)
    reason = found.reasons[0]
    assert (found.verdict, reason.code, reason.variant) == ("healthy", "UC404", "part")
    assert found.reference.probe.difference.high < 0
    assert "finer labels are kept but for a loss within the margin" in reason.text
    assert reason.headline.endswith("but for a loss within the margin, compared with before")
    same = measure(base, labels, reference=base @ np.diag([1, 1, 1, 1, 1, 0.5]), **options)
    assert (same.reasons[0].code, same.reasons[0].variant) == ("UC404", "")
