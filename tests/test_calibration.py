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


@pytest.mark.parametrize("reference", ["its own backbone", "the base"])
def test_finer_labels_beside_a_reference_tell_what_was_lost(reference):
    found = rates(f"head: {reference}, finer labels")
    assert found.flagged >= 0.90
    assert found.healthy >= 0.80


def test_retention_tells_what_could_have_been_kept():
    either = calibration.readings(ENTRIES)["either"]
    for which in (0, 1):
        found = rates("head: the base", which, either)
        assert found.flagged >= 0.90
        assert found.healthy >= 0.80
    # By the loss against its own backbone alone, nearly as much.
    found = rates("head: its own backbone")
    assert found.flagged >= 0.85
    assert found.healthy >= 0.80


def test_the_base_separates_heads_and_layers_below_the_best_setting():
    below_best = calibration.readings(ENTRIES)["the best setting"]
    found = rates("both layers: the base", lost=below_best)
    assert found.bad + found.good >= 100
    assert found.flagged >= 0.90
    assert found.healthy >= 0.80


def test_backbones_that_kept_them_are_healthy():
    found = rates("backbone: the base")
    assert found.bad == 0
    assert found.healthy >= 0.80


def test_nothing_is_healthy_without_a_reference():
    said = {calibration.verdict(entry, None) for entry in ENTRIES}
    assert "healthy" not in said


def test_a_predicted_spread_that_is_reached_is_near_the_best_setting():
    ceilings = tables.best(ENTRIES)
    healthy = [
        entry
        for entry in TRAINED
        if entry.layer == "projector"
        and entry.prediction is not None
        and calibration.verdict(entry, None, predicted=True) == "healthy"
    ]
    assert healthy
    assert max(tables.loss(entry, ceilings) for entry in healthy) <= tables.BAD


@pytest.mark.parametrize("field", ["retention", "fine_loss"])
def test_no_other_margin_does_much_better_on_even_seeds(field):
    worth = calibration.worth_of_margins(ENTRIES, field)
    assert worth[Margins()[field]] >= max(worth.values()) - 0.03


def test_the_sentence_on_shares_says_where_they_lay():
    lay = {True: [], False: []}
    for entry in TRAINED:
        if entry.layer == "projector":
            lost = calibration.lost_against_reference(entry, "backbone") > tables.BAD
            lay[lost].append(entry.found["test"]["share"]["estimate"])
    ends = [f"{end(lay[lost]):.2f}" for lost in (True, False) for end in (min, max)]
    said = "had lost their finer labels lay at {} to {}, others at {} to {}".format(*ends)
    assert said in SENTENCES["text.not-collapsed.within"]
    page = " ".join((ROOT / "docs" / "verdict.md").read_text("utf-8").split())
    ends = [end.removeprefix("0") for end in ends]
    assert "their own backbone lay at {} to {}, others at {} to {}.".format(*ends) in page


def test_the_page_shows_the_stored_numbers():
    page = (ROOT / "docs" / "retention.md").read_text("utf-8")
    found = {**tables.tables(STUDY), **calibration.tables(STUDY)}
    assert tables.written(page, found) == page, (
        "benchmarks/retention_tables.py and calibration.py --page docs/retention.md"
    )


def test_the_registry_is_its_json():
    assert registry.page(registry.read()) == registry.PAGE.read_text("utf-8")
