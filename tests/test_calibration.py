"""The margins of the verdict separate what lost its finer labels, in the study as it is stored.

Every network of docs/study/retention-*.json is judged anew by the product's own `judge`; pages show
what the scripts make of the stored numbers.
"""

import sys
from pathlib import Path

import pytest

from uncollapse.records import SENTENCES, Margins

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import calibration
import registry
import retention_tables as tables

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "docs" / "study"
ENTRIES, _ = tables.read(STUDY)
TRAINED = [entry for entry in ENTRIES if entry.trained]
BY_NAME = {case[0]: case for case in calibration.CASES}


def rates(name, which=1, lost=calibration.lost_against_reference, margins=None):
    return calibration.rates_of(calibration.half(ENTRIES, which), BY_NAME[name], lost, margins)


def test_the_study_is_as_large_as_the_page_says():
    assert len(TRAINED) >= 150
    assert {entry.data for entry in TRAINED} == set(tables.DATA)
    for data in tables.DATA:
        seeds = {entry.seed for entry in TRAINED if entry.data == data}
        assert len(seeds) >= (3 if data == "garments" else 4)


@pytest.mark.parametrize("finer", ["", ", finer labels"])
def test_heads_that_lost_their_finer_labels_are_at_risk_and_others_healthy(finer):
    own, base = rates(f"head: its own backbone{finer}"), rates(f"head: the base{finer}")
    assert own.flagged >= 0.90
    assert own.healthy >= 0.80
    # Pixels and frozen features: what the page reports, nearly as good.
    assert base.flagged >= 0.85
    assert base.healthy >= 0.70


def test_backbones_that_kept_them_are_healthy():
    found = rates("backbone: the base")
    assert found.bad == 0
    assert found.healthy >= 0.80


def test_nothing_is_healthy_without_a_reference():
    said = {calibration.verdict(entry, None) for entry in ENTRIES}
    assert "healthy" not in said


def test_a_predicted_spread_that_is_reached_calls_no_bad_head_healthy():
    for entry in TRAINED:
        if entry.layer == "projector" and entry.prediction is not None:
            bad = calibration.lost_against_reference(entry, None) > tables.BAD
            assert not (bad and calibration.verdict(entry, None, predicted=True) == "healthy")


@pytest.mark.parametrize("field", ["retention", "fine_loss"])
def test_no_other_margin_does_better_on_even_seeds(field):
    worth = calibration.worth_of_margins(ENTRIES, field)
    assert worth[Margins()[field]] >= max(worth.values()) - 0.01


def test_the_sentence_on_shares_says_where_they_lay():
    lay = {True: [], False: []}
    for entry in TRAINED:
        if entry.layer == "projector":
            lost = calibration.lost_against_reference(entry, "backbone") > tables.BAD
            lay[lost].append(entry.found["test"]["share"]["estimate"])
    ends = [tables.number(end(lay[lost])) for lost in (True, False) for end in (min, max)]
    said = "had lost their finer labels lay at {} to {}, others at {} to {}".format(*ends)
    assert said in SENTENCES["text.not-collapsed.within"]


def test_the_page_shows_the_stored_numbers():
    page = (ROOT / "docs" / "retention.md").read_text("utf-8")
    found = {**tables.tables(STUDY), **calibration.tables(STUDY)}
    assert tables.written(page, found) == page, (
        "benchmarks/retention_tables.py and calibration.py --page docs/retention.md"
    )


def test_the_registry_is_its_json():
    assert registry.page(registry.read()) == registry.PAGE.read_text("utf-8")
