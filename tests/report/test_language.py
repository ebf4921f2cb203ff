"""Both languages say the same things, and every sentence of the records is translated."""

import re
import string
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from uncollapse.records import (
    REASONS,
    SENTENCES,
    Expected,
    Gap,
    Interval,
    Margins,
    Message,
    NetworkPrediction,
    SliceColumn,
    SliceGaps,
)
from uncollapse.report.language import language
from uncollapse.report.sections.shares import _gaps


def words(code):
    text = (files("uncollapse.report") / "words" / f"{code}.toml").read_text("utf-8")

    def flat(block, prefix=""):
        for key, value in block.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}|")
            elif isinstance(value, str):
                yield prefix + key, value

    return dict(flat(tomllib.loads(text)))


def slots(text):
    return sorted((name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name)


def names(text):
    """Names of the values in a sentence, without the parts of them that are shown."""
    return {name.split(".")[0] for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_same_keys_with_the_same_slots():
    english, japanese = words("en"), words("ja")
    assert set(english) == set(japanese)
    shown = ("text.", "anchor.", "advice.", "caveat.", "interval.", "pilot.", "compare.")
    records = {k: text for k, text in SENTENCES.items() if k.startswith(shown)}
    # What makes a comparison a regression is not shown.
    hidden = {f"compare.{name}" for name in ("verdict", "classes", "slices", "fell")}
    japanese_records = words("sentences.ja")
    for key in set(records) - hidden:
        said = japanese_records[key.replace(".", "|", 1)]
        assert names(records[key]) == names(said), key
    for key, text in english.items():
        assert slots(text) == slots(japanese[key]), key


def test_every_reason_that_a_measurement_can_give_is_translated():
    """Embeddings and settings that bring out every code, by the room that writes them."""
    from uncollapse import Setting, measure, predict

    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 40)
    means = np.eye(3, 16)[labels]
    noise = rng.standard_normal((120, 16))
    fine = np.tile([0, 1], 60)
    told = means + 1e-6 * np.where(fine, 1, -1)[:, None] * np.eye(16)[5]
    collapse = predict(Setting(classes=3, per_class=40, alpha=0, temperature=0.1))
    spread = predict(Setting(classes=3, per_class=40, alpha=0.5, temperature=0.1))
    twice, views = np.repeat(labels, 2), np.repeat(np.arange(120), 2)
    pairs = np.eye(3, 16)[twice] + 0.5 * rng.standard_normal((240, 16))
    some = means + np.where(labels == 0, 0, 0.3)[:, None] * noise
    other = rng.standard_normal((120, 16))
    marked = noise + 2 * np.where(fine, 1, -1)[:, None] * np.eye(16)[5]
    networks = [_beside(spread, w, layer) for w in (0.1, 0.59, 0.9) for layer in ("", "projector")]
    half, high = Margins(retention=0.5), Margins(retention=0.9)
    strict = Margins(fine_loss=1e-9)
    options = {"permutations": 0}
    found = [
        measure(means, labels, **options),
        measure(means + 0.3 * noise, labels, prediction=spread, **options),
        measure(means + 0.3 * noise, labels, prediction=collapse, **options),
        measure(noise, labels, prediction=spread, margins=Margins(reached=0.2), **options),
        measure(means + 0.03 * noise, labels, **options),
        measure(told, labels, fine_labels=fine, **options),
        measure(means + 0.3 * noise, labels, fine_labels=fine, **options),
        measure(pairs, twice, instances=views, **options),
        measure(some, labels, **options),
        measure(means + np.where(fine, 0, 0.3)[:, None] * noise, labels, slices=fine, **options),
        measure(np.eye(16)[3] + 1e-12 * noise, labels, **options),
        measure(np.eye(16)[3] + 0.05 * noise, labels, **options),
        # Against a reference: kept, lost, kept but small, not certain; by finer labels too.
        measure(noise, labels, reference=noise + 0.1 * other, prediction=collapse, **options),
        measure(noise, labels, reference=noise, **options),
        measure(noise, labels, reference=np.ones_like(noise), **options),
        measure(noise, labels, reference=other, **options),
        measure(means + 1e-4 * noise, labels, reference=noise, **options),
        measure(noise, labels, reference=noise + other, margins=half, **options),
        measure(marked, labels, fine_labels=fine, reference=marked + other, margins=high),
        measure(noise, labels, fine_labels=fine, reference=marked, **options),
        measure(marked, labels, fine_labels=fine, reference=marked + other - noise, margins=strict),
        measure((means + 0.05 * noise)[::10], labels[::10], **options),
        *(measure(means + 0.3 * noise, labels, prediction=p, **options) for p in networks),
        measure(noise, labels, prediction=networks[0], layer="backbone", **options),
        measure(np.stack([noise, noise], axis=1), labels, **options),
    ]
    japanese = language("ja")
    codes = set()
    for one in found:
        for reason in one.reasons:
            codes.add(reason.code)
            for message in reason.messages:
                assert message is None or japanese.translate(str(message), message) is not None
    known = {reason.variant for one in found for reason in one.reasons if reason.code == "UC511"}
    assert known == {"below", "consistent", "above", "other-layer"}
    shared = {"UC101", "UC103", "UC203", "UC204", "UC208", "UC402", "UC405", "UC501", "UC503"}
    against = {"UC209", "UC210", "UC211", "UC303", "UC304", "UC403", "UC404", "UC505", "UC506"}
    against |= {"UC305"}
    assert shared | against | {"UC511", "UC512", "UC513"} <= codes


def _beside(prediction, within, layer):
    """The prediction for a network with this variance, by a calibration of other conditions."""
    group = "text.calibration-differs."
    keys = [key for key in SENTENCES if key.startswith(group)]
    values = {"temperature": 0.05, "low": 1, "high": 3, "views": 4, "known": "2", "steps": 70}
    part = Expected(estimate=within, low=0.8 * within, high=min(1.0, 1.1 * within))
    network = NetworkPrediction(
        within_class_variance=part,
        between_class_variance=part,
        alpha_where_spread_begins=None,
        confidence=0.9,
        differs=tuple(Message(key, values) for key in keys) if layer else (),
    )
    return replace(prediction, network=network)


def test_every_code_has_its_meaning_and_every_deciding_one_a_headline():
    """On the page, and in the first line of a report."""
    from uncollapse.report.decide.lookup import BY_SHARE, HEADLINES

    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")
    explained = set(re.findall(r"^\| (UC\d{3})", page, re.MULTILINE))
    deciding = {code for code in REASONS if code[2] in "1234"}
    assert deciding == HEADLINES | set(BY_SHARE)
    for code in ("en", "ja"):
        known = words(code)
        assert {key.partition("|")[2] for key in known if key.startswith("codes|")} == explained
        assert {f"headline|{name}" for name in HEADLINES} <= set(known)
        advised = {REASONS[name][2] for name in deciding if name[2] in "12"} - {""}
        assert {f"change|{name}" for name in advised} <= set(known)


def test_notes_are_translated():
    from uncollapse import RandomBatch, Setting, predict

    japanese = language("ja")
    settings = [
        Setting(classes=4, per_class=9, alpha=0.5, temperature=0.1, dimension=8),
        Setting(classes=9, per_class=9, alpha=0.5, temperature=0.1, dimension=4),
        Setting(class_counts=[40, 9, 1], alpha=0.02, temperature=0.1),
        Setting(classes=9, per_class=9, alpha=0.5, temperature=0.1, batch=RandomBatch(4)),
    ]
    for setting in settings:
        for note in predict(setting).notes:
            assert japanese.translate(note) is not None, note


def test_what_is_not_known_is_left_in_english():
    later = Message("text.later")
    assert language("ja").translate("a sentence of a later version", later) is None
    assert language("ja").translate("a sentence of a later version") is None
    assert language("en").translate("a sentence of a later version") is not None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, "0.123"),
        (-0.00260, "−0.00260"),
        (1234.5, "1,234"),
        (3, "3"),
        (1e-9, "1.00 × 10⁻⁹"),
        (None, "–"),
        (float("inf"), "∞"),
    ],
)
def test_numbers(value, shown):
    assert language("en").number(value) == shown


def test_shares_points_and_durations():
    english, japanese = language("en"), language("ja")
    gain = Interval(0.117, 0.06, 0.17)
    assert english.points(gain) == "+11.7 points (95% interval +6.0 to +17.0 points)"
    assert japanese.points(gain) == "+11.7ポイント（95%信頼区間 +6.0～+17.0ポイント）"
    assert english.percent(0.0042) == "0.42%"
    assert english.duration(150) == "2.5 minutes"
    assert japanese.duration(7200) == "2時間"


def test_a_gap_that_no_two_slices_can_have_is_cut_and_said():
    gap = Gap(0.6, -0.2, 1.4, "a", "b")
    gaps = SliceGaps(gap, None, None, replace(gap, high=1.2))
    column = SliceColumn(values={}, missing_rows=0, gap=gaps, leakage=None)
    shares, accuracy = _gaps(column, "", language("en"))
    assert "1.4" not in shares
    assert "cut at 1" in shares
    assert "1.2" in accuracy
    assert "cut" not in accuracy
