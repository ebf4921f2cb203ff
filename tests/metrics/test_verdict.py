"""How evidence becomes a verdict: the table of docs/verdict.md, where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from test_record import prediction

from uncollapse.metrics import Margins, ProbeOptions, Reference, WithinClassOptions, measure

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
