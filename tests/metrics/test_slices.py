"""A slice that is collapsed is named, by what holds for all slices at once, and fails a guard."""

from dataclasses import replace

import numpy as np
import pytest
from embeddings import cloud, ssem, unit
from test_record import prediction
from typer.testing import CliRunner

from uncollapse.cli import app
from uncollapse.errors import InputError
from uncollapse.metrics import Margins, ProbeOptions, WithinClassOptions, compare, measure

WITHIN = WithinClassOptions(permutations=0, strengths=(1.0,))
QUICK = {"permutations": 0, "probe": ProbeOptions(within=WITHIN)}


def sites(rng, V=1e-5, n=120):
    """Two classes of n rows at four sites; at site c their spread is V instead of .3."""
    rows, labels, _ = cloud(rng, (n, n), d=8)
    site = np.array(list("abcd"))[np.arange(2 * n) % 4]
    means = np.stack([rows[labels == c].mean(axis=0) for c in (0, 1)])[labels]
    quiet = site == "c"
    rows[quiet] = means[quiet] + np.sqrt(V / 0.3) * (rows - means)[quiet]
    return unit(rows), labels, site


def test_a_collapsed_slice_is_named_and_makes_the_whole_at_risk(rng):
    rows, labels, site = sites(rng)
    parity = np.arange(240) // 4 % 2
    found = measure(rows, labels, slices={"site": site, "parity": parity}, **QUICK)
    assert found.verdict == "at-risk"
    assert found.reasons[0].code == "UC208"
    assert found.reasons[0].text == "1 of 6 slices are collapsed: site=c"
    assert "UC402" in [reason.code for reason in found.reasons]
    assert measure(rows, labels, **QUICK).verdict == "not-collapsed"
    healthy = measure(rows, labels, slices={"parity": parity}, **QUICK)
    assert healthy.verdict == "not-collapsed"
    assert "UC208" not in [reason.code for reason in healthy.reasons]


def test_a_slice_is_named_only_by_an_interval_that_holds_for_all_of_them(rng):
    rows, labels, site = sites(rng, V=0.02, n=200)
    high = measure(rows, labels, slices=site, **QUICK).slices["slice"]["values"]["c"]["share"][
        "high"
    ]

    def named(margin):
        margins = Margins(collapsed=margin, healthy=0.05)
        found = measure(rows, labels, slices=site, margins=margins, **QUICK)
        assert found.slices["slice"]["values"]["c"]["verdict"] == "collapsed"
        return "UC208" in [reason.code for reason in found.reasons]

    assert not named(1.0001 * high)
    assert named(1.5 * high)


def test_slices_are_judged_by_the_margins_of_the_whole():
    # A share of .008 is no collapse where no more than .02 was to be had.
    rows, labels = ssem(0.008, 3, 40)
    half = np.arange(120) % 2
    for given, verdict in ((None, "collapsed"), (prediction(0.02), "at-risk")):
        found = measure(rows, labels, slices=half, prediction=given, **QUICK)
        assert found.verdict == verdict
        assert {v["verdict"] for v in found.slices["slice"]["values"].values()} == {verdict}


def test_what_is_not_known_of_the_whole_does_not_hide_a_collapsed_part(rng):
    rows, labels, site = sites(rng)
    # Margins that the interval of the whole crosses: by itself, it could not be told.
    share = measure(rows, labels, **QUICK).share
    margins = replace(Margins(), healthy=share.estimate)
    assert measure(rows, labels, margins=margins, **QUICK).verdict == "cannot-tell"
    found = measure(rows, labels, slices=site, margins=margins, **QUICK)
    assert found.verdict == "at-risk"
    assert found.reasons[0].code == "UC208"


def test_compare_names_a_slice_that_fell(rng):
    rows, labels, site = sites(rng, V=0.3)
    before = measure(rows, labels, slices={"site": site}, **QUICK)
    rows, labels, site = sites(rng, V=0.02)
    after = measure(rows, labels, slices={"site": site}, **QUICK)
    assert before.verdict == after.verdict == "not-collapsed"
    found = compare(before, after)
    assert found.slices_worse == ("site=c",)
    assert found.regression
    assert "1 slices fell: site=c" in found.reasons
    assert compare(after, before).slices_worse == ()


@pytest.mark.parametrize(("part", "code"), [("slice", "UC208"), ("class", "UC204"), (None, None)])
def test_a_guard_fails_on_a_collapsed_part(rng, tmp_path, part, code):
    rows, labels, site = sites(rng)
    if part == "class":
        labels = labels + 2 * (site == "c")
    options = ["--slice", "site"] if part == "slice" else []
    np.savez(tmp_path / "d.npz", z=rows, label=labels, site=site)
    command = ["measure", str(tmp_path / "d.npz"), "--permutations", "0", *options]
    answer = CliRunner().invoke(app, [*command, "--fail-on", "collapsed"])
    assert answer.exit_code == (0 if part is None else 1)
    assert code is None or code in answer.output
    assert CliRunner().invoke(app, command).exit_code == 0


def test_a_guard_that_does_not_exist_is_refused(rng):
    rows, labels, _ = sites(rng)
    measured = measure(rows, labels, permutations=0)
    for guard in ("healthy", "at_risk", None):
        with pytest.raises(InputError, match="collapsed or at-risk"):
            measured.fails(guard)


def test_a_guard_lets_pass_what_can_still_be_read(rng, tmp_path):
    # UC207: every class is collapsed in size, and so named, but not in information.
    labels, fine = np.repeat([0, 1], 100), np.tile([0, 1], 100)
    rows = np.eye(2, 8)[labels] + 1e-5 * np.where(fine, 1, -1)[:, None] * np.eye(8)[5]
    np.savez(tmp_path / "d.npz", z=rows, label=labels, fine=fine)
    command = ["measure", str(tmp_path / "d.npz"), "--fine", "fine", "--permutations", "20"]
    answer = CliRunner().invoke(app, [*command, "--fail-on", "collapsed"])
    assert answer.exit_code == 0, answer.output
    assert "UC207" in answer.output
    assert "UC204" in answer.output
    assert CliRunner().invoke(app, [*command, "--fail-on", "at-risk"]).exit_code == 1


@pytest.mark.parametrize("sizes", [(13,), (7, 6), (4, 3, 3, 3), (2,) * 6 + (1,)])
@pytest.mark.parametrize("count", [4, 60])
def test_a_collapsed_slice_of_thirteen_rows_is_seen_among_many(rng, sizes, count):
    labels = np.r_[np.arange(20 * count) % 7, np.repeat(np.arange(len(sizes)), sizes)]
    site = np.r_[rng.integers(1, count, 20 * count), np.zeros(13, int)]
    rows = np.eye(7, 16)[labels]
    rows += np.where(site, 0.3, 1e-5)[:, None] * rng.standard_normal(rows.shape)
    found = measure(rows, labels, slices={"site": site}, permutations=0, probe=None)
    assert found.slices["site"].values["0"].certainly_collapsed
    assert (found.verdict, found.reasons[0].code) == ("at-risk", "UC208")
    assert found.reasons[0].text.startswith("1 of")
    assert "probability 25%" in found.reasons[0].text or sum(sizes[:6]) < 13
